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
    """A bound for one number in the record of a benchmark.

    The number is that of the comparison whose quantity and peer match two regular expressions.
    """

    name: str  # the key of the sentence that states the target, in words.yml
    benchmark: str  # the name of the record
    bound: float  # the least number that meets the target; with ``at_most``, the largest
    quantity: str  # matches the whole quantity that is compared
    peer: str  # matches the whole name of the peer
    number_of: Callable[[PeerComparison], float] = attrgetter("ratio")
    at_most: bool = False
    unit: str = "unit.times"  # the key of the number's unit
    reason: str = ""  # the key of the reason for a miss; empty if it is not known
    # The target whose number is how many times okml exceeds the limit of any kernel, for a reason
    # that says what the number of this target would be at that limit.
    from_limit: Target | None = None

    def number_in(self, record: BenchmarkRecord) -> float | None:
        """Return the number that a record has for the target; None if it has none."""
        for each in record.comparisons:
            if re.fullmatch(self.quantity, each.what) and re.fullmatch(self.peer, each.peer):
                return self.number_of(each)
        return None

    def met(self, value: float) -> bool:
        """Tell whether a number meets the target."""
        return value <= self.bound if self.at_most else value >= self.bound

    def why_missed(self, record: BenchmarkRecord, lang: Lang) -> str:
        """Return the reason for a miss as a sentence; an empty text if it is not known."""
        if not self.reason:
            return ""
        now, factor = self.number_in(record), self.from_limit and self.from_limit.number_in(record)
        at_limit = number(now * factor, lang) if now and factor else ""
        return word(self.reason, lang).format(at_limit)


PROBES = "processor time, all layers"
FLOOR = Target(
    "target.floor", "sequential", 2, "training", "arithmetic floor.*",
    lambda comparison: 1 / comparison.ratio, at_most=True, reason="why.floor",
)  # fmt: skip
TARGETS = (
    FLOOR,
    Target(
        "target.recbole", "sequential", 100, "training", "RecBole.*",
        reason="why.recbole", from_limit=FLOOR,
    ),
    Target("target.ridge", "ridge", 20, PROBES, ".*RidgeCV", reason="why.ridge"),
    Target(
        "target.ridge_svd", "ridge", 6, PROBES, r'.*RidgeCV\(gcv_mode="svd"\)', reason="why.ridge"
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
        value = None if record is None else target.number_in(record)
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
