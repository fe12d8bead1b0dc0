"""The links of a site that knows its own address and that of its repository."""

import posixpath
import re
import shutil
from xml.etree import ElementTree

import pytest

from okml.paths import repository_root
from okml.site import check, repository
from okml.site.repository import SOURCES
from tests.site.conftest import page_of, small_book

REPOSITORY, SITE = "https://github.com/group/okml", "https://example.org/okml"
CLAIM, RUSSIAN = "book/claims/space_time/map", "book/ru/notebooks/space_time"
SHA = "0123456789" * 4


@pytest.fixture(scope="module")
def addressed(tmp_path_factory):
    """The small book in the theme of the site, with the page of a claim and a Russian notebook."""
    options = {"repository_url": REPOSITORY, "use_edit_page_button": True}
    with small_book(tmp_path_factory.mktemp("book")) as book, pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository, "_sha", lambda: SHA)
        book.write(f"{CLAIM}.md", page_of("space_time.map"))
        book.write(f"{RUSSIAN}.md", "# Разбор\n")
        book.build(
            html_theme="sphinx_book_theme", html_theme_options=options, html_baseurl=f"{SITE}/"
        )
    return book


def links(book, page, part):
    return [a["href"] for a in book.page(page).select(f'a[href*="{part}"]')]


def test_the_page_of_a_claim_links_lines_of_code_at_the_commit_of_the_build(addressed):
    found = links(addressed, CLAIM, "/blob/")
    places = [
        re.fullmatch(rf"{REPOSITORY}/blob/{SHA}/(\S+)#L(\d+)", each).groups() for each in found
    ]
    assert "src/okml/space_time/claims.yml" in dict(places)
    assert any(path.endswith(".py") for path, _ in places)
    for path, line in places:
        assert int(line) <= len((repository_root() / path).read_text("utf-8").splitlines())


def test_without_an_address_the_site_has_the_files_itself(addressed, tmp_path):
    with small_book(tmp_path) as book:
        book.write(f"{CLAIM}.md", page_of("space_time.map"))
        book.build()
    linked = set()
    for link in book.page(CLAIM).select("a.okml-source"):
        href, _, anchor = link["href"].partition("#")
        page = posixpath.normpath(posixpath.join(posixpath.dirname(CLAIM), href))
        file = page.removeprefix("source/").removesuffix(".html")
        shown, text = book.page(f"source/{file}"), (SOURCES / file).read_text("utf-8")
        assert shown.find("h1").get_text() == f"src/{file}"
        line = text.splitlines()[int(anchor.removeprefix("L-")) - 1]
        assert shown.find(id=anchor).get_text().endswith(f"{line}\n")
        linked.add(file)
    assert "okml/space_time/claims.yml" in linked
    assert len(linked) > 1
    assert not (addressed.root / "html/source").exists()


def test_a_page_is_read_again_when_a_file_that_it_links_to_has_changed(tmp_path, monkeypatch):
    shutil.copytree(SOURCES / "okml", tmp_path / "src/okml")
    monkeypatch.setattr(repository, "SOURCES", tmp_path / "src")
    with small_book(tmp_path) as book:
        book.write(f"{CLAIM}.md", page_of("space_time.map"))
        book.build()
        assert book.build() == []
        (tmp_path / "src/okml/space_time/claims.yml").touch()
        assert book.build() == [CLAIM]


def test_a_page_can_be_edited_where_it_has_a_source(addressed):
    for page in ("book/scoreboard", "book/ru/digests/space_time"):
        assert set(links(addressed, page, "/edit/")) == {f"{REPOSITORY}/edit/main/{page}.md"}
    for made in (CLAIM, RUSSIAN):
        assert links(addressed, made, "/edit/") == []


def test_the_sitemap_has_every_page_at_its_address(addressed, built):
    written = ElementTree.parse(addressed.root / "html/sitemap.xml")
    pages = [path.relative_to(addressed.source) for path in addressed.source.rglob("*.md")]
    assert sorted(place.text for place in written.findall(".//{*}loc")) == sorted(
        f"{SITE}/{page.with_suffix('.html').as_posix()}" for page in pages
    )
    assert not (built.root / "html/sitemap.xml").exists()


def test_a_lost_reader_is_led_home_and_to_the_search(addressed, built):
    """A host shows the page at whatever address was asked for, so its links are whole ones."""
    page = addressed.page("404")
    assert {a["href"] for a in page.select("a")} == {
        f"{SITE}/{name}.html" for name in ("book/index", "book/ru/index", "search")
    }
    assert page.select_one("[lang=ru] a") is not None
    assert [each for each in check.problems(addressed.root / "html") if "404" in each] == []
    assert not (built.root / "html/404.html").exists()
