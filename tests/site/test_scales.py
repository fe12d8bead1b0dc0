"""The figures of recorded runs on a notebook's page, drawn again by the notebook's own cells."""

import ast
import importlib
import inspect
import json
import re
from types import SimpleNamespace

import nbformat
import polars as pl
import pytest
import torch
from docutils import nodes
from docutils.utils import new_document
from nbformat.v4 import new_code_cell, new_notebook, new_output

from okml.add.figures import images
from okml.chapters import CHAPTERS, Chapter, chapter
from okml.ledger import RecordedTable
from okml.live_source import show_source
from okml.paths import repository_root
from okml.profile import canonical_hash
from okml.site.markup import element
from okml.site.replay import recorded_experiment, replay
from okml.site.repository import drawn_by, imported, link_sources, place_of
from okml.site.scales import frame_scales, show_records
from tests.site.conftest import record, save

NOTEBOOKS = [path for name in CHAPTERS for path in Chapter(name).notebooks]
SETUP = """
import polars as pl
from okml.space_time.experiment import Experiment
from okml.tables import Table, settings_table
experiment = Experiment(settings, None)
settings_table({"seeds": settings.seeds}, ["seeds"], "Protocol.")
"""
RESULTS = """
rows = experiment.controls.frames["controls"]
table = Table(rows.filter(pl.col("r2") > 0), "Controls.")
display(table, Table(pl.DataFrame({"x": [1]}), "A constant."))
Table(experiment.controls.frames["margins"], "Margins.")
"""


def html(text):
    return new_output("display_data", data={"text/html": f"<p>{text}</p>"})


def results():
    """Return a notebook of three cells as a smoke run left them."""
    return new_notebook(
        cells=[
            new_code_cell(SETUP, outputs=[html("smoke protocol")]),
            new_code_cell(
                RESULTS, outputs=[html("smoke rows"), html("constant"), html("smoke margins")]
            ),
            new_code_cell("experiment.study.entities(rows)", outputs=[html("entities")]),
        ]
    )


def recorded(profile, r2, settings=None):
    """Return a record with today's settings of the chapter and one table."""
    settings = settings or chapter("space_time").profile(profile).model_dump(mode="json")
    table = RecordedTable(columns={"features": ["letters", "none"], "r2": [r2, -1.0]})
    return record(profile).model_copy(
        update={
            "settings": settings,
            "settings_sha256": canonical_hash(settings),
            "seeds": tuple(settings["seeds"]),
            "tables": {"controls": table},
        }
    )


def texts(outputs):
    return [output["data"]["text/html"] for output in outputs]


def test_a_cell_shows_what_the_best_record_holds_and_folds_the_rest():
    notebook = results()
    show_records(notebook, {"gpu": recorded("gpu", 0.75), "cpu": recorded("cpu", 0.25)})
    protocol, rows, study = notebook.cells
    # Both scales have the same protocol, which is shown once.
    assert protocol.metadata["okml"] == {"shows": [["gpu", ""], ["smoke", ""]], "own": 1}
    shown = texts(rows.outputs)
    assert rows.metadata["okml"] == {
        "shows": [
            ["gpu", ""],
            ["", ""],  # the same in every run
            ["smoke", "The record does not hold the rows controls.margins."],
            ["cpu", ""],
            ["smoke", ""],
        ],
        "own": 3,
    }
    assert "0.750" in shown[0]
    assert "none" not in shown[0]  # the cell's own filter was applied
    assert shown[1:3] == ["<p>constant</p>", "<p>smoke margins</p>"]
    assert "0.250" in shown[3]
    assert shown[4] == "<p>smoke rows</p>"
    assert "okml" not in study.metadata
    assert texts(study.outputs) == ["<p>entities</p>"]


SHEET = """
from okml.add.experiment import Experiment
from okml.add.figures import images
experiment = Experiment(settings, None)
everything = experiment.pictures.frames["same_noise"]
second = everything.filter(set="fashion")
images.sheet(second, "Teacher and student on a second image set.")
"""


