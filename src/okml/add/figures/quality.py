"""Distances as pictures: by steps, by arm, over the training, and against time."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter

from okml.add.figures.tables import ARM_TITLES
from okml.add.profile_settings import SetSettings
from okml.add.small.efficientnet import TAPS
from okml.plotting import INK, PALETTE, Picture, by_color, let_names_run_on, names_above, style

TITLES = {
    "default": "ADD student",
    "consistency": "consistency distillation",
    "progressive": "progressive distillation",
    "adversarial_only": "adversarial loss alone",
    "distillation_only": "distillation loss alone",
    "summed_distance": "distance summed over pixels",
}
COLUMNS = 3  # panels beside each other
GAUSSIANS, FLOOR = "one Gaussian a class, in pixels", "training images, drawn again"
BESIDE = 1.04  # ratio between the places of neighboring methods at one number of calls
HINGE = "hinge loss of the heads"


def _plain_decades(*axes: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 of each decade, with plain numbers."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())


def methods(frame: pl.DataFrame, anchors: pl.DataFrame) -> Picture:
    """Draw the Fréchet distance against network calls for every way to few steps.

    The frames of one image set have ``method``, ``calls``, ``seed`` and ``fd``, and ``images`` and
    ``FD``. Two anchors are levels: draws from one Gaussian a class, which no network makes, and
    training images drawn again, whose distance is sampling error alone. Methods stand a little
    beside each other, so that none hides another.
    """
    means = frame.group_by("method", "calls", maintain_order=True).agg(pl.col("fd").mean())
    known = dict(anchors.select("images", "FD").iter_rows())
    gaussians, floor = known[GAUSSIANS], known[FLOOR]
    count = means["method"].n_unique()
    with style():
        figure, axes = plt.subplots(figsize=(5, 5.4))
        for place, (color, name, own) in enumerate(by_color(means, "method")):
            rows = own.sort("calls")
            label = TITLES.get(name, name)
            width = 2.6 if name == "default" else 1.4
            aside = BESIDE ** (place - (count - 1) / 2)
            axes.plot(rows["calls"] * aside, rows["fd"], "-", color=color, lw=width, label=label)
            points = frame.filter(method=name)
            axes.plot(points["calls"] * aside, points["fd"], "o", color=color, ms=3.5, alpha=0.6)
        axes.axhline(gaussians, ls="--", lw=1.2, color=INK, label="one Gaussian a class")
        axes.axhline(floor, ls=":", lw=1.2, color=INK, label="training images, drawn again")
        axes.set(
            xscale="log", yscale="log", xlabel="calls of the network",
            ylabel="Fréchet distance to the training images",
        )  # fmt: skip
        _plain_decades(axes.yaxis)
        ticks = sorted(set(means["calls"].to_list()))
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.minorticks_off()
        figure.legend(loc="outside lower left")
    facts = ", ".join(
        f"{TITLES.get(r['method'], r['method'])} at {r['calls']} {r['fd']:.2f}"
        for r in means.filter(pl.col("calls").is_in((1, 25, 50))).to_dicts()
    )
    return Picture(
        figure,
        f"Fréchet distance against calls of the network, dots are seeds: {facts}; "
        f"one Gaussian a class {gaussians:.2f}; floor {floor:.2f}.",
    )


def arms(frame: pl.DataFrame) -> Picture:
    """Draw distance and spread of every arm at one step of the student.

    A frame of one image set has ``method``, ``steps``, ``seed``, ``fd`` and ``spread``.
    """
    rows = frame.filter(steps=1)
    names = rows["method"].unique(maintain_order=True).to_list()
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(5, 0.4 * len(names) + 0.9), sharey=True, width_ratios=(3, 2)
        )
        names_above(left, [ARM_TITLES[name] for name in names])
        let_names_run_on(left)
        for place, name in enumerate(names):
            own = rows.filter(method=name)
            for axes, measure in ((left, "fd"), (right, "spread")):
                axes.plot(
                    own[measure], [place] * len(own), "o", ms=4.5, color=PALETTE[0], alpha=0.6
                )
                axes.plot(own[measure].mean(), place, "|", ms=11, mew=2.4, color=PALETTE[1])
        left.set(xscale="log", xlabel="Fréchet distance at 1 step\n(lower is better)")
        _plain_decades(left.xaxis)
        right.set(xlabel="spread within a class", xlim=(0, None))
        right.spines["left"].set_visible(False)
    means = rows.group_by("method", maintain_order=True).agg(pl.col("fd", "spread").mean())
    facts = "; ".join(
        f"{ARM_TITLES[r['method']]} {r['fd']:.2f} and {r['spread']:.2f}" for r in means.to_dicts()
    )
    return Picture(
        figure,
        "Fréchet distance and spread within a class of each arm at 1 step, dots are seeds, "
        f"strokes means: {facts}.",
    )


def heads_of(settings: SetSettings) -> int:
    """Return the number of heads of the discriminator on an image set."""
    return 1 + settings.vit.depth if settings.eye == "vit" else len(TAPS)


def training(curves: pl.DataFrame, teacher: pl.DataFrame, heads: int) -> Picture:
    """Draw the distance of one step while the default student trains, and its losses.

    The curves of a training have ``term``, ``step`` and ``value``, and those of the teacher its
    ``fd`` at 1 and at 25 ``steps``. Twice the number of heads is the loss of those that can tell
    nothing, a level among the losses.
    """
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.6))
        distance = curves.filter(term="FD of one step")
        left.plot(
            distance["step"], distance["value"], "-o", ms=3.5, color=PALETTE[0], label="student"
        )
        for row, dash in zip(teacher.sort("steps").to_dicts(), ("--", ":"), strict=False):
            label = f"teacher, {row['steps']} steps" if row["steps"] > 1 else "teacher, 1 step"
            left.axhline(row["fd"], ls=dash, lw=1.2, color=INK, label=label)
        left.set(xlabel="step of the training", ylabel="Fréchet distance of one step", yscale="log")
        _plain_decades(left.yaxis)
        left.legend(fontsize=8)
        losses = curves.filter(pl.col("term").str.contains("loss"))
        for color, term, rows in by_color(losses, "term"):
            scale = float(rows["value"].abs().to_numpy().max()) or 1.0
            right.plot(
                rows["step"], rows["value"] / scale, color=color, lw=1.3,
                label=f"{term}, in {scale:.2g}",
            )  # fmt: skip
            if term == HINGE:
                label = f"heads that tell nothing, {2 * heads}"
                right.axhline(2 * heads / scale, ls=":", lw=1.2, color=color, label=label)
        right.set(xlabel="step of the training", ylabel="loss over its largest size")
        right.legend(fontsize=7.5)
    largest = distance.row(distance["value"].arg_max() or 0, named=True)
    first, last = distance.row(0, named=True), distance.row(-1, named=True)
    return Picture(
        figure,
        "While the student trains, the distance of one step is "
        f"{first['value']:.2f} at step {first['step']}, at most {largest['value']:.2f} at step "
        f"{largest['step']}, and {last['value']:.2f} at step {last['step']}; beside it losses, of "
        f"which the heads' is {2 * heads} where they tell nothing.",
    )


def convergence(curves: pl.DataFrame, level: float) -> Picture:
    """Draw the distance of one step while each method trains, beside that of the default student.

    The curves of an image set have ``training``, ``seed``, ``term``, ``step`` and ``value``; the
    level is the teacher's distance in 25 steps.
    """
    rows = curves.filter(term="FD of one step")
    names = rows["training"].unique(maintain_order=True).to_list()
    means = rows.group_by("training", "step", maintain_order=True).agg(pl.col("value").mean())
    default = means.filter(training="default")
    facts = []
    with style():
        figure, panels = plt.subplots(
            -(-len(names) // COLUMNS), COLUMNS, figsize=(8.2, 1.9 * -(-len(names) // COLUMNS)),
            sharex=True, sharey=True, squeeze=False,
        )  # fmt: skip
        for axes in panels.flat[len(names) :]:
            axes.set_axis_off()
        for name, axes in zip(names, panels.flat, strict=False):
            axes.plot(default["step"], default["value"], color=INK, lw=1, alpha=0.5)
            axes.axhline(level, ls=":", lw=1.2, color=INK)
            for _, own in rows.filter(training=name).group_by("seed", maintain_order=True):
                axes.plot(own["step"], own["value"], color=PALETTE[0], lw=0.8, alpha=0.5)
            mean = means.filter(training=name)
            axes.plot(mean["step"], mean["value"], color=PALETTE[0], lw=2)
            title = TITLES.get(name) or ARM_TITLES[name]
            axes.set_title(title, fontsize=8)
            axes.set_yscale("log")
            _plain_decades(axes.yaxis)
            facts.append(f"{title} {mean['value'][0]:.2f} to {mean['value'][-1]:.2f}")
        figure.supxlabel("updates", fontsize=9)
        figure.supylabel("Fréchet distance of one step", fontsize=9)
    return Picture(
        figure,
        "Fréchet distance of one step while each method trains, thin lines are seeds, the gray "
        f"line is the default student, the dotted one 25 steps of the teacher: {', '.join(facts)}.",
    )


def distances(frame: pl.DataFrame) -> Picture:
    """Draw the ``distance`` of each kind of ``images`` from their nearest training image."""
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 3.4))
        facts = []
        top = float(frame["distance"].quantile(0.995) or 1.0)
        bins = np.linspace(0, top, 40)
        for color, name, rows in by_color(frame, "images"):
            values = rows["distance"].to_numpy()
            axes.hist(
                values, bins=bins.tolist(), density=True, histtype="step", lw=1.8, color=color,
                label=name,
            )  # fmt: skip
            facts.append(f"{name} {np.median(values):.3f}")
        axes.set(
            xlabel="distance to the nearest training image (root mean square of pixels)",
            ylabel="density",
        )  # fmt: skip
        axes.legend(fontsize=8)
    return Picture(figure, f"Distances to the nearest training image. Medians: {', '.join(facts)}.")


def speed(frame: pl.DataFrame, quality: pl.DataFrame) -> Picture:
    """Draw quality against time (Figure 7 in small).

    The frame of one batch size has ``network``, ``steps`` and ``ms an image``, and that of quality
    ``network``, ``steps`` and ``fd``.
    """
    rows = frame.join(quality, on=["network", "steps"], maintain_order="left")
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 3.8))
        hover: dict[Artist, list[str]] = {}
        for color, name, group in by_color(rows, "network"):
            own = group.sort("steps")
            axes.plot(own["ms an image"], own["fd"], color=color, lw=1, alpha=0.6)
            points = axes.scatter(own["ms an image"], own["fd"], s=36, color=color, label=name)
            hover[points] = [
                f"{name}, {r['steps']} steps: {r['ms an image']:.2f} ms, FD {r['fd']:.2f}"
                for r in own.to_dicts()
            ]
            for row in own.to_dicts():
                axes.annotate(
                    str(row["steps"]), (row["ms an image"], row["fd"]), fontsize=8,
                    xytext=(4, 4), textcoords="offset points",
                )  # fmt: skip
        axes.set(
            xscale="log", yscale="log", xlabel="milliseconds an image, number: steps",
            ylabel="Fréchet distance",
        )  # fmt: skip
        _plain_decades(axes.xaxis, axes.yaxis)
        axes.legend(fontsize=8)
    facts = ", ".join(
        f"{r['network']} {r['steps']} steps {r['ms an image']:.2f} ms {r['fd']:.2f}"
        for r in rows.to_dicts()
    )
    return Picture(figure, f"Fréchet distance against time an image: {facts}.", hover)
