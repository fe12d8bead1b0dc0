"""The built book as a reader meets it, in Chromium: links, themes, widths, filters, search."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from okml.chapters import CHAPTERS
from okml.ledger import load_claims
from okml.paths import build_dir

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SPACE = "book/digests/space_time.html"
RUSSIAN = "book/ru/digests/space_time.html"
NOTEBOOK = "notebooks/space_time.html"
PAGES = [
    "book/index.html",
    SPACE,
    NOTEBOOK,
    "book/scoreboard.html",
    "book/status.html",
    "book/group/meetings.html",
    RUSSIAN,
]
AA = 4.5  # WCAG 2.2, success criterion 1.4.3, normal text

# Contrast by WCAG's relative luminance; the background is the nearest opaque one upwards, with
# translucent ones in between laid over it.
CONTRAST = """
(element) => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.push(rgba(getComputedStyle(at).backgroundColor));
  }
  const background = layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const text = over(rgba(getComputedStyle(element).color), background);
  const [light, dark] = [luminance(text), luminance(background)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}
"""


def give_up(reason: str) -> None:
    """Skip, or fail where the browser tests were asked to run."""
    if os.environ.get("OKML_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve the built site and return its address."""
    folder = build_dir() / "site"
    if not (folder / "index.html").exists():
        give_up("the site is not built; run `make book`")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        give_up("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """A tab that records every request to another host and every script error."""
    context = browser.new_context(viewport=WIDE, base_url=site, color_scheme="light")
    tab = context.new_page()
    tab.foreign = []
    tab.errors = []
    tab.on("request", lambda r: r.url.startswith((site, "data:")) or tab.foreign.append(r.url))
    tab.on("response", lambda r: r.ok or r.status == 304 or tab.errors.append(r.url))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    yield tab
    context.close()


def test_the_entrance_leads_home_where_six_cards_fit_the_screen(page):
    page.goto("index.html")
    page.wait_for_url("**/book/index.html")
    cards = page.locator(".okml-card")
    expect(cards).to_have_count(len(CHAPTERS))
    for card in cards.all():
        box = card.bounding_box()
        assert box["y"] + box["height"] <= WIDE["height"]
        expect(card.locator(".okml-badge").first).to_be_visible()
    picture = cards.first.locator("img:visible")
    expect(picture).to_have_count(1)
    assert len(picture.get_attribute("alt").split()) >= 4
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_a_badge_leads_to_the_cell_and_the_cell_leads_back(page):
    page.goto(SPACE)
    badge = page.locator(".okml-claim[id]").first
    home = badge.get_attribute("id")
    badge.locator("a").click()
    page.wait_for_url(f"**/{NOTEBOOK}#cell-*")
    mark = page.locator(f"[id='{page.url.partition('#')[2]}']")
    expect(mark).to_be_in_viewport()
    mark.get_by_role("link", name="digest", exact=True).click()
    page.wait_for_url(f"**/{SPACE}#{home}")
    expect(page.locator(f"[id='{home}']")).to_be_in_viewport()


def test_every_claim_of_the_chapter_can_be_followed_to_its_cell(page):
    page.goto(NOTEBOOK)
    marked = page.locator(".okml-tests .okml-id").all_inner_texts()
    assert sorted(marked) == sorted(claim.id for claim in load_claims("space_time"))


def test_the_toggle_turns_to_dark_and_text_keeps_its_contrast(page):
    page.goto(SPACE)
    seen = set()
    for _ in range(3):
        theme = page.locator("html").get_attribute("data-theme")
        seen.add(theme)
        for selector in (".bd-article p", ".okml-badge", ".okml-badge .okml-id", ".okml-note"):
            for found in page.locator(selector).all()[:60]:
                ratio = found.evaluate(CONTRAST)
                assert ratio >= AA, (theme, selector, found.inner_text(), ratio)
        page.locator(".theme-switch-button:visible").first.click()
    assert seen == {"light", "dark"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["book/scoreboard.html", "book/index.html", NOTEBOOK])
def test_tables_cards_and_marks_keep_their_contrast(page, name, theme):
    page.emulate_media(color_scheme=theme)
    page.goto(name)
    assert page.locator("html").get_attribute("data-theme") == theme
    selectors = (
        ".okml-badge",
        ".okml-note",
        ".okml-missing",
        ".okml-card p",
        ".bd-article a:not(.headerlink)",
    )
    checked = 0
    for selector in (*selectors, ".okml-facts dt", ".okml-banner p"):
        for found in page.locator(selector).all()[:40]:
            checked += 1
            ratio = found.evaluate(CONTRAST)
            assert ratio >= AA, (selector, found.inner_text(), ratio)
    assert checked > 10


def test_a_figures_ink_follows_the_theme(page):
    inks = set()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(NOTEBOOK)
        label = page.locator(".okml-figure svg text").first
        inks.add(label.evaluate("text => getComputedStyle(text).fill"))
    assert len(inks) == 2


def test_a_phone_never_scrolls_a_page_sideways(page):
    folder = build_dir() / "site"
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.html")]
    page.set_viewport_size(PHONE)
    widths = {}
    for name in (name for name in names if "_static" not in name and name != "index.html"):
        page.goto(name)
        if page.locator(".math").count():
            page.locator("mjx-container").first.wait_for()
        widths[name] = page.evaluate("document.documentElement.scrollWidth")
    assert len(widths) > 3 * len(CHAPTERS)
    assert {name: width for name, width in widths.items() if width > PHONE["width"]} == {}


def test_the_theme_speaks_the_language_of_the_page(page):
    for name, said in ((SPACE, ["previous", "next"]), (RUSSIAN, ["назад", "дальше"])):
        page.goto(name)
        shown = page.locator(".prev-next-subtitle").all_text_contents()
        assert [text.lower() for text in shown] == said


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", [SPACE, RUSSIAN, "book/scoreboard.html"])
def test_a_verdict_is_in_sight_beside_its_claim(page, name, size):
    page.set_viewport_size(size)
    page.goto(name)
    table = page.locator(".okml-scroll").last
    edge = table.evaluate("box => box.getBoundingClientRect().right")
    badges = table.locator("tbody .okml-badge").all()
    assert len(badges) >= len(load_claims("space_time"))
    for badge in badges:
        box = badge.bounding_box()
        assert box["x"] + box["width"] <= edge + 1


def test_a_wide_table_scrolls_in_its_own_box_by_keyboard(page):
    page.set_viewport_size(PHONE)
    page.goto("book/scoreboard.html")
    box = page.locator(".okml-scroll").last
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())


def shown(page: Page) -> int:
    return page.locator("table[data-filters] tbody tr:visible").count()


def test_the_scoreboards_filters_agree_with_its_rows(page):
    page.goto("book/scoreboard.html")
    everything = sum(len(load_claims(chapter)) for chapter in CHAPTERS)
    assert shown(page) == everything
    page.get_by_label("Chapter", exact=True).select_option("space_time")
    assert shown(page) == len(load_claims("space_time"))
    page.get_by_label("Verdict", exact=True).select_option("not run here")
    facets = page.locator("table[data-filters] tbody tr:visible [data-facet]")
    assert {facet.get_attribute("data-facet") for facet in facets.all()} <= {"not run here"}
    expect(page.locator(".okml-filters output")).to_have_text(f"{shown(page)} of {everything} rows")
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == everything
    page.get_by_label("Search the rows").fill("strec.memory")
    assert shown(page) == 1


def test_columns_sort_by_number_both_ways(page):
    page.goto("book/scoreboard.html")
    page.get_by_role("button", name="smoke").click()
    column = page.locator("table[data-filters] tbody tr > :nth-child(5)")

    def numbers() -> list[float]:
        found = [re.match(r"-?\d+(\.\d+)?", text.strip()) for text in column.all_inner_texts()]
        return [float(match[0]) for match in found if match]

    up = numbers()
    assert len(up) > 2
    assert up == sorted(up)
    expect(page.locator("th[aria-sort='ascending']")).to_have_text("smoke")
    page.get_by_role("button", name="smoke").click()
    assert numbers() == sorted(up, reverse=True)


def test_a_link_to_a_filtered_row_still_leads_to_it(page):
    page.goto("book/scoreboard.html")
    page.get_by_label("Search the rows").fill("strec.memory")
    page.evaluate("location.hash = '#row-strec-time'")
    expect(page.locator("#row-strec-time")).to_be_visible()


def test_the_scoreboard_is_whole_without_scripts(browser, site):
    context = browser.new_context(java_script_enabled=False, base_url=site)
    tab = context.new_page()
    tab.goto("book/scoreboard.html")
    rows = tab.locator("table[data-filters] tbody tr")
    assert rows.count() == sum(len(load_claims(chapter)) for chapter in CHAPTERS)
    context.close()


@pytest.mark.parametrize("query", ["зонды", "зондами", "probes", "probing"])
def test_search_finds_other_forms_of_a_word_in_both_languages(page, query):
    page.goto(f"search.html?q={query}")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    pages = [result.get_attribute("href") for result in results.all()]
    assert any("space_time" in href for href in pages)


@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_pages_need_no_other_host_and_no_script_fails(page, name):
    page.goto(name)
    page.wait_for_load_state("networkidle")
    assert page.foreign == []
    assert page.errors == []


def test_formulas_are_set_with_the_sites_own_fonts(page):
    page.goto(SPACE)
    page.locator("mjx-container").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.locator("mjx-merror").count() == 0
    assert page.evaluate("[...document.fonts].some((f) => f.family.startsWith('MJX'))")


def test_the_notebook_can_be_downloaded(page, site):
    page.goto(NOTEBOOK)
    link = page.locator("a.dropdown-item[href$='.ipynb']").first
    response = page.request.get(f"{site}notebooks/{link.get_attribute('href')}")
    assert response.ok
    assert response.json()["nbformat"] == 4
