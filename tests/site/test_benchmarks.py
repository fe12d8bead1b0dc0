"""Recorded benchmarks on their page."""

import re

import pytest

from okml.site import benchmarks
from tests.site.conftest import save_benchmark


@pytest.fixture
def benchmark(book):
    def write(*changes, about="All layers of a model."):
        comparison = {
            "what": "ridge path, 22 penalties",
            "unit": "s",
            "peer": "scikit-learn 1.7",
            "okml_value": 0.5,
            "peer_value": 1.0,
            "repeats": 5,
        }
        save_benchmark(
            book, "ridge", name="ridge", title="Ridge", what=about,
            comparisons=[{**comparison, **each} for each in changes or ({},)],
            checks=[{"what": "coefficients", "difference": 1e-9, "tolerance": 1e-6}],
        )  # fmt: skip

    script = book.root / "root/benchmarks/ridge.py"
    script.parent.mkdir(parents=True)
    script.write_text("")
    book.write("book/benchmarks.md", "# Benchmarks\n\n```{benchmark}\n```\n")
    return write


def test_the_ratio_says_how_many_times_better_once_it_is_recorded(book, benchmark):
    book.build()
    assert "has not been recorded yet" in book.page("book/benchmarks").get_text()
    ratios = {"2.00×": {}, "0.50×": {"better": "higher"}, "0.25×": {"peer_value": 0.125}}
    benchmark(*ratios.values(), about="Not here: `okml plan add --profile gpu` says why.")
    book.build()
    assert book.warnings == ""
    page = book.page("book/benchmarks")
    assert re.findall(r"\d\.\d\d×", page.get_text()) == [*ratios]
    assert "scikit-learn 1.7" in page.get_text()
    assert "Test processor" in page.get_text()
    assert page.select_one("p code").get_text() == "okml plan add --profile gpu"
    assert "`" not in page.get_text()


def test_a_russian_page_says_it_in_russian(book, benchmark):
    benchmark({"what": "peak memory"}, about="Memory is that of a process, libraries included.")
    book.write("book/ru/benchmarks.md", "# Замеры\n\n```{benchmark}\n```\n")
    book.build()
    assert book.warnings == ""
    text = book.page("book/ru/benchmarks").get_text()
    assert "Память – всего процесса, вместе с библиотеками." in text
    assert "пик памяти" in text
    assert "0,5 с" in text


def test_a_record_older_than_its_script_says_by_how_many_commits(book, benchmark, monkeypatch):
    asked = []
    counts = {"benchmarks/ridge.py": 2}
    monkeypatch.setattr(
        benchmarks, "commits_since", lambda sha, path: asked.append(path) or counts.get(path)
    )
    benchmark()
    book.write("book/ru/benchmarks.md", "# Замеры\n\n```{benchmark}\n```\n")
    book.build()
    assert book.warnings == ""
    said = "The script has changed since this record: 2 commits."
    assert book.page("book/benchmarks").select_one(".okml-stale").get_text() == said
    said = "После этой записи скрипт менялся: 2 коммита."
    assert book.page("book/ru/benchmarks").select_one(".okml-stale").get_text() == said
    assert {*asked} == {*counts}
    for silent in (0, None):  # no commit, and a commit that Git does not know
        counts["benchmarks/ridge.py"] = silent
        benchmark(about=f"Again {silent}.")
        book.build()
        assert book.page("book/benchmarks").select_one(".okml-stale") is None


def test_a_damaged_record_is_a_warning(book, benchmark):
    benchmark({"speed": 3})
    book.build()
    assert "is no recorded benchmark" in book.warnings
