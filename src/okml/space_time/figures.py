"""The pictures of the chapter; each takes the rows a step measured and returns a Picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from okml.errors import ParameterError
from okml.plotting import INK, PALETTE, Picture, style

FEWEST = 5  # test places of a region whose median error is drawn
HOVERED = 800  # points with a tooltip; more would make the page heavy
SET_TITLES: Mapping[str, str] = {
    "world_place": "World",
    "us_place": "USA",
    "nyc_place": "New York City",
    "historical_figure": "Figures",
    "art": "Entertainment",
    "headline": "Headlines",
    "cities": "Cities",
    "us_towns": "US towns",
    "people": "People",
    "films": "Films",
}
Outline = Sequence[np.ndarray]  # polylines [points, 2] of (longitude, latitude) in degrees


def title(name: str) -> str:
    """Return the name of an entity set as figures show it."""
    return SET_TITLES.get(name, name)


def _colored(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pair each name with a color; colors come again when there are more names."""
    return zip(cycle(PALETTE), names, strict=False)


def _require(rows: pl.DataFrame, what: str) -> None:
    if rows.is_empty():
        raise ParameterError(f"There are no {what} to draw.")


def _thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """Return every k-th row, so that at most ``HOVERED`` are left."""
    return rows.gather_every(max(1, -(-rows.height // HOVERED)))


def true_and_probed_map(places: pl.DataFrame, outline: Outline, caption: str) -> Picture:
    """Draw where test places are beside where the probe puts them, colored by longitude.

    Args:
        places: Columns ``entity``, ``region``, ``longitude``, ``latitude`` (degrees),
            ``longitude_probed``, ``latitude_probed``, ``error_km``.
        outline: Coastlines.
        caption: What was probed; part of the text alternative.
    """
    _require(places, "places")
    shown = _thinned(places.sort("error_km"))
    labels = [
        f"{row['entity']} ({row['region']}): off by {row['error_km']:,.0f} km"
        for row in shown.iter_rows(named=True)
    ]
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(11, 3.4), sharex=True, sharey=True)
        for axes, suffix, heading in zip(
            panels, ("", "_probed"), ("where they are", "where the probe puts them"), strict=True
        ):
            _draw_outline(axes, outline)
            axes.scatter(
                shown[f"longitude{suffix}"],
                shown[f"latitude{suffix}"],
                c=shown["longitude"],
                cmap="turbo",
                s=14,
                linewidths=0,
                gid=f"map{suffix}",
            )
            axes.grid(visible=False)
            axes.set(title=heading, xlabel="longitude, °", xlim=(-180, 180), ylim=(-60, 85))
        panels[0].set_ylabel("latitude, °")
    error = _median(places["error_km"])
    alt = (
        f"Two world maps of {shown.height} {caption}, colored by true longitude. Left: where they "
        f"are. Right: where a linear probe puts them, half of them within {error:,.0f} km."
    )
    return Picture(figure, alt, {"map": labels, "map_probed": labels})


def _median(values: pl.Series) -> float:
    return float(np.median(values.to_numpy()))


def _draw_outline(axes: Axes, outline: Outline) -> None:
    """Draw all coastlines as one line with gaps, which matplotlib thins to what can be seen."""
    gap = np.full((1, 2), np.nan)
    line = np.concatenate([part for piece in outline for part in (piece, gap)])
    axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=0.4, alpha=0.35)


def accuracy_by_layer(layers: pl.DataFrame, metric: str = "r2", label: str = "test R²") -> Picture:
    """Draw accuracy against depth, one curve a set, the band over seeds (Figure 2).

    Args:
        layers: Columns ``set``, ``model``, ``seed``, ``depth`` (0 to 1; embedding below 0), and
            the metric; ``model`` is ``trained`` or ``untrained``.
        metric: The column to draw.
        label: Its name on the axis.
    """
    _require(layers, "layers")
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        for color, name in _colored(layers["set"].unique(maintain_order=True)):
            for model, dash in (("trained", "-"), ("untrained", ":")):
                rows = layers.filter(set=name, model=model)
                if rows.is_empty():
                    continue
                curve = (
                    rows.group_by("depth")
                    .agg(
                        mean=pl.col(metric).mean(),
                        low=pl.col(metric).min(),
                        high=pl.col(metric).max(),
                    )
                    .sort("depth")
                )
                suffix = "" if model == "trained" else ", untrained weights"
                axes.plot(
                    curve["depth"], curve["mean"], dash, color=color, label=title(name) + suffix
                )
                axes.fill_between(
                    curve["depth"], curve["low"], curve["high"], color=color, alpha=0.15, lw=0
                )
        axes.set(xlabel="depth in the network (0: embedding, 1: last block)", ylabel=label)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    best = layers.filter(model="trained").group_by("set").agg(pl.col(metric).max())
    facts = ", ".join(
        f"{title(row['set'])} {row[metric]:.2f}" for row in best.sort("set").to_dicts()
    )
    return Picture(figure, f"{label} of linear probes against depth. Best values: {facts}.")


def accuracy_by_spelling(rows: pl.DataFrame) -> Picture:
    """Draw R² by depth for names that spell their region and for bare names, n-grams beside.

    Args:
        rows: Columns ``features``, ``depth`` (null for n-grams), ``names``, ``r2``.
    """
    groups = rows["names"].unique(maintain_order=True).to_list()
    prompts = [f for f in rows["features"].unique(maintain_order=True) if f.startswith("prompt")]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        for color, names in zip(PALETTE, groups, strict=False):
            for dash, features in zip(("-", "--"), prompts, strict=False):
                curve = (
                    rows.filter(features=features, names=names)
                    .group_by("depth")
                    .agg(pl.col("r2").mean())
                    .sort("depth")
                )
                axes.plot(
                    curve["depth"], curve["r2"], dash, color=color, label=f"{names}, {features}"
                )
            letters = rows.filter(pl.col("depth").is_null(), names=names)["r2"].to_numpy().mean()
            axes.axhline(letters, color=color, linestyle=":", lw=1, label=f"{names}, n-grams")
        axes.set(xlabel="depth in the network (0: first block, 1: last)", ylabel="test R²")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    best = rows.filter(features=prompts[0]).group_by("names", maintain_order=True)
    facts = ", ".join(
        f"{row['names']} {row['r2']:.2f}" for row in best.agg(pl.col("r2").max()).to_dicts()
    )
    return Picture(
        figure, f"Test R² by depth, split by whether the name spells its region. Best: {facts}."
    )


def timeline(rows: pl.DataFrame, caption: str) -> Picture:
    """Draw probed years against true years with the line of perfect reading (Figure 1, right).

    Args:
        rows: Columns ``entity``, ``year``, ``year_probed``.
        caption: What was probed; part of the text alternative.
    """
    _require(rows, "dates")
    shown = _thinned(rows)
    labels = [
        f"{row['entity']}: {row['year']:.0f}, read as {row['year_probed']:.0f}"
        for row in shown.iter_rows(named=True)
    ]
    low, high = float(shown["year"].min()), float(shown["year"].max())  # type: ignore[arg-type]
    with style():
        figure, axes = plt.subplots(figsize=(6, 4.4))
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
        axes.scatter(
            shown["year"], shown["year_probed"], s=12, alpha=0.55, linewidths=0, gid="timeline"
        )
        axes.set(xlabel="true year", ylabel="year read by the probe")
    error = _median((rows["year"] - rows["year_probed"]).abs())
    alt = (
        f"Years read by a linear probe against true years for {shown.height} {caption}; half are "
        f"within {error:.1f} years."
    )
    return Picture(figure, alt, {"timeline": labels})


def controls(rows: pl.DataFrame) -> Picture:
    """Draw the probe beside everything that could explain it without a map.

    Args:
        rows: Columns ``set``, ``features``, ``seed``, ``r2``.
    """
    _require(rows, "controls")
    sets = rows["set"].unique(maintain_order=True).to_list()
    names = rows["features"].unique(maintain_order=True).to_list()
    mean = rows.group_by("set", "features").agg(pl.col("r2").mean())
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 0.9 + 0.42 * len(names)))
        height = 0.8 / len(sets)
        for index, (color, name) in enumerate(_colored(sets)):
            values = dict(mean.filter(set=name).select("features", "r2").iter_rows())
            where = np.arange(len(names)) + index * height
            axes.barh(
                where,
                [max(values.get(key, np.nan), -0.1) for key in names],
                height,
                color=color,
                label=title(name),
            )
        axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="test R² (bars are cut at −0.1)")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    facts = "; ".join(
        f"{title(row['set'])}, {row['features']}: {row['r2']:.2f}"
        for row in mean.sort("set", "r2", descending=[False, True]).iter_rows(named=True)
    )
    return Picture(figure, f"Test R² of the probe and of its controls. {facts}.")


