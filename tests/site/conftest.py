"""A small book with one chapter, fake claims and fake records, built by plain Sphinx."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace

from okml.ledger import (
    DataUsed,
    Estimate,
    Provenance,
    RunRecord,
    parse_claims,
    record_path,
    report,
)
from okml.paths import repository_root
from okml.profile import canonical_hash
from okml.runtime import Commit, Environment
from okml.site import view
from okml.site.labels import LISTED

# Longer than what stands in a column of a table without being folded.
LONG_WHY = f"There is no control, {'and there is a reason for it, ' * 5}which is long."
CLAIMS = parse_claims(
    """
- id: space_time.map
  text: {en: A probe reads the map., ru: Зонд читает карту.}
  source: Table 2
  paper: {value: 0.911, unit: test R², unit_ru: R² на тесте}
  metric: r2
  measures: {en: R² on test places, ru: R² на тестовых местах}
  expect: {smoke: "> 0.1", cpu: "> 0.25", gpu: ">= 0.85"}
  set: 2026-01-01
  revised:
    - {date: 2026-01-02, profile: cpu, from: ">= 0.3",
       why: {en: It was read wrong., ru: Прочитано неверно.}}
  rests_on: real
  rests_note: {en: a toy, ru: игрушка}
  control: {metric: shuffled_r2, margin: 0.1, text: {en: shuffled targets, ru: перемешанные цели}}
  needs: {en: one large GPU, ru: один большой GPU}
- id: space_time.size
  text: {en: Size helps., ru: Размер помогает.}
  source: Figure 2
  metric: gain
  expect: {cpu: "> 0.5"}
  no_control: {en: LONG_WHY, ru: Контроля нет.}
  conditions:
    - {metric: r2, bar: "> 0.1", text: {en: Nothing was learned., ru: Ничего не выучено.}}
- id: space_time.meaning
  text: {en: It understands., ru: Она понимает.}
  source: digest
  untestable: {en: no test decides it, ru: это не решить опытом}
