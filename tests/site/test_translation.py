"""The Russian words of the notebooks: all there, up to date, and of the same content."""

import hashlib
import re
from collections import Counter

import nbformat
import pytest
from myst_nb.core.config import NbParserConfig
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from okml.chapters import CHAPTERS, Chapter
from okml.paths import repository_root
from okml.site.language import in_language, page_language
from okml.site.translation import notebook_in_russian, translation

NOTEBOOKS = [path for name in CHAPTERS for path in Chapter(name).notebooks]
BLOCK = re.compile(r"^(\$\$.*?\$\$|```.*?^```)$", re.MULTILINE | re.DOTALL)
MATH = re.compile(r"\$\$.*?\$\$", re.DOTALL)
FORMULA = re.compile(r"(?<!\$)\$([^$\n]+)\$(?!\$)")
ROLE = re.compile(r"\{(\w+)\}`([^`]*)`")
CODE = re.compile(r"`([^`\n]+)`")
COMMENT = re.compile(r"(?<=\s)# .*")  # of a command; a heading is a line of its own
CYRILLIC = re.compile("[А-яЁё]")


def content(words):
    """Return what must be the same in both languages of a cell."""
    # 0.5 in English is 0,5 in Russian, in a formula 0{,}5.
    blocks = (COMMENT.sub("", each) for each in BLOCK.findall(words))
    kept = {"blocks": Counter(each.replace("{,}", ".") for each in blocks)}
    words = BLOCK.sub("", words)
    kept["quoted"] = Counter(re.findall("``(.+?)``", words))
    words = re.sub("``.+?``", "", words)
    kept["formulas"] = Counter(each.replace("{,}", ".") for each in FORMULA.findall(words))
    words = FORMULA.sub("", words)
    roles = ROLE.findall(words)
    kept["roles"] = Counter(each for each in roles if each[0] != "doc")
    kept["pages"] = Counter(page(text) for name, text in roles if name == "doc")
    words = ROLE.sub("", words)
    kept["code"] = Counter(CODE.findall(words))
    words = CODE.sub("", words)
    kept["addresses"] = Counter(re.findall(r"\]\((http[^)]*)\)", words))
    words = re.sub(r"\]\([^)]*\)", "]", words)
    kept["digits"] = Counter(re.findall(r"\d+", words))
    kept["headings"] = [len(marks) for marks in re.findall(r"^(#+) ", words, re.MULTILINE)]
    kept["rows"] = [line.count("|") for line in words.splitlines() if line.startswith("|")]
    kept["items"] = len(re.findall(r"^(?:- |\d+\. )", words, re.MULTILINE))
    return kept


def page(text):
    """Return the page that a role of a link names, by its English name."""
    target = text.rpartition("<")[2].removesuffix(">")
    return in_language(target.removeprefix("/"), "en") if target.startswith("/") else target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_cell_of_words_says_the_same_in_russian(path):
    if not is_translated(path):
        pytest.skip("This notebook has not been translated yet.")
    for cell in nbformat.read(path, as_version=4).cells:
        russian = translation(cell)
        assert (russian is None) == (cell.cell_type != "markdown"), f"cell {cell.id}: {cell.source}"
        if russian is None:
            continue
        now = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        assert cell.metadata["ru"]["of"] == now, (
            f"The words of cell {cell.id} have changed: revise metadata.ru.source, "
            f"then set metadata.ru.of to {now!r}.\n\n{cell.source}\n\n{russian}"
        )
        alike = f"cell {cell.id}: roles, formulas and their numbers are the same in both languages"
        assert content(russian) == content(cell.source), alike
        marks_alone = not re.sub(r"\{tests\}`[^`]*`", "", cell.source).strip()
        assert marks_alone or CYRILLIC.search(russian), f"cell {cell.id}"


def is_translated(path):
    return any(translation(cell) for cell in nbformat.read(path, as_version=4).cells)


def test_a_russian_formula_has_decimal_commas():
    cells = (cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells)
    pages = (repository_root() / "book" / "ru").rglob("*.md")
    words = [*(translation(cell) or "" for cell in cells), *(p.read_text("utf-8") for p in pages)]
    formulas = [f for each in words for of in (MATH, FORMULA) for f in of.findall(each)]
    assert any("{,}" in formula for formula in formulas)
    assert [formula for formula in formulas if re.search(r"\d\.\d", formula)] == []