def prompts(rows: pl.DataFrame) -> Picture:
    """Draw R² by depth for each prompt variant (Figure 3).

    Args:
        rows: Columns ``set``, ``prompt``, ``seed``, ``depth``, ``r2``.
    """
    _require(rows, "prompts")
    sets = rows["set"].unique(maintain_order=True).to_list()
    with style():
        figure, grid = plt.subplots(
            1, len(sets), figsize=(5.2 * len(sets), 3.8), sharey=True, squeeze=False
        )
        for axes, name in zip(grid[0], sets, strict=True):
            chosen = rows.filter(set=name)
            for prompt in chosen["prompt"].unique(maintain_order=True):
                curve = (
                    chosen.filter(prompt=prompt).group_by("depth").agg(pl.col("r2").mean())
                ).sort("depth")
                axes.plot(curve["depth"], curve["r2"], label=prompt)
            axes.set(title=title(name), xlabel="depth in the network")
            axes.legend()
        grid[0][0].set_ylabel("test R²")
    best = rows.group_by("set", "prompt").agg(pl.col("r2").max()).sort("set", "prompt")
    facts = ", ".join(
        f"{title(r['set'])} {r['prompt']} {r['r2']:.2f}" for r in best.iter_rows(named=True)
    )
    return Picture(figure, f"R² against depth for each prompt. Best values: {facts}.")


