"""Figures of the arms: differences in NDCG@10, and the preference for wanted items."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, label_points, style


def arms(table: pl.DataFrame, data: str) -> Picture:
    """Draw NDCG@10 of each arm less that of the control, with its interval.

    Args:
        table: Columns ``data``, ``arm``, ``label``, ``ndcg@10``, ``difference``, ``low``, ``high``.
        data: The name of the data set.
    """
    rows = table.filter(data=data).sort("ndcg@10")
    control = rows.filter(arm="bc_continue").row(0, named=True)
    shown = rows.filter(pl.col("difference").is_not_null())
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.33 * len(shown) + 1))
        for place, row in enumerate(shown.to_dicts()):
            color = PALETTE[1] if str(row["arm"]).startswith("crr") else PALETTE[0]
            axes.hlines(place, row["low"], row["high"], color=color, lw=2.5, alpha=0.5)
            axes.plot(row["difference"], place, "o", color=color)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(shown)), shown["label"].to_list())
        axes.set(xlabel="NDCG@10 less that of the control, stage 2 with all weights one "
                 "(bar: 95 % over users and seeds)")  # fmt: skip
        axes.grid(axis="y", visible=False)
    facts = ", ".join(f"{row['label']} {row['ndcg@10']:.4f}" for row in rows.reverse().to_dicts())
    return Picture(
        figure,
        f"NDCG@10 on {data}, arms less the control, which has {control['ndcg@10']:.4f}: {facts}.",
    )


def trade(filters: pl.DataFrame) -> Picture:
    """Draw each arm's HR@10 against its gap between wanted and other targets.

    Args:
        filters: Columns ``arm``, ``label``, ``HR@10``, ``gap``; one row for each arm and seed.
    """
    rows = filters.group_by("arm", "label", maintain_order=True).agg(
        pl.col("HR@10").mean(), pl.col("gap").mean()
    )
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        crr = rows["arm"].str.starts_with("crr").to_list()
        colors = [PALETTE[1] if is_crr else PALETTE[0] for is_crr in crr]
        points = axes.scatter(rows["HR@10"], rows["gap"], c=colors, s=36)
        points.set_gid("arms")
        axes.axhline(0, color=INK, lw=0.8)
        axes.margins(x=0.15)
        axes.set(xlabel="HR@10 on all test events",
                 ylabel="HR@10 on wanted events, less that on others")  # fmt: skip
        label_points(axes, rows["HR@10"], rows["gap"], rows["label"])
    facts = ", ".join(
        f"{row['label']} {row['HR@10']:.3f} and {row['gap']:.3f}" for row in rows.to_dicts()
    )
    hover = [f"{r['label']}: HR@10 {r['HR@10']:.3f}, gap {r['gap']:.3f}" for r in rows.to_dicts()]
    return Picture(
        figure,
        f"HR@10 against the gap between wanted and other events, after the last step: {facts}.",
        {"arms": hover},
    )