@pytest.mark.parametrize(
    ("of_cpu", "first", "alt"),
    [
        ("fashion", "cpu", "Teacher and student on a second image set."),
        ("digits", "night", "no such pictures at this scale"),
    ],
)
def test_pictures_stand_before_a_larger_scale_that_has_none(of_cpu, first, alt):
    empty = images.sheet(pl.DataFrame(), "Teacher and student on a second image set.")
    own = new_output("display_data", data={"text/html": empty.html})
    notebook = new_notebook(cells=[new_code_cell(SHEET, outputs=[own])])
    show_records(notebook, {"night": of_sets("night", "emoji"), "cpu": of_sets("cpu", of_cpu)})
    (cell,) = notebook.cells
    # That there are none is not said again below it.
    assert cell.metadata["okml"]["shows"] == [[first, ""]]
    assert f'aria-label="{alt}"' in texts(cell.outputs)[0]


def of_sets(profile, image_set):
    """Return a record of the chapter on images whose pictures are of one image set."""
    shown = images.frame({"student, 1": torch.zeros(1, 1, 4, 4)}, ["sandal"], image_set)
    tables = {"same_noise": RecordedTable(columns=shown.to_dict(as_series=False))}
    return record(profile).model_copy(update={"chapter": "add", "tables": tables})


