"""The table of the project's speed targets beside what records of benchmarks show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from docutils import nodes

from okml.benchmark import BenchmarkRecord, PeerComparison
from okml.site.benchmarks import RecordDirective, number
from okml.site.language import Lang, word, words
from okml.site.markup import element, missing, note, row, scrolling_table, tag

RECBOLE, FLOOR = "RecBole", "arithmetic floor"


@dataclass(frozen=True)
class Target:
    """A bound for a recorded number.

    Attributes:
        name: The name of its sentence among the site's words.
        benchmark: The record that has the number.
        bound: The least number that meets the target; with ``at_most``, the largest.
        found: A function that takes the number from the record; None if the record lacks it.
        why: The name of the reason why it is missed, where that is known.
        in_why: A function that takes the number of that reason from the record.
        unit: The unit of the number.
    """

    name: str
    benchmark: str
    bound: float
    found: Callable[[BenchmarkRecord], float | None]
    at_most: bool = False
    why: str = ""
    in_why: Callable[[BenchmarkRecord], float | None] = lambda _: None
    unit: str = "unit.times"

    def met(self, value: float) -> bool:
        """Tell whether a number meets the target."""
        return value <= self.bound if self.at_most else value >= self.bound

    def why_missed(self, record: BenchmarkRecord, lang: Lang) -> str:
        """Return the reason as a sentence; nothing if it is not known."""
        stands_in_it = self.in_why(record)
        filled = "" if stands_in_it is None else number(stands_in_it, lang)
        return word(self.why, lang).format(filled) if self.why else ""


def comparison(record: BenchmarkRecord, what: str, peer: str) -> PeerComparison | None:
    """Return the comparison of a quantity with a peer, each given by a regular expression."""
    found = (
        each
        for each in record.comparisons
        if re.fullmatch(what, each.what) and re.fullmatch(peer, each.peer)
    )
    return next(found, None)


def ratio(what: str, peer: str) -> Callable[[BenchmarkRecord], float | None]:
    """Return a function that takes from a record how many times better than a peer okml is."""

    def of(record: BenchmarkRecord) -> float | None:
        found = comparison(record, what, peer)
        return None if found is None else found.ratio

    return of


def over_floor(record: BenchmarkRecord) -> float | None:
    """Return the time of training as a multiple of the arithmetic floor."""
    found = comparison(record, "training", f"{FLOOR}.*")
    return None if found is None else 1 / found.ratio


def recbole_at_floor(record: BenchmarkRecord) -> float | None:
    """Return how many times RecBole's targets a second okml would train at the floor."""
    now, over = AS_RECBOLE(record), over_floor(record)
    return None if now is None or over is None else now * over


def bytes_an_edge(record: BenchmarkRecord) -> float | None:
    """Return the memory that the merge of the larger catalog adds to an edge, in bytes."""
    found = comparison(record, "memory of the merge, beyond the edges", ".*")
    return None if found is None else found.okml_value


PROBES = "processor time, all layers"
DEFAULT, SVD = r".*RidgeCV", r'.*RidgeCV\(gcv_mode="svd"\)'
AS_RECBOLE = ratio("training", f"{RECBOLE}.*")
TARGETS = (
    Target("target.floor", "sequential", 2, over_floor, at_most=True, why="why.floor"),
    Target(
        "target.recbole", "sequential", 100, AS_RECBOLE,
        why="why.recbole", in_why=recbole_at_floor,
    ),
    Target("target.ridge", "ridge", 20, ratio(PROBES, DEFAULT), why="why.ridge"),
    Target("target.ridge_svd", "ridge", 6, ratio(PROBES, SVD), why="why.ridge"),
    Target("target.graph", "graph", 64, bytes_an_edge, at_most=True, unit="unit.bytes"),
)  # fmt: skip


class SpeedTargets(RecordDirective):
    """``{speed-targets}``: each target, what is recorded, whether it is met, and why not."""

    def render(self) -> list[nodes.Node]:
        """Return the table."""
        header = words(self.lang, "target", "recorded_value", "state")
        return [scrolling_table(word("targets", self.lang), header, map(self._row, TARGETS))]

    def _row(self, target: Target) -> element:
        lang = self.lang
        head = word(target.name, lang).format(number(target.bound, lang))
        path = self.path_of(target.benchmark)
        record = None if path is None else BenchmarkRecord.read(path)
        value = None if record is None else target.found(record)
        if record is None or value is None:
            lacks = "benchmark_missing" if record is None else "target.older"
            unknown = missing(word("target.unknown", lang))
            return row([head, note(word(lacks, lang))], ["—"], [unknown])
        shown = word(target.unit, lang).format(number(value, lang))
        if target.met(value):
            return row([head], [shown], [word("target.met", lang)])
        missed = tag("strong", word("target.missed", lang))
        why = target.why_missed(record, lang)
        return row([head, note(why) if why else None], [shown], [missed])
