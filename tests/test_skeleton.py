"""A new digest: its files, its lines where all are listed, and its chapter under the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import okml
from okml.chapters import CHAPTERS, Chapter
from okml.code_key import Sources
from okml.errors import ParameterError
from okml.ledger import load_claims
from okml.skeleton import new_digest
from tests.deciding import deciding_estimates
from tests.tools.nearest import ROOT

NAME, TITLE = "abc_of_lines", "The ABC of Lines"
LISTS = ("src/okml/chapters.py", "_toc.yml", "README.md", "CONTRIBUTING.md",
         "book/guides/gpu.md", "book/ru/guides/gpu.md")  # fmt: skip
CHECKOUT = ("src", "tests", "book", "notebooks", "results", *LISTS[1:4], "_config.yml",
            "pyproject.toml", ".gitignore")  # fmt: skip
TESTS = ("tests/test_layout.py", "tests/test_chapters.py", "tests/test_notebook_skeleton.py",
         "tests/test_settings.py", "tests/test_run.py", "tests/test_gpu_guide.py",
         "tests/ledger/test_claims.py",
         "tests/ledger/test_audit.py", "tests/ledger/test_typed_results.py",
         "tests/ledger/test_summary.py", "tests/site/test_scales.py", f"tests/{NAME}")  # fmt: skip


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The files that list all chapters, in a folder of their own."""
    for name in LISTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_digest_stands_in_five_places_and_is_listed_after_the_last(lists: Path) -> None:
    before = {name: (lists / name).read_text("utf-8") for name in LISTS}
    written = {str(path.relative_to(lists)) for path in new_digest(NAME, TITLE, lists)}
    assert {*LISTS, f"src/okml/{NAME}/claims.yml", f"tests/{NAME}/test_line.py",
            f"notebooks/{NAME}.ipynb", f"book/digests/{NAME}.md",
            f"book/ru/digests/{NAME}.md"} <= written  # fmt: skip
    for name in written - {*LISTS}:
        text = (lists / name).read_text("utf-8")
        assert "new_digest" not in text
        assert "NewDigest" not in text
    namespace: dict[str, object] = {}
    chapters = (lists / LISTS[0]).read_text("utf-8")
    exec(chapters[chapters.index("CHAPTERS = (") : chapters.index("# The notebooks")], namespace)
    assert namespace["CHAPTERS"] == (*CHAPTERS, NAME)
    parts = yaml.safe_load((lists / "_toc.yml").read_text("utf-8"))["parts"]
    assert parts[0]["chapters"][-1] == {
        "file": f"book/digests/{NAME}", "sections": [{"file": f"notebooks/{NAME}"}],
    }  # fmt: skip
    (digests,) = (part for part in parts if part["caption"] == "Дайджесты")
    russian = [entry["file"] for entry in digests["chapters"]]
    assert russian.index(f"book/ru/digests/{NAME}") == len(CHAPTERS) + 1  # after their home page
    assert f"| `{NAME}` | {TITLE} |\n" in (lists / "README.md").read_text("utf-8")
    for name in LISTS:  # nothing that was there is lost
        text = (lists / name).read_text("utf-8").replace(f", {NAME}", "")
        rest = re.sub(f" (and|и) `{NAME}`", "", text).splitlines()
        assert [line for line in before[name].splitlines() if line not in rest] == []


@pytest.mark.parametrize("name", ["Lines", "two words", "../up", "class", "x" * 31, "", "strec"])
def test_a_name_that_cannot_be_used_is_refused(lists: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=r"cannot be called|is there already"):
        new_digest(name, TITLE, lists)


@pytest.mark.parametrize("title", ["", " ", 'a "b"', "a | b", "two\nlines"])
def test_a_title_that_a_table_cannot_hold_is_refused(lists: Path, title: str) -> None:
    with pytest.raises(ParameterError, match="title"):
        new_digest(NAME, title, lists)


