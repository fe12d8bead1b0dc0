"""Figures of the simulator and of off-policy evaluation."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import polars as pl

from okml.offline_rl.simulator.policies import LOGGING
from okml.plotting import INK, PALETTE, Picture, style


def returns(frame: pl.DataFrame, best: float, myopic: float) -> Picture:
    """Draw true return against the next-item metric.

    Args:
        frame: Columns ``arm``, ``label``, ``seed``, ``return``, ``HR@10``; rows without a seed
            are scripted policies, of which the logging policy is drawn as a line.
        best: The exact return of the best policy, which knows the interest.
        myopic: The exact return of the policy that maximizes each next reward.
    """
    rows = frame.filter(pl.col("seed").is_not_null())
    logged = float(frame.filter(arm=LOGGING)["return"][0])
    means = rows.group_by("arm", "label", maintain_order=True).agg(
        pl.col("return").mean(), pl.col("HR@10").mean()
    )
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.4))
        colors = dict(zip(means["arm"], itertools.cycle(PALETTE), strict=False))
        for row in means.to_dicts():
            of, color = rows.filter(arm=row["arm"]), colors[row["arm"]]
            axes.scatter(of["HR@10"], of["return"], s=14, color=color, alpha=0.5)
            point = axes.scatter(
                [row["HR@10"]], [row["return"]], s=60, color=color, label=row["label"]
            )
            point.set_gid(f"policy-{row['arm']}")
        for value, name in (
            (best, "best, knows the interest"),
            (myopic, "myopic, knows it too"),
            (logged, LOGGING),
        ):
            axes.axhline(value, color=INK, lw=0.8, ls=":")
            axes.annotate(
                name, (0.01, value), xycoords=("axes fraction", "data"), fontsize=8, va="bottom"
            )
        axes.legend(fontsize=8, title="mean of seeds; small: a seed", title_fontsize=8)
        axes.set(xlabel="HR@10 on the held-out log", ylabel="true return of a session",
                 ylim=(0, None))  # fmt: skip
    facts = ", ".join(
        f"{row['label']} {row['return']:.2f} at HR@10 {row['HR@10']:.3f}"
        for row in means.to_dicts()
    )
    hover = {
        f"policy-{row['arm']}": [
            f"{row['label']}: return {row['return']:.2f}, HR@10 {row['HR@10']:.3f}"
        ]
        for row in means.to_dicts()
    }
    return Picture(
        figure,
        f"True return in the simulator against HR@10 on its log: {facts}. The best possible is "
        f"{best:.2f}; the myopic recommender gets {myopic:.2f}, the log's policy {logged:.2f}.",
        hover,
    )


def estimates(frame: pl.DataFrame) -> Picture:
    """Draw off-policy estimates and the true returns by horizon, and effective sample sizes.

    Args:
        frame: Columns ``policy``, ``horizon``, ``estimator``, ``value``, ``standard_error``,
            ``effective``, ``truth``.
    """
    policies = frame["policy"].unique(maintain_order=True)
    names = frame["estimator"].unique(maintain_order=True)
    with style():
        figure, panels = plt.subplots(
            2, len(policies), figsize=(8.5, 5.6), sharex=True, sharey="row", squeeze=False
        )
        for column, policy in enumerate(policies):
            above, below = panels[:, column]
            of = frame.filter(policy=policy)
            truth = of.unique("horizon").sort("horizon")
            above.plot(truth["horizon"], truth["truth"], color=INK, lw=2, label="truth")
            for number, name in enumerate(names):
                rows = of.filter(estimator=name).sort("horizon")
                color = PALETTE[number]
                above.errorbar(
                    rows["horizon"], rows["value"], 2 * rows["standard_error"], color=color,
                    marker="o", ms=4, lw=1, label=name, capsize=2,
                )  # fmt: skip
                if name in ("importance", "clipped importance"):
                    below.plot(rows["horizon"], rows["effective"], color=color, marker="o", ms=4,
                               label=name)  # fmt: skip
            above.set_title(policy)
            below.set(yscale="log", xlabel="actions that are looked ahead")
        panels[0, 0].set_ylabel("discounted return\n(bar: two standard errors)")
        panels[1, 0].set_ylabel("effective sessions")
        panels[0, 0].legend(fontsize=8)
        panels[1, 0].legend(fontsize=8)
    last = frame.filter(pl.col("horizon") == frame["horizon"].max(), estimator="doubly robust")
    facts = ", ".join(
        f"{row['policy']}: truth {row['truth']:.2f}, "
        + (f"doubly robust {row['value']:.2f}" if row["reported"] else "no estimate reported")
        + f", {row['effective']:.0f} effective sessions"
        for row in last.to_dicts()
    )
    return Picture(figure, f"Off-policy estimates by horizon. At the longest one, {facts}.")