def principal_components(rows: pl.DataFrame) -> Picture:
    """Draw R² and rank correlation against the number of principal components (Figure 4).

    Args:
        rows: Columns ``set``, ``seed``, ``components``, ``r2``, ``rho``.
    """
    _require(rows, "components")
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True)
        for axes, metric, label in zip(
            panels, ("r2", "rho"), ("test R²", "test Spearman ρ"), strict=True
        ):
            for name in rows["set"].unique(maintain_order=True):
                curve = (
                    rows.filter(set=name).group_by("components").agg(pl.col(metric).mean())
                ).sort("components")
                axes.plot(curve["components"], curve[metric], "o-", ms=3, label=title(name))
            axes.set(xscale="log", xlabel="principal components kept", ylabel=label)
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    mean = rows.group_by("set", "components").agg(pl.col("rho").mean()).sort("set", "components")
    facts = ", ".join(
        f"{title(part['set'][0])} {part['rho'][0]:.2f} with {part['components'][0]} and "
        f"{part['rho'][-1]:.2f} with all {part['components'][-1]}"
        for part in mean.partition_by("set", maintain_order=True)
    )
    return Picture(
        figure,
        "R² and rank correlation of the probe against the number of principal components it may "
        f"use. Rank correlation: {facts}.",
    )


