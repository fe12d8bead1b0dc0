"""Figures of item representations: warm and new items, and codes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import (
    PALETTE,
    Picture,
    dots,
    let_names_run_on,
    line_beside_rows,
    names_above,
    style,
)

OF_MEANINGLESS, OF_ROWS, OF_CONTENT, OF_HYBRIDS, OF_CODES = (
    PALETTE[1], PALETTE[4], PALETTE[2], PALETTE[3], PALETTE[0]
)  # fmt: skip


def _color(arm: str) -> str:
    if arm.startswith("hybrid"):
        return OF_HYBRIDS
    known = {"hash": OF_MEANINGLESS, "random_codes": OF_MEANINGLESS, "id": OF_ROWS}
    return (known | {"content": OF_CONTENT}).get(arm, OF_CODES)


def warm_and_cold(arms: pl.DataFrame, random_level: float) -> Picture:
    """Draw HR@10 of each representation on warm and on new targets, with intervals.

    Args:
        arms: Columns ``arm``, ``label``, and ``hr@10`` with ``low`` and ``high`` of the parts
            ``warm``, ``cold`` and ``among cold``.
        random_level: HR@10 of a random order among new items.
    """
    rows = arms.sort("cold hr@10", descending=True)
    panels = (
        ("warm", "known items"),
        ("cold", "new items,\namong all"),
        ("among cold", "new items,\namong new"),
    )
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(5, 0.4 * len(rows) + 1.2), sharey=True)
        for panel, (part, title) in zip(axes, panels, strict=True):
            value = f"{part} hr@10"
            colors = [_color(arm) for arm in rows["arm"]]
            dots(panel, rows, value, "label", colors, (f"{value} low", f"{value} high"))
            panel.set(title=title, xlabel="HR@10")
            panel.set_xlim(left=0)
            panel.spines["left"].set_visible(False)
        names_above(axes[0], rows["label"].to_list())
        for panel in axes:
            panel.locator_params(axis="x", nbins=3)
        let_names_run_on(axes[0])
        line_beside_rows(axes[2], len(rows), random_level, "dotted")
    facts = "; ".join(
        f"{row['label']} {row['warm hr@10']:.3f}, {row['cold hr@10']:.3f}, "
        f"{row['among cold hr@10']:.3f}"
        for row in rows.to_dicts()
    )
    return Picture(
        figure,
        "HR@10 on known items, on new items among all, and on new items among new ones, where a "
        f"random order has {random_level:.3f} (dotted): {facts}.",
    )


def code_quality(quantizers: pl.DataFrame) -> Picture:
    """Draw the similarity of items with a common prefix, and the variance left by each level.

    Args:
        quantizers: Columns ``quantizer``, ``codes``, ``levels``, ``cosine``, ``jaccard``, ``nmse``.
    """
    titles = (
        ("cosine", "content cosine of two items"),
        ("jaccard", "shared genres of two items"),
        ("nmse", "variance not explained"),
    )
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2))
        for number, ((name, codes), group) in enumerate(
            quantizers.group_by("quantizer", "codes", maintain_order=True)
        ):
            label = f"{str(name).replace('_', '-')} {codes}"
            for panel, (column, title) in zip(axes, titles, strict=True):
                panel.plot(
                    group["levels"], group[column], "os^"[number % 3] + "-",
                    color=PALETTE[number], label=label,
                )  # fmt: skip
                panel.set(title=title, xlabel="codes in common" if column != "nmse" else "levels")
                panel.set_ylim(0, 1.03)
                panel.set_xticks(range(int(group["levels"].max()) + 1))  # type: ignore[arg-type]
        axes[2].legend()
    facts = "; ".join(
        f"{row['quantizer']} {row['codes']}, {row['levels']} codes: cosine {row['cosine']:.2f}, "
        f"genres {row['jaccard']:.2f}, unexplained {row['nmse']:.2f}"
        for row in quantizers.to_dicts()
    )
    return Picture(figure, f"Items by the number of codes they share: {facts}.")
