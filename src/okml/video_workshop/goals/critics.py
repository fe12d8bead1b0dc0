"""Critics of the responses: state values, targets and advantages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.training import Losses, Phase, TrainingTask
from okml.video_workshop.goals.impressions import ImpressionBatch, ImpressionBatches
from okml.video_workshop.goals.rankers import STD

TURNS = 12.0  # scale of the number of a request in its session
MOST_TURNS = 48  # the input is clipped here


class Critic(nn.Module):
    """The value of a state for one response, from user, mean of last clicks and session position.

    Args:
        users: Number of users.
        items: Number of items.
        width: Dimension of user and item vectors.
        hidden: Width of both hidden layers.
    """

    def __init__(self, users: int, items: int, width: int, hidden: int) -> None:
        super().__init__()
        self.user = nn.Embedding(users, width)
        self.clicked = nn.Embedding(items + 1, width, padding_idx=0)
        for table in (self.user, self.clicked):
            nn.init.normal_(table.weight, std=STD)
        self.value = nn.Sequential(
            nn.Linear(2 * width + 1, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, users: Tensor, recent: Tensor, turns: Tensor) -> Tensor:
        """Return values ``[b]`` of users ``[b]`` after clicks ``[b, t]`` at turns ``[b]``."""
        there = (recent != 0).sum(1, keepdim=True).clamp_min(1)
        clicks = self.clicked(recent).sum(1) / there
        place = turns[:, None].clamp_max(MOST_TURNS) / TURNS
        found: Tensor = self.value(torch.cat([self.user(users), clicks, place], 1))[:, 0]
        return found


class Critics(nn.ModuleDict):
    """Critics by name, called together: a compiled module has no items, only a ``forward``."""

    def forward(self, users: Tensor, recent: Tensor, turns: Tensor) -> dict[str, Tensor]:
        """Return the values of each critic, ``[b]``; see :meth:`Critic.forward`."""
        return {name: critic(users, recent, turns) for name, critic in self.items()}


def rewards_of(batch: ImpressionBatch, weights: Mapping[str, float]) -> Tensor:
    """Return a weighted sum of responses to each shown item, ``[b, k]``."""
    return torch.stack([weight * batch.response(name) for name, weight in weights.items()]).sum(0)


class CriticTask(TrainingTask):
    """Temporal-difference learning of several critics with target networks.

    Args:
        critics: Critics by name.
        rewards: Response weights that define the reward of each critic.
        gammas: Discount factor of each critic, per request.
        target: Target network, a slowly updated copy of ``critics``.
        rate: Interpolation weight of the target's update.
        optimizer: Optimizer of the critics.
    """

    def __init__(
        self,
        critics: Critics,
        rewards: Mapping[str, Mapping[str, float]],
        gammas: Mapping[str, float],
        target: Critics,
        rate: float,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        super().__init__({"critics": critics, "target": target}, {"critics": optimizer})
        self.rewards = rewards
        self.gammas = gammas
        self.rate = rate

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the single update of a step."""
        return (Phase(self._losses, ("critics",), "critics"),)

    def after_step(self, step: int) -> None:
        """Move the target network toward the critics."""
        pairs = zip(
            self.modules["target"].parameters(), self.modules["critics"].parameters(), strict=True
        )
        with torch.no_grad():
            for slow, fast in pairs:
                slow.lerp_(fast, self.rate)

    def _losses(self, batch: ImpressionBatch) -> Losses:
        values, found = self.modules["critics"](batch.users, batch.recent, batch.turns), {}
        for name, rewards in self.rewards.items():
            target = self.modules["target"][name]  # type: ignore[index]
            aim = targets(target, batch, rewards, self.gammas[name]).mean(1)
            found[name] = functional.huber_loss(values[name], aim)
        return {"loss": torch.stack(list(found.values())).sum(), **found}


@torch.no_grad()
def targets(
    critic: nn.Module, batch: ImpressionBatch, rewards: Mapping[str, float], gamma: float
) -> Tensor:
    """Return ``r + γ V(s')`` of each shown item, ``[b, k]``; last requests have no ``V(s')``."""
    after = critic(batch.users, batch.next_recent, batch.next_turns) * batch.continued
    found: Tensor = rewards_of(batch, rewards) + gamma * after[:, None]
    return found


@torch.no_grad()
def advantages(
    critic: nn.Module, source: ImpressionBatches, rewards: Mapping[str, float], gamma: float
) -> Tensor:
    """Return ``A = r + γ V(s') - V(s)`` of a whole log, standardized, ``[r, k]``."""

    def raw(batch: ImpressionBatch) -> Tensor:
        value: Tensor = critic(batch.users, batch.recent, batch.turns)
        return targets(critic, batch, rewards, gamma) - value[:, None]

    found = source.each(raw)
    return (found - found.mean()) / found.std().clamp_min(1e-6)
