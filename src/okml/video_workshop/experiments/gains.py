"""Gains of rankers and policies with their intervals over users and seeds.

The parts of an experiment store the sums of each user in frames; the experiment joins the seeds.
The users of a log are the same with every seed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from okml.steps import StepResult
from okml.video_workshop.impressions import RESPONSES
from okml.video_workshop.random_traffic import estimate_gain, user_sums
from okml.video_workshop.simulator.rollout import LAST_DAYS, Rollout
from okml.video_workshop.simulator.world import Floats, Ints

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

    Args:
        result: Result to which the gains are added.
        gains: Sums of users of all seeds.
        controls: Name of the control by the name of the gain.
    """
    sums = {str(name): _by_seed(rows) for (name,), rows in gains.group_by("metric")}
    for metric in gains["metric"].unique(maintain_order=True):
        relative = metric.endswith(RELATIVE)
        unit = "%" if relative else ""
        result.measure(metric, estimate_gain(sums[metric], relative), unit)
        control = controls.get(metric)
        if control in sums:
            shared = {seed for seed in sums[metric] if seed in sums[control]}
            own, other = ({seed: sums[name][seed] for seed in shared} for name in (metric, control))
            result.compare(metric, control, estimate_gain(own, relative, less=other))


def _by_seed(rows: pl.DataFrame) -> dict[int, Floats]:
    """Return the sums of each user by seed, ``[u, 4]``; zeros for users without rows."""
    seeds, row = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    users, column = np.unique(rows["user"].to_numpy(), return_inverse=True)
    sums = np.zeros((len(seeds), len(users), len(SUMS)))
    sums[row, column] = rows.select(SUMS).to_numpy()
    return dict(zip(seeds.tolist(), sums, strict=True))
