"""The ledger's tables, and pages that follow the records they show."""

import json

import pytest

from okml.chapters import CHAPTERS
from okml.site import view
from okml.site.provenance import duration_in, record_facts
from okml.site.tables import share_of_seeds, short_reason
from tests.site.conftest import LONG_WHY, NOTEBOOK, PAGES, cells, record, save, small_book

CHANGED = "older settings"  # the claims and records are made up


def executed_at(profile):
    """Return the notebook as if it had been executed at a scale."""
    metadata = {**NOTEBOOK["metadata"], "okml": {"profile": profile}}
    return json.dumps({**NOTEBOOK, "metadata": metadata})


@pytest.fixture(scope="module")
def at_cpu(tmp_path_factory):
    """A book whose notebook was executed at cpu, with a table in Russian."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("notebooks/space_time.ipynb", executed_at("cpu"))
        book.write("book/ru/digests/table.md", "# Таблица\n\n```{claims-table} space_time\n```\n")
        book.build()
    assert book.warnings == ""
    return book


def test_a_chapter_table_puts_verdict_paper_scales_and_control_side_by_side(built):
    """Of the scales those that measured something have a column, and never the smallest."""
    table = built.page("notebooks/space_time").select_one("table.okml-table")
    header = [th.get_text() for th in table.thead.find_all("th")]
    assert header == [
        "Claim", "Verdict", "Paper", "cpu", "Difference from the control",
    ]  # fmt: skip
    first = cells(table.tbody.tr)
    assert first[0].startswith("A probe reads the map.")
    assert first[1] == ("direction holds · cpu real data a toy bars set 2026-01-01 1 change since")
    assert first[2] == "0.911 test R² Table 2"
    assert first[3] == "0.410 [0.400, 0.420] bar > 0.25 names: 40, seeds: 2 " + CHANGED
    assert first[4] == "0.405 [0.400, 0.410] beaten bar > 0.1 shuffled targets"
    control = table.tbody.tr.find_all("td")[-1].abbr
    assert control["title"] == (
        "r2 − shuffled_r2; R²; names: 40, seeds: 2; 95 % interval: the range; "
        "standard deviation over seeds 0.00707"
    )


def test_a_table_on_a_russian_page_is_russian(at_cpu):
    first = cells(at_cpu.page("book/ru/digests/table").select_one("table.okml-table tbody tr"))
    assert first[1].startswith(
        "направление верно · cpu реальные данные игрушка пороги заданы 2026-01-01"
    )
    assert first[2] == "0,911 R² на тесте таблица 2"
    assert "названия: 40, начальные значения: 2" in first[3]


def test_verdicts_show_why(built):
    rows = built.page("notebooks/space_time").select("table.okml-table tbody tr")
    why = "not reproduced · cpu The whole interval misses the bar."
    assert cells(rows[1])[1].startswith(why)
    assert cells(rows[2])[1] == "cannot be tested no test decides it —"
    assert cells(rows[2])[3] == "—"


def test_a_long_note_is_folded_in_a_column_and_a_short_one_is_not(built):
    for page in ("notebooks/space_time", "book/scoreboard"):
        table = built.page(page).select("table.okml-table")[-1]
        beaten, uncontrolled, _ = (row.find_all("td")[-1] for row in table.tbody.find_all("tr"))
        assert cells(uncontrolled.parent)[-1] == f"— why {LONG_WHY}"
        assert uncontrolled.details.summary.get_text() == "why"
        assert beaten.details is None


def test_headings_of_rows_and_columns_are_marked_and_the_box_can_be_scrolled_by_keyboard(built):
    for page in ("notebooks/space_time", "book/scoreboard", "book/status"):
        for table in built.page(page).select("table.okml-table"):
            assert {th["scope"] for th in table.thead.find_all("th")} == {"col"}
            assert all(row.th["scope"] == "row" for row in table.tbody.find_all("tr"))
            box = table.parent
            assert (box["role"], box["tabindex"]) == ("region", "0")
            assert box["aria-label"] == table.caption.get_text()


def test_the_scoreboard_counts_what_it_lists(built):
    summary, claims = built.page("book/scoreboard").select("table.okml-table")
    counted = dict(zip(cells(summary.thead.tr)[1:], cells(summary.tbody.tr)[1:], strict=True))
    assert counted == {
        "reproduced": "0",
        "direction holds": "1",
        "holds in the simulator": "0",
        "undecided": "0",
        "not reproduced": "1",
        "not run here": "0",
        "cannot be tested": "1",
    }
    facets = [tag["data-facet"] for tag in claims.select(".okml-badge[data-facet]")]
    assert sorted(facets) == ["cannot be tested", "direction holds", "not reproduced"]
    assert cells(summary.find_all("tr")[-1])[0] == "All"


def test_the_filter_script_is_loaded_only_where_a_table_has_filters(built):
    def scripts(page):
        return [s["src"] for s in built.page(page).find_all("script") if s.get("src")]

    assert any("okml-tables.js" in src for src in scripts("book/scoreboard"))
    assert not any("okml-tables.js" in src for src in scripts("notebooks/space_time"))
    assert (built.root / "html/_static/okml-tables.js").exists()


def test_cards_name_claim_and_counts_and_link_to_the_notebook(built):
    cards = built.page("book/index").select(".okml-card")
    assert len(cards) == len(CHAPTERS)
    assert cards[0].select_one(".okml-card-title a").get_text() == "Space digest"
    claim = cards[0].select_one(".okml-card-claim")
    assert claim.get_text().startswith("A probe reads the map.")
    assert claim.select_one(".okml-badge").get_text() == "direction holds · cpu"
    counts = [
        b.get_text(" ").split(maxsplit=1)
        for b in cards[0].select(".okml-card-verdicts .okml-badge")
    ]
    assert counts == [["1", "direction holds"], ["1", "not reproduced"], ["1", "cannot be tested"]]
    assert [i for i, card in enumerate(cards) if card.select("a[href*=notebooks]")] == [0]
    assert not built.page("book/index").find("img")


def test_status_lists_records_and_executed_notebooks(built):
    recorded, executed = built.page("book/status").select("table.okml-table")
    rows = [cells(row) for row in recorded.tbody.find_all("tr")]
    assert rows[0][1:3] == ["2026-01-02 03:04", "5 min"]
    assert "abcdef0123 with uncommitted changes" in rows[0]
    assert rows[1][0] == f"space_time cpu {CHANGED}"
    assert rows[2][:2] == ["space_time night, gpu", "not run"]
    assert rows[3][0].endswith("smoke, cpu, night, gpu")
    # Two scales of the chapter that ran, and one line for the others of each chapter.
    assert len(rows) == 2 + len(CHAPTERS)
    assert cells(executed.tbody.tr)[1:] == [
        "smoke",
        "2026-01-02 03:04",
        "61 s",
        "all cells ran (1 cell)",
    ]


def test_durations_have_the_units_of_the_language():
    seconds = [61, 300, 3 * 3600]
    assert [duration_in(each, "en") for each in seconds] == ["61 s", "5 min", "3.0 h"]
    assert [duration_in(each, "ru") for each in seconds] == ["61 с", "5 мин", "3,0 ч"]


def test_the_notes_of_a_record_are_in_the_language_of_the_page():
    said = "Simulated sessions, no real visitors."
    noted = record("cpu", r2=[0.5]).model_copy(update={"notes": (said,)})
    notes = {lang: record_facts(noted, lang)[-1][1][0].astext() for lang in ("en", "ru")}
    assert notes["en"] == said
    assert notes["ru"] == "Сессии из симулятора, реальных посетителей за ними нет."


def test_a_notebook_page_ends_with_its_provenance(built):
    footer = built.page("notebooks/space_time").select_one("aside.okml-provenance")
    facts = {dt.get_text(): dt.find_next("dd").get_text(" ") for dt in footer.find_all("dt")}
    assert facts["Profile"] == "smoke"
    assert facts["Seeds"] == "0, 1"
    assert facts["Started (UTC)"] == "2026-01-02 03:04, 5 min"
    assert facts["Hardware"] == "Test processor, 2 cores, 16 GiB"
    assert "the test" in facts["Data"]
    assert footer.find("abbr", title="9" * 64)


def test_only_smoke_runs_carry_the_banner(built, at_cpu):
    assert built.page("notebooks/space_time").select(".okml-banner")
    assert not at_cpu.page("notebooks/space_time").select(".okml-banner")


def test_an_executed_notebook_without_a_record_is_a_warning(book):
    book.write("notebooks/space_time.ipynb", executed_at("gpu"))
    book.build()
    assert "left no record" in book.warnings


def test_a_new_record_rebuilds_the_pages_that_show_it_and_no_others(book):
    book.write("book/plain.md", "# Plain\n\nNothing of the ledger.\n")
    book.build()
    assert book.build() == []
    save(record("cpu", r2=[0.7, 0.7], shuffled_r2=[0.0, 0.0], gain=[0.9]))
    assert set(book.build()) == {name.removesuffix(".md") for name in PAGES}  # all but the plain
    assert "0.700 [0.700, 0.700]" in book.page("book/digests/space_time").get_text()
    # So does the first one of a scale.
    save(record("gpu", r2=[0.9, 0.91], shuffled_r2=[0.0, 0.0], gain=[0.9]))
    assert "book/digests/space_time" in book.build()
    assert "reproduced · gpu" in book.page("book/digests/space_time").get_text()


def test_a_damaged_record_is_a_warning(book):
    path = book.root / "root/results/space_time/cpu.json"
    path.write_text(path.read_text().replace("0.42", "0.99"))
    book.build()
    assert "its hash does not match" in book.warnings


def test_the_verdicts_of_recorded_scales_stand_side_by_side_with_what_they_turn_on(book):
    book.write("book/digests/side.md", "# Side by side\n\n```{verdicts} space_time\n```\n")
    book.write("book/ru/digests/side.md", "# Рядом\n\n```{verdicts} space_time\n```\n")
    book.build()
    assert book.warnings == ""
    table = book.page("book/digests/side").select_one("table.okml-table")
    assert cells(table.thead.tr) == ["Claim", "cpu"]  # smoke is no evidence, the others not run
    assert [cells(row) for row in table.tbody.find_all("tr")] == [
        ["A probe reads the map. space_time.map", "direction holds"],
        ["Size helps. space_time.size", "not reproduced The whole interval misses the bar."],
        ["It understands. space_time.meaning", "cannot be tested"],
        ["All", "1 direction holds 1 not reproduced 1 cannot be tested"],
    ]
    save(record("night", r2=[0.05, 0.2], shuffled_r2=[0.0, 0.01], gain=[0.6, 0.7]))
    book.build()
    table = book.page("book/digests/side").select_one("table.okml-table")
    assert cells(table.thead.tr) == ["Claim", "cpu", "night"]
    rows = [cells(row) for row in table.tbody.find_all("tr")]
    assert rows[1][2] == "undecided Nothing was learned."
    russian = book.page("book/ru/digests/side").select_one("table.okml-table")
    assert cells(russian.tbody.find_all("tr")[1])[1:] == [
        "не воспроизведено Интервал целиком не достигает порога.",
        "не решено Ничего не выучено.",
    ]


def test_the_cause_of_a_failure_stays_on_the_page_of_its_claim():
    found = view.rows("strec")
    [failed] = [each for each in found if each.claim.id == "strec.column_mass"]
    assert short_reason(failed, "night").en == "The whole interval misses the bar."
    assert failed.verdicts["night"].reason.en.startswith(
        "The whole interval misses the bar. Attention"
    )


def test_a_verdict_of_a_simulator_says_with_how_many_seeds_it_holds():
    """The other count is that of the run, which logs the share of worlds with a positive gain."""
    kept, checked = view.record("video_workshop", "cpu"), 0
    for found in view.rows("video_workshop"):
        claim, verdict = found.claim, found.verdicts["cpu"]
        shown = {lang: share_of_seeds(claim, verdict, lang) for lang in ("en", "ru")}
        if claim.basis("cpu") != "simulator":
            assert shown == {"en": None, "ru": None}
        logged = kept.metrics.get(f"{claim.metric}_share_of_seeds")
        if logged is None:
            continue
        worlds = len(kept.seeds)
        positive = round(logged.mean * worlds)
        cleared = worlds - positive if claim.bar("cpu").startswith("<") else positive
        assert shown["en"].astext() == f"bar cleared with {cleared} of {worlds} seeds"
        assert shown["ru"].astext() == f"порог взят при {cleared} из {worlds} начальных значений"
        checked += 1
    assert checked > 5
