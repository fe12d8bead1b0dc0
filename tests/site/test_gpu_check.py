"""What one card has shown, on the page of benchmarks."""

from __future__ import annotations

import json

import pytest

from tests.site.conftest import record


@pytest.fixture
def recorded(book):
    made = record("cpu", r2=[0.5]).provenance

    def write(*parts: dict[str, object], tiny: bool = False) -> None:
        values = {
            "tiny": tiny,
            "started": "2026-01-02T03:04:05+00:00",
            "commit": made.commit.model_dump(),
            "environment": made.environment.model_dump(),
            "parts": parts,
        }
        path = book.root / "root/results/benchmarks/gpu_check.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    book.write("book/benchmarks.md", "# Benchmarks\n\n```{gpu-check}\n```\n")
    book.write("book/ru/benchmarks.md", "# Замеры\n\n```{gpu-check}\n```\n")
    return write


def part(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "what": f"all of {name}", "seconds": 61.2, "limit_s": 180, **changes}


def cells(page):
    return [[cell.get_text() for cell in each.find_all(["th", "td"])] for each in page("tr")]


def test_the_table_shows_parts_their_numbers_and_why_one_failed(book, recorded):
    book.build()
    assert "make gpu-check" in book.page("book/benchmarks").get_text()  # what to run without a GPU
    assert "Ни одна карта" in book.page("book/ru/benchmarks").get_text()
    image = {"what": "an image", "value": 210.4, "unit": "ms", "beside": 340.0,
             "beside_is": "the digest"}  # fmt: skip
    steps = {"what": "a step", "value": 1234.0, "unit": "pairs/s"}
    recorded(part("sdxl", measured=[image]), part("llama", failed="too late", measured=[steps]))
    book.build()
    assert book.warnings == ""
    page = book.page("book/benchmarks")
    assert cells(page) == [
        ["Quantity", "Measured", "Beside it"],
        ["all of sdxl", "61 s", "done"],
        ["an image", "210 ms", "340 ms, the digest"],
        ["all of llama", "61 s", "too late"],
        ["a step", "1,234 pairs/s", ""],
    ]
    assert "Test processor" in page.get_text()


def test_a_trial_of_the_smallest_sizes_is_no_result(book, recorded):
    recorded(part("sdxl"), tiny=True)
    book.build()
    assert "smallest sizes" in book.warnings
