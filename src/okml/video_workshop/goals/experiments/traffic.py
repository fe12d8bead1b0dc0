"""Logged feedback: rankers and policies evaluated on random impressions.

KuaiRand has such impressions; at reduced scale, a log of the simulator replaces it, where the
truth is also known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from okml.errors import DataError
from okml.kept import trainings_folder
from okml.off_policy import StepEstimate, step_estimate
from okml.steps import StepResult, announced
from okml.video_workshop.goals.actor_critics import (
    MAIN,
    UNCONSTRAINED,
    WATCHING_ALONE,
    ActorCritics,
    methods,
)
from okml.video_workshop.goals.arms import TRAFFIC, GoalJob
from okml.video_workshop.goals.experiments.objectives import LABELS
from okml.video_workshop.goals.gains import (
    first_of_each_user,
    gain_of_users,
    measure_gains,
    uniform_ratios,
)
from okml.video_workshop.goals.impressions import RESPONSES, ImpressionBatches, Impressions
from okml.video_workshop.goals.policies import SoftmaxPolicy, evaluate
from okml.video_workshop.goals.rankers import TASKS, Ranker, ValueModel, answers, item_means
from okml.video_workshop.goals.simulator import Rollout, looked_at
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.goals.world import Floats
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.goals import RankerKind

CLICKS = ValueModel({"click": 1.0})
WATCHING = ValueModel({"watch": 1.0})  # click probability times expected watching
UNRANKED = "all of them"
MOST_WATCHED = "most watched, whoever asks"
CONTROLS = {
    "traffic_goals_watch_gain": "traffic_most_watched_gain",
    "traffic_constrained_watch_gain_pct": "traffic_unconstrained_watch_gain_pct",
}


class Traffic(NamedTuple):
    """The parts of a log.

    Attributes:
        usual: Impressions of the service's recommender on the first days, for training.
        usual_later: Impressions of the service's recommender on the last days.
        between: Random impressions between them, for the choice of strengths.
        judging: Random impressions on the last days, for evaluation.
    """

    usual: Impressions
    usual_later: Impressions
    between: Impressions
    judging: Impressions


def cut_traffic(log: Impressions, train_days: int, test_from: int) -> Traffic:
    """Split a log by days and by whether impressions are random.

    Raises:
        DataError: If a part is empty.
    """
    early, late = log.days < train_days, log.days >= test_from
    between = ~early & ~late
    parts = Traffic(
        log.where(early & ~log.random),
        log.where(late & ~log.random),
        log.where(between & log.random),
        log.where(late & log.random),
    )
    for name, part in parts._asdict().items():
        if not len(part):
            raise DataError(
                f"The log of {int(log.days.max()) + 1} days has no impressions in its part "
                f"{name!r}.",
                "Choose other `goals.traffic.train_days` and `test_from`, or a log with slots "
                "filled at random.",
            )
    return parts


def traffic_jobs(profile: VideoWorkshopProfile) -> list[GoalJob]:
    """Return the experiment in each world, or on the real log with each seed."""
    seeds = profile.worlds if profile.traffic_data is None else profile.seeds
    return [GoalJob("traffic", compare_on_traffic, seed) for seed in seeds]


def measure_traffic(study: GoalsStudy) -> StepResult:
    """Evaluate rankers and policies on random impressions."""
    result = study.results(traffic_jobs(study.profile))
    measure_gains(result, result.frames["traffic_gains"], CONTROLS)
    return result


def compare_on_traffic(study: GoalsStudy, seed: int) -> StepResult:
    """Train on the usual impressions of the first days, evaluate on random ones of the last."""
    settings, result = study.settings.traffic, StepResult()
    log = study.traffic(seed, TRAFFIC)
    traffic = cut_traffic(log, settings.train_days, settings.test_from)
    result.frames["traffic"] = _counts(traffic, seed)
    gains = [*_compare_rankers(study, traffic, seed, result),
             *_compare_policies(study, traffic, seed, result)]  # fmt: skip
    result.frames["traffic_gains"] = pl.concat(gains)
    return result


def _counts(traffic: Traffic, seed: int) -> pl.DataFrame:
    rows = []
    for name, part in traffic._asdict().items():
        means = part.responses().mean((0, 1)).tolist()
        rows.append(
            {
                "part": name.replace("_", " "),
                "seed": seed,
                "impressions": part.items.size,
                "users": len(np.unique(part.users)),
                **dict(zip(RESPONSES, means, strict=True)),
            }
        )
    return pl.DataFrame(rows)


def _compare_rankers(
    study: GoalsStudy, traffic: Traffic, seed: int, result: StepResult
) -> list[pl.DataFrame]:
    """Compare the top impressions of rankers among random ones."""
    settings, judging = study.settings.traffic, traffic.judging
    folder = trainings_folder(study, compare_on_traffic)
    users = np.repeat(judging.users, judging.items.shape[1])
    responses = judging.responses().reshape(-1, len(RESPONSES))
    selections = {(UNRANKED, ""): np.arange(len(users))}
    accuracy: dict[tuple[str, str], dict[str, float]] = {}

    def train(kind: RankerKind, tasks: tuple[str, ...], objective: str) -> Ranker:
        with announced(f"{objective}: {LABELS[kind]} on usual traffic, seed {seed}"):
            return study.ranker(
                study.traffic_audience(seed), traffic.usual, kind, tasks, seed, folder
            )

    def judge_ranker(ranker: Ranker, kind: RankerKind, value: ValueModel, objective: str) -> None:
        name = (objective, LABELS[kind])
        given, usual = (answers(ranker, part.users, part.items, part.recent.astype(np.int64))
                        for part in (judging, traffic.usual_later))  # fmt: skip
        selections[name] = first_of_each_user(
            users, value(given).ravel(), settings.best_share, seed
        )
        accuracy[name] = {
            "AUC, usual": auc(traffic.usual_later.clicked, usual["click"]),
            "AUC, random": auc(judging.clicked, given["click"]),
        }

    most = item_means(traffic.usual, traffic.usual.watched, study.traffic_audience(seed).items)
    selections[MOST_WATCHED, ""] = first_of_each_user(
        users, most[judging.items].ravel(), settings.best_share, seed
    )
    for kind in settings.click_models:
        judge_ranker(train(kind, ("click",), "clicks"), kind, CLICKS, "clicks")
    for kind in settings.several_goals:
        judge_ranker(train(kind, TASKS, "several goals"), kind, WATCHING, "several goals")
    unknown = {"AUC, usual": None, "AUC, random": None}
    result.frames["traffic_rankers"] = pl.DataFrame(
        [
            {"objective": objective, "model": model, "seed": seed,
             **accuracy.get((objective, model), unknown),
             **dict(zip(RESPONSES, responses[rows].mean(0).tolist(), strict=True))}
            for (objective, model), rows in selections.items()
        ],
        infer_schema_length=None,
    )  # fmt: skip
    return _log_rankers(study, result, selections, responses, users, seed)


def _log_rankers(
    study: GoalsStudy,
    result: StepResult,
    selections: Mapping[tuple[str, str], NDArray[np.intp]],
    responses: Floats | NDArray[np.float32],
    users: NDArray[np.int64],
    seed: int,
) -> list[pl.DataFrame]:
    """Return gains over the click model with the largest AUC on usual traffic."""
    frame = result.frames["traffic_rankers"]
    best = frame.filter(objective="clicks").sort("AUC, usual").row(-1, named=True)
    watch = responses[:, RESPONSES.index(MAIN)].astype(np.float64)
    old = selections["clicks", best["model"]]
    several = LABELS[study.settings.traffic.several_goals[0]]
    gains = []
    for metric, name in (("traffic_goals_watch_gain", ("several goals", several)),
                         ("traffic_most_watched_gain", (MOST_WATCHED, ""))):  # fmt: skip
        new = selections[name]
        each = np.ones(len(new))
        columns = np.stack([watch[new], each, watch[old], each], axis=1)
        gains.append(gain_of_users(metric, seed, users[new], columns))
    return gains


def auc(happened: NDArray[np.bool_], chance: Floats) -> float:
    """Return the area under the ROC curve of predictions of any shape."""
    return float(roc_auc_score(happened.ravel(), chance.ravel()))


def _compare_policies(
    study: GoalsStudy, traffic: Traffic, seed: int, result: StepResult
) -> list[pl.DataFrame]:
    """Compare cloning and (constrained) actor-critics by self-normalized estimates."""
    folder = trainings_folder(study, compare_on_traffic)
    lab = ActorCritics(
        study, study.traffic_audience(seed), traffic.usual, seed, folder, estimated=True
    )
    between, judging = (ImpressionBatches(part, study.device)
                        for part in (traffic.between, traffic.judging))  # fmt: skip
    rows, ratios = [], {}
    for method in methods(lab):
        with announced(f"{method.label} on usual traffic, seed {seed}"):
            policy = lab.policy(method.label, method.weigh)
        ratios[method.label] = uniform_ratios(policy, judging)
        chosen_by = _estimate(study, uniform_ratios(policy, between), between, MAIN)
        estimates = {name: _estimate(study, ratios[method.label], judging, name)
                     for name in RESPONSES}  # fmt: skip
        rows.append(
            {
                "method": method.name, "lambda": method.strength, "label": method.label,
                "seed": seed, "chosen by": chosen_by.value,
                **{name: found.value for name, found in estimates.items()},
                "standard error": estimates[MAIN].standard_error,
                "effective": estimates[MAIN].effective,
                "truth": _true_watch(study, policy, traffic.judging, seed),
            }
        )  # fmt: skip
    result.frames["traffic_policies"] = pl.DataFrame(rows, infer_schema_length=None)
    return _log_policies(result, ratios, judging, seed)


def _estimate(
    study: GoalsStudy, ratio: Floats, source: ImpressionBatches, response: str
) -> StepEstimate:
    reinforce = study.settings.reinforce
    of = source.responses[..., RESPONSES.index(response)].ravel().astype(np.float64)
    return step_estimate(ratio.ravel(), of, float("inf"), reinforce.least_effective)


def _true_watch(
    study: GoalsStudy, policy: SoftmaxPolicy, judging: Impressions, seed: int
) -> float | None:
    """Return the true mean watching of the policy in the same states, if it is known.

    Random items stand at all places of a slate, so its places are looked at as often as theirs.
    """
    if not isinstance(judging, Rollout):
        return None
    looked = float(looked_at(study.settings.simulator).mean())
    return looked * float(evaluate(policy, judging).true_watch(study.world(seed)).mean())


def _log_policies(
    result: StepResult, ratios: Mapping[str, Floats], judging: ImpressionBatches, seed: int
) -> list[pl.DataFrame]:
    """Log the gains of the policies, with and without constraints, chosen on other impressions."""
    frame = result.frames["traffic_policies"]
    usable = frame.filter(pl.col("chosen by").is_not_nan(), pl.col(MAIN).is_not_nan())
    cloning = frame.row(by_predicate=pl.col("method") == "cloning", named=True)
    rivals = {"traffic_actor_critic_watch_gain_pct": WATCHING_ALONE}
    for metric, family in (("traffic_constrained_watch_gain_pct", ("TSCAC",)),
                           ("traffic_unconstrained_watch_gain_pct", UNCONSTRAINED)):  # fmt: skip
        of_family = usable.filter(pl.col("method").is_in(family)).sort("chosen by")
        if not of_family.is_empty() and cloning[MAIN] > 0:
            rivals[metric] = of_family["label"][-1]
    watch = judging.responses[..., RESPONSES.index(MAIN)].ravel().astype(np.float64)
    users, old = (np.repeat(judging.log.users, judging.log.items.shape[1]),
                  ratios["cloning"].ravel())  # fmt: skip
    gains = []
    for metric, label in rivals.items():
        new = ratios[label].ravel()
        columns = np.stack([new * watch, new, old * watch, old], axis=1)
        gains.append(gain_of_users(metric, seed, users, columns))
    known = frame.filter(pl.col("truth").is_not_null(), pl.col(MAIN).is_not_nan())
    if len(known) > 1:
        off = (known[MAIN] - known["truth"]) / known["standard error"]
        result.log("traffic_estimate_error_in_standard_errors", float((off**2).mean()) ** 0.5,  # type: ignore[arg-type]
                   seed=seed)  # fmt: skip
        agreement = known.select(pl.corr(MAIN, "truth", method="spearman")).item()
        result.log("traffic_estimate_spearman", agreement, seed=seed)
    return gains
