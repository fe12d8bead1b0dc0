"""What other sites show of a page: its picture, its title and a line of text."""

import io
import re

import pytest
from PIL import Image, ImageChops

from okml.ledger import Outcome
from okml.paths import repository_root
from okml.site.share_pictures import GAP, HEIGHT, MARGIN, SQUARE, WIDTH, Card, color, draw
from okml.site.sharing import PICTURES
from tests.site.conftest import page_of, small_book

SITE = "https://example.org/okml/"
CLAIM = "book/claims/space_time/map"
# Each page with what is told of it besides its title.
TOLD = {
    "book/digests/space_time": "",
    "book/ru/digests/space_time": "",
    "notebooks/space_time": "",
    CLAIM: "r2 = 0.410 [0.400, 0.420] R²",
    "book/ru/claims/space_time/map": "r2 = 0,410 [0,400; 0,420] R²",
}
SQUARES = (0, HEIGHT - 140, WIDTH, HEIGHT)  # where the verdicts stand


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A book with an address, and the pages of one claim."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        for page in (CLAIM, "book/ru/claims/space_time/map"):
            book.write(f"{page}.md", page_of("space_time.map"))
        book.build(html_baseurl=SITE)
    assert book.warnings == ""
    return book


def told(book, page):
    tags = book.page(page).find_all("meta", property=re.compile("^og:"))
    return {tag["property"].removeprefix("og:"): tag["content"] for tag in tags}


def card(**changed):
    given = {
        "title": "A title",
        "chapter": "strec",
        "found": "It was found.",
        "verdicts": ((Outcome.UNDECIDED, "undecided"),),
    }
    return Image.open(io.BytesIO(draw(Card(**(given | changed))))).convert("RGB")


def test_each_page_of_a_chapter_has_a_small_picture_of_its_own(shared):
    pictures = set()
    for page, found in TOLD.items():
        tags = told(shared, page)
        file = shared.root / "html" / tags["image"].removeprefix(SITE)
        assert Image.open(file).size == (int(tags["image:width"]), int(tags["image:height"]))
        assert file.stat().st_size < 60_000
        assert tags["image:alt"] == f"{tags['title']} {found}".strip()
        pictures.add(file.read_bytes())
    assert len(pictures) == len(TOLD)


def test_a_page_about_no_chapter_has_the_picture_of_the_book(shared):
    assert told(shared, "book/scoreboard")["image"] == f"{SITE}_static/screenshot.png"


def test_a_claim_is_described_by_its_number(shared):
    assert told(shared, CLAIM)["description"] == TOLD[CLAIM]


def test_a_site_without_an_address_has_no_pictures(built):
    assert "image" not in told(built, "book/digests/space_time")
    assert not (built.root / "html" / PICTURES).exists()


@pytest.mark.parametrize("long", ["title", "found"])
def test_long_words_leave_the_verdicts_their_room(long):
    moved = ImageChops.difference(card(**{long: "a very long text " * 40}), card())
    # A picture has few colors, and which ones depends a little on all of it.
    assert max(high for _, high in moved.crop(SQUARES).getextrema()) < 40
    assert min(high for _, high in moved.getextrema()) > 150


def test_the_words_of_a_verdict_stand_beside_its_square():
    picture = card(title="", found="").crop(SQUARES)
    right = MARGIN + SQUARE  # of the square
    between = picture.crop((right + 1, 0, right + GAP - 1, picture.height))
    assert min(low for low, _ in between.getextrema()) > 240  # nothing is drawn there
    words = picture.crop((right + GAP, 0, right + GAP + 40, picture.height))
    assert min(low for low, _ in words.getextrema()) < 150


def test_letters_of_both_languages_are_drawn():
    missing = card(title="\uffff")  # the box that stands for a letter without a form
    for letter in "A\u042f\u2265\u00b2":
        assert card(title=letter).tobytes() != missing.tobytes()


def test_outcomes_have_the_colors_of_the_light_pages():
    style = (repository_root() / "book/_static/okml.css").read_text("utf-8")
    light = re.search(r'\[data-theme="light"\] \{(.*?)\}', style, re.DOTALL)[1]
    values = dict(re.findall(r"--okml-(\w+): (#\w+);", light))
    names = dict(re.findall(r"\.okml-([\w-]+)[^{}]*\{ --okml-color: var\(--okml-(\w+)\)", style))
    for outcome in Outcome:
        name = names.get(outcome.value.replace(" ", "-"))
        assert name is None or color(outcome) == values[name]
    assert color(Outcome.UNDECIDED) == values["muted"]
