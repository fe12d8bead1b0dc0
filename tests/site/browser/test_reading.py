"""The built book as a reader meets it, in Chromium: links, themes, widths, filters, search."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Locator, Page, expect

from okml.chapters import CHAPTERS
from okml.ledger import load_claims
from tests.site.browser.conftest import (
    NOTEBOOK,
    PHONE,
    RUSSIAN,
    SCOREBOARD,
    SPACE,
    THEMES,
    WIDE,
    go,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAPTOP = {"width": 1100, "height": 800}
SHEET, UPRIGHT = {"width": 1040, "height": 720}, {"width": 718, "height": 1040}  # A4
AA = 4.5  # WCAG 2.2, success criterion 1.4.3, normal text

# Cumulative layout shift: how far parts of a page move while it is loaded.
SHIFTS = """
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""

# Contrast by WCAG's relative luminance; the background is the nearest opaque one upwards, with
# translucent ones in between laid over it.
CONTRAST = """
(elements) => {
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
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
    }
    const background = layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
    const text = over(rgba(getComputedStyle(element).color), background);
    const [light, dark] = [luminance(text), luminance(background)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  return elements.map((element) => [element.innerText, contrast(element)]);
}
"""

# The color of a figure's letters, as the image's file has it, beside that of the page's text, and
# what lies between the figure and the page.
COLORS = """
async (image) => {
  const file = await (await fetch(image.src)).text();
  const drawing = new DOMParser().parseFromString(file, "image/svg+xml").documentElement;
  document.body.append(drawing);
  const ink = getComputedStyle(drawing.querySelector("text")).fill;
  drawing.remove();
  const text = getComputedStyle(image.closest("article")).color;
  return { ink, text, panel: getComputedStyle(image).backgroundColor };
}
"""


def load(images: Locator) -> None:
    """Load images without waiting for a reader to come near them."""
    images.evaluate_all("images => images.forEach(image => { image.loading = 'eager' })")
    for image in images.all():
        expect(image).to_have_js_property("complete", True)
    assert all(images.evaluate_all("images => images.map(image => image.naturalWidth)"))


def faint(found: Locator) -> list[tuple[str, float]]:
    """Return the texts whose contrast is below the bar; there must be some to look at."""
    contrasts = found.evaluate_all(CONTRAST)
    assert len(contrasts) > 10
    return [(text, ratio) for text, ratio in contrasts if ratio < AA]


def test_the_entrance_leads_home_where_findings_come_first_and_then_the_chapters(page):
    page.goto("index.html")
    page.wait_for_url("**/book/index.html")
    first = page.locator(".okml-findings > li").first
    box = first.bounding_box()
    assert box["y"] + box["height"] <= WIDE["height"]
    assert first.locator(".okml-number").first.is_visible()
    cards = page.locator(".okml-card")
    assert cards.count() == len(CHAPTERS)
    for card in cards.all():
        assert card.locator(".okml-badge").first.is_visible()
    picture = cards.first.locator("img:visible")
    assert picture.count() == 1
    assert len(picture.get_attribute("alt").split()) >= 4
    load(picture)


def test_findings_that_are_open_come_last_in_their_chapter(opened):
    lists = opened("book/index.html").locator(".okml-findings").all()
    assert len(lists) == len(CHAPTERS)
    chapters = [
        ["undecided" in verdict for verdict in each.locator(".okml-claim").all_inner_texts()]
        for each in lists
    ]
    assert all(is_open == sorted(is_open) for is_open in chapters)
    assert not all(map(all, chapters))


def test_a_finding_leads_to_its_claim_and_the_claim_to_its_cell(page):
    go(page, "book/index.html")
    page.locator(".okml-finding-claim a").first.click()
    page.wait_for_url("**/book/claims/**")
    page.get_by_role("link", name="notebook", exact=True).click()
    page.wait_for_url("**/notebooks/*.html#cell-*")


def test_this_builds_run_is_one_click_behind_a_recorded_figure(page, folder):
    # Records of older settings may draw nothing in one chapter, but not in all of them.
    drawn = [p for p in sorted(folder.glob("notebooks/*.html")) if "okml-scales" in p.read_text()]
    assert drawn, "no record draws a figure on any page"
    go(page, f"notebooks/{drawn[0].name}")
    folded = page.locator(".okml-scales").first
    caption = folded.locator("xpath=preceding-sibling::*[contains(@class, 'okml-scale')]").last
    expect(caption).to_contain_text(re.compile("^(cpu|night|gpu) · seeds: "))
    inside = folded.locator("table, .okml-picture").first
    expect(inside).to_be_hidden()
    folded.locator("summary").click()
    expect(inside).to_be_visible()


