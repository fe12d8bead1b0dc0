"""Search stems Russian as Russian and English as English; its index depends on the pages alone."""

import io
import json
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx.addnodes import index
from sphinx.search import js_index
from sphinx.search.en import SearchEnglish

from okml.site.search import Index, SearchBoth, keep_cells_apart

SEARCH = SearchBoth({})


@pytest.mark.parametrize(
    "forms",
    [
        ("рекомендация", "рекомендации", "рекомендаций", "рекомендациями"),
        ("зонд", "зонда", "зонды"),
        ("учёт", "учет"),
        ("СЛОЙ", "слой"),
    ],
)
def test_forms_of_a_russian_word_share_a_stem(forms):
    assert len({SEARCH.stem(form) for form in forms}) == 1


@pytest.mark.parametrize("word", ["recommendations", "probing", "layers", "claims"])
def test_english_words_get_the_english_stem(word):
    assert SEARCH.stem(word) == SearchEnglish({}).stem(word)
    assert SEARCH.stem(word) != word


def test_stop_words_of_both_languages_are_left_out():
    assert {"the", "and", "на", "что"} <= SEARCH.stopwords


@pytest.mark.parametrize("word", ["A", "Что", "2023"])
def test_what_a_search_skips_is_not_in_the_index(word):
    assert not SEARCH.word_filter(word)


PAGES = {  # title, words, index entry
    "a": ("One", "apples and pears", "fruit"),
    "b": ("Two", "pears", "fruit"),
    "c": ("Three", "plums", "tree"),
}


def empty(index_of=Index):
    kept = ("titles", "filenames", "mapping", "title_mapping", "all_titles", "index_entries")
    env = SimpleNamespace(version={"x": 1}, domains={}, config=None)
    for name in (*kept, "objtypes", "objnames"):
        setattr(env, f"_search_index_{name}", {})
    return index_of(env, "en", {}, "")


def feed(found, pages):
    for name, (title, words, entry) in pages.items():
        page = new_document(name)
        section = nodes.section(ids=[name])
        section += [nodes.title("", title), nodes.paragraph("", words)]
        page += [section, index(entries=[("single", entry, f"at-{name}", "main", None)])]
        found.feed(name, f"{name}.md", title, page)
    return found


def written(found):
    text = io.StringIO()
    found.dump(text, js_index)
    return text.getvalue()


def test_the_index_is_the_same_in_whatever_order_pages_are_written():
    backwards = dict(reversed(PAGES.items()))
    assert written(feed(empty(), PAGES)) == written(feed(empty(), backwards))


def test_the_index_after_a_change_is_that_of_a_first_build():
    before = {**PAGES, "c": ("Third", "cherries", "bush"), "d": ("Four", "figs", "tree")}
    later = empty()
    later.load(io.StringIO(written(feed(empty(), before))), js_index)
    later.prune(["a", "b"])  # what a build does not write again
    feed(later, {"c": PAGES["c"]})
    assert written(later) == written(feed(empty(), PAGES))
    frozen = json.loads(written(later).removeprefix("Search.setIndex(").removesuffix(")"))
    assert frozen["indexentries"]["fruit"] == [[0, "at-a", True], [1, "at-b", True]]
    assert "cherri" not in frozen["terms"]


def test_cells_of_a_table_are_words_of_their_own():
    page = new_document("page")
    table = (
        "<table><caption>Plums.</caption><tr><th>arm</th><td>Caser</td><td>0.5</td></tr></table>"
    )
    page += [nodes.raw("", table, format="html"), nodes.raw("", "<p>as is</p>", format="html")]
    keep_cells_apart(None, page)
    assert page[0].astext().replace("> ", ">") == table
    assert page[1].astext() == "<p>as is</p>"
    found = empty()
    found.feed("page", "page.md", "Page", page)
    assert {"plum", "arm", "caser"} <= set(found.freeze()["terms"])
