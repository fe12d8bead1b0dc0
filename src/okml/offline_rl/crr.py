"""Critic-regularized regression, Wang et al. (2020), for policies over a catalog.

The critic is trained by temporal differences, with the mean of Q over a policy's next actions as
the target; the actor maximizes the likelihood of *logged* actions, weighted by a function of their
advantage (equations 1 and 2). Both are updated from one batch, with the advantage of the critic
before its update (Tianshou's order).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from okml.offline_rl.critic import Critics
from okml.offline_rl.episodes import TransitionBatch, bootstrapped
from okml.offline_rl.policy import ActorTask, PolicyObjective, frozen_copy
from okml.offline_rl.settings import CRRSettings
from okml.offline_rl.softmax_pass import PassResult, PolicyChunk, policy_pass
from okml.seqrec.encoder import Encoder
from okml.seqrec.tasks import Evaluation
from okml.training import Losses, Phase

logger = logging.getLogger(__name__)

SAMPLES = 4  # draws from the policy for the baselines mean and max
LARGEST_WEIGHT = 20.0  # cap of the exponential filter
KEEP_OF_SPREAD = 0.99  # decay of the running variance of the advantage in a step
FEW = 0.01  # share of actions with a positive weight below which the filter counts as empty
WATCHED = ("advantage_sd", "let_through", "value_largest")  # measurements that steer or warn
PATIENCE = 50  # steps in a row with an empty filter or impossible values before a warning


@dataclass(eq=False)
class AdvantageWeights:
    """The advantages of logged actions and their weights by the filter, computed in chunks."""

    settings: CRRSettings
    beta: float  # the temperature of the filter
    values: Tensor  # Q of the logged actions, [r, c] for c critics
    vectors: Tensor  # the vectors of the states, [r, c, k]
    actions: Tensor  # the vectors of all actions, [V + 1, c, k]

    def __post_init__(self) -> None:
        self.advantage = self.values.new_zeros(len(self.values))

    def __call__(self, chunk: PolicyChunk) -> Tensor:
        """Return the weights of the logged actions, ``[c]``."""
        gain = self.values[chunk.part] - self.baseline(chunk)  # [c, critics]
        advantage = self.advantage[chunk.part] = gain.mean(1)
        return filter_weights(advantage, self.settings.filter, self.beta)

    def baseline(self, chunk: PolicyChunk) -> Tensor:
        """Return the baseline of Q of the logged action, ``[c, critics]``."""
        vectors = self.vectors[chunk.part]  # [c, critics, k]
        if self.settings.baseline == "expectation":
            expected = chunk.expected[:, : vectors.shape[1] * vectors.shape[2]]
            return (vectors * expected.view_as(vectors)).sum(-1)
        drawn = self.actions[chunk.sample(SAMPLES)]  # [c, m, critics, k]
        values = (drawn * vectors[:, None]).sum(-1)  # [c, m, critics]
        return values.mean(1) if self.settings.baseline == "mean" else values.amax(1)


def filter_weights(advantage: Tensor, kind: str, beta: float) -> Tensor:
    """Return the weights of a chunk of logged actions from their advantages, f of CRR, ``[c]``.

    A weight depends on its own action alone. What depends on the whole batch, such as dividing by
    the mean weight, belongs in :meth:`CRRTask.losses`, after the pass over all chunks.
    """
    match kind:
        case "binary":
            return (advantage > 0).to(advantage.dtype)
        case "exp":
            return (advantage / beta).exp().clamp_max(LARGEST_WEIGHT)
        case _:
            return torch.ones_like(advantage)


class CRRTask(ActorTask):
    """A training task of actor, critics and their target networks.

    With a second actor it is a control. In each step actor and critics are updated as without it;
    then the second actor takes a step with this step's weights of the batch in a random order. If
    its weights were of its own advantages, they would not be those of CRR: an actor that follows
    no preference stays near stage 1, its baseline does not rise, and more actions are above it.

    Args:
        optimizers: The optimizers ``actor`` and ``critic``, and ``dealt`` of a second actor.
        rewards: The smallest and the largest reward, which bound the values of Q.
        wanted: The least reward of a wanted action; the mean weight of these is logged.
        critics_only: Whether the actor is frozen, for the warm-up of the critics: an untrained
            critic would ruin a pre-trained actor.
        spread: The running variance of the advantage after a warm-up; 0 if not known.
        dealt: The second actor, which is evaluated in place of the first; None for none.
    """

    def __init__(
        self,
        actor: Encoder,
        critics: Critics,
        optimizers: Mapping[str, torch.optim.Optimizer],
        settings: CRRSettings,
        *,
        rewards: tuple[float, float],
        wanted: float = 1.0,
        critics_only: bool = False,
        spread: float = 0.0,
        dealt: Encoder | None = None,
        chunk_bytes: int = 2**24,
        evaluate: Evaluation | None = None,
    ) -> None:
        self.policy = PolicyObjective(actor, chunk_bytes)
        self.critics = critics
        self.critic_copy = frozen_copy(critics)
        self.actor_copy = frozen_copy(self.policy) if settings.next_action == "target" else None
        modules: dict[str, nn.Module] = {
            "actor": self.policy,
            "critic": critics,
            "critic_copy": self.critic_copy,
        }
        if self.actor_copy is not None:
            modules["actor_copy"] = self.actor_copy
        if dealt is not None:
            modules["dealt"] = PolicyObjective(dealt, chunk_bytes)
        super().__init__(modules, optimizers, evaluate)
        self._weights: list[Tensor] = []  # those of the step's micro-batches, to be dealt
        self.settings = settings
        self.critics_only = critics_only
        self.wanted = wanted
        self.spread = spread  # running variance of the advantage
        # The smallest and largest discounted return of episodes of any length.
        low, high = rewards
        self._range = (min(low, low / (1 - settings.gamma)), max(high, high / (1 - settings.gamma)))
        self._seen: list[Tensor] = []  # the WATCHED of the step's micro-batches, each [3]
        self._strikes = {"filter": 0, "critic": 0}

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the joint update, or that of the critics alone; then that of a second actor."""
        moved = ("critic",) if self.critics_only else ("actor", "critic")
        joint = Phase(self.losses, moved, "crr")
        if "dealt" not in self.modules:
            return (joint,)
        return (joint, Phase(self.dealt_losses, ("dealt",), "dealt"))

    @property
    def beta(self) -> float:
        """The temperature of the next step; 1 until the variance of advantages is known."""
        if self.settings.beta != "auto":
            return self.settings.beta
        return max(self.spread**0.5, 1e-6) * self.settings.beta_scale if self.spread else 1.0

    def losses(self, batch: TransitionBatch) -> Losses:
        """Return the loss of actor and critics, its parts, and diagnostics."""
        values, vectors = map(
            batch.at_transitions, self.modules["critic"](batch.items, batch.targets)
        )  # [r, c] and [r, c, k]
        with torch.no_grad():
            next_values, next_vectors = map(
                batch.at_transitions, self.critic_copy(batch.items, batch.targets)
            )
        actions = self.critics.action_vectors()  # [V + 1, c, k]
        weigh = AdvantageWeights(
            self.settings, self.beta, values.detach(), vectors.detach(), actions
        )
        found: PassResult = self.modules["actor"](batch, weigh, self._table(actions))
        if "dealt" in self.modules:
            self._weights.append(found.weights)
        with torch.no_grad():
            of_state = self._state_values(batch, found, next_values, next_vectors)
            goal, counts = bootstrapped(batch, of_state, self.settings.gamma)
        errors = ((values - goal[:, None]) ** 2).mean(1) * counts
        critic_loss = 0.5 * errors.sum() / counts.sum().clamp_min(1)
        if self.settings.conservative:
            term = self._conservative(vectors, batch.at_transitions(batch.targets))
            critic_loss = critic_loss + self.settings.conservative * term
        actor_loss = found.total / max(len(batch.kept), 1)
        measured = self._measured(batch.at_transitions(batch.rewards), found, weigh, values)
        return {
            "loss": actor_loss + critic_loss,
            "actor": actor_loss,
            "temporal_difference": critic_loss,
            **measured,
        }

    def dealt_losses(self, batch: TransitionBatch) -> Losses:
        """Return the loss of the second actor on a batch of which CRR's loss was just computed."""
        own = self._weights.pop(0)
        dealt = own[torch.randperm(len(own), device=own.device)]  # [r]
        found: PassResult = self.modules["dealt"](batch, lambda chunk: dealt[chunk.part])
        loss = found.total / max(len(batch.kept), 1)
        return {"loss": loss, **self._of_weights(batch.at_transitions(batch.rewards), dealt)}

    def _table(self, actions: Tensor) -> Tensor | None:
        """Return the vectors whose means under the policy are needed, ``[V + 1, ·]``."""
        parts = []
        if self.settings.baseline == "expectation":
            parts.append(actions.flatten(1))
        if self.settings.next_action == "online":
            parts.append(self.critic_copy.action_vectors().flatten(1))
        return torch.cat(parts, 1) if parts else None

    def _state_values(
        self,
        batch: TransitionBatch,
        found: PassResult,
        next_values: Tensor,
        next_vectors: Tensor,
    ) -> Tensor:
        """Return the smallest value of each state by the target critics, ``[r]``."""
        if self.settings.next_action == "logged":
            return next_values.amin(1)
        if self.actor_copy is None:
            size = next_vectors.shape[1] * next_vectors.shape[2]
            expected = found.expected[:, -size:]
        else:
            table = self.critic_copy.action_vectors().flatten(1)
            expected = self.actor_copy(batch, table=table).expected
        return (next_vectors * expected.view_as(next_vectors)).sum(-1).amin(1)

    def _conservative(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Return CQL's regularizer: log-sum-exp of Q over all actions, less Q of the logged one.

        It is ``-log softmax(Q)[a]``, a cross-entropy with Q as logits.
        """
        with torch.autocast(vectors.device.type, enabled=False):  # Q needs float32
            totals = [
                policy_pass(
                    vectors[:, number].float(), critic.item_matrix(), targets,
                    chunk_bytes=self.policy.chunk_bytes,
                ).total
                for number, critic in enumerate(self.critics.each)
            ]  # fmt: skip
        return torch.stack(totals).mean() / max(len(targets), 1)

    def _measured(
        self, rewards: Tensor, found: PassResult, weigh: AdvantageWeights, values: Tensor
    ) -> dict[str, Tensor]:
        """Return statistics of weights, advantages and values, which show the filter's effect."""
        advantage = weigh.advantage
        measured = {
            "advantage_mean": advantage.mean(),
            "advantage_sd": advantage.std(unbiased=False),
            **self._of_weights(rewards, found.weights),
            "value_mean": values.detach().mean(),
            "value_largest": values.detach().abs().amax(),
            "entropy": found.entropy.mean(),
        }
        # The copy runs beside the device's work; the loop waits for this step before it is read.
        watched = torch.stack([measured[name] for name in WATCHED])
        self._seen.append(watched.to("cpu", non_blocking=True))
        return measured

    def _of_weights(self, rewards: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Return statistics of the weights of a batch, by rewards and weights, both ``[r]``."""
        wanted = (rewards >= self.wanted).to(weights.dtype)
        square = (weights**2).sum().clamp_min(1e-12)
        return {
            "weight_mean": weights.mean(),
            "weight_largest": weights.amax(),
            "weight_wanted": _mean_where(weights, wanted),
            "weight_other": _mean_where(weights, 1 - wanted),
            "let_through": (weights > 0).to(weights.dtype).mean(),
            "clipped": (weights >= LARGEST_WEIGHT).to(weights.dtype).mean(),
            "effective_share": weights.sum() ** 2 / square / len(weights),
        }

    def after_step(self, step: int) -> None:
        """Update the target networks and the running variance of advantages; check the health."""
        if step % self.settings.target_every == 0:
            self.critic_copy.load_state_dict(self.critics.state_dict())
            if self.actor_copy is not None:
                self.actor_copy.load_state_dict(self.policy.state_dict())
        seen = [dict(zip(WATCHED, part.tolist(), strict=True)) for part in self._seen]
        self._seen = []
        variance = sum(part["advantage_sd"] ** 2 for part in seen) / len(seen)
        variance = _mean_over_processes(variance)
        before = self.spread or variance
        self.spread = KEEP_OF_SPREAD * before + (1 - KEEP_OF_SPREAD) * variance
        self._warn(step, seen)

    def _warn(self, step: int, seen: list[dict[str, float]]) -> None:
        """Warn once if the filter is empty or Q has left the range that the rewards allow."""
        empty = not self.critics_only and max(part["let_through"] for part in seen) < FEW
        low, high = self._range
        largest = max(part["value_largest"] for part in seen)
        wild = largest > 2 * max(abs(low), abs(high))
        for name, found in (("filter", empty), ("critic", wild)):
            self._strikes[name] = self._strikes[name] + 1 if found else 0
            if self._strikes[name] == PATIENCE:
                logger.warning(_WARNINGS[name], step, *self._range)

    def state(self) -> dict[str, Any]:
        """Return the running variance of advantages, which sets the temperature."""
        return {"spread": self.spread}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the running variance of advantages."""
        self.spread = float(state["spread"])


_WARNINGS = {
    "filter": "Step %d: for a while the filter has let almost no logged action through, so the "
    "actor stands still. Use the exponential filter, a lower baseline than the maximum, or more "
    "critic warm-up. (Values can lie in %.3g to %.3g.)",
    "critic": "Step %d: the critic's values have left the range %.3g to %.3g that the rewards "
    "allow; they diverge. Lower its learning rate or update its target less often.",
}


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)


def _mean_over_processes(value: float) -> float:
    if not torch.distributed.is_initialized():
        return value
    values = [0.0] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return sum(values) / len(values)
