"""Figures leave the page: files in both themes, the page's own alternative, shape and tooltips."""

import base64
import json
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import polars as pl
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from okml.add.figures.images import as_png
from okml.add.figures.slider import StepSlider
from okml.ledger.findings import load_findings
from okml.paths import build_dir
from okml.plotting import PALETTE, Picture, style
from okml.site.pictures import COLORS, _section, _shown, cover
from tests.site.conftest import small_book

SVG = "{http://www.w3.org/2000/svg}"
ALT = 'Three "cities" on a rising line, & a title.'
STAGED = sorted((build_dir() / "stage" / "notebooks").glob("*.ipynb"))
PHONE = 348  # of its 390 px, what a figure has
CITIES = ["Oslo <north>", "Lima", "Quito & hills"]


@pytest.fixture(scope="module")
def drawn():
    with style():
        figure, axes = plt.subplots(figsize=(6, 3))
        cities = axes.scatter([1, 2, 3], [1, 2, 3], s=80)
        axes.set_title("A title")
    return Picture(figure, ALT, {cities: CITIES}).html


@pytest.mark.parametrize("claim", [finding.claim for finding in load_findings()])
def test_the_letters_of_a_finding_can_be_read_on_a_phone(claim):
    """What records show, as the last build staged it; a figure's sizes are in points."""
    if not STAGED:
        pytest.skip("No site was built here.")
    cells = [
        cell
        for path in STAGED
        for cell in _section(json.loads(path.read_text("utf-8"))["cells"], f"{{tests}}`{claim}`")
    ]
    figure = next(html for cell in cells for _, html in _shown(cell) if html.startswith("<svg"))
    width = 4 / 3 * float(re.search(r'viewBox="\S+ \S+ (\S+) ', figure)[1])
    sizes = re.findall(r"font(?:-size)?: [^;\"]*?([\d.]+)px", figure)
    assert sizes
    assert 4 / 3 * min(map(float, sizes)) * min(1, PHONE / width) > 8.5


