import math

import pytest
import torch

from okml.seqrec.mixers import Context, Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize("n", [9, 6])
def test_against_the_definition(n):
    mixer = mixer_of("linformer", Shape(9, 12, 3, False), rank=4)
    tokens = tokens_of(1, n, 12)
    q, k, v = (f(tokens[0]) for f in (mixer.query, mixer.key, mixer.value))
    short_k, short_v = torch.zeros(4, 12).double(), torch.zeros(4, 12).double()
    for r in range(4):
        for j in range(n):  # the newest item meets the last column
            short_k[r] += mixer.key_rows.weight[r, 9 - n + j] * k[j]
            short_v[r] += mixer.value_rows.weight[r, 9 - n + j] * v[j]
        short_k[r] += mixer.key_rows.bias[r]
        short_v[r] += mixer.value_rows.bias[r]
    mixed = torch.zeros(3, n, 4).double()
    for h in range(3):
        a, b, c = (heads_of(x, 3)[h] for x in (q, short_k, short_v))
        for i in range(n):
            weights = [math.exp(float(a[i] @ b[r]) / 2) for r in range(4)]  # the root of 4
            mixed[h, i] = sum(w * c[r] for r, w in enumerate(weights)) / sum(weights)
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@torch.no_grad()
def test_with_the_identity_as_projection_it_is_attention():
    mixer = mixer_of("linformer", Shape(7, 12, 3, False), rank=7)
    for rows in (mixer.key_rows, mixer.value_rows):
        torch.nn.init.eye_(rows.weight)
        torch.nn.init.zeros_(rows.bias)
    tokens = tokens_of(2, 7, 12)
    q, k, v = mixer.project(tokens)
    want = mixer.merge((q @ k.transpose(-1, -2) / 2).softmax(-1) @ v)
    torch.testing.assert_close(mixer(tokens, NOTHING), want)


def test_more_tokens_than_the_projection_has_columns_fail():
    mixer = mixer_of("linformer", Shape(7, 12, 3, False))
    with pytest.raises(RuntimeError):
        mixer(tokens_of(1, 8, 12), Context())