def test_outputs_that_cannot_be_told_apart_are_left_as_they_are():
    notebook = results()
    notebook.cells[1].outputs.append(html("from a call that displays"))
    assert list(replay(notebook, recorded("cpu", 0.25))) == [0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_that_shows_rows_of_a_step_can_be_drawn_from_a_record(path):
    notebook = nbformat.read(path, as_version=4)
    (name,) = (each for each in CHAPTERS if path in Chapter(each).notebooks)
    drawn = replay(notebook, record("cpu").model_copy(update={"chapter": name}))
    of_steps = {
        number: cell.source
        for number, cell in enumerate(notebook.cells)
        if cell.get("outputs") and re.search(r"experiment\.\w+\.frames", cell.source)
    }
    assert of_steps
    assert [source for number, source in of_steps.items() if number not in drawn] == []


def test_a_part_that_a_run_left_out_is_no_empty_table():
    left_out = RecordedTable(columns={})
    held = recorded("cpu", 0.25).model_copy(update={"tables": {"controls": left_out}})
    assert replay(results(), held)[1][0].reason.startswith("The record does not hold the rows")


def test_a_column_that_an_older_record_lacks_is_the_reason_in_one_line():
    older = RecordedTable(columns={"features": ["letters"]})
    held = recorded("cpu", 0.25).model_copy(update={"tables": {"controls": older}})
    reason = replay(results(), held)[1][0].reason
    said = "The record cannot be drawn by today's code: ColumnNotFoundError, "
    assert re.fullmatch(re.escape(said) + r'.*"r2".*\.', reason)  # a dot matches no line break


def test_names_of_a_comprehension_are_not_those_of_other_cells():
    shown = (
        "(rows,) = (experiment.controls.frames[name] for name in ['controls'])\nTable(rows, 'R.')"
    )
    notebook = new_notebook(
        cells=[
            new_code_cell(SETUP, outputs=[html("smoke protocol")]),
            new_code_cell("name = experiment.study.place_set"),
            new_code_cell(shown, outputs=[html("smoke rows")]),
        ]
    )
    (rows,) = replay(notebook, recorded("cpu", 0.25))[2]
    assert "0.250" in rows.output["data"]["text/html"]


def test_settings_that_have_gone_do_not_hide_a_record():
    settings = chapter("space_time").profile("cpu").model_dump(mode="json")
    older = recorded("cpu", 0.25, {**settings, "gone": 1})
    assert replay(results(), older)[1][0].output is not None


def test_settings_of_another_form_hide_only_what_reads_them():
    settings = chapter("space_time").profile("cpu").model_dump(mode="json")
    settings.pop("budget")
    protocol, rows = replay(
        results(), recorded("cpu", 0.25, {**settings, "budget": "long"})
    ).values()
    assert protocol[0].reason.startswith("The settings of the record have another form")
    assert rows[0].output is not None


def test_the_page_names_scale_commit_and_date_and_folds_this_builds_run(book):
    found = recorded("cpu", 0.25)
    save(found.model_copy(update={"sha256": found.digest()}))
    page = new_document("notebooks/space_time")
    parts = [nodes.container("", nodes.paragraph("", part)) for part in ("a", "b", "twin")]
    scales = {
        "shows": [["cpu", ""], ["smoke", "There are no rows."], ["smoke", ""]],
        "own": 2,
        "drawn": [["src/okml/space_time/figures/maps.py", 7]],
    }
    metadata = {"okml": scales}
    page += nodes.container(
        "", nodes.container(), nodes.container("", *parts), cell_metadata=metadata
    )
    config = SimpleNamespace(html_theme_options={})
    env = SimpleNamespace(docname="notebooks/space_time", config=config, note_dependency=set().add)
    frame_scales(SimpleNamespace(env=env), page)
    first, a, second, b, folded = page[0][1].children
    assert first.astext().startswith("cpu · seeds: ")
    assert "2026-01-02 · abcdef0123 · Test processor, 2 cores" in first.astext()
    assert first.astext().endswith(" · src/okml/space_time/figures/maps.py:7")
    assert second.astext() == "smoke, this build · no recorded run shows this. There are no rows."
    assert [a.astext(), b.astext()] == ["a", "b"]
    assert folded["tag"] == "details"
    assert [part.astext() for part in folded] == ["The same from smoke, this build", "twin"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_of_a_step_names_the_code_that_draws_it(path):
    notebook = nbformat.read(path, as_version=4)
    names = imported(notebook)
    found = {}
    for cell in notebook.cells:
        if "okml-figure" in str(cell.get("outputs")) and "experiment." in cell.source:
            found[cell.source] = drawn_by(cell.source, names)
    assert found
    assert [source for source, places in found.items() if not places] == []
    for file, line in {place for places in found.values() for place in places}:
        start = (repository_root() / file).read_text("utf-8").splitlines()[line - 1]
        assert start.startswith(("def ", "class ")), f"{file}:{line}"


def test_only_functions_of_figures_are_named_as_what_draws():
    names = {"figures": "okml.lightsage.figures", "Table": "okml.tables.Table"}
    [(path, _)] = drawn_by("figures.scheme()\nfigures.scheme()\nTable(figures.gone())", names)
    assert path == "src/okml/lightsage/figures.py"
    assert drawn_by("scheme()\nTable([])", names) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_record_keeps_every_frame_that_a_notebook_draws_but_pixels(name):
    pixels = {
        ("data", "shown"), ("pictures", "same_noise"), ("pictures", "walk"),
        ("pictures", "failures"), ("memory", "pairs"),
    }  # fmt: skip
    drawn = {
        (node.value.value.attr, node.slice.value)
        for path in chapter(name).notebooks
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
        for node in ast.walk(ast.parse("".join(cell["source"])))
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value).startswith("experiment.")
        and ast.unparse(node.value).endswith(".frames")
        and isinstance(node.slice, ast.Constant)
    }
    columns = {"x": [1, 2]}
    tables = importlib.import_module(f"okml.{name}.figures").RECORDED
    held = record("cpu").model_copy(
        update={"chapter": name, "tables": dict.fromkeys(tables, RecordedTable(columns=columns))}
    )
    experiment = recorded_experiment(held, None)
    for step_name, frame in drawn - pixels:
        assert getattr(experiment, step_name).frames[frame].equals(pl.DataFrame(columns))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_shown_source_has_its_lines(path):
    shown = re.findall(r"source of (okml\.[\w.]+)", path.read_text("utf-8"))
    assert shown
    for name in shown:
        file, line = place_of(name)
        start = (repository_root() / file).read_text("utf-8").splitlines()[line - 1]
        assert re.match(rf" *(def|class) {name.rpartition('.')[2]}\b", start), f"{file}:{line}"


def test_the_name_above_shown_source_is_a_link_to_its_lines():
    page = new_document("notebooks/space_time")
    for name in ("okml.live_source.show_source", "okml.live_source", "okml.live_source.gone"):
        page += nodes.paragraph("", "", nodes.literal("", name))
    page += nodes.paragraph("", "See ", nodes.literal("", "okml.live_source.show_source"))
    options = {"repository_url": "https://git.example.org/okml"}
    env = SimpleNamespace(config=SimpleNamespace(html_theme_options=options))
    link_sources(SimpleNamespace(env=env), page)
    (link,) = (each for each in page.findall(element) if each["tag"] == "a")
    assert link.parent is page[0]
    assert link.astext() == "okml.live_source.show_source"
    line = inspect.getsourcelines(show_source)[1]
    assert link["attrs"]["href"].endswith(f"/src/okml/live_source.py#L{line}")