def test_the_other_language_is_one_click_away_on_the_same_page(page):
    go(page, SPACE)
    page.get_by_role("link", name="Русский", exact=True).click()
    page.wait_for_url(f"**/{RUSSIAN}")
    assert page.locator("html").get_attribute("lang") == "ru"
    page.get_by_role("link", name="English", exact=True).click()
    page.wait_for_url(f"**/{SPACE}")


@pytest.mark.parametrize("name", [NOTEBOOK, SCOREBOARD, "book/guides/gpu.html"])
def test_every_kind_of_page_has_that_click_and_its_twin_the_one_back(opened, folder, site, name):
    there = opened(name).get_by_role("link", name="Русский", exact=True)
    expect(there).to_be_visible()
    twin = f"book/ru/{name.removeprefix('book/')}"
    assert there.evaluate("link => link.href") == f"{site}{twin}"
    written = BeautifulSoup((folder / twin).read_text("utf-8"), "lxml")
    assert written.html["lang"] == "ru"
    [back] = written.find_all("a", string="English")
    assert urljoin(f"{site}{twin}", back["href"]) == f"{site}{name}"


def test_the_side_bar_is_in_the_language_of_the_page(opened):
    english, russian = (
        opened(name).locator(".bd-links .caption").all_inner_texts() for name in (SPACE, RUSSIAN)
    )
    assert "Digests" in english
    assert "Дайджесты" not in english
    assert "Дайджесты" in russian
    assert "Digests" not in russian
    assert set(english) & set(russian)
    home = opened("book/ru/index.html")
    link = home.locator(".bd-sidenav__home-link").inner_text().strip()
    assert home.get_by_role("heading", level=1).inner_text().startswith(link)


def test_a_badge_leads_to_the_cell_and_the_cell_leads_back(page):
    go(page, SPACE)
    badge = page.locator(".okml-claim[id]").first
    home = badge.get_attribute("id")
    badge.locator("a").click()
    page.wait_for_url(f"**/{NOTEBOOK}#cell-*")
    mark = page.locator(f"[id='{page.url.partition('#')[2]}']")
    expect(mark).to_be_in_viewport()
    mark.get_by_role("link", name="digest", exact=True).click()
    page.wait_for_url(f"**/{SPACE}#{home}")
    expect(page.locator(f"[id='{home}']")).to_be_in_viewport()


def test_every_claim_of_the_chapter_can_be_followed_to_its_cell(opened):
    marked = opened(NOTEBOOK).locator(".okml-tests").evaluate_all("all => all.map(of => of.title)")
    assert sorted(marked) == sorted(claim.id for claim in load_claims("space_time"))


def test_the_toggle_turns_to_dark_and_text_keeps_its_contrast(page):
    go(page, SPACE)
    texts = page.locator(".bd-article p, .okml-badge, .okml-badge .okml-id, .okml-note")
    seen = set()
    for _ in range(3):
        seen.add(page.locator("html").get_attribute("data-theme"))
        assert faint(texts) == []
        page.locator(".theme-switch-button:visible").first.click()
    assert seen == set(THEMES)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", [SCOREBOARD, "book/index.html", NOTEBOOK])
def test_tables_cards_and_marks_keep_their_contrast(opened, name, theme):
    texts = opened(name, theme).locator(
        ".okml-badge, .okml-note, .okml-missing, .okml-card p, .okml-facts dt, .okml-banner p, "
        ".bd-article a:not(.headerlink)"
    )
    assert faint(texts) == []


@pytest.mark.parametrize("name", [SCOREBOARD, "book/status.html", "book/benchmarks.html"])
def test_only_the_table_of_all_claims_is_wider_than_a_laptops_page(opened, name):
    boxes = opened(name, "light", LAPTOP).locator(".okml-scroll:not(:has([data-filters]))")
    assert boxes.count()
    for box in boxes.all():
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_a_dark_page_is_printed_as_a_light_one(page):
    page.emulate_media(color_scheme="dark")
    go(page, SPACE)
    theme = "document.documentElement.dataset.theme"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {theme} }})")
    page.pdf()
    assert page.evaluate("window.printed") == "light"
    page.wait_for_function(f"{theme} === 'dark'")


