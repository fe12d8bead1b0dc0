"""Negatives: drawn as often as they should be, and never what must not be drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from okml.errors import ParameterError
from okml.seqrec.negatives import NegativeSampler
from tests.device import GPU
from tests.seqrec.logs import of_rows

COUNTS = np.array([99, 1, 0, 4, 16, 9])  # entry 0 is padding


def draw(sampler: NegativeSampler, targets: torch.Tensor, seed: int = 0) -> torch.Tensor:
    user = torch.zeros(len(targets), dtype=torch.int64)
    return sampler.for_targets(targets, user, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("alpha", "weights"), [(0.0, [1, 1, 1, 1, 1]), (0.5, [1, 0, 2, 4, 3]), (1.0, [1, 0, 4, 16, 9])]
)
def test_draws_follow_the_power_of_popularity(alpha: float, weights: list[int]) -> None:
    sampler = NegativeSampler(COUNTS, 20_000, alpha=alpha, shared=True)
    drawn = np.bincount(draw(sampler, torch.ones(2, dtype=torch.int64)), minlength=6)
    share = np.array(weights) / sum(weights)
    assert drawn[0] == 0
    assert (drawn[1:][share == 0] == 0).all()
    possible = share > 0
    assert stats.chisquare(drawn[1:][possible], 20_000 * share[possible]).pvalue > 1e-4
    np.testing.assert_allclose(sampler.log_q[1:].exp(), share, rtol=1e-6)
    assert sampler.log_q[0] == 0


def test_draws_depend_on_the_generator_alone() -> None:
    sampler = NegativeSampler(COUNTS, 50)
    targets = torch.tensor([1, 2])
    torch.manual_seed(1)
    first = draw(sampler, targets)
    torch.manual_seed(2)
    assert torch.equal(first, draw(sampler, targets))
    assert not torch.equal(first, draw(sampler, targets, seed=1))


def test_padding_gets_no_negatives() -> None:
    drawn = draw(NegativeSampler(COUNTS, 4), torch.tensor([[0, 3], [2, 0]]))
    assert drawn.shape == (2, 2, 4)
    assert (drawn == 0).all(-1).tolist() == [[True, False], [False, True]]


def test_what_a_user_has_had_is_avoided() -> None:
    found = of_rows([(0, item, item) for item in range(1, 9)] + [(1, 9, 0), (1, 1, 1)])
    user = torch.tensor([0, 1])
    targets = torch.tensor([[3, 4], [1, 9]])
    sampler = NegativeSampler(np.ones(10), 400, avoid=found)
    drawn = sampler.for_targets(targets, user, np.random.default_rng(0))
    assert set(drawn[0].flatten().tolist()) == {9}
    assert set(drawn[1].flatten().tolist()) == set(range(2, 9))
    # What training may not see is not avoided, or it would be told.
    early = NegativeSampler(np.ones(10), 400, avoid=found, avoid_end=np.array([7, 9]))
    drawn = early.for_targets(targets, user, np.random.default_rng(0))
    assert set(drawn[0].flatten().tolist()) == {8, 9}
    assert set(drawn[1].flatten().tolist()) == set(range(1, 9))


def test_samplers_with_nothing_to_draw_are_refused() -> None:
    found = of_rows([(0, 1, 1), (0, 2, 2), (1, 3, 3)])
    with pytest.raises(ParameterError, match="every item"):
        NegativeSampler(np.array([0, 1, 1, 0]), 1, alpha=1.0, avoid=found)
    with pytest.raises(ParameterError, match="must be positive"):
        NegativeSampler(COUNTS, 0)
    with pytest.raises(ParameterError, match="cannot avoid"):
        NegativeSampler(COUNTS, 1, shared=True, avoid=found)
    with pytest.raises(ParameterError, match="nothing to draw"):
        NegativeSampler(np.zeros(4), 1, alpha=1.0)


@pytest.mark.gpu
def test_draws_on_a_gpu_avoid_too() -> None:
    found = of_rows([(0, item, item) for item in range(1, 9)] + [(1, 9, 0)])
    sampler = NegativeSampler(np.ones(10), 50, avoid=found)
    user = torch.tensor([0], device=GPU)
    drawn = sampler.for_targets(torch.tensor([3], device=GPU), user, np.random.default_rng(0))
    assert set(drawn.flatten().tolist()) == {9}
