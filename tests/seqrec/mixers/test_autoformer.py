import math

import pytest
import torch

from okml.seqrec.mixers import Shape
from okml.seqrec.mixers.autoformer import correlation

from .common import NOTHING, mixer_of, tokens_of


def by_loops(q: torch.Tensor, k: torch.Tensor) -> list[float]:
    n, d = q.shape
    return [sum(float(q[(t + lag) % n] @ k[t]) for t in range(n)) / d for lag in range(n)]


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("n", "kept"), [(50, 3), (8, 2), (7, 1), (2, 1)])
def test_against_the_definition(training, n, kept):
    mixer = mixer_of("autoformer", Shape(50, 6, 2, False)).train(training)
    tokens = tokens_of(3, n, 6)
    scores = [by_loops(mixer.query(x), mixer.key(x)) for x in tokens]
    shared = [sum(column) for column in zip(*scores, strict=True)]
    lags_used = set()
    for row, x in enumerate(tokens):
        ranked = shared if training else scores[row]
        lags = sorted(range(n), key=lambda lag: -ranked[lag])[:kept]
        lags_used.add(tuple(lags))
        weights = [math.exp(scores[row][lag]) for lag in lags]
        v = mixer.value(x)
        mixed = sum(
            w / sum(weights) * v.roll(-lag, 0) for w, lag in zip(weights, lags, strict=True)
        )
        torch.testing.assert_close(mixer(tokens, NOTHING)[row], mixer.output(mixed))
    if training or n == 50:
        assert len(lags_used) == (1 if training else 3)


@pytest.mark.parametrize("n", [1, 2, 9, 16])
def test_correlation_by_transforms_equals_the_sum(n):
    q, k = tokens_of(2, n, 5), tokens_of(2, n, 5, seed=1)
    want = torch.tensor([by_loops(a, b) for a, b in zip(q, k, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(correlation(q, k), want)


def test_a_periodic_sequence_finds_its_period():
    period = tokens_of(1, 5, 6)
    scores = correlation(period.repeat(1, 4, 1), period.repeat(1, 4, 1))[0]
    assert sorted(scores.topk(4).indices.tolist()) == [0, 5, 10, 15]
