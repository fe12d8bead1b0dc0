import math

import pytest
import torch

from okml.seqrec.mixers import Context, Shape
from okml.seqrec.mixers.hstu import bucket_edges

from .common import NOTHING, heads_of, mixer_of, times_of, tokens_of


def bucket(gap: int, buckets: int) -> int:
    return min(math.floor(math.log(max(abs(gap), 1)) / 0.301), buckets - 1)


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_against_the_definition(causal):
    mixer = mixer_of("hstu", Shape(9, 6, 2, causal), buckets=40)
    n = 7
    tokens, times = tokens_of(1, n, 6), times_of(1, n)
    inner = torch.nn.functional.silu(mixer.inner(tokens[0]))
    u, v, q, k = inner.split(6, -1)
    q, k, v = (heads_of(x, 2) for x in (q, k, v))
    mixed = torch.zeros(2, n, 3).double()
    for h in range(2):
        for i in range(n):
            for j in range(i + 1 if causal else n):
                logit = float(q[h, i] @ k[h, j])
                logit += float(mixer.position[i - j + 8])
                logit += float(mixer.time[bucket(int(times[0, i] - times[0, j]), 40)])
                mixed[h, i] += silu(logit) / 9 * v[h, j]
    joined = torch.cat(list(mixed), -1)
    mean = joined.mean(-1, keepdim=True)
    deviation = (joined.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    want = mixer.output((joined - mean) / deviation * u)
    torch.testing.assert_close(mixer(tokens, Context(times=times))[0], want)


def test_gaps_fall_into_logarithmic_buckets():
    edges = bucket_edges(64)
    gaps = {0, 1, 2, 3, 59, 60, 3600, 86_400, 31_536_000, 2**31, 2**33}
    for k in range(1, 80):  # and on both sides of every edge
        edge = math.exp(0.301 * k)
        gaps |= {math.floor(edge) - 1, math.floor(edge), math.ceil(edge), math.ceil(edge) + 1}
    for gap in sorted(g for g in gaps if g >= 0):
        assert int(torch.bucketize(torch.tensor(gap), edges, right=True)) == bucket(gap, 64), gap


def test_one_second_more_is_seen_after_a_billion():
    mixer = mixer_of("hstu", Shape(2, 6, 2, True))
    tokens = tokens_of(1, 2, 6)
    at = 1_200_000_000
    outs = [mixer(tokens, Context(times=torch.tensor([[at, at + gap]]))) for gap in (1, 2)]
    assert not torch.allclose(*outs)


def test_it_needs_times():
    with pytest.raises(ValueError, match="times"):
        mixer_of("hstu", Shape(5, 6, 2, True))(tokens_of(1, 5, 6), NOTHING)
