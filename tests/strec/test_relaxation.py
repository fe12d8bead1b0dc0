import math

import pytest
import torch

from okml.strec.relaxation import RELEASED_SHIFTS, RelaxationSettings, key_bias, soft_threshold
from okml.strec.sampler import LAST, PADDED


def scores() -> torch.Tensor:
    return torch.tensor([[0.9, -1.2, 0.4, 0.1, LAST]], requires_grad=True)


def test_the_soft_bias_by_hand():
    # Two are kept: the newest and 0.9. The threshold lies half-way between 0.9 and 0.4.
    bias = key_bias(scores(), 0, 2, RelaxationSettings(temperature=0.5))
    expected = [-math.log1p(math.exp(-(s - 0.65) / 0.5)) for s in (0.9, -1.2, 0.4, 0.1)] + [0.0]
    assert bias[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_kept_items_are_those_above_one_half():
    torch.manual_seed(0)
    s = torch.randn(40, 50)
    s[:, -1] = LAST
    for count in (1, 5, 20, 49):
        bias = key_bias(s, 0, count, RelaxationSettings())
        assert ((bias > math.log(0.5)).sum(1) == count).all()


def test_keeping_everything_hides_nothing():
    bias = key_bias(scores(), 0, 5, RelaxationSettings())
    assert bias.abs().max() < 1e-6


def test_padding_does_not_move_the_threshold_into_nan():
    s = torch.tensor([[PADDED, PADDED, PADDED, 0.3, LAST]])
    for count in (1, 2, 3, 4):
        assert key_bias(s, 0, count, RelaxationSettings())[0, -2:].isfinite().all()
    assert soft_threshold(s, 2).item() == pytest.approx((0.3 + PADDED) / 2)


def test_gradients_reach_the_scores_near_the_threshold_and_not_the_newest():
    s = scores()
    key_bias(s, 0, 2, RelaxationSettings()).sum().backward()
    assert s.grad is not None
    assert (s.grad[0, :4].abs() > 0).all()
    assert s.grad[0, 4] == 0


def test_the_released_mask_is_hard_but_for_a_sliver():
    # α = -0.2, so the threshold is 0.2; float32 rounds sigmoid(100 x) to 1 from x = 0.167 on.
    settings = RelaxationSettings(estimator="released", shifts=RELEASED_SHIFTS)
    s = torch.tensor([[0.2 + 0.18, 0.2 + 0.13, 0.2 + 0.156, 0.2, LAST]], requires_grad=True)
    bias = key_bias(s, 0, 3, settings)
    assert bias[0, 0] == 0
    assert bias[0, 1] < -190
    assert -30 < bias[0, 2] < 0
    bias.sum().backward()
    assert s.grad is not None
    assert s.grad[0, 0] < 10  # saturated
    assert s.grad[0, 2] > 500