def held_out_blocks(rows: pl.DataFrame, outline: Outline) -> Picture:
    """Draw each held-out country: its true center, its predicted center and the training mean.

    Args:
        rows: Columns ``block``, ``true_x``, ``true_y``, ``predicted_x``, ``predicted_y``,
            ``mean_x``, ``mean_y`` (degrees), ``cosine``.
        outline: Coastlines.
    """
    _require(rows, "held-out regions")
    with style():
        figure, axes = plt.subplots(figsize=(9, 4.4))
        _draw_outline(axes, outline)
        for row in rows.iter_rows(named=True):
            axes.annotate(
                "",
                (row["predicted_x"], row["predicted_y"]),
                (row["true_x"], row["true_y"]),
                arrowprops={"arrowstyle": "->", "color": PALETTE[1], "lw": 1.1, "alpha": 0.8},
            )
            name = row["block"].replace("_", " ")
            axes.annotate(
                name, (row["true_x"], row["true_y"]), fontsize=7, xytext=(2, 3),
                textcoords="offset points",
            )  # fmt: skip
        axes.scatter(rows["true_x"], rows["true_y"], s=22, color=PALETTE[0], label="true center")
        axes.scatter(
            rows["predicted_x"], rows["predicted_y"], s=14, color=PALETTE[1],
            label="center predicted without ever seeing it",
        )  # fmt: skip
        axes.scatter(
            rows["mean_x"].mean(), rows["mean_y"].mean(), marker="x", s=60, color=PALETTE[2],
            label="mean of the training places",
        )  # fmt: skip
        axes.set(xlabel="longitude, °", ylabel="latitude, °", xlim=(-180, 180), ylim=(-60, 85))
        axes.legend(loc="lower left", fontsize=8)
    return Picture(
        figure,
        f"World map with {rows.height} held-out regions: arrows lead from the true center to the "
        f"center predicted by a probe that never saw the region; the mean cosine of the "
        f"displacements is {np.nanmean(rows['cosine'].to_numpy()):.2f}.",
    )


def errors_by_region(rows: pl.DataFrame) -> Picture:
    """Draw the median error of each region, the best and the worst (great circle, km).

    Args:
        rows: Columns ``region``, ``error_km``; one row a test entity.
    """
    table = (
        rows.group_by("region")
        .agg(pl.len().alias("count"), pl.col("error_km").median())
        .filter(pl.col("count") >= FEWEST)
        .sort("error_km")
    )
    _require(table, f"regions with {FEWEST} test places")
    shown = table if table.height <= 24 else pl.concat([table.head(12), table.tail(12)])
    labels = [
        f"{region.replace('_', ' ')} ({count})"
        for region, count in shown.select("region", "count").iter_rows()
    ]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.8 + 0.22 * shown.height))
        axes.barh(labels, shown["error_km"], color=PALETTE[0])
        axes.invert_yaxis()
        axes.set(xlabel="median error, km (in brackets: test places)")
    worst, best = shown.row(-1, named=True), shown.row(0, named=True)
    return Picture(
        figure,
        f"Median error by region, from {best['error_km']:,.0f} km in {best['region']} to "
        f"{worst['error_km']:,.0f} km in {worst['region']}.",
    )


def neurons(rows: pl.DataFrame, null: float) -> Picture:
    """Draw the best neurons of each target and the best that chance finds (Figure 5).

    Args:
        rows: Columns ``target``, ``layer``, ``neuron``, ``rho``; several a target.
        null: The mean of the largest absolute ρ when targets are shuffled.
    """
    _require(rows, "neurons")
    best = rows.sort(pl.col("rho").abs(), descending=True).group_by("target", maintain_order=True)
    shown = best.head(5)
    labels = [f"L{layer}.{neuron}" for layer, neuron in shown.select("layer", "neuron").iter_rows()]
    targets = shown["target"].unique(maintain_order=True).to_list()
    colors = [PALETTE[targets.index(target)] for target in shown["target"]]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.26 * shown.height))
        axes.barh(range(shown.height), shown["rho"].abs(), color=colors)
        axes.set_yticks(range(shown.height), labels)
        axes.axvline(null, color=INK, linestyle="--", label="best neuron on shuffled targets")
        for color, target in _colored(targets):
            axes.barh(0, 0, color=color, label=target)
        axes.invert_yaxis()
        axes.set(xlabel="absolute Spearman ρ with the target", ylabel="layer.neuron")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    top = shown.sort(pl.col("rho").abs(), descending=True).row(0, named=True)
    return Picture(
        figure,
        f"Best neurons for each target. The best is L{top['layer']}.{top['neuron']} with absolute "
        f"ρ {abs(top['rho']):.2f} for {top['target']}; shuffled targets reach {null:.2f}.",
    )