@pytest.mark.parametrize(
    ("name", "size", "boxes"),
    [
        (SCOREBOARD, SHEET, "table[data-filters]"),
        ("notebooks/strec.html", SHEET, ".okml-scroll > .okml-table"),
        ("notebooks/strec.html", UPRIGHT, ".highlight pre, .output > .okml-table"),
    ],
)
def test_what_scrolls_on_a_screen_fits_on_a_sheet(opened, name, size, boxes):
    tab = opened(name, "light", size)
    tab.emulate_media(media="print")
    cut = tab.locator(boxes).evaluate_all(
        """boxes => boxes.filter((box) => box.checkVisibility()).map(
             (box) => [box, box.parentElement].some((each) => each.scrollWidth > each.clientWidth)
           )"""
    )
    tab.emulate_media(media="screen")
    assert cut
    assert not any(cut)


@pytest.mark.parametrize("theme", THEMES)
def test_a_figures_ink_is_the_color_of_the_text_around_it(opened, theme):
    boxes = opened(NOTEBOOK, theme).locator(".okml-picture:not(.okml-scales .okml-picture)")
    shown = boxes.locator("img:visible")
    assert shown.count() == boxes.count() > 5
    colors = shown.first.evaluate(COLORS)
    assert colors["ink"] == colors["text"]
    assert colors["panel"] == "rgba(0, 0, 0, 0)"


def test_nothing_moves_when_a_figure_arrives(opened):
    page = opened(NOTEBOOK)
    images = page.locator(".okml-picture img:visible")
    boxes = "images => images.map(image => JSON.stringify(image.getBoundingClientRect()))"
    before = images.evaluate_all(boxes)
    assert not all(images.evaluate_all("images => images.map(image => image.complete)"))
    load(images)
    assert images.evaluate_all(boxes) == before


@pytest.mark.parametrize(
    "size", [WIDE, pytest.param(PHONE, marks=pytest.mark.nightly)], ids=["wide", "phone"]
)
@pytest.mark.parametrize(
    "name", ["book/index.html", SPACE, NOTEBOOK, SCOREBOARD, "book/ru/claims/strec/memory.html"]
)
def test_a_page_stands_still_while_it_loads(page, name, size):
    page.set_viewport_size(size)
    page.add_init_script(SHIFTS)
    go(page, name)
    assert page.evaluate("window.shifts") < 0.05  # 0.1 is good by Web Vitals


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_tooltip_is_under_the_pointer(opened, size):
    point = opened(NOTEBOOK, size=size).locator(".okml-picture circle").first
    point.scroll_into_view_if_needed()
    title = point.evaluate(
        """point => {
             const box = point.getBoundingClientRect();
             const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
             return document.elementFromPoint(x, y).querySelector("title")?.textContent;
           }"""
    )
    assert title


def test_a_wide_figure_keeps_most_of_its_size_on_a_phone_and_is_scrolled_by_keys(opened):
    figures = opened(NOTEBOOK, size=PHONE).locator(".okml-figure:not(.okml-scales *)")
    found = figures.evaluate_all(
        """figures => figures.map(figure => {
             const box = figure.firstElementChild;
             const points = parseFloat(getComputedStyle(box).getPropertyValue("--okml-width"));
             const scrolls = figure.scrollWidth > figure.clientWidth;
             return [box.offsetWidth / (points * 4 / 3), scrolls, figure.tabIndex];
           })"""
    )
    assert {scrolls for _, scrolls, _ in found} == {True, False}
    assert [share for share, _, _ in found if share < 0.69] == []
    assert all((place == 0) == scrolls for _, scrolls, place in found)


def test_a_page_needs_no_server(page, folder):
    go(page, (folder / NOTEBOOK).as_uri())
    load(page.locator(".okml-picture img:visible").first)
    assert page.locator("mjx-container").count()


def test_formulas_are_set_with_the_sites_own_fonts(opened):
    page = opened(SPACE)
    assert page.locator("mjx-container").count()
    assert page.evaluate("[...document.fonts].some((f) => f.family.startsWith('MJX'))")


