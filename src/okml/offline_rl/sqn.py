"""SQN and SAC, Xin et al. (2020): a softmax head and a Q head on one encoder."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from okml.offline_rl.episodes import TransitionBatch, bootstrapped
from okml.offline_rl.policy import ActorTask, frozen_copy
from okml.offline_rl.settings import CRRSettings
from okml.offline_rl.softmax_pass import PassResult, Weigh, equal_weights, policy_pass
from okml.seqrec.encoder import Encoder
from okml.seqrec.tasks import Evaluation
from okml.training import Losses, Phase


class TwoHeads(nn.Module):
    """An encoder with its item matrix as the softmax head, and action vectors as the Q head."""

    def __init__(self, encoder: Encoder, chunk_bytes: int = 2**24) -> None:
        super().__init__()
        self.encoder = encoder
        self.chunk_bytes = chunk_bytes
        self.action = nn.Parameter(torch.zeros_like(encoder.item_matrix()))

    def states(self, batch: TransitionBatch) -> Tensor:
        """Return the vectors of the states of transitions, ``[r, d]``."""
        hidden = self.encoder(batch.items, batch.times, batch.padded)
        return batch.at_transitions(hidden)

    def forward(self, batch: TransitionBatch, weighted: bool) -> tuple[PassResult, Tensor, Tensor]:
        """Return the pass of the softmax head, Q of the logged actions ``[r]``, and the states.

        If ``weighted``, Q weights the log-likelihood (SAC).
        """
        hidden = self.states(batch)
        targets = batch.at_transitions(batch.targets)
        values = (hidden * self.action[targets]).sum(1)
        weights = values.detach().float()
        weigh: Weigh = (lambda chunk: weights[chunk.part]) if weighted else equal_weights
        found = policy_pass(
            hidden, self.encoder.item_matrix(), targets, weigh=weigh, chunk_bytes=self.chunk_bytes
        )
        return found, values, hidden


class SQNTask(ActorTask):
    """A training task of both heads, with double Q-learning and a target network.

    The authors train two copies in turns, each the other's target; here a target network takes the
    place of the second copy.

    Args:
        settings: The settings of CRR, of which the discount and the target updates are used.
        weighted_from: The first step at which Q weights the softmax head (SAC); None for SQN.
    """

    def __init__(
        self,
        heads: TwoHeads,
        optimizer: torch.optim.Optimizer,
        settings: CRRSettings,
        *,
        weighted_from: int | None = None,
        evaluate: Evaluation | None = None,
    ) -> None:
        self.heads = heads
        self.heads_copy = frozen_copy(heads)
        modules = {"actor": heads, "actor_copy": self.heads_copy}
        super().__init__(modules, {"actor": optimizer}, evaluate)
        self.settings = settings
        self.weighted_from = weighted_from
        self._weighted = False

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the joint update of both heads."""
        self._weighted = self.weighted_from is not None and step >= self.weighted_from
        return (Phase(self.losses, ("actor",), "sqn"),)

    def losses(self, batch: TransitionBatch) -> Losses:
        """Return the loss of both heads and its parts."""
        found, values, hidden = self.modules["actor"](batch, self._weighted)
        goal, counts = self._goals(batch, hidden.detach())
        critic = 0.5 * ((values - goal) ** 2 * counts).sum() / counts.sum().clamp_min(1)
        actor = found.total / max(len(batch.kept), 1)
        return {
            "loss": actor + critic,
            "actor": actor,
            "temporal_difference": critic,
            "weight_mean": found.weights.mean(),
            "value_mean": values.detach().mean(),
        }

    @torch.no_grad()
    def _goals(self, batch: TransitionBatch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return double Q-learning targets and the mask of the valid ones, both ``[r]``."""
        table = self.heads.action
        # A part has as many rows as fit the memory with float32 values of all actions.
        rows = max(self.heads.chunk_bytes // (4 * (len(table) - 1)), 1)
        parts = torch.split(hidden.to(table.dtype), rows)
        with torch.autocast(hidden.device.type, enabled=False):  # near values need float32
            chosen = torch.cat([(part @ table[1:].T).argmax(1) + 1 for part in parts])
        old = self.heads_copy.states(batch)
        best = (old * self.heads_copy.action[chosen]).sum(1)
        return bootstrapped(batch, best, self.settings.gamma)

    def after_step(self, step: int) -> None:
        """Update the target network."""
        if step % self.settings.target_every == 0:
            self.heads_copy.load_state_dict(self.heads.state_dict())
