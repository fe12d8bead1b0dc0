"""The softmax policy over candidates: its network, training and off-policy evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.off_policy import StepEstimate, step_estimate
from okml.seqrec.best import best_places
from okml.training import SupervisedTask
from okml.video_workshop.goals.corrections import reinforce_loss
from okml.video_workshop.goals.impressions import ImpressionBatch
from okml.video_workshop.goals.rankers import STD, UserItemVectors
from okml.video_workshop.goals.simulator import Policy, Rollout, Score, Situation, Slates
from okml.video_workshop.goals.world import Floats, World
from okml.video_workshop.settings.goals import ReinforceSettings


class ChaosFreeCell(nn.Module):
    """The recurrent cell of Laurent and von Brecht (2017), as Chen et al. (2019) use it.

    ``s' = z * tanh(s) + i * tanh(W u)``, ``z = sigmoid(U_z s + W_z u + b_z)``,
    ``i = sigmoid(U_i s + W_i u + b_i)``.

    Args:
        width: Dimension of state and input.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates_of_state = nn.Linear(width, 2 * width)
        self.of_input = nn.Linear(width, 3 * width, bias=False)

    def forward(self, state: Tensor, moved: Tensor, there: Tensor) -> Tensor:
        """Return the state after a history, ``[b, d]``.

        Args:
            state: Initial state, ``[b, d]``.
            moved: Inputs, ``[b, t, d]``.
            there: Mask of the inputs that exist, ``[b, t]``; the others leave the state unchanged.
        """
        given = self.of_input(moved)  # [b, t, 3d]
        for place in range(moved.shape[1]):
            content, *gates = given[:, place].chunk(3, dim=1)
            keep, take = (torch.cat(gates, 1) + self.gates_of_state(state)).sigmoid().chunk(2, 1)
            after = keep * state.tanh() + take * content.tanh()
            state = torch.where(there[:, place, None], after, state)
        return state