def test_every_formula_of_a_long_page_is_set(opened):
    page = opened(NOTEBOOK)
    formulas = page.locator(".math")
    assert formulas.count() == page.locator(".math:has(mjx-container)").count() > 20


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_icons_are_letters_of_a_font_and_need_no_script(opened, size):
    page = opened(SPACE, size=size)
    assert page.locator("svg.svg-inline--fa, script[src*='fontawesome']").count() == 0
    assert page.evaluate("document.fonts.check('900 1em \"Font Awesome 6 Free\"')")
    widths = page.locator("[class*='fa-']:visible").evaluate_all(
        "icons => icons.map((icon) => icon.getBoundingClientRect().width)"
    )
    assert len(widths) > 3
    assert min(widths) > 5


def test_the_theme_speaks_the_language_of_the_page(opened):
    for name, said in ((SPACE, ["previous", "next"]), (RUSSIAN, ["назад", "дальше"])):
        texts = opened(name).locator(".prev-next-subtitle").all_text_contents()
        assert [text.lower() for text in texts] == said


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", [SPACE, RUSSIAN, SCOREBOARD])
def test_a_verdict_is_in_sight_beside_its_claim(opened, name, size):
    table = opened(name, size=size).locator(".okml-scroll").last
    edges = "elements => elements.map(element => element.getBoundingClientRect().right)"
    [edge] = table.evaluate(edges.replace("elements.map", "[elements].map"))
    badges = table.locator("tbody .okml-badge").evaluate_all(edges)
    assert len(badges) >= len(load_claims("space_time"))
    assert max(badges) <= edge + 1


def test_a_wide_table_scrolls_in_its_own_box_by_keyboard(page):
    page.set_viewport_size(PHONE)
    go(page, SCOREBOARD)
    box = page.locator(".okml-scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())


@pytest.mark.parametrize("name", [RUSSIAN, SCOREBOARD])
def test_a_claim_is_a_card_on_a_phone(opened, name):
    box = opened(name, size=PHONE).locator(".okml-scroll").last
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    row = box.locator("tbody tr").first
    assert row.locator(".okml-text, .okml-badge").evaluate_all(
        "parts => parts.every((part) => part.checkVisibility())"
    )
    assert row.locator("td:visible .okml-number").count() == 1  # that of the largest scale
    heights = box.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.clientHeight)")
    assert sum(heights) / len(heights) < PHONE["height"] / 5  # a screen has five claims
    if name == SCOREBOARD:  # what stands around the claims is no longer than four screens
        height = box.page.evaluate("document.documentElement.scrollHeight")
        assert height < (len(heights) / 5 + 4) * PHONE["height"]


# Of each table the number of the cell that stays, row by row.
STAYS = """
(tables) => {
  const stays = (cell) => getComputedStyle(cell).position === "sticky";
  return tables.map((table) => [...table.rows].map((row) => [...row.cells].findIndex(stays)));
}
"""


def test_the_column_that_names_the_rows_stays(opened):
    tables = opened("notebooks/strec.html").locator(".cell_output > .output > .okml-table")
    second = tables.filter(has=tables.page.locator("th:nth-child(2)", has_text=re.compile("^arm$")))
    assert second.count() > 1
    assert {place for rows in second.evaluate_all(STAYS) for place in rows} == {1}
    others = tables.filter(has=tables.page.locator("th:first-child", has_text="claim"))
    assert {place for rows in others.evaluate_all(STAYS) for place in rows} == {0}


@pytest.mark.parametrize("name", ["notebooks/strec.html", SCOREBOARD])
def test_the_caption_of_a_wide_table_stays_in_sight(page, name):
    page.set_viewport_size(PHONE)
    go(page, name)
    boxes = page.locator(".cell_output > .output:has(> .okml-table), .okml-scroll")
    moved = boxes.evaluate_all(
        """boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => {
             box.scrollLeft = box.scrollWidth;
             const [inside, caption] = [box, box.querySelector("caption")].map(
               (each) => each.getBoundingClientRect()
             );
             return [caption.left - inside.left, caption.right - inside.right];
           })"""
    )
    assert moved
    assert [edges for edges in moved if abs(edges[0]) > 1 or edges[1] > 1] == []


