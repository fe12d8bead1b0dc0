"""What a page loads, only what it uses, and what it tells search engines."""

import re
from types import SimpleNamespace

import pytest

from okml.paths import repository_root
from okml.site import pages
from tests.site.conftest import small_book

# Files of extensions, and the page that uses them.
FILES = {
    "clipboard.min.js": "book/code",
    "copybutton.js": "book/code",
    "copybutton.css": "book/code",
    "design-tabs.js": "book/card",
    "sphinx-design.min.css": "book/card",
}
PAGES = ("book/index", "book/scoreboard", "book/code", "book/card")
EXTENSIONS = ["myst_parser", "sphinx_copybutton", "sphinx_design", "okml.site.extension"]


@pytest.fixture(scope="module")
def with_formula(tmp_path_factory):
    """A book with a formula on one page."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("book/formula.md", "# Formula\n\nIt is {math}`x + 1`.\n")
        book.build()
    return book


@pytest.fixture(scope="module")
def with_code(tmp_path_factory):
    """A book with a block of code on one page and a card on another, and what styles both."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("book/code.md", "# Code\n\n```python\nx = 1\n```\n")
        book.write("book/card.md", "# Card\n\n```{card} Of an extension\n```\n")
        book.build(extensions=EXTENSIONS)
    return book


def styles(book, page):
    return " ".join(each["href"] for each in book.page(page).find_all("link", rel="stylesheet"))


def scripts(book, page):
    found = book.page(page).find_all("script")
    return " ".join(each["src"] for each in found if each.get("src"))


def test_mathjax_is_loaded_where_formulas_are_and_not_above_them(with_formula):
    assert "mathjax" in scripts(with_formula, "book/formula")
    assert not any(name in scripts(with_formula, "book/index") for name in ("mathjax", "okml-math"))


def test_a_page_says_what_mathjax_loads_before_it_does(with_formula):
    loaded = scripts(with_formula, "book/formula")
    assert loaded.index("okml-math.js") < loaded.index("mathjax")
    assert (with_formula.root / "html/_static/okml-math.js").exists()


def test_no_style_asks_for_what_a_whole_page_has():
    """A browser would style a long page anew whenever a script puts something on it."""
    style = (repository_root() / "book/_static/okml.css").read_text("utf-8")
    asking = re.findall(r"([^\s,{}]*):has\(", style)
    assert len(asking) > 10
    whole = re.compile(r"(html|body|main|article|:root|\.bd-)")
    assert [part for part in asking if not part or whole.match(part)] == []


def test_a_page_says_what_it_is_at_its_first_tag(built):
    kinds = {page: built.page(page).body.get("class", []) for page in ("book/index", "search")}
    assert "okml-home-page" in kinds["book/index"]
    assert not any("okml-home" in kind for kind in kinds["search"])


def test_the_search_index_is_loaded_by_the_search_alone(built):
    assert "searchindex.js" not in scripts(built, "book/index")
    assert "searchindex.js" in scripts(built, "search")


def test_search_engines_get_the_full_address_of_the_other_language():
    app = SimpleNamespace(
        env=SimpleNamespace(found_docs={"book/status", "book/ru/status"}),
        config=SimpleNamespace(html_baseurl="https://example.org/okml/"),
    )
    context = {"pathto": lambda page: "ru/status.html"}
    pages.page_context(app, "book/status", "page.html", context, None)
    address = "https://example.org/okml/book/ru/status.html"
    assert f'hreflang="ru" href="{address}"' in context["metatags"]


def test_a_page_loads_the_files_of_extensions_that_it_uses(with_code):
    loaded = {page: scripts(with_code, page) + styles(with_code, page) for page in PAGES}
    for file, user in FILES.items():
        assert [page for page, files in loaded.items() if file in files] == [user], file


def test_no_page_waits_for_a_script_but_for_the_settings_of_others(with_code):
    files = with_code.page("book/code").find_all("script", src=True)
    waited_for = [each["src"] for each in files if not each.has_attr("defer")]
    assert len(files) > 5
    assert ["documentation_options.js" in src for src in waited_for] == [True]


def test_the_scripts_of_the_search_find_those_of_all_pages(with_code):
    files = with_code.page("search").find_all("script", src=True)
    by_name = {each["src"].partition("?")[0]: each for each in files}
    needed = ["_static/doctools.js", "_static/searchtools.js"]
    assert not any(by_name[name].has_attr("defer") for name in needed)
