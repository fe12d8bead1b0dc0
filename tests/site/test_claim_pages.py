"""The page of a claim, the findings and the ledger as data, on a small book."""

import datetime
import json

import jsonschema
import pytest

from okml.chapters import CHAPTERS
from okml.ledger import judge, load_claims, record_path
from okml.ledger.findings import Finding, load_findings
from okml.site import claim_pages, findings
from okml.site.history import VerdictChange
from okml.site.repository import measured_at
from tests.site.conftest import CLAIMS, LONG_WHY, NOTEBOOK, page_of, record, save, small_book

PAGE = "book/claims/space_time/map"
OTHER = "book/claims/space_time/size"
RUSSIAN = "book/ru/claims/space_time/map"
CHANGE = VerdictChange(
    claim=CLAIMS[0],
    before=judge(CLAIMS[0], record("cpu", r2=[0.1, 0.12], shuffled_r2=[0.0, 0.01])),
    after=judge(CLAIMS[0], record("cpu", r2=[0.4, 0.42], shuffled_r2=[0.0, 0.01])),
    commit="abcdef0123456789",
    date=datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC),
)
FIGURE = (
    '<figure class="okml-figure"><svg xmlns="http://www.w3.org/2000/svg" width="9pt" '
    'viewBox="0 0 9 9" aria-label="A map of cities."></svg></figure>'
)
DRAWN = [  # the test of a claim, and the figure of its record
    {"cell_type": "markdown", "source": "{tests}`space_time.map`"},
    {
        "cell_type": "code",
        "metadata": {"okml": {"shows": [["cpu", ""]], "own": 1}},
        "outputs": [{"data": {"text/html": FIGURE}}],
    },
]
SENTENCES = {
    name: {"en": f"{name}: {{measured}}.", "ru": f"{name}: {{measured}}."}
    for name in ("holds", "fails", "undecided")
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book with the page of one claim, and two findings on its home page, three in the digest."""
    with small_book(tmp_path_factory.mktemp("book")) as book, pytest.MonkeyPatch.context() as patch:
        for page in (PAGE, RUSSIAN):
            book.write(f"{page}.md", page_of("space_time.map"))
        book.write(f"{OTHER}.md", page_of("space_time.size"))
        book.write(
            "book/index.md", "# Home\n\n```{findings}\n```\n\n```{toctree}\n:glob:\n\n/**\n```\n"
        )
        book.write("book/ru/found.md", "# Нашли\n\n```{findings} space_time\n```\n")
        book.write("book/lost.md", "# Lost\n\n```{findings} strec\n```\n")
        book.write("notebooks/space_time.ipynb", json.dumps(NOTEBOOK | {"cells": DRAWN}))
        found = [
            Finding.model_validate({"claim": claim, **SENTENCES})
            for claim in ("space_time.map", "space_time.size")
        ]
        found.append(found[1].model_copy(update={"digest_only": True}))
        patch.setattr(findings, "load_findings", lambda: found)
        patch.setattr(claim_pages, "verdict_changes", lambda root: [CHANGE])
        book.build()
    [warning] = book.warnings.splitlines()
    assert "lost.md:3: WARNING: There is no finding of a chapter 'strec'." in warning
    return book


def test_the_page_has_verdict_numbers_control_history_places_and_citation(built):
    text = built.page(PAGE).get_text()
    for part in (
        "direction holds · cpu",
        "space_time.map · Space digest",
        "0.410 [0.400, 0.420]",
        "bar > 0.25",
        "R² on test places: 0.410 [0.400, 0.420]bar > 0.25names: 40, seeds: 2",
        "Name in the recordr2",
        "shuffled targets",
        "bar cpu: ≥ 0.3 → > 0.25",
        "src/okml/space_time/claims.yml:",
        "okml, claim space_time.map: direction holds at cpu, r2 = 0.410 [0.400, 0.420]; "
        "record of 2026-01-02, commit abcdef0123.",
    ):
        assert part in text


def test_the_scales_of_a_claim_are_told_in_words_and_named_once(built):
    rows = [row.get_text("|") for row in built.page(PAGE).select("tbody tr")]
    assert [row.split("|")[:2] for row in rows] == [
        ["cpu", "minutes on a laptop"],
        ["night", "hours without a GPU"],
        ["gpu", "models and data of the paper"],
    ]
    assert rows[0].count("cpu") == 1


def test_a_claim_that_was_not_run_says_what_a_run_would_have_to_show(book):
    record_path("space_time", "smoke").unlink()
    record_path("space_time", "cpu").unlink()
    book.write(f"{PAGE}.md", page_of("space_time.map"))
    book.build()
    result = book.page(PAGE).select_one(".okml-claim-result").get_text()
    assert result == "R² on test places: not runbar ≥ 0.85"


def test_the_history_of_a_claim_has_its_bars_and_its_verdicts(built):
    bar, verdict = (note.get_text() for note in built.page(PAGE).select("li > .okml-note"))
    assert bar.startswith("2026-01-02, bar cpu: ")
    assert verdict == (
        "2026-01-03, verdict: not reproduced · cpu → direction holds · cpu 0.410 [0.400, 0.420]"
    )
    assert "2026-01-03, вердикт: не воспроизведено · cpu" in built.page(RUSSIAN).get_text()
    assert "2026-01-03" not in built.page(OTHER).get_text()
    russian = built.page(RUSSIAN).select("li > .okml-note")[-1].get_text()
    assert russian.endswith(" 0,410 [0,400; 0,420]")


def test_a_russian_page_is_cited_in_russian(built):
    assert built.page(RUSSIAN).select_one(".okml-cite").get_text().startswith(
        "Как сослаться: okml, утверждение space_time.map: направление верно в масштабе cpu, "
        "r2 = 0,410 [0,400; 0,420]; запись о запуске от 2026-01-02, коммит abcdef0123."
    )  # fmt: skip


def test_a_page_of_its_own_folds_nothing(built):
    page = built.page(OTHER)
    assert LONG_WHY in page.select_one(".okml-facts").get_text()
    assert page.select(".okml-facts details") == []


def test_the_scoreboard_leads_to_the_page_and_the_page_to_the_test(built):
    row = built.page("book/scoreboard").find("tr", id="row-space-time-map")
    assert row.a["href"] == "claims/space_time/map.html#page-space-time-map"
    links = {a["href"] for a in built.page(PAGE).select(".okml-facts a")}
    assert "../../../notebooks/space_time.html#cell-space-time-map" in links


def test_a_page_leads_to_the_digest_in_its_own_language_first(built):
    for name, first in ((PAGE, "digest"), (RUSSIAN, "дайджест")):
        where = [a.get_text() for a in built.page(name).select(".okml-facts a:has(span)")]
        assert next(text for text in where if "digest" in text or "дайджест" in text) == first


def test_below_its_figure_a_page_says_how_to_run_one_anew(book):
    book.write("notebooks/space_time.ipynb", json.dumps(NOTEBOOK | {"cells": DRAWN}))
    for folder, label in (("", "run-one-figure"), ("ru/", "run-one-figure-ru")):
        book.write(f"book/{folder}guides/gpu.md", f"# GPU\n\n({label})=\n## One\n\nSo.\n")
    for page in (PAGE, RUSSIAN):
        book.write(f"{page}.md", page_of("space_time.map"))
    book.build()
    for page in (PAGE, RUSSIAN):  # each to the guide in its own language
        [link] = book.page(page).select("figure + .okml-anew a")
        assert link["href"].startswith("../../guides/gpu.html#run-one-figure")


def test_a_finding_says_what_its_verdict_allows_with_the_number_of_the_record(built):
    first, second = built.page("book/index").select(".okml-findings > li")
    assert first.select_one(".okml-finding").get_text() == "holds: 0.410 [0.400, 0.420]."
    assert first.select_one(".okml-finding-claim a")["href"].startswith(
        "claims/space_time/map.html"
    )
    assert second.select_one(".okml-finding").get_text().startswith("fails: 0.350")
    # The claim of a finding that fails says the opposite, so the verdict stands beside the claim.
    claims = [each.select_one(".okml-finding-claim a").get_text() for each in (first, second)]
    assert claims == [
        "A probe reads the map. direction holds · cpu", "Size helps. not reproduced · cpu",
    ]  # fmt: skip


def test_a_finding_is_told_before_its_figure_below_the_title_of_its_digest(built):
    [title] = built.page("book/index").select(".okml-findings-of a")
    assert title["href"] == "digests/space_time.html"
    assert built.page("book/ru/found").select(".okml-findings-of") == []
    for page in ("book/index", "book/ru/found"):
        first = built.page(page).select_one(".okml-findings > li")
        assert first.find()["class"] == ["okml-finding"]
        assert first.select_one(".okml-finding-claim ~ a .okml-picture")


def test_what_is_for_the_digest_alone_is_not_on_the_landing_page(built):
    assert len(built.page("book/ru/found").select(".okml-finding")) == 3
    assert len(built.page("book/index").select(".okml-finding")) == 2


def test_a_page_may_show_the_findings_of_one_chapter(built):
    found = [each.get_text() for each in built.page("book/ru/found").select(".okml-finding")]
    assert found[0] == "holds: 0,410 [0,400; 0,420]."
    assert built.page("book/lost").select(".okml-finding") == []


def test_a_digest_says_which_run_its_picture_shows_and_the_home_page_has_the_picture_alone(built):
    digest, home = (
        built.page(name).select_one(".okml-findings") for name in ("book/ru/found", "book/index")
    )
    [made] = digest.select(".okml-scale")
    assert made.get_text().startswith("cpu · начальные значения: 2 · 2026-01-02 · abcdef0123 · ")
    assert [len(of.select(".okml-picture")) for of in (digest, home)] == [1, 1]
    assert home.select(".okml-scale") == []


@pytest.mark.parametrize("folder", ["", "ru/"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_digest_opens_with_what_its_chapter_found(chapter, folder):
    text = (claim_pages.repository_root() / f"book/{folder}digests/{chapter}.md").read_text("utf-8")
    shown = f"```{{findings}} {chapter}\n```" in text
    assert shown == any(found.claim.startswith(f"{chapter}.") for found in load_findings())


def test_the_ledger_is_valid_by_its_own_schema_and_holds_every_claim(built):
    data, schema = (
        json.loads((built.root / "html" / name).read_text("utf-8"))
        for name in (claim_pages.LEDGER, claim_pages.SCHEMA)
    )
    jsonschema.validate({name: value for name, value in data.items() if name != "$schema"}, schema)
    claims = {claim["id"]: claim for claim in data["claims"]}
    assert set(claims) == {"space_time.map", "space_time.size", "space_time.meaning"}
    assert claims["space_time.map"]["outcome"] == "direction holds"
    assert claims["space_time.map"]["results"]["cpu"]["measured"]["low"] == 0.4
    assert claims["space_time.meaning"]["results"] == {}
    [condition] = claims["space_time.size"]["conditions"]
    assert (condition["metric"], condition["bar"]) == ("r2", "> 0.1")


@pytest.mark.parametrize(
    ("chapter", "metric", "named"),
    [
        ("lightsage", "strong_hr10_gain_over_weak_graph", '"strong_hr10_gain_over_weak_graph"'),
        ("lightsage", "main_hr10_gain_over_best_rival", "hr10_gain_over_best_rival{"),
        ("add", "fd_ratio_to_25_steps", 'f"fd_ratio_{'),
        ("space_time", "place_r2", '}_r2"'),
        ("space_time", "place_within_region_rho", '"within_region_rho"'),
    ],
)
def test_a_metric_is_found_where_the_code_names_it_or_most_of_it(chapter, metric, named):
    [(path, line), *_] = measured_at(chapter, metric)
    text = (claim_pages.repository_root() / path).read_text("utf-8").splitlines()[line - 1]
    assert named in text


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_metric_has_a_place_in_the_code(chapter):
    metrics = {claim.metric for claim in load_claims(chapter)} - {None}
    assert [name for name in metrics if not measured_at(chapter, name)] == []
    assert measured_at(chapter, "a_metric_of_no_name") == []


def test_the_page_of_an_undecided_claim_says_what_a_larger_sample_would_show(book):
    save(record("cpu", r2=[0.2, 0.26, 0.32], shuffled_r2=[0.0, 0.0, 0.0]))  # the bar is 0.25
    for page in (PAGE, RUSSIAN):
        book.write(f"{page}.md", page_of("space_time.map"))
    book.build()
    # Student's t of 140 degrees of freedom is 1.977, and 0.06 / sqrt(141) of it is below 0.01.
    assert (
        "The mean clears the bar, the lower end of the interval misses it by 0.05; with the same "
        "mean and spread all of the interval would clear it in a larger sample (seeds: about 150 "
        "in place of 3)."
    ) in book.page(PAGE).get_text()
    russian = book.page(RUSSIAN).get_text()
    assert (
        "Среднее лежит по нужную сторону порога, нижний конец интервала – по другую, в 0,05 от него"
    ) in russian
    assert "(начальные значения: около 150 вместо 3)" in russian


def test_the_figure_of_a_claim_is_of_the_scale_that_decides_it(book):
    later = FIGURE.replace("A map of cities.", "A map of towns.")
    cell = {
        "cell_type": "code",
        "metadata": {"okml": {"shows": [["night", ""], ["cpu", ""]], "own": 1}},
        "outputs": [{"data": {"text/html": html}} for html in (later, FIGURE)],
    }
    book.write("notebooks/space_time.ipynb", json.dumps(NOTEBOOK | {"cells": [DRAWN[0], cell]}))
    book.write(f"{PAGE}.md", page_of("space_time.map"))
    save(record("cpu", r2=[0.4, 0.42], shuffled_r2=[0.0, 0.01]))
    book.build()
    assert {image["alt"] for image in book.page(PAGE).select("figure img")} == {"A map of cities."}


def test_a_claim_whose_test_shows_a_table_first_has_the_table_and_no_empty_one(book):
    table = '<table class="okml-table"><caption>{}</caption><tbody>{}</tbody></table>'
    shown = [
        table.format("Nothing &amp; no rows.", ""),
        table.format("Towns &amp; cities.", "<tr><td>Oslo</td></tr>"),
        FIGURE,
    ]
    cell = DRAWN[1] | {
        "metadata": {"okml": {"shows": [["cpu", ""]] * 3, "own": 3}},
        "outputs": [{"data": {"text/html": html}} for html in shown],
    }
    book.write("notebooks/space_time.ipynb", json.dumps(NOTEBOOK | {"cells": [DRAWN[0], cell]}))
    book.write(f"{PAGE}.md", page_of("space_time.map"))
    book.build()
    page = book.page(PAGE)
    box = page.find(attrs={"aria-label": "Towns & cities."})
    assert box.table.td.get_text() == "Oslo"
    assert "Nothing" not in page.get_text()
    assert page.select("figure img") == []