def test_a_folded_table_scrolls_in_its_own_box(page):
    page.set_viewport_size(PHONE)
    go(page, "notebooks/strec.html")
    page.locator(".okml-scales").evaluate_all("all => all.forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def shown(page: Page) -> int:
    return page.locator("table[data-filters] tbody tr:visible").count()


def test_the_scoreboards_filters_agree_with_its_rows_and_links_lead_past_them(page):
    go(page, SCOREBOARD)
    everything = sum(len(load_claims(chapter)) for chapter in CHAPTERS)
    assert shown(page) == everything
    page.get_by_label("Chapter", exact=True).select_option("space_time")
    assert shown(page) == len(load_claims("space_time"))
    page.get_by_label("Verdict", exact=True).select_option("not run here")
    facets = page.locator("table[data-filters] tbody tr:visible .okml-badge[data-facet]")
    assert {facet.get_attribute("data-facet") for facet in facets.all()} <= {"not run here"}
    expect(page.locator(".okml-filters output")).to_have_text(f"{shown(page)} of {everything} rows")
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == everything
    page.get_by_label("Search the rows").fill("strec.memory")
    assert shown(page) == 1
    page.evaluate("location.hash = '#row-strec-time'")  # a row that is filtered out
    expect(page.locator("#row-strec-time")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "plain"),
    [(SCOREBOARD, {",": ""}), ("book/ru/scoreboard.html", {"\xa0": "", ",": ".", "−": "-"})],
)
def test_columns_sort_by_number_both_ways(page, name, plain):
    go(page, name)
    page.get_by_role("button", name="night").click()
    titles = page.locator("table[data-filters] thead th").all_inner_texts()
    place = titles.index("night") + 1
    column = page.locator(f"table[data-filters] tbody tr > :nth-child({place})")

    def numbers() -> list[float]:
        texts = [text.strip().translate(str.maketrans(plain)) for text in column.all_inner_texts()]
        found = [re.match(r"-?\d+(\.\d+)?", text) for text in texts]
        return [float(match[0]) for match in found if match]

    up = numbers()
    assert len(up) > 2
    assert up == sorted(up)
    expect(page.locator("th[aria-sort='ascending']")).to_have_text("night")
    page.get_by_role("button", name="night").click()
    assert numbers() == sorted(up, reverse=True)


def test_the_scoreboard_is_whole_without_scripts(folder):
    written = BeautifulSoup((folder / SCOREBOARD).read_text("utf-8"), "html.parser")
    rows = written.select("table[data-filters] tbody tr")
    assert len(rows) == sum(len(load_claims(chapter)) for chapter in CHAPTERS)
    assert not written.select("table[data-filters] [hidden], table[data-filters][hidden]")


@pytest.mark.parametrize("query", ["зондами", "probing"])
def test_search_finds_other_forms_of_a_word_in_both_languages(page, query):
    page.goto(f"search.html?q={query}")
    expect(page.locator("#search-results > h2")).to_have_text("Search Results")  # all are listed
    pages = page.locator("#search-results li a").evaluate_all("links => links.map(a => a.href)")
    assert any("space_time" in href for href in pages)


@pytest.mark.parametrize(("home", "own"), [("book/index.html", "en"), ("book/ru/index.html", "ru")])
def test_a_search_for_latin_words_lists_pages_in_the_language_of_the_reader_first(page, home, own):
    go(page, home)
    page.evaluate(
        "location.href = new URL('search.html?q=SDXL', document.baseURI.split('book/')[0])"
    )
    expect(page.locator("#search-results > h2")).to_have_text("Search Results")  # all are listed
    pages = page.locator("#search-results li a").evaluate_all("links => links.map(a => a.href)")
    others = [("/ru/" in href) != (own == "ru") for href in pages if "glossary" not in href]
    assert others == sorted(others)
    assert len(set(others)) == 2


def test_the_notebook_can_be_downloaded_with_its_figures(opened, site):
    page = opened(NOTEBOOK)
    link = page.locator("a.dropdown-item[href$='.ipynb']:not([href^='http'])").first
    response = page.request.get(f"{site}notebooks/{link.get_attribute('href')}")
    assert response.ok
    assert response.json()["nbformat"] == 4
    assert response.text().count('class=\\"okml-figure\\"') == page.locator(".okml-figure").count()