class SoftmaxPolicy(UserItemVectors):
    """A policy with a state from a user and the last clicks, and a head for the log's policy.

    The policy's head scores items by ``s · v_a + b_a``. The behavior head has item vectors of its
    own and reads the state through a stop-gradient, so it estimates the log's policy and trains
    nothing else.

    Args:
        users: Number of users.
        content: Content features of items, ``[items + 1, d]``.
        width: Dimension of the state and of item vectors.
    """

    def __init__(self, users: int, content: Tensor, width: int) -> None:
        super().__init__(users, content, width)
        self.clicked = nn.Embedding(len(content), width)
        self.cell = ChaosFreeCell(width)
        self.bias = nn.Embedding(len(content), 1)
        self.behavior = nn.Embedding(len(content), width)
        self.behavior_bias = nn.Embedding(len(content), 1)
        for table in (self.clicked, self.behavior):
            nn.init.normal_(table.weight, std=STD)
        for table in (self.bias, self.behavior_bias):
            nn.init.zeros_(table.weight)

    def state(self, users: Tensor, recent: Tensor) -> Tensor:
        """Return the state ``[b, d]`` of users ``[b]`` after clicks ``[b, t]`` (0: none)."""
        return self.cell(self.user(users), self.clicked(recent), recent != 0)  # type: ignore[no-any-return]

    def forward(self, users: Tensor, items: Tensor | None, recent: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of the policy and of the behavior head, ``[b, c]`` each.

        Args:
            users: User numbers, ``[b]``.
            items: Numbers of the candidates, ``[b, c]``; None: all items in the order of their
                numbers.
            recent: Last clicked items, ``[b, t]``; 0 where there is none.
        """
        state = self.state(users, recent)
        vectors = self.item.weight + self.about(self.content)  # [items + 1, d]
        # One product with all items costs less than a copy of the candidates' vectors.
        logits = state @ vectors.T + self.bias.weight[:, 0]
        behavior = state.detach() @ self.behavior.weight.T + self.behavior_bias.weight[:, 0]
        policy, log = (
            (part[:, 1:] if items is None else part.gather(1, items)).log_softmax(1)
            for part in (logits, behavior)
        )
        return policy, log

    def of_shown(self, batch: ImpressionBatch) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the shown items under both heads, ``[b, k]`` each."""
        found = self(batch.users, batch.candidates, batch.recent)
        policy, behavior = (part.gather(1, batch.places) for part in found)
        return policy, behavior


@torch.inference_mode()
def log_probabilities(policy: SoftmaxPolicy, situation: Situation) -> Floats:
    """Return the policy's log-probability of each candidate, ``[n, c]``."""
    device = policy.content.device
    parts = (situation.users, situation.candidates + 1, situation.recent + 1)
    given = (torch.from_numpy(part.astype(np.int64)).to(device) for part in parts)
    found: Floats = policy(*given)[0].double().cpu().numpy()
    return found


def policy_score(policy: SoftmaxPolicy) -> Score:
    """Return the policy's log-probability as a score of candidates."""
    return lambda situation: log_probabilities(policy, situation)


def drawn_from(policy: SoftmaxPolicy, slate: int) -> Policy:
    """Return the policy that draws a slate from the softmax, without replacement."""

    def choose(situation: Situation, rng: np.random.Generator) -> Slates:
        log_prob = log_probabilities(policy, situation)
        places = best_places(log_prob + rng.gumbel(size=log_prob.shape), slate)
        return Slates(places, np.exp(np.take_along_axis(log_prob, places, 1)))

    return choose


# Maps a batch, log π and log β of the shown items to the weights of their log-likelihood, [b, k].
Weigh = Callable[[ImpressionBatch, Tensor, Tensor], Tensor]


def policy_task(
    policy: SoftmaxPolicy, weigh: Weigh, learning_rate: float, estimated: bool = False
) -> SupervisedTask:
    """Return the training of a policy; methods differ in the weights of logged actions.

    The behavior head learns from all shown items, whatever their reward: on rewarded actions only,
    it would estimate another policy.

    Args:
        policy: Policy to train.
        weigh: Function that weights the log-likelihood, which defines the method.
        learning_rate: Learning rate of Adam.
        estimated: Whether β comes from the behavior head instead of the logged propensities.
    """

    def loss(model: nn.Module, batch: ImpressionBatch) -> Mapping[str, Tensor]:
        every, every_behavior = model(batch.users, batch.candidates, batch.recent)
        log_prob = every.gather(1, batch.places)
        behavior = every_behavior.gather(1, batch.places)
        log_behavior = behavior.detach() if estimated else batch.propensity.log()
        weights = weigh(batch, log_prob, log_behavior)
        policy_loss, behavior_loss = reinforce_loss(log_prob, weights), -behavior.mean()
        return {"loss": policy_loss + behavior_loss, "policy": policy_loss,
                "behavior": behavior_loss, "weight": weights.mean()}  # fmt: skip

    optimizer = torch.optim.Adam(policy.parameters(), learning_rate)
    return SupervisedTask(policy, loss, optimizer)


@dataclass(frozen=True, eq=False)
class OffPolicyEvaluation:
    """A policy evaluated on the states of a log.

    Attributes:
        situation: States of the log.
        chance: Probability of each candidate under the policy, ``[r, c]``.
        ratio: Importance ratio ``π / β`` of the first item of each slate, ``[r]``.
    """

    situation: Situation
    chance: Floats
    ratio: Floats
    log: Rollout

    def estimate(self, responses: NDArray[np.generic], settings: ReinforceSettings) -> StepEstimate:
        """Return the estimated mean of a response ``[r, k]`` to the first item."""
        first = responses[:, 0].astype(np.float64)
        return step_estimate(self.ratio, first, settings.evaluation_cap, settings.least_effective)

    def true_watch(self, world: World) -> Floats:
        """Return the expected watching of the first item in each state, ``[r]``."""
        found: Floats = (self.chance * self._earns(world)).sum(1)
        return found

    def true_list_watch(self, world: World, draws: int) -> Floats:
        """Return the expected watching of a list drawn with replacement in each state, ``[r]``.

        An item counts once, however often it is drawn; the top-K factor optimizes the mean.

        Args:
            world: World whose true responses count.
            draws: Number of draws K of a list.
        """
        drawn = 1 - (1 - self.chance) ** draws
        found: Floats = (drawn * self._earns(world)).sum(1)
        return found

    def _earns(self, world: World) -> Floats:
        """Return the expected watching of each candidate, ``[r, c]``."""
        situation = self.situation
        clicks = world.click(situation.users, situation.candidates, situation.satiation)
        found: Floats = (
            clicks * world.expected_watch[situation.users[:, None], situation.candidates]
        )
        return found


def evaluate(policy: SoftmaxPolicy, log: Rollout) -> OffPolicyEvaluation:
    """Evaluate a policy on the states and first actions of a log."""
    situation = Situation(
        users=log.users,
        candidates=log.candidates.astype(np.int64),
        recent=log.recent.astype(np.int64),
        satiation=log.satiation.astype(np.float64),
    )
    chance = np.exp(log_probabilities(policy, situation))
    first = (situation.candidates == log.items[:, :1]).argmax(1)
    taken = chance[np.arange(len(first)), first]
    return OffPolicyEvaluation(
        situation, chance, taken / log.propensity[:, 0].astype(np.float64), log
    )
