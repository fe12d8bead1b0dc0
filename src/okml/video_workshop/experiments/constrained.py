"""E5: raise watching without losing the other responses: constrained actor-critics on a log."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from okml.runtime import seed_everything
from okml.steps import StepResult, announced
from okml.training import fit
from okml.video_workshop.experiments.seeds import (
    HELD_OUT,
    LOG,
    ROLLOUT,
    Part,
    carry_out,
    joined,
)
from okml.video_workshop.policies.constrained import actor_weights, stage2_weights
from okml.video_workshop.policies.critics import Critic, CriticTask, advantages, rewards_of
from okml.video_workshop.policies.evaluation import judge
from okml.video_workshop.policies.network import SoftmaxPolicy, drawn_from
from okml.video_workshop.policies.training import Weigh, train_policy
from okml.video_workshop.simulator.requests import RESPONSES, RequestBatch, RequestBatches
from okml.video_workshop.simulator.rollout import Rollout, roll_out
from okml.video_workshop.study import Study
from okml.video_workshop.training import training_settings

MAIN = "watch"
AUXILIARY = ("click", "like", "hate")
# Every response as a reward; hate is to be kept low.
REWARDS: Mapping[str, Mapping[str, float]] = {
    name: {name: -1.0 if name == "hate" else 1.0} for name in RESPONSES
}


def constrained_parts(study: Study) -> list[Part]:
    """Return the parts of the experiment."""
    return [Part("constrained", compare_constrained, seed) for seed in study.profile.seeds]


def measure_constrained(study: Study) -> StepResult:
    """Compare cloning, actor-critics and constrained ones in the simulator."""
    return joined([carry_out(study, part) for part in constrained_parts(study)])


def compare_constrained(study: Study, seed: int) -> StepResult:
    """Train all methods of a seed on one log; let each serve, and estimate it from another log."""
    goals, result = study.profile.goals, StepResult()
    log = study.impressions(seed, LOG, goals.constrained.log_days)
    held_out = study.impressions(seed, HELD_OUT, goals.held_out_days)
    lab = _Lab(study, RequestBatches(log, study.device), seed)
    rows = []
    for method, strength, weigh in _methods(lab):
        label = method if strength is None else f"{method} {strength:g}"
        with announced(f"{label}, seed {seed}"):
            policy = lab.policy(label, weigh)
            served = roll_out(
                study.world,
                drawn_from(policy, goals.simulator.slate),
                goals.simulator,
                np.random.default_rng([seed, ROLLOUT]),
                goals.constrained.network.days,
            ).summary()
        rows.append({"method": method, "lambda": strength, "label": label, "seed": seed,
                     **served, **_estimates(study, policy, held_out)})  # fmt: skip
    frame = pl.DataFrame(rows, infer_schema_length=None)
    result.frames["constrained"] = frame
    _log_claims(result, frame, seed)
    _log_critics(result, lab, seed)
    return result


class _Lab:
    """The log of one seed, the critics on it and the policies of stage 1.

    Args:
        study: Of the run.
        source: The log.
        seed: Of all trainings.
    """

    def __init__(self, study: Study, source: RequestBatches, seed: int) -> None:
        self.study = study
        self.settings = study.profile.goals.constrained
        self.source = source
        self.seed = seed
        settings = self.settings
        self.gammas = {
            name: settings.gamma if name == MAIN else settings.auxiliary_gamma for name in RESPONSES
        }
        self.critics = self._critics("responses", REWARDS, self.gammas)
        # Of the whole log, [r, k]; hate counts against a policy.
        self.advantages = {
            name: advantages(self.critics[name], source, REWARDS[name], self.gammas[name])
            for name in RESPONSES
        }
        self.trained: dict[str, SoftmaxPolicy] = {}

    def joint(self, penalty: float) -> Weigh:
        """Return RCPO with one critic of the weighted sum of all rewards."""
        total = {name: part[name] * (1 if name == MAIN else penalty)
                 for name, part in REWARDS.items()}  # fmt: skip
        gamma = self.settings.gamma
        critics = self._critics(f"sum {penalty:g}", {"sum": total}, {"sum": gamma})
        return self._actor(advantages(critics["sum"], self.source, total, gamma))

    def separate(self, weights: Mapping[str, float]) -> Weigh:
        """Return the actor-critic of a weighted sum of responses with a critic each."""
        parts = [weight * self.advantages[name] for name, weight in weights.items()]
        return self._actor(torch.stack(parts).sum(0))

    def two_stage(self, multiplier: float, near: Sequence[str] = AUXILIARY) -> Weigh:
        """Return stage 2 of TSCAC, close to the policies of stage 1 of the responses ``near``."""
        settings, logs = self.settings, []
        for name in near:
            stage1 = self.policy(f"actor-critic {name}", self.separate({name: 1.0}))
            with torch.no_grad():
                logs.append(self.source.each(lambda batch, of=stage1: of.of_shown(batch)[0]))  # type: ignore[misc]

        def weigh(batch: RequestBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
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
        """Return a trained policy, trained once a name."""
        if name not in self.trained:
            study, network = self.study, self.settings.network
            seed_everything(self.seed)
            content = torch.from_numpy(study.world_content)
            policy = SoftmaxPolicy(study.world.users, content, network.width).to(study.device)
            training = training_settings(
                study.profile, batch=network.batch, epochs=network.epochs, seed=self.seed
            )
            folder = study.trainings / "constrained" / f"{name} {self.seed}"
            self.trained[name] = train_policy(
                policy, self.source, weigh, network.learning_rate, training, folder
            )
        return self.trained[name]

    def _actor(self, advantage: Tensor) -> Weigh:
        def weigh(batch: RequestBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
            of_batch = advantage[batch.numbers]
            return actor_weights(log_prob, log_behavior, of_batch, self.settings.ratio_cap)

        return weigh

    def _critics(
        self, name: str, rewards: Mapping[str, Mapping[str, float]], gammas: Mapping[str, float]
    ) -> nn.ModuleDict:
        study, settings = self.study, self.settings
        seed_everything(self.seed)
        world = study.world
        critics = nn.ModuleDict(
            {
                part: Critic(world.users, world.items, settings.network.width, settings.hidden)
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
        training = training_settings(
            study.profile,
            batch=settings.network.batch,
            epochs=settings.critic_epochs,
            seed=self.seed,
        )
        folder = study.trainings / "constrained" / f"critics {name} {self.seed}"
        fit(task, self.source, training, folder)
        return critics.eval()


def _methods(lab: _Lab) -> list[tuple[str, float | None, Weigh]]:
    """Return the methods of a seed with their strengths; the sweeps are for a few seeds."""
    settings, profile = lab.settings, lab.study.profile
    whole = lab.seed in profile.seeds[: profile.goals.extra_seeds]
    middle = settings.penalties[len(settings.penalties) // 2]
    penalties = settings.penalties if whole else (middle,)
    found: list[tuple[str, float | None, Weigh]] = [
        ("cloning", None, _clone),
        ("actor-critic click", None, lab.separate({"click": 1.0})),
        ("actor-critic watch", None, lab.separate({"watch": 1.0})),
    ]
    found += [("RCPO", penalty, lab.joint(penalty)) for penalty in penalties]
    several = {MAIN: 1.0} | dict.fromkeys(AUXILIARY, middle)
    found += [("RCPO, several critics", middle, lab.separate(several))]
    found += [("TSCAC", value, lab.two_stage(value)) for value in settings.multipliers]
    if whole:
        # Clicks and hate rise together here, so closeness to the policy of clicks costs something.
        others = [name for name in AUXILIARY if name != "click"]
        closest = max(settings.multipliers)
        found.append(("TSCAC without clicks", closest, lab.two_stage(closest, others)))
    return found


def _clone(batch: RequestBatch, log_prob: Tensor, log_behavior: Tensor) -> Tensor:
    return torch.ones_like(log_prob)


def _estimates(study: Study, policy: SoftmaxPolicy, log: Rollout) -> dict[str, float]:
    """Return off-policy estimates of responses to the first item of a slate."""
    judged, settings = judge(policy, log), study.profile.goals.reinforce
    watch, hate = (judged.estimate(part, settings) for part in (log.watched, log.hated))
    return {
        "estimated watch": watch.value,
        "estimated hate": hate.value,
        "effective": watch.effective,
    }


def _log_claims(result: StepResult, frame: pl.DataFrame, seed: int) -> None:
    """Log how the chosen TSCAC stands; the log chooses its lambda, not the truth."""
    rows = {row["label"]: row for row in frame.iter_rows(named=True)}
    two_stage = frame.filter(pl.col("method") == "TSCAC", pl.col("estimated watch").is_not_nan())
    if two_stage.is_empty():
        return
    chosen = two_stage.sort("estimated watch").row(-1, named=True)
    cloning, watch = rows["cloning"], rows["actor-critic watch"]
    result.log("constrained_watch_gain_pct", 100 * (chosen["watch"] / cloning["watch"] - 1),
               seed=seed, unit="%")  # fmt: skip
    result.log("constrained_hate_change_pct", 100 * (chosen["hate"] / cloning["hate"] - 1),
               seed=seed, unit="%")  # fmt: skip
    result.log("actor_critic_watch_gain_pct", 100 * (watch["watch"] / cloning["watch"] - 1),
               seed=seed, unit="%")  # fmt: skip
    result.log("constrained_hate_below_actor_critic", watch["hate"] - chosen["hate"], seed=seed)
    agreement = frame.select(pl.corr("watch", "estimated watch", method="spearman")).item()
    result.log("constrained_estimate_spearman", agreement, seed=seed)


def _log_critics(result: StepResult, lab: _Lab, seed: int) -> None:
    """Log how values of separate critics and of one of the sum agree with what followed."""
    settings = lab.settings
    batch = lab.source.batch(np.arange(len(lab.source)), np.random.default_rng(0))
    gone = RequestBatches(lab.source.log, lab.study.device, settings.gamma)
    later = torch.from_numpy(gone.later[:, RESPONSES.index(MAIN)])
    followed = later + rewards_of(batch, REWARDS[MAIN]).mean(1).cpu()
    with torch.no_grad():
        value = lab.critics[MAIN](batch.users, batch.recent, batch.turns).cpu()
    found = np.corrcoef(value.numpy(), followed.numpy())[0, 1]
    result.log("watch_critic_correlation", float(found), seed=seed)
