"""The figures of the chapter, each a function from frames to a Picture."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from okml.periodic_behavior.arms import ARMS
from okml.periodic_behavior.dynamics import equilibrium_angle
from okml.periodic_behavior.experiments import AWAY
from okml.plotting import INK, PALETTE, Picture, by_color, style

HELD = {"layers": "each layer's norm held", "total": "norm of all layers together held"}
# ``step.frame`` of each table that a record keeps, so that the site draws it without the run.
RECORDED = {
    "problems": "problems.problems",
    "shown": "training.shown",
    "periods": "periods.periods",
    "phases": "periods.phases",
    "layers": "periods.layers",
    "spheres": "periods.spheres",
    "errors": "norms.errors",
    "frequency": "frequency.frequency",
}


def draw_course(frame: pl.DataFrame, phases: pl.DataFrame) -> Picture:
    """Draw loss, norm and angle of scale-invariant weights by epoch, for the first seed.

    The last epochs have ``arm``, ``seed``, ``epoch``, ``rate``, ``decay``, ``loss``, ``norm`` and
    ``angle``; the phases of a period ``seed``, ``low`` and ``rise``.
    """
    rows = frame.filter(arm="invariant")
    own = phases.filter(pl.col("low") >= rows["epoch"][0], seed=rows["seed"][0])
    equilibrium = equilibrium_angle(rows["rate"][0], rows["decay"][0])
    with style():
        figure, panels = plt.subplots(3, 1, figsize=(5, 5.8), sharex=True)
        for axes, column, name in zip(
            panels, ("loss", "norm", "angle"),
            ("training loss", "norm |w|", "angle of a step, rad"), strict=True,
        ):  # fmt: skip
            axes.plot(rows["epoch"], rows[column], lw=1)
            axes.set(ylabel=name, yscale="log")
            axes.yaxis.set_major_formatter("{x:g}")  # exponents are too small for a phone
            if column == "norm":
                _in_numbers(axes)
            for low, rise in own.select("low", "rise").iter_rows():  # phase B, between A and C
                axes.axvspan(low, rise, color=PALETTE[2], alpha=0.15, lw=0)
        panels[2].axhline(equilibrium, color=INK, lw=0.8, ls=":")
        panels[2].set(xlabel="epoch")
    losses = rows["loss"].to_numpy()
    return Picture(
        figure,
        f"Loss, norm and angle of a step by epoch. The loss goes between {losses.min():.3g} and "
        f"{losses.max():.3g} in {len(own)} whole periods; the norm falls while the loss is low and "
        "jumps where it peaks. The dotted line is the angle of the equilibrium.",
    )


def _in_numbers(axes: Axes) -> None:
    """Write the ticks of a log axis that spans few decades as plain numbers."""
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 3, 4, 6)), major_formatter="{x:g}")
    axes.yaxis.set_minor_formatter("")


def draw_controls(frame: pl.DataFrame) -> Picture:
    """Draw the ``loss`` and the ``norm`` of each ``arm`` by ``epoch``, for the first seed."""
    arms = frame["arm"].n_unique()
    facts = []
    with style():
        figure, panels = plt.subplots(
            2, arms, figsize=(2.1 * arms + 1, 4.2), sharex=True, sharey="row"
        )
        for column, (color, arm, rows) in enumerate(by_color(frame, "arm")):
            spans = []
            for axes, name in zip(panels[:, column], ("loss", "norm"), strict=True):
                values = rows[name].to_numpy()
                axes.plot(rows["epoch"], values, lw=0.9, color=color)
                axes.set(yscale="log")
                spans.append(f"{name} between {values.min():.3g} and {values.max():.3g}")
            panels[0, column].set_title(ARMS[arm].label, fontsize=8)
            panels[1, column].set(xlabel="epoch")
            facts.append(f"{ARMS[arm].label}: {', '.join(spans)}")
        panels[0, 0].set(ylabel="training loss")
        panels[1, 0].set(ylabel="norm |w|")
        _in_numbers(panels[1, 0])
    return Picture(figure, f"Loss and norm by epoch, a column for each arm. {'; '.join(facts)}.")


def draw_norm_errors(errors: pl.DataFrame) -> Picture:
    """Draw by how much a squared norm departs from its equation, a point for each training.

    A network has a column: the error in the worst step of each of its trainings.
    """
    facts = []
    with style():
        figure, axes = plt.subplots(figsize=(5, 1.8))
        for place, (color, of) in enumerate(zip(PALETTE, errors, strict=False)):
            axes.plot(of, [place] * len(of), "o", color=color, alpha=0.7)
            facts.append(f"{of.name} {min(of):.5f} to {max(of):.5f}")
        axes.set(xscale="log", xlabel="error of the equation of the norm in the worst step")
        axes.set_yticks(range(errors.width), errors.columns)
        axes.set_ylim(errors.width - 0.5, -0.5)
    return Picture(figure, f"Error of the equation of the norm: {'; '.join(facts)}.")


def draw_frequency(frame: pl.DataFrame) -> Picture:
    """Draw the frequency of destabilizations over the product of learning rate and decay.

    The frame has ``rate``, ``product``, ``seed`` and ``in 1000 epochs``.
    """
    means = frame.group_by("product").agg(pl.col("in 1000 epochs").mean()).sort("product")
    with style():
        figure, axes = plt.subplots(figsize=(6, 3.6))
        for color, rate, rows in by_color(frame.sort("rate", maintain_order=True), "rate"):
            axes.plot(
                rows["product"], rows["in 1000 epochs"], "o", color=color, alpha=0.7,
                label=f"η = {rate:g}",
            )  # fmt: skip
        axes.set(
            xscale="log", xlabel="learning rate × weight decay",
            ylabel="destabilizations\nin 1000 epochs", ylim=(0, None),
        )  # fmt: skip
        axes.legend(fontsize=8)
    facts = ", ".join(f"{many:.1f} at {product:.2g}" for product, many in means.iter_rows())
    return Picture(
        figure,
        f"Destabilizations in 1000 epochs by the product of learning rate and weight decay, a "
        f"point for each seed; means: {facts}.",
    )


def draw_norms(phases: pl.DataFrame) -> Picture:
    """Draw the norm where phases A, B and C begin, and its growth from C on, period by period.

    A whole period has ``norm at A``, ``norm at B``, ``norm at C``, ``growth``, which is null in the
    last period of a seed, and ``late``. Those that count are drawn.
    """
    phases = phases.filter("late")
    norms = phases.select("norm at A", "norm at B", "norm at C").to_numpy()  # [periods, 3]
    medians = np.median(norms, axis=0) if len(norms) else np.full(3, np.nan)
    growth = phases["growth"].drop_nulls().to_numpy()
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4))
        left.plot(norms.T, color=PALETTE[0], lw=0.8, alpha=0.4)
        left.plot(medians, "o-", color=PALETTE[1])
        left.set(ylabel="norm |w|", ylim=(0, None), xticks=range(3), xticklabels="ABC")
        left.set(xlabel="where the phase begins")
        right.plot(np.arange(1, len(growth) + 1), np.sort(growth), "o", ms=4, color=PALETTE[0])
        right.axhline(1, color=INK, lw=0.8, ls=":")
        right.set(xlabel="periods, by growth", xlim=(0, len(growth) + 1))
        right.set(yscale="log", ylabel="growth of the norm", ylim=(0.9, None))
        _in_numbers(right)
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
    middle = ", ".join(f"{name} {value:.2f}" for name, value in zip("ABC", medians, strict=True))
    most = f"; the largest growth is {growth.max():.2f}" if len(growth) else ""
    return Picture(
        figure,
        f"Norm where the phases of a period begin, a line for each of {len(norms)} periods; "
        f"medians: {middle}{most}.",
    )


def draw_spheres(spheres: pl.DataFrame) -> Picture:
    """Draw the late loss and the frequency of destabilizations over the factor of a held norm.

    A training has ``held``, ``factor``, ``seed``, ``angle``, ``median loss`` and ``in 1000
    epochs``.
    """
    names = ("median loss", "in 1000 epochs")
    facts = []
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.4))
        for color, held, rows in by_color(spheres, "held"):
            middle = rows.group_by("factor").agg(pl.col(*names, "angle").median()).sort("factor")
            for axes, name in zip(panels, names, strict=True):
                axes.plot(rows["factor"], rows[name], "o", ms=4, color=color, alpha=0.6)
                axes.plot(middle["factor"], middle[name], color=color, label=HELD[held])
            facts += [
                f"{HELD[held]}, factor {factor:g}: angle {angle:.2g}, loss {loss:.2g}, {many:.1f}"
                for factor, loss, many, angle in middle.iter_rows()
            ]
        for axes in panels:
            axes.set(xlabel="norm that is held, over the initial")
        panels[0].set(yscale="log", ylabel="median loss")
        panels[1].set(ylabel="destabilizations\nin 1000 epochs", ylim=(0, None))
        panels[1].legend(fontsize=8)
    return Picture(
        figure,
        "Median loss and destabilizations in 1000 epochs by the norm that is held, a point for "
        f"each seed; medians, with the angle of a step in radians: {'; '.join(facts)}.",
    )


def draw_presumptions(frame: pl.DataFrame) -> Picture:
    """Draw the angle of a step over that of the equilibrium by epoch, for the first seed.

    The last epochs have ``arm``, ``epoch``, ``rate``, ``decay`` and ``angle``.
    """
    facts = []
    with style():
        figure, panels = plt.subplots(2, 1, figsize=(8.5, 4.4), sharex=True, sharey=True)
        for axes, arm in zip(panels, ("invariant", "all_weights"), strict=True):
            rows = frame.filter(arm=arm)
            equilibrium = equilibrium_angle(rows["rate"][0], rows["decay"][0])
            relative = rows["angle"].to_numpy() / equilibrium
            axes.axhspan(1 / AWAY, AWAY, color=PALETTE[2], alpha=0.15, lw=0)
            axes.axhline(1, color=INK, lw=0.8, ls=":")
            axes.plot(rows["epoch"], relative, lw=1)
            axes.set(yscale="log", ylabel="angle over that\nof the equilibrium")
            axes.set_title(ARMS[arm].label)
            near = np.abs(np.log(relative)) <= np.log(AWAY)
            facts.append(f"{ARMS[arm].label}: {100 * near.mean():.0f}")
        panels[1].set(xlabel="epoch")
    return Picture(
        figure,
        "Angle of a step over that of the equilibrium by epoch. Percent of the epochs within the "
        f"shaded factor of {AWAY} of it: {'; '.join(facts)}.",
    )
