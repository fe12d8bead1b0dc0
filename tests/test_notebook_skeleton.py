"""Every chapter has the same bones, whoever writes it."""

import ast
import re

import nbformat
import papermill
import pytest

from okml.chapters import CHAPTERS, Chapter
from okml.ledger import load_claims

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
# Chapters whose section on the method is still to be written.
METHOD_TO_COME = {"space_time"}
LONGEST_CELL = 20  # lines of code: a cell calls a named function and shows something

notebooks = [chapter for chapter in map(Chapter, CHAPTERS) if chapter.notebook.exists()]
pytestmark = pytest.mark.parametrize("chapter", notebooks, ids=lambda chapter: chapter.name)


def cells(chapter, kind):
    book = nbformat.read(chapter.notebook, as_version=4)
    return [cell for cell in book.cells if cell.cell_type == kind]


def markdown(chapter):
    return "\n".join(cell.source for cell in cells(chapter, "markdown"))


def test_sections_stand_in_the_fixed_order(chapter):
    old = "Model" if chapter.name in METHOD_TO_COME else "The method by hand"
    expected = [old if name == "The method by hand" else name for name in SECTIONS]
    assert re.findall(r"^## (.+)$", markdown(chapter), re.MULTILINE) == expected


def test_one_parameters_cell_with_the_four_names(chapter):
    tagged = [c for c in cells(chapter, "code") if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert set(papermill.inspect_notebook(str(chapter.notebook))) == PARAMETERS


def test_code_cells_are_short_and_define_nothing(chapter):
    for cell in cells(chapter, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= LONGEST_CELL, cell.source
        assert not [line for line in lines if re.match(r"\s*(def|class) ", line)], cell.source


def method_names(chapter):
    """Return the names that code cells import from the chapter's method or a shared room of it."""
    apart = {"experiment", "figures", "config", "published"}
    rooms = {chapter.name, "seqrec", "off_policy", "training"}
    names = set()
    for cell in cells(chapter, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, *path = node.module.split(".")
                if package == "okml" and path[:1] and path[0] in rooms and not apart & set(path):
                    names |= {alias.asname or alias.name for alias in node.names}
    return names


def calls_one_of(source, names):
    """Tell whether code calls, or calls a method of, something that has one of these names."""
    called = {
        ast.unparse(n.func).split(".")[0]
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Call)
    }
    return bool(called & names)


def test_a_third_of_the_code_cells_call_the_method(chapter):
    if chapter.name in METHOD_TO_COME:
        pytest.skip("The section is still to be written.")
    names = method_names(chapter)
    code = [cell.source for cell in cells(chapter, "code")]
    # What the method builds (a network, a sampler) is called by the name it is assigned to.
    for source in code:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and calls_one_of(ast.unparse(node.value), names):
                names |= {
                    n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }
    calling = [source for source in code if calls_one_of(source, names)]
    assert 3 * len(calling) >= len(code)


def test_every_claim_is_tested_in_one_place(chapter):
    tested = re.findall(r"\{tests\}`([a-z_.0-9]+)`", markdown(chapter))
    assert sorted(tested) == sorted(claim.id for claim in load_claims(chapter.name))


def test_outputs_are_stored_without_errors_widgets_or_progress_bars(chapter):
    for cell in cells(chapter, "code"):
        assert cell.execution_count is not None, cell.source
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_every_picture_has_a_text_alternative(chapter):
    for cell in cells(chapter, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt.split()) >= 4, cell.source
                assert "aria-label" in data["text/html"]


def test_the_file_holds_no_run_specific_metadata(chapter):
    book = nbformat.read(chapter.notebook, as_version=4)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in book.cells)
    assert all(cell.get("id") for cell in book.cells)