def test_nothing_is_written_where_not_all_can_be(lists: Path) -> None:
    (lists / "README.md").write_text("no table\n")
    with pytest.raises(ParameterError, match=r"README\.md has no line of"):
        new_digest(NAME, TITLE, lists)
    (lists / "README.md").unlink()
    with pytest.raises(ParameterError, match=r"README\.md cannot be read"):
        new_digest(NAME, TITLE, lists)
    page = lists / f"book/digests/{NAME}.md"
    page.parent.mkdir(parents=True)
    page.write_text("words\n")
    with pytest.raises(ParameterError, match=r"abc_of_lines\.md is there already"):
        new_digest(NAME, TITLE, lists)
    assert page.read_text() == "words\n"
    assert [path.name for path in lists.rglob("*.ipynb")] == []


@pytest.fixture
def chapter(lists: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chapter]:
    """The chapter of a new digest, which this process can import."""
    package = lists / "src/okml"
    shutil.copytree(ROOT / "src/okml", package, dirs_exist_ok=True)
    new_digest(NAME, TITLE, lists)
    monkeypatch.setattr(okml, "__path__", [*okml.__path__, str(package)])
    monkeypatch.setattr("okml.chapters.CHAPTERS", (*CHAPTERS, NAME))
    monkeypatch.setattr("okml.training.ahead.usable_cores", lambda: 1)
    sources = Sources(package)
    for module in ("okml.kept.needs", "okml.code_key.reach"):
        monkeypatch.setattr(f"{module}.package_sources", lambda: sources)
    yield Chapter(NAME)
    for name in [name for name in sys.modules if name.startswith(f"okml.{NAME}")]:
        del sys.modules[name]


def test_the_chapter_of_a_skeleton_measures_what_its_claims_say(
    chapter: Chapter, tmp_path: Path
) -> None:
    few = {"examples": "8", "epochs": "1", "seeds": "[0, 1]", "device": "cpu"}
    record = chapter.run(chapter.profile("gpu", few), tmp_path / "run")
    assert {claim.id for claim, estimate in deciding_estimates(record) if estimate.interval} == {
        claim.id for claim in load_claims(NAME) if claim.metric
    }


def test_the_guide_counts_what_the_smallest_chapter_has() -> None:
    name = "periodic_behavior"
    files = (ROOT / "src/okml" / name).glob("*.py"), (ROOT / "tests" / name).glob("test_*.py")
    assert [*(len([*each]) for each in files), len(load_claims(name))] == [14, 7, 15]
    for page, counts in (
        ("book/guides", ("fourteen modules", "seven files of tests", "fifteen claims")),
        ("book/ru/guides", ("четырнадцать модулей", "семь файлов тестов", "пятнадцать утвержд")),
    ):
        text = (ROOT / page / "add_a_digest.md").read_text("utf-8")
        assert [count for count in counts if count not in text] == []


@pytest.mark.nightly
def test_a_skeleton_passes_the_tests_of_every_chapter(tmp_path: Path) -> None:
    """By the commands of the guide, in a copy of the checkout, and as few processes as can be."""
    for name in CHECKOUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    if (ROOT / ".mypy_cache").exists():  # what it knows of libraries
        shutil.copytree(ROOT / ".mypy_cache", tmp_path / ".mypy_cache")
    path = f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"
    environment = os.environ | {"PYTHONPATH": path, "OKML_ROOT": str(tmp_path)}
    runs = [["run", NAME], ["refresh", NAME], ["report", "--into", "README.md"]]
    okml = "from okml.cli import app\nfor words in {}: assert not app(words, standalone_mode=False)"
    for command in (
        ("-c", okml.format([["new", NAME, "--title", TITLE]])),
        ("-m", "ruff", "check", "--fix", "."),
        ("-m", "ruff", "format", "."),
        ("-c", okml.format(runs)),
        ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", f"{NAME} or summary",
         "--nbval", *TESTS, f"notebooks/{NAME}.ipynb"),
        ("-m", "mypy", f"src/okml/{NAME}"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
