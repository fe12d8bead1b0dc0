"""The page of recorded benchmarks: speed, what one card has shown, and what kills did."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from docutils import nodes
from sphinx.environment import BuildEnvironment

from okml.benchmark import (
    BenchmarkRecord,
    GpuCheck,
    Kills,
    MachineRecord,
    Survival,
    mean_sd,
)
from okml.errors import RecordError
from okml.paths import repository_root, results_dir
from okml.runtime import commits_since
from okml.site.directives import PageDirective
from okml.site.labels import label_in
from okml.site.language import NO_BREAK_SPACE, Lang, counted, numbers_in, word, words
from okml.site.markup import (
    Child,
    element,
    missing,
    note,
    paragraph,
    row,
    scrolling_table,
    tag,
    with_code,
)
from okml.site.provenance import duration_in, hardware, short_hash, when

R = TypeVar("R", bound=MachineRecord)


def path_of(name: str) -> Path:
    """Return the path of a benchmark's record; its name has no suffix."""
    return results_dir() / "benchmarks" / f"{name}.json"


def read_record(env: BuildEnvironment, kind: type[R], name: str) -> R | None:
    """Return a benchmark's record, and let the page be read again when its file changes.

    Args:
        env: The build, which is reading the page.
        kind: The type of the record.
        name: The name of the record's file, without a suffix.

    Returns:
        The record; None if there is none yet.

    Raises:
        RecordError: If the file is damaged or of another form.
    """
    path = path_of(name)
    if not path.exists():
        env.note_reread()  # there is no file to watch yet
        return None
    env.note_dependency(str(path))
    return kind.read(path)


class RecordTable(PageDirective, Generic[R]):
    """A directive that shows one record of a type of its own as one table."""

    file: str  # the name of the record's file, unless an argument names it
    kind: type[R]  # the type of the record
    script: ClassVar[str]  # the file or folder that measures it, from the root of the repository
    unrecorded: ClassVar[str] = "benchmark_missing"  # key of the words for a missing record

    def render(self) -> list[nodes.Node]:
        """Return the table, and the time and machine of the record."""
        record = read_record(self.env, self.kind, *(self.arguments or [self.file]))
        if record is None:
            return [paragraph(missing(word(self.unrecorded, self.lang)))]
        return [self.table(record), origin(record, self.script, self.lang)]

    @abstractmethod
    def table(self, record: R) -> element:
        """Return the table of the record."""


def origin(record: MachineRecord, script: str, lang: Lang, *more: str) -> nodes.Node:
    """Return the time, machine and commit of a record, and how often its script changed since.

    A later commit to the script may change the numbers.

    Args:
        record: The record.
        script: The file or folder that measures, from the root of the repository.
        lang: The language of the page.
        more: Texts that follow the commit.
    """
    time_and_machine = f"{when(record.started)} UTC, {hardware(record.environment, lang)}, "
    shown = note(time_and_machine, short_hash(record.commit.sha), *more)
    commits = commits_since(record.commit.sha, script)
    if not commits:  # there are none, or Git does not know the commit
        return paragraph(shown)
    changed = f"{word('script_changed', lang)}: {counted(commits, 'commits', lang)}."
    return paragraph(shown, note(changed, classes=["okml-stale"]))


class Benchmarks(PageDirective):
    """``{benchmark}``: all recorded benchmarks, one for each script of ``benchmarks/``."""

    def render(self) -> list[nodes.Node]:
        """Return a table for each benchmark."""
        scripts = sorted((repository_root() / "benchmarks").glob("*.py"))
        return [part for script in scripts for part in self._one(script.stem)]

    def _one(self, name: str) -> list[nodes.Node]:
        record, script = read_record(self.env, BenchmarkRecord, name), f"benchmarks/{name}.py"
        if record is None:
            return [paragraph(missing(f"{name}: {word('benchmark_missing', self.lang)}"))]
        self.env.note_dependency(str(repository_root() / script))  # commits to it are counted
        agreed = "; ".join(
            f"{label_in(check.what, self.lang)}: {numbers_in(f'{check.difference:.1e}', self.lang)}"
            for check in record.checks
        )
        return [
            _table(record, self.lang),
            paragraph(*with_code(label_in(record.what, self.lang))),
            origin(record, script, self.lang, f". {word('agreement', self.lang)}: {agreed}"),
        ]


