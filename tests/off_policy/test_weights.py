"""Weights of logged actions: by hand, and that no gradient goes through them."""

import math

import pytest
import torch

from okml.off_policy import capped_ratio, top_k_factor


def test_the_factor_of_a_list_is_the_chance_of_being_in_it_differentiated():
    """1 - (1 - π)^K is the chance that one of K draws is the action."""
    for pi in (0.01, 0.3, 0.9):
        p = torch.tensor(pi, dtype=torch.float64, requires_grad=True)
        (1 - (1 - p) ** 5).backward()
        factor = top_k_factor(torch.tensor(pi, dtype=torch.float64).log(), 5)
        assert factor.item() == pytest.approx(p.grad.item())


def test_the_limits_of_the_factor():
    log_prob = torch.tensor([-40.0, 0.0])
    assert top_k_factor(log_prob, 16).tolist() == pytest.approx([16, 0])
    assert top_k_factor(log_prob, 1).tolist() == pytest.approx([1, 1])


def test_a_capped_ratio_by_hand_and_without_a_gradient():
    log_prob = torch.tensor([math.log(0.6), math.log(0.1)], requires_grad=True)
    log_behavior = torch.tensor([math.log(0.2), math.log(0.2)])
    assert capped_ratio(log_prob, log_behavior, 2.0).tolist() == pytest.approx([2, 0.5])
    assert capped_ratio(log_prob, log_behavior).tolist() == pytest.approx([3, 0.5])
    assert not capped_ratio(log_prob, log_behavior).requires_grad
    assert not top_k_factor(log_prob, 3).requires_grad
