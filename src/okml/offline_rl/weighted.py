"""Fine-tuning without a critic: weighted log-likelihood.

It serves the controls of CRR, and top-K off-policy REINFORCE, whose weights depend on returns and
propensities instead of a Q-function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from okml.off_policy import top_k_factor
from okml.offline_rl.crr import PolicyObjective
from okml.offline_rl.episodes import TransitionBatch
from okml.offline_rl.softmax_pass import PolicyChunk, Weigh, equal_weights, policy_pass
from okml.seqrec.encoder import Encoder
from okml.seqrec.tasks import Evaluation
from okml.training import Losses, Phase, TrainingTask

# A function from a batch and the positions with a transition, [r], to their weight function.
Rule = Callable[[TransitionBatch, Tensor], Weigh]


def clone_all(batch: TransitionBatch, kept: Tensor) -> Weigh:
    """Return equal weights for all logged actions: behavior cloning, the supervised loss."""
    return equal_weights


def by_reward(batch: TransitionBatch, kept: Tensor) -> Weigh:
    """Return the immediate rewards as weights of logged actions."""
    return _fixed(batch.rewards.flatten()[kept])


def wanted_only(wanted: float) -> Rule:
    """Return a rule that selects actions with a reward of at least ``wanted``: filtered cloning."""

    def rule(batch: TransitionBatch, kept: Tensor) -> Weigh:
        rewards = batch.rewards.flatten()[kept]
        return _fixed((rewards >= wanted).to(rewards.dtype))

    return rule


def _fixed(weights: Tensor) -> Weigh:
    return lambda chunk: weights[chunk.part]


class TopKReinforce:
    """Weights of top-K off-policy REINFORCE, Chen et al. (2019), equation 6 and section 4.3.

    ``min(π(a|s) / β(a|s), cap) · K (1 - π(a|s))^(K - 1) · R``: the capped importance weight for the
    behavior policy β, the top-K correction, and the return.

    Args:
        behavior: The encoder of the estimated behavior policy, which is frozen.
        k: The length of the list of recommendations.
        cap: The largest importance weight.
        scale: The divisor of returns.
        chunk_bytes: The largest memory of logits.
    """

    def __init__(
        self, behavior: Encoder, k: int, cap: float, scale: float, chunk_bytes: int
    ) -> None:
        self.behavior = behavior.requires_grad_(False).eval()
        self.k = k
        self.cap = cap
        self.scale = scale
        self.chunk_bytes = chunk_bytes

    def __call__(self, batch: TransitionBatch, kept: Tensor) -> Weigh:
        """Return the weight function of the actions at the positions ``kept``."""
        with torch.no_grad():
            hidden = self.behavior(batch.items, batch.times, batch.padded).flatten(0, 1)[kept]
            log_behavior = policy_pass(
                hidden,
                self.behavior.item_matrix(),
                batch.targets.flatten()[kept],
                chunk_bytes=self.chunk_bytes,
            ).log_prob
        returns = batch.returns.flatten()[kept] / self.scale

        def weigh(chunk: PolicyChunk) -> Tensor:
            importance = (chunk.log_prob - log_behavior[chunk.part]).exp().clamp_max(self.cap)
            return importance * top_k_factor(chunk.log_prob, self.k) * returns[chunk.part]

        return weigh


class WeightedTask(TrainingTask):
    """A training task of an actor by weighted log-likelihood.

    Args:
        actor: The encoder of the policy.
        optimizer: The optimizer of its parameters.
        rule: The rule of the weights.
        chunk_bytes: The largest memory of logits.
        evaluate: The evaluation of the actor.
        identity: JSON values that a checkpoint must share; see :class:`TrainingTask`.
    """

    def __init__(
        self,
        actor: Encoder,
        optimizer: torch.optim.Optimizer,
        rule: Rule,
        *,
        chunk_bytes: int = 2**24,
        evaluate: Evaluation | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        modules = {"actor": PolicyObjective(actor, chunk_bytes)}
        if isinstance(rule, TopKReinforce):
            modules["behavior"] = rule.behavior  # type: ignore[assignment]
        super().__init__(modules, {"actor": optimizer}, identity=identity)
        self.rule = rule
        self._evaluate = evaluate

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the single update of the actor."""
        return (Phase(self.losses, ("actor",), "weighted"),)

    def losses(self, batch: TransitionBatch) -> Losses:
        """Return the weighted loss, and means of what weighs it."""
        kept = batch.targets.flatten().nonzero()[:, 0]
        found = self.modules["actor"](batch, kept, self.rule(batch, kept))
        return {
            "loss": found.total / max(len(kept), 1),
            "weight_mean": found.weights.mean(),
            "entropy": found.entropy.mean(),
        }

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics of the actor."""
        return self._evaluate(self.modules["actor"]) if self._evaluate else {}
