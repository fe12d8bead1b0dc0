"""Spearman's rank correlation of many columns at once, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS_AT_A_TIME = 2_048


def average_ranks(values: Tensor) -> Tensor:
    """Rank each row of ``values`` [m, n] from 1 to n in float32; ties share their mean rank."""
    m, n = values.shape
    ordered, order = values.sort(dim=1)
    place = torch.arange(n, device=values.device)
    ranks = torch.arange(1, n + 1, device=values.device, dtype=torch.float32).repeat(m, 1)
    edge = torch.ones_like(ordered, dtype=torch.bool)  # where a run of equal values begins
    edge[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    tied = (~edge).any(dim=1)
    edge = edge[tied]
    # A run goes from the last edge at or before a place to just before the next edge.
    first = torch.where(edge, place, 0).cummax(dim=1).values
    end = torch.ones_like(edge)
    end[:, :-1] = edge[:, 1:]
    last = torch.where(end, place, n - 1).flip(1).cummin(dim=1).values.flip(1)
    ranks[tied] = (first + last).float() / 2 + 1
    return torch.empty_like(ranks).scatter_(1, order, ranks)


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
