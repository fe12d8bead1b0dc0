"""Spearman's rank correlation of many columns at once, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS_AT_A_TIME = 2_048


def average_ranks(values: Tensor) -> Tensor:
    """Rank each row of ``values`` [m, n] from 1 to n in float32; ties share their mean rank."""
    n = values.shape[1]
    ordered, order = values.sort(dim=1)
    place = torch.arange(n, device=values.device).expand_as(order)
    edge = torch.ones_like(ordered, dtype=torch.bool)
    edge[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # A run of equal values goes from the last edge at or before it to just before the next edge.
    first = torch.where(edge, place, 0).cummax(dim=1).values
    ends = torch.ones_like(edge)
    ends[:, :-1] = edge[:, 1:]
    last = torch.where(ends, place, n - 1).flip(1).cummin(dim=1).values.flip(1)
    mean_rank = (first + last).float() / 2 + 1
    return torch.empty_like(mean_rank).scatter_(1, order, mean_rank)


def rank_correlations(values: Tensor, targets: Tensor) -> Tensor:
    """Return Spearman's rho of each column of ``values`` with each column of ``targets``.

    Args:
        values: [n, m].
        targets: [n, t].

    Returns:
        [m, t]; NaN where a column is constant.
    """
    unit_targets = _unit_ranks(targets.T)  # [t, n]
    chunks = torch.split(values.T, COLUMNS_AT_A_TIME)
    return torch.cat([_unit_ranks(chunk) @ unit_targets.T for chunk in chunks])


def _unit_ranks(rows: Tensor) -> Tensor:
    ranks = average_ranks(rows.contiguous())
    ranks -= ranks.mean(dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(ranks, dim=1, keepdim=True)
    return ranks / lengths
