"""From the sentence of a digest to the cell that tests it, and back."""

import json

import pytest

from okml import chapters
from okml.ledger import Text, report
from tests.site.conftest import CLAIMS, NOTEBOOK, page_of, small_book

UNKNOWN = {
    "{claim}`space_time.nothing`": "Unknown claim 'space_time.nothing'",
    "{claim}`cooking.map`": "Unknown chapter 'cooking'",
    "{tests}`space_time.nothing`": "Unknown claim 'space_time.nothing'",
    "{measured}`space_time.r3@cpu`": "no metric 'r3'",
    "{measured}`space_time.r2@tpu`": "chapter.metric@profile",
    "{measured}`cooking.r2@cpu`": "Unknown chapter 'cooking'",
}


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """A book with a claim twice on one page and on none in Russian, and with unknown names."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        twice = "Once {claim}`space_time.map`, twice {claim}`space_time.map`."
        book.write("book/digests/space_time.md", f"# D\n\n{twice}\n")
        book.write("book/ru/digests/space_time.md", "# Разбор\n\nБез утверждений.\n")
        numbers = "{measured}`space_time.r2-shuffled_r2@cpu:2`, {paper}`0.9`, {setting}`5 %`"
        book.write("book/ru/digests/more.md", f"# Ещё\n\n{numbers}\n")
        book.write("book/ru/walk.md", "# Разбор\n\nКарта {tests}`space_time.map`\n")
        lines = "".join(f"Then {text}.\n\n" for text in UNKNOWN)
        book.write("book/broken.md", f"# B\n\n{lines}")
        book.build()
    return book


def follow(book, page, href):
    """Return the element a link on ``page`` leads to."""
    target, _, anchor = href.partition("#")
    found = (book.root / "html" / f"{page}.html").parent / target
    name = found.resolve().relative_to((book.root / "html").resolve()).with_suffix("")
    return str(name), book.page(name).find(id=anchor)


def test_a_badge_says_verdict_scale_and_id(built):
    badge = built.page("book/digests/space_time").select_one(".okml-claim .okml-badge")
    assert badge.get_text() == "direction holds · cpuspace_time.map"
    assert badge["title"] == "A probe reads the map."
    assert badge.select_one(".okml-icon")["aria-hidden"] == "true"


def test_the_label_is_russian_on_a_russian_page(built):
    page = built.page("book/ru/digests/space_time")
    assert page.html["lang"] == "ru"
    assert "направление верно" in page.select_one(".okml-claim").get_text()
    assert built.page("book/digests/space_time").html["lang"] == "en"


def test_sentence_and_cell_lead_to_each_other(built):
    badge = built.page("book/digests/space_time").select_one(".okml-claim")
    page, mark = follow(built, "book/digests/space_time", badge.a["href"])
    assert page == "notebooks/space_time"
    assert "okml-tests" in mark["class"]
    links = {a.get_text(): a["href"] for a in mark.find_all("a")}
    assert set(links) == {"A probe reads the map.", "digest"}
    assert follow(built, page, links["digest"])[1]["id"] == badge["id"]


def test_a_mark_on_a_russian_page_leads_to_the_russian_sentence(book):
    book.write("book/ru/walk.md", "# Разбор\n\nКарта {tests}`space_time.map`\n")
    book.build()
    links = {a.get_text(): a["href"] for a in book.page("book/ru/walk").select(".okml-tests a")}
    assert set(links) == {"Зонд читает карту.", "дайджест"}
    page, sentence = follow(book, "book/ru/walk", links["дайджест"])
    assert page == "book/ru/digests/space_time"
    assert "okml-claim" in sentence["class"]


def test_a_claim_no_cell_tests_leads_to_its_row_on_the_scoreboard(built):
    size = built.page("book/digests/space_time").select(".okml-claim")[1]
    page, row = follow(built, "book/digests/space_time", size.a["href"])
    assert page == "book/scoreboard"
    assert row.name == "tr"
    assert "Size helps." in row.get_text()


def test_claims_lead_into_each_notebook_of_a_chapter(book, monkeypatch):
    monkeypatch.setattr(chapters, "THEMES", {"space_time": ("space_time", "space_time_size")})
    text = "# On\n\n## The size {tests}`space_time.size`\n\nHere.\n"
    book.write("notebooks/space_time_size.md", text)
    book.write("notebooks/space_time_size.ipynb", json.dumps(NOTEBOOK))
    book.build()
    assert book.warnings == ""
    first, second = book.page("book/digests/space_time").select(".okml-claim")
    assert follow(book, "book/digests/space_time", first.a["href"])[0] == "notebooks/space_time"
    assert follow(book, "book/digests/space_time", second.a["href"])[0] == (
        "notebooks/space_time_size"
    )
    for page in ("notebooks/space_time", "notebooks/space_time_size"):
        assert len(book.page(page).select("aside.okml-provenance")) == 1
        assert book.page(page).select(".okml-banner")
    card = book.page("book/index").select_one(".okml-card")
    links = [a["href"] for a in card.select("a") if "notebooks/" in a["href"]]
    assert [link.rpartition("/")[2] for link in links] == [
        "space_time.html", "space_time_size.html",
    ]  # fmt: skip
    executed = book.page("book/status").select("table")[-1].get_text()
    assert "space_time_size" in executed


def test_a_link_to_a_digest_that_lacks_the_sentence_is_left_out(edited):
    mark = edited.page("book/ru/walk").select_one(".okml-tests")
    assert [a.get_text() for a in mark.find_all("a")] == ["Зонд читает карту."]


def test_the_mark_is_neither_in_the_heading_nor_in_its_id_nor_in_the_contents(built):
    page = built.page("notebooks/space_time")
    section = page.find("section", id="the-map")
    assert section.h2.get_text(strip=True).startswith("The map")
    assert not section.h2.select(".okml-tests")
    assert section.h2.find_next_sibling("p").select_one(".okml-tests")
    contents = page.select_one(".sphinxsidebar").get_text()
    assert "The map" in contents
    assert "A probe reads the map." not in contents


def test_the_second_badge_of_a_claim_takes_no_second_place(edited):
    badges = edited.page("book/digests/space_time").select(".okml-claim")
    assert [bool(badge.get("id")) for badge in badges] == [True, False]
    assert badges[0].a["href"] == badges[1].a["href"]


def test_a_measured_number_is_a_mean_with_its_interval(built):
    paragraph = built.page("book/digests/space_time").p
    number = paragraph.select_one("abbr.okml-measured")
    # 0.40 and 0.42: mean 0.41, sample standard deviation 0.02 / sqrt(2).
    assert number.get_text() == "0.410 [0.400, 0.420]"
    assert number["title"] == (
        "space_time.r2@cpu; 2026-01-02; R²; names: 40, seeds: 2; 95 % interval: the range; "
        "standard deviation over seeds 0.0141"
    )
    assert paragraph.select_one(".okml-missing").get_text() == "not run"


def test_a_difference_and_typed_numbers_say_what_they_are(edited):
    shown = edited.page("book/ru/digests/more").select("p abbr")
    assert [number.get_text() for number in shown] == ["0,41 [0,40; 0,41]", "0,9", "5 %"]
    assert "названия: 40" in shown[0]["title"]
    titles = [number["title"] for number in shown[1:]]
    assert titles == ["число из статьи или дайджеста", "настройка"]


def test_a_cause_quotes_the_record(book, monkeypatch):
    quoting = {
        "en": "It is {measured}`space_time.gain@cpu:1`",
        "ru": "{measured}`space_time.r3@cpu`",
    }
    claims = [
        claim.model_copy(update={"cause": {"cpu": Text(**quoting)}}) if claim.metric else claim
        for claim in CLAIMS
    ]
    monkeypatch.setattr(report, "load_claims", lambda chapter: claims)
    for place in ("book/claims/space_time/size", "book/ru/claims/space_time/size"):
        book.write(f"{place}.md", page_of("space_time.size"))
    book.build()
    shown = book.page("book/claims/space_time/size").get_text(" ")
    assert "misses the bar. It is 0.3 [0.3, 0.4]" in " ".join(shown.split())
    assert "not there: The cpu record of space_time has no metric 'r3'" in book.warnings


def test_a_name_the_ledger_does_not_know_is_a_warning_at_its_line(edited):
    warnings = edited.warnings.strip().splitlines()
    for line, (warning, expected) in enumerate(zip(warnings, UNKNOWN.values(), strict=True)):
        assert expected in warning
        assert f"book/broken.md:{3 + 2 * line}" in warning