def steering(rows: pl.DataFrame) -> Picture:
    """Draw the change of the model's answer against the push, probe beside random directions.

    Args:
        rows: Columns ``direction`` (``probe`` or ``random``), ``index``, ``strength``, ``shift``
            (nats of log-odds).
    """
    _require(rows, "pushes")
    with style():
        figure, axes = plt.subplots(figsize=(6.5, 4))
        for index in rows.filter(direction="random")["index"].unique():
            line = rows.filter(direction="random", index=index).sort("strength")
            label = "random directions" if index == 0 else None
            axes.plot(line["strength"], line["shift"], color=INK, alpha=0.25, lw=1, label=label)
        line = (
            rows.filter(direction="probe").group_by("strength").agg(pl.col("shift").mean())
        ).sort("strength")
        axes.plot(
            line["strength"], line["shift"], "o-", color=PALETTE[1], label="longitude direction"
        )
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(
            xlabel="push, in units of the mean residual norm",
            ylabel="change of log-odds, Asia over North America",
        )
        axes.legend()
    ends = line["shift"]
    random = rows.filter(direction="random")
    low, high = random["shift"].to_numpy().min(), random["shift"].to_numpy().max()
    return Picture(
        figure,
        f"Log-odds of Asia over North America against the push along the longitude direction, from "
        f"{ends[0]:.2f} to {ends[-1]:.2f} nats; {random['index'].n_unique()} random directions "
        f"stay between {low:.2f} and {high:.2f}.",
    )


def model_sizes(rows: pl.DataFrame) -> Picture:
    """Draw the R² of each model against its parameters, beside the paper's values.

    Args:
        rows: Columns ``source`` (``measured`` or ``paper``), ``model``, ``family``,
            ``parameters``, ``set``, ``r2``; the mean over seeds is drawn, a line a family.
    """
    _require(rows, "models")
    means = rows.group_by(
        "set", "source", "family", "model", "parameters", maintain_order=True
    ).agg(pl.col("r2").mean())
    markers = {"measured": "os^vD", "paper": "x"}
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4))
        for color, name in _colored(rows["set"].unique(maintain_order=True)):
            for source, shapes in markers.items():
                lines = means.filter(set=name, source=source).partition_by(
                    "family", maintain_order=True
                )
                for shape, line in zip(cycle(shapes), lines, strict=False):
                    drawn = line.sort("parameters")
                    axes.plot(
                        drawn["parameters"], drawn["r2"], color=color, marker=shape,
                        linestyle="-" if source == "measured" else "--",
                        label=f"{title(name)}, {line['family'][0]}, {source}",
                    )  # fmt: skip
        axes.set(xscale="log", xlabel="parameters", ylabel="test R²")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    measured = ", ".join(
        f"{title(r['set'])} {r['r2']:.2f} ({r['model']})"
        for r in means.filter(source="measured").iter_rows(named=True)
    )
    return Picture(figure, f"R² against model size. Measured: {measured}; the paper's beside.")


def neuron_sweep(rows: pl.DataFrame) -> Picture:
    """Draw the next token's probabilities against the value a neuron is pinned to.

    Args:
        rows: Columns ``prompt``, ``neuron``, ``value`` (null: untouched), ``token``,
            ``probability``.
    """
    _require(rows, "pinned neurons")
    prompts = rows["prompt"].unique(maintain_order=True).to_list()
    with style():
        figure, grid = plt.subplots(
            1, len(prompts), figsize=(4.2 * len(prompts), 3.4), sharey=True, squeeze=False
        )
        for axes, prompt in zip(grid[0], prompts, strict=True):
            pinned = rows.filter(pl.col("value").is_not_null(), prompt=prompt)
            for token in pinned["token"].unique(maintain_order=True):
                line = pinned.filter(token=token).sort("value")
                axes.plot(line["value"], line["probability"], "o-", ms=3, label=repr(token))
            axes.set_title(textwrap.fill(f"{prompt} …", 34), fontsize=8)
            axes.set_xlabel("pinned activation")
            axes.legend(fontsize=7)
        grid[0][0].set_ylabel("probability of the next token")
    neuron = rows["neuron"][0]
    return Picture(
        figure,
        f"Probabilities of the next token while neuron {neuron} is pinned to values from "
        f"{rows['value'].drop_nulls().to_numpy().min():.1f} to "
        f"{rows['value'].drop_nulls().to_numpy().max():.1f}, for {len(prompts)} prompts.",
    )