PAGES = [
    "benchmarks", "group/articles", "group/index", "group/meetings", "group/talks",
    "group/year_2023", "guides/add_a_digest", "guides/claims", "guides/gpu", "guides/laptop",
    "guides/reading", "scoreboard", "status",
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_the_same_in_russian(name):
    english, russian = (
        (repository_root() / "book" / folder / f"{name}.md").read_text("utf-8")
        for folder in ("", "ru")
    )
    assert content(russian) == content(english)


def test_the_table_of_contents_has_the_russian_page_of_every_translated_notebook():
    listed = set(re.findall(r"file: (\S+)", (repository_root() / "_toc.yml").read_text("utf-8")))
    found = {name for name in listed if name.startswith("book/ru/notebooks/")}
    assert found == {f"book/ru/notebooks/{path.stem}" for path in NOTEBOOKS if is_translated(path)}


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("It is 0.5 {paper}`54 %`.", "Это 0,5 {paper}`53 %`."),
        ("It is 0.5.", "Это 0,6."),
        ("See {doc}`it </book/scoreboard>`.", "Смотрите {doc}`там </book/ru/status>`."),
        ("With $x + 1$.", "С $x - 1$."),
        ("Run `okml run`.", "Запустите `okml book`."),
        ("## A heading", "### Заголовок"),
        ("Text\n\n$$\na\n$$", "Текст\n\n$$\nb\n$$"),
    ],
)
def test_a_translation_that_says_something_else_is_found(english, russian):
    assert content(english) != content(russian)


def test_numbers_and_links_may_be_written_as_russian_has_them():
    english = "At 0.5 and $0.25$, see {doc}`the scoreboard </book/scoreboard>`."
    russian = "При 0,5 и $0{,}25$, смотрите {doc}`сводную таблицу </book/ru/scoreboard>`."
    assert content(english) == content(russian)


def test_a_russian_notebook_has_the_same_outputs_and_the_committed_words():
    executed = new_notebook(
        cells=[new_markdown_cell("Words", id="a"), new_code_cell("1", id="b", metadata={"x": 1})]
    )
    committed = new_notebook(cells=[new_markdown_cell("Words", id="a"), new_code_cell("1", id="b")])
    assert notebook_in_russian(executed, committed) is None
    committed.cells[0].metadata["ru"] = {"source": ["Слова\n", "и ещё"]}
    found = notebook_in_russian(executed, committed)
    assert [cell.source for cell in found.cells] == ["Слова\nи ещё", "1"]
    assert found.cells[1] == executed.cells[1]
    assert executed.cells[0].source == "Words"
    folding = NbParserConfig().copy(**found.metadata["mystnb"])
    assert folding.code_prompt_show == "Показать код ячейки"
    assert folding.code_prompt_hide == "Скрыть код ячейки"
    assert page_language("book/ru/notebooks/x") == "ru"


RUSSIAN_NOTEBOOK = "# Разбор\n\n## Карта {tests}`space_time.map`\n\nЗдесь.\n"


def test_russian_pages_lead_to_the_russian_notebook_where_there_is_one(book):
    digest = (
        "# Дайджест\n\nКарта есть {claim}`space_time.map`. "
        "[Ноутбук](../../../notebooks/space_time.md) и {doc}`он же </notebooks/space_time>`.\n"
    )
    book.write("book/ru/digests/space_time.md", digest)
    book.build()
    assert book.warnings == ""
    assert hrefs(book, "book/ru/digests/space_time", "notebooks/") == {
        "../../../notebooks/space_time.html",
        "../../../notebooks/space_time.html#cell-space-time-map",
    }
    book.write("book/ru/notebooks/space_time.md", RUSSIAN_NOTEBOOK)
    book.build()
    assert book.warnings == ""
    assert hrefs(book, "book/ru/digests/space_time", "notebooks/") == {
        "../notebooks/space_time.html",
        "../notebooks/space_time.html#cell-space-time-map",
    }
    english = hrefs(book, "book/digests/space_time", "notebooks/")
    assert english == {"../../notebooks/space_time.html#cell-space-time-map"}
    back = hrefs(book, "book/ru/notebooks/space_time", "digests/")
    assert "../digests/space_time.html#digest-space-time-map" in back


def hrefs(book, page, part):
    """Return the links of a page's text to addresses that hold a part."""
    links = book.page(page).select(".body a[href]")
    return {link["href"] for link in links if part in link["href"]}
