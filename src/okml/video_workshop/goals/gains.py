"""Unbiased evaluation on random impressions, and gains with intervals over users and seeds.

The log of a service is biased by the choices of its recommender. On uniformly drawn items, the mean
response to the items that a ranker puts first is unbiased, and that of a policy is a weighted mean
whose weights are its probabilities times the number of candidates. Both concern single impressions:
random slots occur in states that the usual recommender has produced.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch

from okml.ledger import Estimate, estimate_statistic
from okml.steps import StepResult
from okml.video_workshop.common.intervals import interval
from okml.video_workshop.goals.impressions import RESPONSES, ImpressionBatches
from okml.video_workshop.goals.policies import SoftmaxPolicy
from okml.video_workshop.goals.simulator import LAST_DAYS, Rollout
from okml.video_workshop.goals.world import Floats, Ints


def first_of_each_user(users: Ints, scores: Floats, share: float, seed: int = 0) -> Ints:
    """Return the top impressions of a ranker, a share of each user's, ``[m]``.

    A user with n impressions has ``ceil(share n)`` of them here for any scores, so the selections
    of two rankers are paired by position: they are sorted by user, then by descending score, with
    ties in random order.

    Args:
        users: User of each impression, ``[n]``.
        scores: Score of each impression, ``[n]``.
        share: Share of a user's impressions, above 0 and at most 1.
        seed: Random seed of the order of ties.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), -scores, users))
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(starts, counts)
    # Rounding first, because 0.1 * 30 is slightly more than 3 in floating point.
    kept = np.ceil(np.round(share * counts, 9))
    return order[place < np.repeat(kept, counts)]


@torch.no_grad()
def uniform_ratios(policy: SoftmaxPolicy, source: ImpressionBatches) -> Floats:
    """Return the importance ratios of shown items against a uniform draw, ``[r, k]``.

    Args:
        policy: Policy in evaluation mode.
        source: Requests whose items were drawn uniformly from their candidates.
    """
    choice = source.log.candidates
    count = policy.item.num_embeddings - 1 if choice is None else choice.shape[1]
    log_prob = source.each(lambda batch: policy.of_shown(batch)[0]).double().cpu().numpy()
    found: Floats = count * np.exp(log_prob)
    return found


def user_sums(users: Ints, columns: Floats) -> tuple[Ints, Floats]:
    """Return the users of rows, ``[u]``, and the sum of the rows of each, ``[u, m]``.

    Args:
        users: User of each row, ``[n]``.
        columns: Values to sum, ``[n, m]``.
    """
    unique, code = np.unique(users, return_inverse=True)
    return unique, np.stack([np.bincount(code, column) for column in columns.T], axis=1)


def estimate_gain(
    sums: Mapping[int, Floats], relative: bool = False, less: Mapping[int, Floats] | None = None
) -> Estimate:
    """Return a gain, or its difference from another one, with its interval over users and seeds.

    Args:
        sums: Sums of each user by seed, ``[u, 4]``: weighted response and weight of the new, then
            of the old; zeros for users without rows.
        relative: Whether the gain is in percent of the old instead of a difference.
        less: Sums of the other gain, for the same users.
    """

    def gain_of(rows: Floats) -> float:
        new, new_weight, old, old_weight = rows.sum(0)
        new, old = new / new_weight, old / old_weight
        return float(100 * (new / old - 1) if relative else new - old)

    def gain(users: Ints, seed: int) -> float:
        return gain_of(sums[seed][users]) - (gain_of(less[seed][users]) if less else 0)

    count = len(next(iter(sums.values())))
    return estimate_statistic(gain, count, "users", seeds=list(sums))


SUMS = ("new", "new weight", "old", "old weight")  # sums of a user, from which a gain is computed
RELATIVE = "_pct"  # suffix of gains in percent of the old


def gain_of_users(metric: str, seed: int, users: Ints, columns: Floats) -> pl.DataFrame:
    """Return the sums of ``columns`` ``[n, 4]`` by user, from which a gain's interval follows."""
    known, sums = user_sums(users, columns)
    frame = pl.DataFrame(sums, schema=list(SUMS))
    return frame.select(
        pl.lit(metric).alias("metric"), pl.lit(seed).alias("seed"), pl.Series("user", known), *SUMS
    )


def served_users(served: Rollout) -> dict[str, Floats]:
    """Return the totals of each user of a roll-out, ``[u]`` each.

    ``impressions``, the sums of responses and of ``value`` over them, and ``active``, the share of
    the last days on which the user came.
    """
    count = served.active.shape[1]
    columns = dict(zip(RESPONSES, np.moveaxis(served.responses(), -1, 0), strict=True))
    columns |= {"value": served.value, "impressions": np.ones(served.items.shape)}
    found = {
        name: np.bincount(served.users, part.sum(1), minlength=count).astype(np.float64)
        for name, part in columns.items()
    }
    return {**found, "active": served.active[-LAST_DAYS:].mean(0)}


def gain_of_served(
    metric: str, seed: int, new: Mapping[str, Floats], old: Mapping[str, Floats], what: str
) -> pl.DataFrame:
    """Return the gain of one policy over another in a response per impression, or in activity.

    Args:
        metric: Name of the gain.
        seed: Random seed of both roll-outs.
        new: Totals of the new policy from :func:`served_users`.
        old: Totals of the old policy from :func:`served_users`, for the same users.
        what: Response: ``active``, a mean over users, or one that is a mean over impressions.
    """
    columns = []
    for of in (new, old):
        columns += [of[what], np.ones_like(of[what]) if what == "active" else of["impressions"]]
    return gain_of_users(metric, seed, np.arange(len(new[what])), np.stack(columns, axis=1))


def measure_gains(result: StepResult, gains: pl.DataFrame, controls: Mapping[str, str]) -> None:
    """Measure all gains of a frame, and compare each with its control, if it has one.

    In the simulator a seed is a world, so the share of seeds with a gain is one of worlds. The
    frame ``measured`` has a row for each gain.

    Args:
        result: Result to which the gains are added.
        gains: Sums of users of all seeds.
        controls: Name of the control by the name of the gain.
    """
    sums = {str(name): _by_seed(part) for (name,), part in gains.group_by("metric")}
    rows = []
    for metric in gains["metric"].unique(maintain_order=True):
        relative = metric.endswith(RELATIVE)
        unit = "%" if relative else ""
        gain = estimate_gain(sums[metric], relative)
        result.measure(metric, gain, unit)
        share = float(np.mean(np.array(gain.numbers) > 0))
        result.log(f"{metric}_share_of_seeds", share)
        rows.append({"gain": metric.replace("_", " "), **interval(gain, "mean"),
                     "seeds": len(gain.numbers), "share": share})  # fmt: skip
        control = controls.get(metric)
        if control in sums:
            shared = {seed for seed in sums[metric] if seed in sums[control]}
            own, other = ({seed: sums[name][seed] for seed in shared} for name in (metric, control))
            result.compare(metric, control, estimate_gain(own, relative, less=other))
    result.frames["measured"] = pl.DataFrame(rows)


def _by_seed(rows: pl.DataFrame) -> dict[int, Floats]:
    """Return the sums of each user by seed, ``[u, 4]``; zeros for users without rows."""
    seeds, row = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    users, column = np.unique(rows["user"].to_numpy(), return_inverse=True)
    sums = np.zeros((len(seeds), len(users), len(SUMS)))
    sums[row, column] = rows.select(SUMS).to_numpy()
    return dict(zip(seeds.tolist(), sums, strict=True))
