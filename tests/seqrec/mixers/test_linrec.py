import math

import pytest
import torch

from okml.seqrec.mixers import Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


def feature(x: torch.Tensor) -> torch.Tensor:
    lifted = [a if a > 0 else math.exp(a) - 1 for a in x.tolist()]
    return torch.tensor(lifted, dtype=torch.float64) / math.sqrt(sum(a * a for a in lifted))


@torch.no_grad()
@pytest.mark.parametrize("n", [6, 70])
def test_against_the_square_form_by_loops(n):
    mixer = mixer_of("linrec", Shape(70, 6, 2, False))
    tokens = tokens_of(1, n, 6)
    q, k, v = (heads_of(f(tokens[0]), 2) for f in (mixer.query, mixer.key, mixer.value))
    mixed = torch.zeros(2, n, 3).double()
    for h in range(2):
        a, b = [feature(x) for x in q[h]], [feature(x) for x in k[h]]
        for i in range(n):
            for j in range(n):
                mixed[h, i] += float(a[i] @ b[j]) / math.sqrt(3) * v[h, j]
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)
