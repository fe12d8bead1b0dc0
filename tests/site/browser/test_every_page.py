"""What holds of every page of the built book, or of a page of each kind, in Chromium."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext

from okml.chapters import CHAPTERS, Chapter
from tests.site.browser.conftest import PHONE, RUSSIAN, SCOREBOARD, SPACE, WIDE, go

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOKS = [f"notebooks/{path.stem}.html" for name in CHAPTERS for path in Chapter(name).notebooks]
RUSSIAN_NOTEBOOKS = [f"book/ru/{name}" for name in NOTEBOOKS]
SHORT = "notebooks/periodic_behavior.html"
# A page of each kind.
KINDS = [
    "book/index.html", SCOREBOARD, SPACE, SHORT, "book/claims/strec/memory.html",
    "book/status.html", "book/benchmarks.html", "book/guides/gpu.html", "book/glossary.html",
    "book/group/meetings.html", "book/ru/index.html", RUSSIAN,
    f"book/ru/{SHORT}", "book/ru/claims/strec/memory.html", "search.html",
    "source/okml/strec/sampler.py.html",
]  # fmt: skip

# What scrolls can be reached by keys; the theme sees to it a while after the page's size changed.
TAB_STOPS = """
() => [
  ...document.querySelectorAll("pre, .pst-scrollable-table-container, mjx-container[display]")
].every((box) => box.scrollWidth <= box.clientWidth || box.tabIndex === 0)
"""

# The texts of a figure's file that lie outside of it, as the browser sets them.
OUTSIDE = """
async (source) => {
  const file = await (await fetch(source)).text();
  const drawing = new DOMParser().parseFromString(file, "image/svg+xml").documentElement;
  document.body.append(drawing);
  const { width, height } = drawing.viewBox.baseVal;
  const frame = drawing.getBoundingClientRect();
  const scale = width / frame.width;
  const lost = [...drawing.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    const [left, right] = [box.left - frame.left, box.right - frame.left].map((x) => x * scale);
    return left < -4 || right > width + 4;
  });
  drawing.remove();
  return lost.map((text) => text.textContent);
}
"""


@dataclass
class Visit:
    """What was seen of a page on a phone, and of a Russian notebook's figures on a wide one."""

    width: int = 0
    unread_formulas: int = 0
    foreign: list[str] = field(default_factory=list)  # requests to another host
    errors: list[str] = field(default_factory=list)  # of scripts, and answers that are errors
    outside: list[list[str]] = field(default_factory=list)  # of each figure the texts beyond it


def is_first(name: str) -> bool:
    """Tell whether a page is opened each time, and its twin in the other language at night.

    Both have the same formulas, figures and tables; the labels of notebooks are longer in Russian.
    """
    return name.startswith("book/ru/") == ("notebooks/" in name)


FIRST = pytest.mark.parametrize("visits", [True], indirect=True, ids=["first"])
TWINS = pytest.param(False, marks=pytest.mark.nightly, id="twins")
ALL = pytest.mark.parametrize("visits", [pytest.param(True, id="first"), TWINS], indirect=True)


@pytest.fixture(scope="module")
def visits(
    context: BrowserContext, folder: Path, site: str, request: pytest.FixtureRequest
) -> dict[str, Visit]:
    """The first pages or the twins, opened once on a phone; of claims and source some."""
    many = [*(folder / "book/claims").iterdir(), folder / "source"]
    left_out = {path for of in many for path in sorted(of.rglob("*.html"))[1:]}
    paths = sorted({*folder.rglob("*.html")} - left_out)
    names = [path.relative_to(folder).as_posix() for path in paths]
    names = [name for name in names if is_first(name) == request.param]
    sheet = context.new_page()  # a short page in the same style, on which figures are laid out
    go(sheet, "genindex.html")
    tab = context.new_page()
    tab.set_viewport_size(PHONE)
    seen: dict[str, Visit] = {}
    visit = Visit()
    # The handlers write to whatever visit goes on.
    tab.on("request", lambda r: r.url.startswith((site, "data:")) or visit.foreign.append(r.url))
    tab.on("response", lambda r: r.ok or r.status == 304 or visit.errors.append(r.url))
    tab.on("pageerror", lambda error: visit.errors.append(str(error)))
    for name in (name for name in names if "_static" not in name and name != "index.html"):
        visit = seen[name] = Visit()
        go(tab, name)
        visit.width = tab.evaluate("document.documentElement.scrollWidth")
        visit.unread_formulas = tab.locator("mjx-merror").count()
        if name in RUSSIAN_NOTEBOOKS:
            figures = tab.locator(".okml-picture > img.only-light")
            sources = figures.evaluate_all("images => images.map(image => image.src)")
            visit.outside = [sheet.evaluate(OUTSIDE, source) for source in sources]
    tab.close()
    sheet.close()
    assert len(seen) > 2 * len(CHAPTERS)
    return seen


# Each kind of page in one of two looks each time, and in all four at night, as every notebook is:
# the contrast of its thousands of colored words takes ten seconds.
LOOKS = [
    pytest.param(
        name, theme, size, id=f"{name}-{theme}-{'phone' if size is PHONE else 'wide'}",
        marks=() if look == number % 2 and name in KINDS else pytest.mark.nightly,
    )
    for number, name in enumerate(dict.fromkeys(KINDS + NOTEBOOKS))
    for look, (theme, size) in enumerate(
        (("light", WIDE), ("dark", PHONE), ("dark", WIDE), ("light", PHONE))
    )
]  # fmt: skip


@pytest.mark.parametrize(("name", "theme", "size"), LOOKS)
def test_axe_finds_nothing_that_keeps_readers_out(opened, name, theme, size):
    tab = opened(name, theme, size)
    tab.wait_for_function(TAB_STOPS)
    found = Axe().run(tab).response["violations"]
    assert [
        (each["id"], [node["target"] for node in each["nodes"][:3]], each["help"]) for each in found
    ] == []


@FIRST
@pytest.mark.parametrize("name", RUSSIAN_NOTEBOOKS)
def test_the_russian_labels_of_a_figure_have_room_in_it(visits, name):
    assert len(visits[name].outside) > 3
    assert [label for labels in visits[name].outside for label in labels] == []


@ALL
def test_a_phone_never_scrolls_a_page_sideways(visits):
    assert {n: v.width for n, v in visits.items() if v.width > PHONE["width"]} == {}


@ALL
def test_pages_need_no_other_host_and_no_script_fails(visits):
    assert {name: visit.foreign for name, visit in visits.items() if visit.foreign} == {}
    assert {name: visit.errors for name, visit in visits.items() if visit.errors} == {}


@ALL
def test_every_formula_can_be_read(visits):
    assert [name for name, visit in visits.items() if visit.unread_formulas] == []
