"""Fine-tuning without a critic: weighted log-likelihood.

It serves the controls of CRR, and top-K off-policy REINFORCE, whose weights depend on returns and
propensities instead of a Q-function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from okml.off_policy import capped_ratio, top_k_factor
from okml.offline_rl.episodes import TransitionBatch
from okml.offline_rl.policy import ActorTask, PolicyObjective, frozen_copy
from okml.offline_rl.simulator import CLUSTER_ITEMS, ENOUGH_INTROS, INTRODUCTIONS, shop_items
from okml.offline_rl.softmax_pass import PolicyChunk, Weigh, equal_weights
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions
from okml.seqrec.tasks import Evaluation
from okml.training import Losses, Phase

# A function from a batch to the weight function of its transitions.
Rule = Callable[[TransitionBatch], Weigh]

LIST_LENGTH, IMPORTANCE_CAP = 10, 10.0  # K and the weight cap of top-K REINFORCE


def clone_all(batch: TransitionBatch) -> Weigh:
    """Return equal weights for all logged actions: behavior cloning, the supervised loss."""
    return equal_weights


def by_reward(batch: TransitionBatch) -> Weigh:
    """Return the immediate rewards as weights of logged actions."""
    rewards = batch.at_transitions(batch.rewards)
    return lambda chunk: rewards[chunk.part]


def wanted_only(wanted: float) -> Rule:
    """Return a rule that selects actions with a reward of at least ``wanted``: filtered cloning."""

    def rule(batch: TransitionBatch) -> Weigh:
        rewards = batch.at_transitions(batch.rewards)
        return lambda chunk: (rewards[chunk.part] >= wanted).to(rewards.dtype)

    return rule


def right_in_shop(interactions: Interactions) -> Rule:
    """Return a rule that selects the actions of the best policy of the simulator.

    These are two introductions of a cluster that were not seen, then its core items. The visitor's
    interest is hidden; the cluster of the first item is its best guess.

    Args:
        interactions: A log of the simulator, no session of which is longer than a window.
    """
    numbers = torch.from_numpy(np.append(-1, shop_items(interactions)))  # of items, from 0

    def rule(batch: TransitionBatch) -> Weigh:
        shop = numbers.to(batch.items.device)
        shown, actions = shop[batch.items], shop[batch.targets]  # [b, n], -1 for padding
        first = shown[:, :1] // CLUSTER_ITEMS * CLUSTER_ITEMS  # the first item of the cluster
        introductions = first[..., None] + torch.arange(INTRODUCTIONS, device=shop.device)
        seen = (shown[..., None] == introductions).cumsum(1) > 0  # [b, n, intros]
        own = actions // CLUSTER_ITEMS == first // CLUSTER_ITEMS
        again = ((actions[..., None] == introductions) & seen).any(-1)
        introduction = actions % CLUSTER_ITEMS < INTRODUCTIONS
        taught = seen.sum(-1) >= ENOUGH_INTROS
        right = own & torch.where(taught, ~introduction, introduction & ~again)
        weights = batch.at_transitions(right).float()
        return lambda chunk: weights[chunk.part]

    return rule


class TopKReinforce:
    """Weights of top-K off-policy REINFORCE, Chen et al. (2019), equation 6 and section 4.3.

    ``min(π(a|s) / β(a|s), cap) · K (1 - π(a|s))^(K - 1) · R``: the capped importance weight for the
    behavior policy β, the top-K correction, and the return.

    Args:
        behavior: The encoder of the estimated behavior policy; it is copied.
        scale: The divisor of returns.
        k: The length of the list of recommendations.
        cap: The largest importance weight.
    """

    def __init__(
        self,
        behavior: Encoder,
        scale: float,
        chunk_bytes: int,
        k: int = LIST_LENGTH,
        cap: float = IMPORTANCE_CAP,
    ) -> None:
        self.behavior = PolicyObjective(frozen_copy(behavior), chunk_bytes)
        self.scale = scale
        self.k = k
        self.cap = cap

    def __call__(self, batch: TransitionBatch) -> Weigh:
        """Return the weight function of a batch."""
        with torch.no_grad():
            log_behavior = self.behavior(batch).log_prob
        returns = batch.at_transitions(batch.returns) / self.scale

        def weigh(chunk: PolicyChunk) -> Tensor:
            importance = capped_ratio(chunk.log_prob, log_behavior[chunk.part], self.cap)
            return importance * top_k_factor(chunk.log_prob, self.k) * returns[chunk.part]

        return weigh


class WeightedTask(ActorTask):
    """A training task of an actor by weighted log-likelihood."""

    def __init__(
        self,
        actor: Encoder,
        optimizer: Optimizer,
        rule: Rule,
        *,
        chunk_bytes: int = 2**24,
        evaluate: Evaluation | None = None,
    ) -> None:
        modules = {"actor": PolicyObjective(actor, chunk_bytes)}
        if isinstance(rule, TopKReinforce):
            modules["behavior"] = rule.behavior
        super().__init__(modules, {"actor": optimizer}, evaluate)
        self.rule = rule

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the single update of the actor."""
        return (Phase(self.losses, ("actor",), "weighted"),)

    def losses(self, batch: TransitionBatch) -> Losses:
        """Return the weighted loss, and means of what weighs it."""
        found = self.modules["actor"](batch, self.rule(batch))
        return {
            "loss": found.total / max(len(batch.kept), 1),
            "weight_mean": found.weights.mean(),
            "entropy": found.entropy.mean(),
        }