def _table(record: BenchmarkRecord, lang: Lang) -> element:
    rows = []
    for item in record.comparisons:
        unit = label_in(item.unit, lang)
        rows.append(
            row(
                [label_in(item.what, lang)],
                [tag("strong", numbers_in(f"{item.ratio:.2f}×", lang))],
                [f"{number(item.okml_value, lang)} {unit}"],
                [f"{number(item.peer_value, lang)} {unit}", note(label_in(item.peer, lang))],
                [str(item.repeats)],
            )
        )
    # A phone shows the first columns, and what counts is the ratio.
    header = words(lang, "quantity", "ratio", "okml", "peer", "repeats")
    return scrolling_table(label_in(record.title, lang), header, rows)


class GpuCheckTable(RecordTable[GpuCheck]):
    """``{gpu-check}``: the record of ``make gpu-check``."""

    file, kind, script = "gpu_check", GpuCheck, "benchmarks/gpu"
    unrecorded = "gpu_check_missing"

    def table(self, record: GpuCheck) -> element:
        """Return a row for each part, and below it a row for each number.

        Raises:
            RecordError: If the record is of the smallest sizes.
        """
        if record.tiny:
            raise RecordError(
                f"{path_of(self.file)} is of the smallest sizes.", "Run `make gpu-check` on a GPU."
            )
        lang = self.lang
        rows = []
        for part in record.parts:
            state = part.failed or word("done", lang)
            rows.append(row([tag("strong", part.what)], [duration_in(part.seconds, lang)], [state]))
            for each in part.measured:
                value, beside = "—", ""
                if each.value is not None:
                    value = f"{number(each.value, lang)} {each.unit}".strip()
                if each.beside is not None:
                    beside = f"{number(each.beside, lang)} {each.unit}, {each.beside_is}"
                rows.append(row([each.what], [value], [beside]))
        header = words(lang, "quantity", "measured", "beside")
        return scrolling_table(word("gpu_check_title", lang), header, rows)


class KillsTable(RecordTable[Survival]):
    """``{kills}``: the record of ``make kills``."""

    file, kind, script = "survival", Survival, "tests/survival"

    def table(self, record: Survival) -> element:
        """Return a row for each kind of work, with its kills by signal, and a row of sums."""
        lang = self.lang
        signals = sorted({each.signal for each in record.kills})
        rows = []
        for work in dict.fromkeys(each.work for each in record.kills):
            found = [each for each in record.kills if each.work == work]
            hit = sum((Counter(each.processes) for each in found), Counter[str]())
            roles = ", ".join(f"{role} {count}" for role, count in sorted(hit.items()))
            rows.append(
                row([word(f"killed.{work}", lang), note(roles)], *_sums(found, signals, lang))
            )
        rows.append(row([tag("strong", word("total", lang))], *_sums(record.kills, signals, lang)))
        columns = words(lang, "gone", "whole", "equal", "slowest")
        header = [word("killed", lang), *signals, *columns]
        return scrolling_table(word("kills_title", lang), header, rows)


def _sums(found: Sequence[Kills], signals: Sequence[str], lang: Lang) -> list[list[Child]]:
    kills = sum(each.kills for each in found)
    well = (
        sum(each.gone for each in found),
        sum(each.whole for each in found),
        sum(each.equal for each in found),
    )
    return [
        *([str(sum(e.kills for e in found if e.signal == signal))] for signal in signals),
        *([f"{count} / {kills}"] for count in well),
        [numbers_in(f"{max(each.slowest_s for each in found):.1f} {word('unit.s', lang)}", lang)],
    ]


def share(value: float | None, lang: Lang) -> str:
    """Format a share, from 0 to 1, as a whole percentage; None is written as an en dash."""
    return "–" if value is None else numbers_in(f"{100 * value:.0f}{NO_BREAK_SPACE}%", lang)


def spread(values: Sequence[float], lang: Lang, digits: int = 2) -> str:
    """Format the mean of values over seeds with their standard deviation, without a line break.

    Args:
        values: The value of each seed; a single one is written without a standard deviation.
        lang: The language of the page.
        digits: The number of decimals.
    """
    return numbers_in(mean_sd(values, digits), lang).replace(" ", NO_BREAK_SPACE)


def number(value: float, lang: Lang) -> str:
    """Format a number with three significant digits, or as an integer from 1,000 on."""
    return numbers_in(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}", lang)
