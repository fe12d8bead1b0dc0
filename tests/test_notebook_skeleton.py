"""Every chapter has the same bones, whoever writes it."""

import ast
import re

import nbformat
import papermill
import pytest
import yaml

from okml.chapters import CHAPTERS, Chapter
from okml.ledger import load_claims
from okml.paths import repository_root

SECTIONS = [
    "What the digest says",
    "The paper in one page",
    "Parameters",
    "Data",
    "The method by hand",
    "Training",
    "Results",
    "Expected and got",
    "Where we differ from the paper",
    "Next steps",
]
PARAMETERS = {"profile", "seed", "overrides", "run_dir"}
LONGEST_CELL = 20  # lines of code: a cell calls a named function and shows something

# Of a notebook of one theme; a chapter that needs more has several notebooks.
MOST_CELLS, MOST_WORDS = 50, 2_500

TOC = yaml.safe_load((repository_root() / "_toc.yml").read_text("utf-8"))
chapters = [*map(Chapter, CHAPTERS)]
notebooks = [(chapter, path) for chapter in chapters for path in chapter.notebooks]
each_notebook = pytest.mark.parametrize(
    ("chapter", "path"), notebooks, ids=[path.stem for _, path in notebooks]
)


def cells(path, kind):
    book = nbformat.read(path, as_version=4)
    return [cell for cell in book.cells if cell.cell_type == kind]


def markdown(path):
    return "\n".join(cell.source for cell in cells(path, "markdown"))


def claims_tested(path):
    return re.findall(r"\{tests\}`([a-z_.0-9]+)`", markdown(path))


@each_notebook
def test_sections_stand_in_the_fixed_order(chapter, path):
    assert re.findall(r"^## (.+)$", markdown(path), re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("chapter", chapters, ids=lambda chapter: chapter.name)
def test_the_table_of_contents_has_all_notebooks_under_their_digest(chapter):
    (digests,) = (part for part in TOC["parts"] if part["caption"] == "Digests")
    (entry,) = (e for e in digests["chapters"] if e["file"] == f"book/digests/{chapter.name}")
    assert [section["file"] for section in entry["sections"]] == [
        f"notebooks/{each.stem}" for each in chapter.notebooks
    ]


@each_notebook
def test_one_parameters_cell_with_the_four_names(chapter, path):
    tagged = [c for c in cells(path, "code") if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert set(papermill.inspect_notebook(str(path))) == PARAMETERS


@each_notebook
def test_a_notebook_of_several_is_short_and_leads_to_the_others(chapter, path):
    if len(chapter.notebooks) == 1:
        pytest.skip("The chapter has one notebook.")
    text, kinds = markdown(path), ("markdown", "code")
    assert sum(len(cells(path, kind)) for kind in kinds) <= MOST_CELLS
    assert len(text.split()) <= MOST_WORDS
    assert all(f"<{other.stem}>" in text for other in chapter.notebooks if other != path)
    # The table of verdicts has the claims that this notebook tests.
    *_, last = [c.source for c in cells(path, "code") if "verdict_table(" in c.source]
    listed = {f"{chapter.name}.{name}" for name in re.findall(r'"(\w+)"', last)}
    assert listed == set(claims_tested(path))


@each_notebook
def test_code_cells_are_short_and_define_nothing(chapter, path):
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= LONGEST_CELL, cell.source
        assert not [line for line in lines if re.match(r"\s*(def|class) ", line)], cell.source
        assert not re.search(r"^\s*\w+ = lambda\b", cell.source, re.MULTILINE), cell.source


def method_names(chapter, path):
    """Return the names that code cells import from the chapter's method or a shared room of it."""
    apart = {"experiment", "figures", "config", "published"}
    rooms = {chapter.name, "seqrec", "off_policy", "training"}
    names = set()
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, *path = node.module.split(".")
                if package == "okml" and path[:1] and path[0] in rooms and not apart & set(path):
                    method = [alias for alias in node.names if alias.name not in apart]
                    names |= {alias.asname or alias.name for alias in method}
    return names


def calls_one_of(source, names):
    """Tell whether code calls, or calls a method of, something that has one of these names."""
    called = {
        ast.unparse(n.func).split(".")[0]
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Call)
    }
    return bool(called & names)


@each_notebook
def test_a_third_of_the_code_cells_call_the_method(chapter, path):
    names = method_names(chapter, path)
    code = [cell.source for cell in cells(path, "code")]
    # What the method builds (a network, a sampler) is called by the name it is assigned to.
    for source in code:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and calls_one_of(ast.unparse(node.value), names):
                names |= {
                    n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }
    calling = [source for source in code if calls_one_of(source, names)]
    assert 3 * len(calling) >= len(code)


@pytest.mark.parametrize("chapter", chapters, ids=lambda chapter: chapter.name)
def test_every_claim_is_tested_in_one_place(chapter):
    tested = [claim for path in chapter.notebooks for claim in claims_tested(path)]
    assert sorted(tested) == sorted(claim.id for claim in load_claims(chapter.name))


@each_notebook
def test_outputs_are_stored_without_errors_widgets_or_progress_bars(chapter, path):
    for cell in cells(path, "code"):
        assert cell.execution_count is not None, cell.source
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@each_notebook
def test_every_picture_has_a_text_alternative(chapter, path):
    for cell in cells(path, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt.split()) >= 4, cell.source
                assert "aria-label" in data["text/html"]


@each_notebook
def test_the_file_holds_no_run_specific_metadata(chapter, path):
    book = nbformat.read(path, as_version=4)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags", "ru"} for cell in book.cells)
    assert all(cell.get("id") for cell in book.cells)
