"""What one card has shown, on the page of benchmarks."""

from __future__ import annotations

import pytest

from tests.site.conftest import cells, save_benchmark


@pytest.fixture(autouse=True)
def _pages(book):
    book.write_twins("benchmarks.md", "# Benchmarks\n\n```{gpu-check}\n```\n")


def part(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "what": f"all of {name}", "seconds": 61.2, "limit_s": 180, **changes}


def test_the_table_shows_parts_their_numbers_and_why_one_failed(book):
    book.build()
    assert "make gpu-check" in book.page("book/benchmarks").get_text()  # what to run without a GPU
    assert "Ни одна карта" in book.page("book/ru/benchmarks").get_text()
    image = {"what": "an image", "value": 210.4, "unit": "ms", "beside": 340.0,
             "beside_is": "the digest"}  # fmt: skip
    steps = {"what": "a step", "value": 1234.0, "unit": "pairs/s"}
    slope = {"what": "a slope", "value": None, "unit": ""}
    parts = [
        part("sdxl", measured=[image, slope]),
        part("llama", failed="too late", measured=[steps]),
    ]
    save_benchmark(book, "gpu_check", tiny=False, parts=parts)
    book.build()
    assert book.warnings == ""
    page = book.page("book/benchmarks")
    assert [*map(cells, page("tr"))] == [
        ["Quantity", "Measured", "Beside it"],
        ["all of sdxl", "61 s", "done"],
        ["an image", "210 ms", "340 ms, the digest"],
        ["a slope", "—", ""],
        ["all of llama", "61 s", "too late"],
        ["a step", "1,234 pairs/s", ""],
    ]
    assert "Test processor" in page.get_text()


def test_a_trial_of_the_smallest_sizes_is_no_result(book):
    save_benchmark(book, "gpu_check", tiny=True, parts=[part("sdxl")])
    book.build()
    assert "smallest sizes" in book.warnings