@pytest.fixture(scope="module")
def shown(tmp_path_factory, drawn):
    """The box of the figure on a built page, and the two files it shows."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("notebooks/space_time.md", f"# Walk\n\n```{{raw}} html\n{drawn}\n```\n")
        book.build()
    assert book.warnings == ""
    box = book.page("notebooks/space_time").select_one("figure.okml-figure > .okml-picture")
    sources = [book.root / "html/notebooks" / image["src"] for image in box.find_all("img")]
    return box, [ElementTree.parse(source).getroot() for source in sources]


def test_each_theme_has_an_image_with_the_alternative_that_loads_when_it_is_in_view(shown):
    images = shown[0].find_all("img")
    assert shown[0]["lang"] == "en"
    assert [image["class"] for image in images] == [["only-light"], ["only-dark"]]
    assert [image["alt"] for image in images] == [ALT, ALT]
    assert {image["loading"] for image in images} == {"lazy"}


def test_the_files_are_the_drawing_in_the_colors_of_each_theme(shown, drawn):
    inside = re.search(r"<svg.*</svg>", drawn, re.DOTALL)[0]
    count = len(list(ElementTree.fromstring(inside).iter(f"{SVG}path")))
    blue = PALETTE[0].lower()
    assert {"currentColor", blue} <= COLORS["dark"].keys()
    for file, colors in zip(shown[1], COLORS.values(), strict=True):
        text = ElementTree.tostring(file, encoding="unicode")
        assert len(list(file.iter(f"{SVG}path"))) == count
        assert "A title" in [found.text for found in file.iter(f"{SVG}text")]
        assert colors["currentColor"] in text
        assert colors.get(blue, blue) in text
        assert not any(replaced in text for replaced in colors)


def test_the_box_has_the_shape_of_the_figure_before_the_image_is_there(shown):
    box, drawings = shown
    [width, height] = re.match(
        r"--okml-width: ([\d.]+)pt; aspect-ratio: \1 / ([\d.]+)$", box["style"]
    ).groups()
    for file in drawings:
        assert (file.get("width"), file.get("height")) == (f"{width}pt", f"{height}pt")


def test_tooltips_lie_over_their_points(shown):
    box, drawings = shown
    over = box.svg
    circles = over.find_all("circle")
    assert over["aria-hidden"] == "true"
    assert [circle.title.get_text() for circle in circles] == CITIES
    # matplotlib's size of a marker is the square of its diameter in points.
    assert [float(circle["r"]) for circle in circles] == pytest.approx([80**0.5 / 2] * 3, abs=0.01)
    for file in drawings:
        [points] = [
            group for group in file.iter(f"{SVG}g") if group.get("id", "").endswith("points0")
        ]
        at = [(use.get("x"), use.get("y")) for use in points.iter(f"{SVG}use")]
        assert at == [(circle["cx"], circle["cy"]) for circle in circles]
        assert over["viewbox"] == file.get("viewBox")
        assert not list(file.iter(f"{SVG}title"))


@pytest.fixture(scope="module")
def slider():
    samples = pl.DataFrame(
        [
            {"row": row, "seed": 0, "column": 0, "png": as_png(torch.full((1, 8, 8), level))}
            for row, level in (("one step", -1.0), ("two steps", 1.0))
        ]
    )
    return StepSlider(samples, "Digits <drawn>")


@pytest.fixture(scope="module")
def others(tmp_path_factory, drawn, slider):
    """A book with a figure and an icon on a page, a slider on another, a folded figure on a third.

    The first figure has no tooltips.
    """
    with style():
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
    plain = Picture(figure, "A line that goes up.").html
    icon = '<p><svg aria-label="An icon"></svg></p>'
    raw = f"```{{raw}} html\n{drawn}\n```\n"
    folded = f"````{{container}} okml-scales\n{raw}````\n"
    stops = f"```{{raw}} html\n{slider._repr_html_()}\n```\n"
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("notebooks/plain.md", f"# Walk\n\n{plain}\n\n{icon}\n")
        book.write("notebooks/add.md", f"# Walk\n\n{stops}")
        book.write("notebooks/space_time.md", f"# Walk\n\n{raw}\n{folded}")
        book.build()
    return book


def test_a_figure_without_tooltips_has_nothing_over_it_and_other_html_stays(others):
    page = others.page("notebooks/plain")
    assert len(page.select(".okml-picture > img")) == 2
    assert [svg["aria-label"] for svg in page.find_all("svg")] == ["An icon"]


def test_pictures_of_a_slider_are_files_where_they_stood(others, slider):
    images = others.page("notebooks/add").select(".okml-steps > img")
    assert [image["class"] for image in images] == [["at0_0"], ["at1_0"]]
    assert images[0].parent.select_one("fieldset") is not None
    assert images[1]["alt"] == "Digits <drawn>: two steps, seed 0"
    for image, strip in zip(images, slider.strips.values(), strict=True):
        file = others.root / "html/notebooks" / image["src"]
        assert file.read_bytes() == base64.b64decode(strip)


def test_a_folded_figure_has_no_tooltips(others):
    page = others.page("notebooks/space_time")
    assert len(page.select(".okml-picture")) == 2
    assert len(page.select(".okml-scales .okml-picture > img")) == 2
    assert len(page.select(".okml-picture > svg")) == 1
    assert not page.select(".okml-scales svg")


def test_one_figure_on_two_pages_is_one_pair_of_files(book, drawn):
    for name in ("notebooks/space_time.md", "book/digests/space_time.md"):
        book.write(name, f"# Walk\n\n{drawn}\n")
    book.build()
    pages = [book.page(name) for name in ("notebooks/space_time", "book/digests/space_time")]
    sources = [
        [image["src"].rpartition("/")[2] for image in page.find_all("img")] for page in pages
    ]
    assert sources[0] == sources[1]
    assert published(book) == set(sources[0])


def published(book):
    return {path.name for path in (book.root / "html/_images").iterdir()}


def test_files_that_no_page_shows_any_more_are_not_published(book, drawn):
    book.write("notebooks/space_time.md", f"# Walk\n\n{drawn}\n")
    book.build()
    old = published(book)
    book.write("notebooks/space_time.md", f"# Walk\n\n{drawn.replace('A title', 'Another')}\n")
    book.build()
    assert len(published(book)) == len(old) == 2
    assert not published(book) & old
    book.build()
    assert len(published(book)) == 2


def notebook(path, *htmls, tags=()):
    cells = [
        new_code_cell(outputs=[new_output("display_data", data={"text/html": html})])
        for html in htmls
    ]
    cells[-1].metadata["tags"] = list(tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(new_notebook(cells=cells)), encoding="utf-8")
    return path


def test_the_cover_is_the_first_figure_or_the_tagged_one(tmp_path):
    one, two = (
        f'<figure class="okml-figure"><svg aria-label="{name}"></svg></figure>'
        for name in ("one", "two")
    )
    first, tagged, none = (tmp_path / f"{name}.ipynb" for name in ("first", "tagged", "none"))
    assert cover(notebook(first, "<b>bold</b>", one, two)) == '<svg aria-label="one"></svg>'
    assert cover(notebook(tagged, one, two, tags=["cover"])) == '<svg aria-label="two"></svg>'
    assert cover(notebook(none, "<b>bold</b>", "<svg></svg>")) is None


def test_a_card_shows_the_cover_of_its_chapter_in_both_themes(book, drawn):
    notebook(book.source / "notebooks/space_time.ipynb", drawn)
    book.build()
    assert book.warnings == ""
    cards = book.page("book/index").select(".okml-card")
    assert [image["alt"] for image in cards[0].find_all("img")] == [ALT, ALT]
    assert not cards[0].find("circle")
    assert not any(card.find("img") for card in cards[1:])
