"""The claims in two orders of tied events, on the chapter's page."""

from __future__ import annotations

from tests.site.conftest import cells, save_benchmark

FRESHNESS, HYBRID = "video_workshop.freshness", "video_workshop.hybrid"


def estimate(mean: float, low: float, high: float) -> dict[str, object]:
    return {"values": {"0": mean}, "low": low, "high": high, "estimator": "by hand"}


def rows(book, page: str) -> list[list[str]]:
    """Return the cells of the rows of both claims, freshness first."""
    found = {row[0].split()[-1]: row for row in map(cells, book.page(page)("tr"))}
    return [found[FRESHNESS], found[HYBRID]]


def test_a_row_has_number_and_verdict_in_both_orders(book):
    book.write_twins("digests/video_workshop.md", "# Videos\n\n```{tie-trial}\n```\n")
    book.build()
    assert "has not been recorded yet" in book.page("book/digests/video_workshop").get_text()
    metrics = {
        "incremental_hr10_gain": estimate(0.5, 0.25, 0.75),
        "hybrid_kept_share": estimate(0.875, 0.75, 1.0),
    }
    drawn = metrics | {"incremental_hr10_gain": estimate(0.0, -0.25, 0.25)}
    rates = [
        {"order": order, "updates": 4.0, "factor": 0.25, "chosen": hr10[0] == 0.5, "hr10": hr10}
        for order, hr10 in (("file", [0.125, 0.375]), ("drawn", [0.5, 0.5]))
    ]
    save_benchmark(
        book, "tie_trial", profile="night", settings_sha256="0", file_commit="0", log="ml_1m",
        tied=0.75, draw=1, one_way=[0.9, 0.6], rates=rates,
        frozen_ndcg10=[0.125, 0.25], in_file=metrics, in_drawn=drawn,
        outcomes={
            FRESHNESS: ["direction holds", "undecided"],
            HYBRID: ["direction holds", "direction holds"],
        },
    )  # fmt: skip
    book.build()
    assert book.warnings == ""
    _, one_way, frozen, *_ = map(cells, book.page("book/digests/video_workshop")("tr"))
    assert one_way[1:] == ["90 %", "60 %", "–"]
    assert frozen[1:] == ["0.125", "0.250", "–"]
    freshness, hybrid = rows(book, "book/digests/video_workshop")
    assert "0.500 [0.250, 0.750]" in freshness[1]
    assert "undecided" in freshness[2]
    assert hybrid[1] == hybrid[2]
    assert [row[3] for row in (freshness, hybrid)] == ["not run here", "not run here"]
    assert cells(book.page("book/digests/video_workshop")("tr")[-1]) == [
        "4", "0.25", "0.2500 ± 0.1768", "0.5000 ± 0.0000 chosen on early periods"
    ]  # fmt: skip
    freshness, _ = rows(book, "book/ru/digests/video_workshop")
    assert "0,500" in freshness[1]
    assert "не решено" in freshness[2]
