"""What a page loads, only what it uses, and what it tells search engines."""

from types import SimpleNamespace

import pytest

from okml.site import pages
from tests.site.conftest import small_book


@pytest.fixture(scope="module")
def with_formula(tmp_path_factory):
    """A book with a formula on one page."""
    with small_book(tmp_path_factory.mktemp("book")) as book:
        book.write("book/formula.md", "# Formula\n\nIt is {math}`x + 1`.\n")
        book.build()
    return book


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
