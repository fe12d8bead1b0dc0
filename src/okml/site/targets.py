"""The table of the project's speed targets beside what records of benchmarks show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from docutils import nodes

from okml.benchmark import BenchmarkRecord, PeerComparison
from okml.site.benchmarks import number, read_record
from okml.site.directives import PageDirective
from okml.site.language import Lang, word, words
from okml.site.markup import element, missing, note, row, scrolling_table, tag


@dataclass(frozen=True)
class Target:
    """A bound for a recorded number: that of the comparison whose quantity and peer match."""

    name: str  # the key of its sentence in words.yml
    benchmark: str  # the name of the record that has the number
    bound: float  # the least number that meets the target; with ``at_most``, the largest
    what: str  # a regular expression of the comparison's whole quantity
    peer: str  # a regular expression of its whole peer
    taken: Callable[[PeerComparison], float] = attrgetter("ratio")  # takes the number from it
    at_most: bool = False
    why: str = ""  # the key of the reason why it is missed, where that is known
    # The target whose number is the factor from this target's number to that at the limit which the
    # reason names.
    limit: Target | None = None
    unit: str = "unit.times"  # the key of the unit

    def found(self, record: BenchmarkRecord) -> float | None:
        """Return the number of a record; None if the record lacks it."""
        for each in record.comparisons:
            if re.fullmatch(self.what, each.what) and re.fullmatch(self.peer, each.peer):
                return self.taken(each)
        return None

    def met(self, value: float) -> bool:
        """Tell whether a number meets the target."""
        return value <= self.bound if self.at_most else value >= self.bound

    def why_missed(self, record: BenchmarkRecord, lang: Lang) -> str:
        """Return the reason for a miss as a sentence; an empty text if it is not known."""
        now, times = self.found(record), self.limit and self.limit.found(record)
        at_limit = number(now * times, lang) if now and times else ""
        return word(self.why, lang).format(at_limit) if self.why else ""


PROBES = "processor time, all layers"
FLOOR = Target(
    "target.floor", "sequential", 2, "training", "arithmetic floor.*",
    lambda comparison: 1 / comparison.ratio, at_most=True, why="why.floor",
)  # fmt: skip
TARGETS = (
    FLOOR,
    Target(
        "target.recbole", "sequential", 100, "training", "RecBole.*", why="why.recbole", limit=FLOOR
    ),
    Target("target.ridge", "ridge", 20, PROBES, ".*RidgeCV", why="why.ridge"),
    Target(
        "target.ridge_svd", "ridge", 6, PROBES, r'.*RidgeCV\(gcv_mode="svd"\)', why="why.ridge"
    ),
    Target(
        "target.graph", "graph", 64, "memory of the merge, beyond the edges", ".*",
        attrgetter("okml_value"), at_most=True, unit="unit.bytes",
    ),
)  # fmt: skip


class SpeedTargets(PageDirective):
    """``{speed-targets}``: each target, what is recorded, whether it is met, and why not."""

    def render(self) -> list[nodes.Node]:
        """Return the table."""
        header = words(self.lang, "target", "recorded_value", "state")
        return [scrolling_table(word("targets", self.lang), header, map(self._row, TARGETS))]

    def _row(self, target: Target) -> element:
        lang = self.lang
        head = word(target.name, lang).format(number(target.bound, lang))
        record = read_record(self.env, BenchmarkRecord, target.benchmark)
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
