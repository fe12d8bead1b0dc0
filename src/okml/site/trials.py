"""The tables of single trials: changes of the recipe of ADD, and tied events in another order."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from okml.benchmark import HEADS_SHOWN, AddTrials, TieTrial, TrialResult
from okml.ledger import Claim, judge, load_claims
from okml.plotting import INK, PALETTE, Picture, style
from okml.site import view
from okml.site.badges import badge
from okml.site.benchmarks import RecordTable, number, share, spread
from okml.site.dependencies import note_chapters
from okml.site.estimates import estimate_node
from okml.site.labels import label_in
from okml.site.language import Lang, numbers_in, word, words
from okml.site.markup import Child, element, note, row, scrolling_table, tag
from okml.site.pictures import picture
from okml.site.tables import claim_cell

COLUMNS = 3  # of panels at most
TITLE_WIDTH = 26  # characters of a line above a panel
OF_TIES = "video_workshop"  # the chapter whose claims are shown in two orders of tied events


class AddTrialsTable(RecordTable[AddTrials]):
    """``{add-trials} file``: a record of ``benchmarks/trials/add.py``."""

    required_arguments = 1
    kind, script = AddTrials, "benchmarks/trials/add.py"

    def table(self, record: AddTrials) -> element:
        """Return the curves, and a row for each trial below those of the teacher and the start."""
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
    """Draw the Fréchet distance while each trial trains: a panel for each, a line for each seed.

    The recipe is drawn behind each trial, and the teacher's one step is a dashed line across all
    panels; the line of the slower average is green.
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


class TieTrialTable(RecordTable[TieTrial]):
    """``{tie-trial}``: the record of ``benchmarks/trials/ties.py``."""

    file, kind, script = "tie_trial", TieTrial, "benchmarks/trials/ties.py"

    def table(self, record: TieTrial) -> element:
        """Return a row for each claim, and one for each rate of updates, in both orders.

        A claim has its verdict in the chapter's record beside them, for which the order was drawn
        once more.
        """
        note_chapters(self.env, OF_TIES)
        lang = self.lang
        header = words(lang, "claim", "ties.file", "ties.drawn", "ties.record")
        shares = [[share(each, lang)] for each in record.one_way]
        ndcg = [
            ["–" if each is None else numbers_in(f"{each:.3f}", lang)]
            for each in record.frozen_ndcg10
        ]
        body = [
            row([word("ties.one_way", lang)], *shares, ["–"]),
            row([word("ties.frozen", lang)], *ndcg, ["–"]),
        ]
        body += [
            row(claim_cell(claim, lang), *self._orders(record, claim))
            for claim in load_claims(OF_TIES)
            if claim.id in record.outcomes
        ]
        claims = scrolling_table(word("ties.title", lang), header, body)
        return tag("div", claims, self._rates(record)) if record.rates else claims

    def _rates(self, record: TieTrial) -> element:
        """Return HR@10 by updates a period and factor of the rate, the chosen one marked."""
        found = {(rate.updates, rate.factor, rate.order): rate for rate in record.rates}
        body, chosen = [], word("ties.chosen", self.lang)
        for updates, factor in dict.fromkeys((rate.updates, rate.factor) for rate in record.rates):
            names = [[number(each, self.lang)] for each in (updates, factor)]
            rates = (found[updates, factor, order] for order in ("file", "drawn"))
            hits = [
                [spread(rate.hr10, self.lang, 4), note(chosen) if rate.chosen else None]
                for rate in rates
            ]
            body.append(row(*names, *hits))
        header = words(self.lang, "ties.updates", "ties.factor", "ties.file", "ties.drawn")
        seeds = len(record.rates[0].hr10)
        return scrolling_table(word("ties.rates", self.lang).format(seeds), header, body)

    def _orders(self, record: TieTrial, claim: Claim) -> list[list[Child | None]]:
        verdict = judge(claim, view.record(OF_TIES, record.profile))
        assert claim.metric is not None  # it was judged
        outcomes = (*record.outcomes[claim.id], verdict.outcome)
        numbers = (record.in_file[claim.metric], record.in_drawn[claim.metric], verdict.measured)
        return [
            [badge(outcome, self.lang), note(estimate_node(found, self.lang)) if found else None]
            for outcome, found in zip(outcomes, numbers, strict=True)
        ]
