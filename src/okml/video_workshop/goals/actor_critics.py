"""Behavior cloning, actor-critics and constrained actor-critics, trained on a log."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from okml.runtime import seed_everything
from okml.video_workshop.common.training import train
from okml.video_workshop.goals.corrections import actor_weights, stage2_weights
from okml.video_workshop.goals.critics import Critic, Critics, CriticTask, advantages
from okml.video_workshop.goals.impressions import (
    RESPONSES,
    Audience,
    ImpressionBatch,
    ImpressionBatches,
    Impressions,
)
from okml.video_workshop.goals.policies import SoftmaxPolicy, Weigh
from okml.video_workshop.goals.study import GoalsStudy

MAIN = "watch"
AUXILIARY = {"click": "clicks", "like": "likes", "hate": "hate"}  # names in labels
WATCHING_ALONE = "actor-critic watch"
UNCONSTRAINED = (WATCHING_ALONE, "AWR")  # methods that learn from watching and nothing else

# Every response as a reward; hate has a negative sign.
REWARDS: Mapping[str, Mapping[str, float]] = {
    name: {name: -1.0 if name == "hate" else 1.0} for name in RESPONSES
}


class Method(NamedTuple):
    """A method that learns a policy.

    Attributes:
        name: Name of the method's family.
        strength: Multiplier λ of each constraint, or for a regression that of the constraints whose
            temperature it has; None: the method has none.
        weigh: Function that weights logged actions.
    """

    name: str
    strength: float | None
    weigh: Weigh

    @property
    def label(self) -> str:
        """Name with the strength."""
        return self.name if self.strength is None else f"{self.name} {self.strength:g}"


class ActorCritics:
    """The log of one seed with its critics and the policies of stage 1.

    Args:
        study: GoalsStudy of the run.
        audience: Users and items of the log.
        log: Impressions to learn from.
        seed: Random seed of all trainings.
        folder: Folder of the trainings.
        estimated: Whether β is estimated by the behavior head, for a log without propensities.
    """

    def __init__(
        self,
        study: GoalsStudy,
        audience: Audience,
        log: Impressions,
        seed: int,
        folder: Path,
        estimated: bool = False,
    ) -> None:
        self.study = study
        self.settings = settings = study.settings.constrained
        self.audience = audience
        self.source = ImpressionBatches(log, study.device)
        self.seed = seed
        self.folder = folder
        self.estimated = estimated
        self.gammas = {
            name: settings.gamma if name == MAIN else settings.auxiliary_gamma for name in RESPONSES
        }
        self.critics = self._critics("responses", REWARDS, self.gammas)
        # Advantages on the whole log, [r, k].
        self.advantages = {
            name: advantages(self.critics[name], self.source, REWARDS[name], self.gammas[name])
            for name in RESPONSES
        }
        self.trained: dict[str, SoftmaxPolicy] = {}
        self.stage1: dict[str, Tensor] = {}

    def joint(self) -> Weigh:
        """Return RCPO: the actor-critic of a weighted sum of all rewards, with one critic of it."""
        penalty, gamma = self.settings.penalty, self.settings.gamma
        summed = {name: part[name] * (1 if name == MAIN else penalty)
                  for name, part in REWARDS.items()}  # fmt: skip
        critic = self._critics("sum", {"sum": summed}, {"sum": gamma})["sum"]
        return self._actor(advantages(critic, self.source, summed, gamma))

    def of(self, response: str) -> Weigh:
        """Return the actor-critic of one response."""
        return self._actor(self.advantages[response])

    def regression(self, multiplier: float) -> Weigh:
        """Return AWR: stage 2 at the temperature of as many constraints, close to the log alone.

        Source: Peng et al. (2019), arXiv 1910.00177, whose weights are ``exp(A / Λ)``.
        """
        settings = self.settings
        temperature = multiplier * len(AUXILIARY)

        def weigh(batch: ImpressionBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
            advantage = self.advantages[MAIN][batch.numbers]
            return stage2_weights([log_behavior], log_behavior, advantage, [temperature],
                                  settings.ratio_cap, settings.exponent_cap)  # fmt: skip

        return weigh

    def two_stage(self, multiplier: float, near: Iterable[str] = AUXILIARY) -> Weigh:
        """Return stage 2 of TSCAC, close to the policies of stage 1 of the responses ``near``."""
        settings, logs = self.settings, [self._stage1(name) for name in near]

        def weigh(batch: ImpressionBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
            return stage2_weights(
                [log[batch.numbers] for log in logs],
                log_behavior,
                self.advantages[MAIN][batch.numbers],
                [multiplier] * len(logs),
                settings.ratio_cap,
                settings.exponent_cap,
            )

        return weigh

    def policy(self, name: str, weigh: Weigh) -> SoftmaxPolicy:
        """Return a trained policy, trained once per name."""
        if name not in self.trained:
            self.trained[name] = self.study.policy(
                self.audience, self.source, weigh, self.settings.network, self.seed,
                self.folder / f"{name} {self.seed}", self.estimated,
            )  # fmt: skip
        return self.trained[name]

    def _stage1(self, name: str) -> Tensor:
        """Return ``log π(a|s)`` of one response's policy on the whole log, ``[r, k]``."""
        if name not in self.stage1:
            policy = self.policy(f"actor-critic {name}", self.of(name))
            with torch.no_grad():
                self.stage1[name] = self.source.each(lambda batch: policy.of_shown(batch)[0])
        return self.stage1[name]

    def _actor(self, advantage: Tensor) -> Weigh:
        def weigh(batch: ImpressionBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
            of_batch = advantage[batch.numbers]
            return actor_weights(log_prob, log_behavior, of_batch, self.settings.ratio_cap)

        return weigh

    def _critics(
        self, name: str, rewards: Mapping[str, Mapping[str, float]], gammas: Mapping[str, float]
    ) -> Critics:
        study, settings = self.study, self.settings
        seed_everything(self.seed)
        width, audience = settings.network.width, self.audience
        critics = Critics(
            {
                part: Critic(audience.users, audience.items, width, settings.hidden)
                for part in rewards
            }
        ).to(study.device)
        task = CriticTask(
            critics,
            rewards,
            gammas,
            copy.deepcopy(critics).requires_grad_(False),
            settings.target_rate,
            torch.optim.Adam(critics.parameters(), settings.critic_learning_rate),
        )
        train(
            study.profile, task, self.source, self.folder / f"critics {name} {self.seed}",
            batch=settings.network.batch, epochs=settings.critic_epochs, seed=self.seed,
        )  # fmt: skip
        return critics.eval()


def methods(lab: ActorCritics) -> list[Method]:
    """Return the methods that are compared."""
    settings = lab.settings
    found = [Method("cloning", None, _clone)]
    found += [Method(f"actor-critic {name}", None, lab.of(name))
              for name in ("click", "watch", "hate")]  # fmt: skip
    found.append(Method("RCPO", settings.penalty, lab.joint()))
    found += [Method("AWR", value, lab.regression(value)) for value in settings.multipliers]
    found += [Method("TSCAC", value, lab.two_stage(value)) for value in settings.multipliers]
    closest = max(settings.multipliers)
    for left_out, named in AUXILIARY.items():
        others = [name for name in AUXILIARY if name != left_out]
        found.append(Method(f"TSCAC without {named}", closest, lab.two_stage(closest, others)))
    return found


def _clone(batch: ImpressionBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
    return torch.ones_like(log_prob)
