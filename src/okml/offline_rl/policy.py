"""A policy over the catalog as a module, and what all tasks that train one have in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from okml.offline_rl.episodes import TransitionBatch
from okml.offline_rl.softmax_pass import PassResult, Weigh, equal_weights, policy_pass
from okml.seqrec.encoder import Encoder
from okml.seqrec.tasks import Evaluation
from okml.training import TrainingTask

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class PolicyObjective(nn.Module):
    """An actor and the pass over its catalog in one module, for parallel wrappers."""

    def __init__(self, encoder: Encoder, chunk_bytes: int = 2**24) -> None:
        super().__init__()
        self.encoder = encoder
        self.chunk_bytes = chunk_bytes

    def forward(
        self,
        batch: TransitionBatch,
        weigh: Weigh = equal_weights,
        table: Tensor | None = None,
    ) -> PassResult:
        """Return the pass over the r transitions of a batch; see :func:`policy_pass`."""
        hidden = self.encoder(batch.items, batch.times, batch.padded)
        found: PassResult = policy_pass(
            batch.at_transitions(hidden),
            self.encoder.item_matrix(),
            batch.at_transitions(batch.targets),
            table=table,
            weigh=weigh,
            chunk_bytes=self.chunk_bytes,
        )
        return found


class ActorTask(TrainingTask):
    """A task with an actor, which is evaluated, or the second actor ``dealt`` in its place."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        evaluate: Evaluation | None,
    ) -> None:
        super().__init__(modules, optimizers)
        self._evaluate = evaluate

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics of the policy."""
        policy = "dealt" if "dealt" in self.modules else "actor"
        return self._evaluate(self.modules[policy]) if self._evaluate else {}


def frozen_copy(module: ModuleT) -> ModuleT:
    """Return a copy that is not trained, such as a target network."""
    return copy.deepcopy(module).requires_grad_(False).eval()
