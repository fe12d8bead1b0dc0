"""Single changes of the recipe of ADD: a panel of curves and a row for each."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from okml.benchmark import HEADS_SHOWN, AddTrials, TrialResult
from okml.plotting import INK, PALETTE, Picture, style
from okml.site.benchmarks import RecordTable, number, share, spread
from okml.site.labels import label_in
from okml.site.language import Lang, numbers_in, word
from okml.site.markup import Child, element, note, row, scrolling_table, tag
from okml.site.pictures import picture

COLUMNS = 3  # of panels at most
TITLE_WIDTH = 26  # characters of a line above a panel


class AddTrialsTable(RecordTable[AddTrials]):
    """``{add-trials} file``: a record of ``benchmarks/trials/add.py``."""

    required_arguments = 1
    kind, script = AddTrials, "benchmarks/trials/add.py"

    def table(self, record: AddTrials) -> element:
        """Return the curves, and a row for each trial after those of the teacher and the start."""
        lang = self.lang
        slow = ["slow_fd"] if any(trial.fd_slow() for trial in record.trials) else []
        keys = ("change", "one_step_fd", *slow, "least_fd", "gradient_ratio", *HEADS_SHOWN)
        nothing: list[list[Child]] = [[]] * (len(keys) - 2)  # only a training has other columns
        distances = {
            **{
                f"the teacher, DDIM steps: {steps}": found
                for steps, found in record.teacher.items()
            },
            "the student before its training": record.start,
        }
        rows = [
            row([label_in(name, lang)], [spread(found, lang)], *nothing)
            for name, found in distances.items()
        ]
        rows.extend(
            row([label_in(trial.title, lang)], *_measured(trial, lang)) for trial in record.trials
        )
        header = [word(f"trials.{key}", lang) for key in keys]
        title = word("trials.title", lang).format(record.updates, len(record.seeds))
        drawn = tag("figure", picture(self.env, curves(record, lang).svg), classes=["okml-figure"])
        return tag("div", drawn, scrolling_table(title, header, rows))


def curves(record: AddTrials, lang: Lang) -> Picture:
    """Return the distance while each trial trains, a line for each seed.

    The recipe is drawn behind each trial, and the teacher's one step across all; the line of the
    slower average is green.
    """
    columns = min(COLUMNS, len(record.trials))
    rows = -(-len(record.trials) // columns)
    recipe = record.trials[0]
    one_step = statistics.mean(record.teacher[min(record.teacher)])
    with style():
        figure, grid = plt.subplots(
            rows, columns, sharey=True, squeeze=False,
            figsize=(2.2 * columns + 0.6, 1.7 * rows + 0.4),
        )  # fmt: skip
        for axes in grid.flat[len(record.trials) :]:
            axes.remove()
        for axes, trial in zip(grid.flat, record.trials, strict=False):
            _draw(axes, recipe, record.start, color=INK, linewidth=0.8, alpha=0.5)
            _draw(axes, trial, record.start, color=PALETTE[0])
            if trial.fd_slow():
                _draw(axes, trial, record.start, "fd_slow", color=PALETTE[2])
            axes.axhline(one_step, color=PALETTE[1], linestyle="--", linewidth=1.2)
            axes.set_title(fill(label_in(trial.title, lang), TITLE_WIDTH), fontsize=9)
        figure.supylabel(word("trials.one_step_fd", lang))
        figure.supxlabel(word("trials.updates", lang))
        grid[0, 0].set_ylim(bottom=0)
    alt = word("trials.alt", lang).format(len(record.seeds), numbers_in(f"{one_step:.1f}", lang))
    if any(trial.fd_slow() for trial in record.trials):
        alt += " " + word("trials.alt_slow", lang)
    return Picture(figure, alt)


def _draw(
    axes: Axes, trial: TrialResult, start: Sequence[float], distance: str = "fd", **line: Any
) -> None:
    """Draw a distance of each seed of a trial, from that of the student before its training."""
    for run, before in zip(trial.runs, start, strict=True):
        updates = [0, *(point.updates for point in run.curve)]
        axes.plot(updates, [before, *(getattr(point, distance) for point in run.curve)], **line)


def _measured(trial: TrialResult, lang: Lang) -> list[list[Child]]:
    updates, least = trial.nearest()
    ratio, shares = trial.gradient_ratio(), [trial.accuracy(name) for name in HEADS_SHOWN]
    slow = trial.fd_slow()
    return [
        [spread(trial.fd(), lang)],
        *([[spread(slow, lang)]] if slow else []),
        [numbers_in(f"{least:.1f}", lang), note(word("trials.after", lang).format(updates))],
        ["–" if ratio is None else number(ratio, lang)],
        *([share(each, lang)] for each in shares),
    ]