""".replace("LONG_WHY", f'"{LONG_WHY}"'),
    "space_time",
)

PAGES = {
    "book/index.md": "# Home\n\n```{chapter-cards}\n```\n\n```{toctree}\n:glob:\n\n/**\n```\n",
    "book/digests/space_time.md": (
        "# Space digest\n\nIt has a map {claim}`space_time.map`. Bigger is better "
        "{claim}`space_time.size`. We got {measured}`space_time.r2@cpu`, and at full scale "
        "{measured}`space_time.r2@gpu`.\n"
    ),
    "book/ru/digests/space_time.md": "# Разбор\n\nКарта есть {claim}`space_time.map`.\n",
    "book/scoreboard.md": "# Scoreboard\n\n```{scoreboard}\n```\n",
    "book/status.md": "# Status\n\n```{run-status}\n```\n",
    "notebooks/space_time.md": (
        "# Walk\n\n## The map {tests}`space_time.map`\n\nHere.\n\n"
        "## Expected and got\n\n```{claims-table} space_time\n```\n"
    ),
}

NOTEBOOK = {
    "cells": [{"cell_type": "code"}, {"cell_type": "markdown"}],
    "metadata": {
        "okml": {"profile": "smoke"},
        "papermill": {"start_time": "2026-01-02T03:04:05.6", "duration": 61.0, "exception": None},
    },
}


def estimate(values: list[float]) -> Estimate:
    """Return an estimate whose interval is from the least to the largest value."""
    return Estimate(
        values={str(seed): value for seed, value in enumerate(values)},
        unit="R²",
        low=min(values),
        high=max(values),
        n=40,
        over="names",
        estimator="the range",
    )


def record(profile: str, **metrics: list[float]) -> RunRecord:
    machine = Environment(
        python="3.11.9",
        platform="Linux x86_64",
        cpu="Test processor",
        cores=2,
        memory_gib=16,
        gpus=(),
        packages={"torch": "2.9.0"},
    )
    settings = {"name": profile, "seeds": [0, 1]}
    return RunRecord(
        schema_version=2,
        chapter="space_time",
        profile=profile,
        settings=settings,
        settings_sha256=canonical_hash(settings),
        seeds=(0, 1),
        metrics={name: estimate(values) for name, values in metrics.items()},
        differences={
            name: {
                control: estimate([a - b for a, b in zip(values, others, strict=False)])
                for control, others in metrics.items()
            }
            for name, values in metrics.items()
        },
        provenance=Provenance(
            started="2026-01-02T03:04:05+00:00",
            seconds=300,
            commit=Commit(sha="abcdef0123456789", dirty=True),
            environment=machine,
            peak_memory_gib=1.5,
            device="cpu",
            data={"cities.csv": DataUsed(source="the test", sha256="9" * 64)},
        ),
    )


@dataclass
class Book:
    """A project in a folder: write pages, build, look at the result."""

    root: Path
    warnings: str = ""

    @property
    def source(self) -> Path:
        return self.root / "stage"

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write_twins(self, name: str, text: str) -> None:
        """Write a page of the book and the same text as its Russian twin."""
        for place in ("book", "book/ru"):
            self.write(f"{place}/{name}", text)

    def build(self, **config: str | list[str]) -> list[str]:
        """Build what is outdated and return the pages that were read."""
        nocolor()
        warning, read = io.StringIO(), []
        with docutils_namespace():
            app = Sphinx(
                self.source,
                None,
                self.root / "html",
                self.root / "doctrees",
                "html",
                confoverrides={
                    "extensions": ["myst_parser", "okml.site.extension"],
                    "html_theme": "basic",
                    "html_search_language": "en-ru",
                    "html_title": "okml",
                    "author": "the group",
                    "master_doc": "book/index",
                    "language": "en",
                    "myst_enable_extensions": ["attrs_inline"],
                    "suppress_warnings": ["myst.header"],
                    "nitpicky": True,
                    **config,
                },
                status=None,
                warning=warning,
            )
            app.connect("source-read", lambda app, docname, source: read.append(docname))
            app.build()
        self.warnings = warning.getvalue()
        return read

    def page(self, name: str) -> BeautifulSoup:
        text = (self.root / "html" / f"{name}.html").read_text(encoding="utf-8")
        return BeautifulSoup(text, "html.parser")


def save_benchmark(book: Book, file: str, **measured: object) -> None:
    """Keep the record of a benchmark where the site of the book looks for it."""
    made = record("cpu", r2=[0.5]).provenance
    path = book.root / f"root/results/benchmarks/{file}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = made.model_dump(mode="json", include={"started", "commit", "environment"})
    path.write_text(json.dumps({**origin, **measured}))


def cells(row: Tag) -> list[str]:
    """Return the texts of the cells of a table's row."""
    return [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])]


def page_of(claim: str) -> str:
    """Return the source of a claim's page."""
    return f"# Its sentence\n\n```{{claim-page}} {claim}\n```\n"


def save(found: RunRecord) -> None:
    """Keep a record where the ledger of the book in use looks for it."""
    found.write(record_path(found.chapter, found.profile))


@contextmanager
def small_book(folder: Path) -> Iterator[Book]:
    """The small book: smoke and cpu were run, the notebook was executed at smoke.

    The ledger reads claims and records of a repository of the book's own.
    """
    root = folder / "root"
    (root / LISTED).parent.mkdir(parents=True)
    shutil.copy(repository_root() / LISTED, root / LISTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OKML_ROOT", str(root))
        patch.setattr(
            report, "load_claims", lambda chapter: CLAIMS if chapter == "space_time" else []
        )
        save(record("smoke", r2=[0.2, 0.22], shuffled_r2=[0.0, 0.01], gain=[0.3]))
        save(record("cpu", r2=[0.4, 0.42], shuffled_r2=[0.0, 0.01], gain=[0.3, 0.4]))
        made = Book(folder)
        for name, text in PAGES.items():
            made.write(name, text)
        made.write("notebooks/space_time.ipynb", json.dumps(NOTEBOOK))
        yield made


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    """A test outside of a build shows the files that are there now."""
    view.forget()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A small book that a test may change and build."""
    with small_book(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The small book as it is, built once for all tests that only look at it."""
    with small_book(tmp_path_factory.mktemp("book")) as made:
        made.build()
    assert made.warnings == ""
    return made
