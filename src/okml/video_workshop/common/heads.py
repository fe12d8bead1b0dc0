"""Multi-task heads of one signature: they map one input to a logit of each task.

They differ in what tasks share: the whole bottom (Caruana, 1997), or experts that each task mixes
by its own gate (MMoE, Ma et al., 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.video_workshop.settings.users import MultiTaskHeadSettings


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


class SharedBottom(nn.Module):
    """One network for all tasks, and a tower for each.

    Args:
        inputs: Dimension d of the input.
        settings: Sizes. The bottom is as wide as all experts of MMoE together.
    """

    def __init__(self, tasks: Sequence[str], inputs: int, settings: MultiTaskHeadSettings) -> None:
        super().__init__()
        width = settings.experts * settings.expert_width
        self.bottom = Experts(inputs, 1, width)
        self.towers = _towers(tasks, width, settings)

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Map ``[n, d]`` to a logit of each task, ``[n]``."""
        shared = self.bottom(hidden)[:, 0]
        return {task: top(shared)[:, 0] for task, top in self.towers.items()}


class MMoE(nn.Module):
    """Experts for all tasks; each task mixes them by a gate of its own.

    Args:
        inputs: Dimension d of the input.
    """

    def __init__(self, tasks: Sequence[str], inputs: int, settings: MultiTaskHeadSettings) -> None:
        super().__init__()
        self.experts = Experts(inputs, settings.experts, settings.expert_width)
        self.gates = nn.ModuleDict(
            {task: Gate(inputs, settings.experts, settings.gate_dropout) for task in tasks}
        )
        self.towers = _towers(tasks, settings.expert_width, settings)

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Map ``[n, d]`` to a logit of each task, ``[n]``."""
        experts = self.experts(hidden)
        return {
            task: top(self.gates[task](hidden, experts))[:, 0] for task, top in self.towers.items()
        }


def _towers(tasks: Sequence[str], inputs: int, settings: MultiTaskHeadSettings) -> nn.ModuleDict:
    return nn.ModuleDict({task: tower(inputs, settings.tower_width) for task in tasks})


def multitask_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    spaces: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the mean cross-entropy of each task, and ``loss``, their sum.

    A task without an example in a batch has loss 0 and no gradient.

    Args:
        logits: Logits of each task, any shape.
        labels: Labels in [0, 1] of the same shape, finite everywhere; a fraction is a soft label.
        spaces: Mask of the examples of each task; watching, for example, is defined for clicked
            items only.
    """
    found = {}
    for task, logit in logits.items():
        each = functional.binary_cross_entropy_with_logits(logit, labels[task], reduction="none")
        inside = spaces[task]
        found[task] = torch.where(inside, each, 0.0).sum() / inside.sum().clamp_min(1)
    return {"loss": torch.as_tensor(sum(found.values())), **found}
