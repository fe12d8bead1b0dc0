"""Experts and gates, of which MMoE and PLE are made."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    """Parallel one-layer networks, computed as one matrix product.

    Args:
        inputs: Dimension of the input.
        count: Number of experts.
        width: Dimension of the output of each expert.
    """

    def __init__(self, inputs: int, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(inputs, count * width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map ``[n, d]`` to ``[n, experts, width]``."""
        return torch.relu(self.linear(hidden)).view(len(hidden), self.count, -1)


class Gate(nn.Module):
    """Mixes experts by a softmax of a linear map of the query.

    Args:
        inputs: Dimension of the query.
        experts: Number of experts.
        dropout: Probability that one expert, drawn at random, is masked for an example in training,
            so that no task depends on a single one. A sole expert is never masked.
    """

    def __init__(self, inputs: int, experts: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, experts, bias=False)
        self.dropout = dropout if experts > 1 else 0.0

    def weights(self, question: Tensor) -> Tensor:
        """Return the share of each expert, ``[n, experts]``."""
        logits = self.linear(question)
        if self.training and self.dropout:
            n, experts = logits.shape
            closed = torch.randint(experts, (n, 1), device=logits.device)
            drops = torch.rand(n, 1, device=logits.device) < self.dropout
            numbers = torch.arange(experts, device=logits.device)
            logits = logits.masked_fill(drops & (numbers == closed), float("-inf"))
        return torch.softmax(logits, 1)

    def forward(self, question: Tensor, experts: Tensor) -> Tensor:
        """Mix experts ``[n, experts, w]`` by a query ``[n, d]``: ``[n, w]``."""
        return torch.einsum("ne,new->nw", self.weights(question), experts)


def tower(inputs: int, width: int) -> nn.Module:
    """Return the top network of one task, which maps ``[n, d]`` to a logit ``[n, 1]``."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))
