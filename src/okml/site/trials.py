"""The table of single changes of the recipe of ADD."""

from __future__ import annotations

from collections.abc import Sequence

from okml.benchmark import HEADS_SHOWN, AddTrials, TrialResult, mean_sd
from okml.site.benchmarks import RecordTable, number
from okml.site.labels import label_in
from okml.site.language import Lang, word
from okml.site.markup import Child, element, note, row, scrolling_table
from okml.site.numerals import numbers_in


class AddTrialsTable(RecordTable[AddTrials]):
    """``{add-trials}``: the record of ``benchmarks/trials/add.py``."""

    file, kind, script = "add_trials", AddTrials, "benchmarks/trials/add.py"

    def table(self, record: AddTrials) -> element:
        """Return a row for each trial, after those of the teacher and of the untrained student."""
        lang = self.lang
        nothing: list[list[Child]] = [[]] * 5  # only a training has the other columns
        distances = {
            **{
                f"the teacher, DDIM steps: {steps}": found
                for steps, found in record.teacher.items()
            },
            "the student before its training": record.start,
        }
        rows = [
            row([label_in(name, lang)], [_spread(found, lang)], *nothing)
            for name, found in distances.items()
        ]
        rows.extend(
            row([label_in(trial.title, lang)], *_measured(trial, lang)) for trial in record.trials
        )
        keys = ("change", "one_step_fd", "least_fd", "gradient_ratio", *HEADS_SHOWN)
        header = [(word(f"trials.{key}", lang), "") for key in keys]
        title = word("trials.title", lang).format(record.updates, len(record.seeds))
        return scrolling_table(title, header, rows)


def _measured(trial: TrialResult, lang: Lang) -> list[list[Child]]:
    updates, least = trial.nearest()
    ratio, shares = trial.gradient_ratio(), [trial.accuracy(name) for name in HEADS_SHOWN]
    return [
        [_spread(trial.fd(), lang)],
        [numbers_in(f"{least:.1f}", lang), note(word("trials.after", lang).format(updates))],
        ["–" if ratio is None else number(ratio, lang)],
        *(["–" if share is None else numbers_in(f"{100 * share:.0f} %", lang)] for share in shares),
    ]


def _spread(values: Sequence[float], lang: Lang) -> str:
    return numbers_in(mean_sd(values), lang)
