"""Recorded benchmarks: okml beside its peers, as ratios from one run on one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from docutils import nodes
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from okml.errors import OkmlError, RecordError
from okml.paths import repository_root, results_dir
from okml.runtime import Commit, Environment
from okml.site.directives import PageDirective
from okml.site.language import Lang, word
from okml.site.markup import element, note, row, scrolling_table, tag
from okml.site.provenance import hardware, short_hash, when


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Model):
    """One quantity, measured for okml and for a peer in the same run."""

    what: str
    unit: str
    peer: str  # name and version of what okml is compared with
    okml_value: float
    peer_value: float
    better: Literal["lower", "higher"] = "lower"
    repeats: int = Field(default=1, ge=1)  # both values are medians over so many repeats

    @property
    def ratio(self) -> float:
        """How many times better okml is; below 1 it is worse."""
        if self.better == "lower":
            return self.peer_value / self.okml_value
        return self.okml_value / self.peer_value


class BenchmarkRecord(_Model):
    """What ``benchmarks/NAME.py --out results/benchmarks/NAME.json`` writes."""

    name: str
    title: str
    started: str  # UTC, ISO 8601
    commit: Commit
    environment: Environment
    comparisons: tuple[Comparison, ...] = Field(min_length=1)


def read_benchmark(path: Path) -> BenchmarkRecord:
    """Read a recorded benchmark.

    Raises:
        RecordError: If the file is damaged or of another form.
    """
    try:
        return BenchmarkRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, ValidationError) as error:
        raise RecordError(
            f"{path} is no recorded benchmark: {error}", "Run `make bench`."
        ) from None


class Benchmark(PageDirective):
    """``{benchmark} NAME``: one recorded benchmark; all of ``benchmarks/`` without a name."""

    optional_arguments = 1

    def render(self) -> list[nodes.Node]:
        """Return a table for each benchmark."""
        scripts = sorted(path.stem for path in (repository_root() / "benchmarks").glob("*.py"))
        names = self.arguments or scripts
        if unknown := sorted(set(names) - set(scripts)):
            raise OkmlError(f"There is no benchmarks/{unknown[0]}.py.")
        return [part for name in names for part in self._one(name)]

    def _one(self, name: str) -> list[nodes.Node]:
        path = results_dir() / "benchmarks" / f"{name}.json"
        if not path.exists():
            self.env.note_reread()  # there is no file to watch yet
            missing = f"{name}: {word('benchmark_missing', self.lang)}"
            return [nodes.paragraph("", "", tag("span", missing, classes=["okml-missing"]))]
        self.env.note_dependency(str(path))
        record = read_benchmark(path)
        return [_table(record, self.lang), _made(record, self.lang)]


def _table(record: BenchmarkRecord, lang: Lang) -> element:
    rows = [
        row(
            [item.what],
            [f"{item.okml_value:.3g} {item.unit}"],
            [f"{item.peer_value:.3g} {item.unit}", note(item.peer)],
            [tag("strong", f"{item.ratio:.2f}×")],
            [str(item.repeats)],
        )
        for item in record.comparisons
    ]
    keys = ("quantity", "okml", "peer", "ratio", "repeats")
    return scrolling_table(record.title, [(word(key, lang), "") for key in keys], rows)


def _made(record: BenchmarkRecord, lang: Lang) -> nodes.Node:
    said = f"{when(record.started)} UTC, {hardware(record.environment, lang)}, "
    return nodes.paragraph("", "", note(said, short_hash(record.commit.sha)))
