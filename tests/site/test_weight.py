"""What a page loads, only what it uses, and what it tells search engines."""

from types import SimpleNamespace

from okml.site import pages


def scripts(book, page):
    found = book.page(page).find_all("script")
    return " ".join(each["src"] for each in found if each.get("src"))


def test_mathjax_is_loaded_where_formulas_are_and_not_above_them(book):
    book.write("book/formula.md", "# Formula\n\nIt is {math}`x + 1`.\n")
    book.build()
    assert "mathjax" in scripts(book, "book/formula")
    assert not any(name in scripts(book, "book/index") for name in ("mathjax", "okml-math"))


def test_a_page_says_what_mathjax_loads_before_it_does(book):
    book.write("book/formula.md", "# Formula\n\nIt is {math}`x + 1`.\n")
    book.build()
    loaded = scripts(book, "book/formula")
    assert loaded.index("okml-math.js") < loaded.index("mathjax")
    assert (book.root / "html/_static/okml-math.js").exists()


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
