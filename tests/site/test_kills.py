"""What kills did, on the page of benchmarks."""

from __future__ import annotations

import pytest

from tests.site.conftest import cells, save_benchmark
from tests.survival.matrix import SHARES


def kills(work: str, signal: str, number: int, **changes: object) -> dict[str, object]:
    counts = {"kills": number, "gone": number, "whole": number, "equal": number}
    return {
        "work": work, "signal": signal, **counts, "processes": {"command": number},
        "slowest_s": 0.5, **changes,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _pages(book):
    book.write_twins("benchmarks.md", "# Benchmarks\n\n```{kills}\n```\n")


def test_the_table_counts_by_work_and_signal_and_sums_up_once_it_is_recorded(book):
    book.build()
    assert "has not been recorded yet" in book.page("book/benchmarks").get_text()
    rows = [
        kills("fetch", "SIGTERM", 3),
        kills("fetch", "SIGKILL", 20, processes={"command": 12, "server": 8}, slowest_s=0.75),
        kills("training", "SIGKILL", 10, gone=9, whole=8, equal=7, slowest_s=2.25),
    ]
    save_benchmark(book, "survival", seed=0, kills=rows)
    book.build()
    assert book.warnings == ""
    page = book.page("book/benchmarks")
    head, fetch, training, total = map(cells, page("tr"))
    assert head[1:3] == ["SIGKILL", "SIGTERM"]
    assert fetch == [
        "fetching data command 15, server 8", "20", "3", "23 / 23", "23 / 23", "23 / 23", "0.8 s",
    ]  # fmt: skip
    assert training[1:] == ["10", "0", "9 / 10", "8 / 10", "7 / 10", "2.2 s"]
    assert total == ["All", "30", "3", "32 / 33", "31 / 33", "30 / 33", "2.2 s"]
    assert "Test processor" in page.get_text()
    assert (
        cells(book.page("book/ru/benchmarks")("tr")[1])[0] == "загрузка данных command 15, server 8"
    )


def test_each_kind_of_work_has_a_name_in_both_languages(book):
    save_benchmark(book, "survival", seed=0, kills=[kills(work, "SIGKILL", 1) for work in SHARES])
    book.build()
    assert book.warnings == ""
    assert len(book.page("book/ru/benchmarks")("tr")) == len(SHARES) + 2
