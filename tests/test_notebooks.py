import nbformat
import pytest

from okml import notebooks
from okml.chapters import Chapter
from okml.errors import ParameterError
from okml.notebooks import NotebookError, execute, execute_all, is_current, prepare, refresh

PARAMETERS = 'profile = "smoke"\nseed = None\noverrides = {}\nrun_dir = None'


def write_notebook(path, *sources):
    book = nbformat.v4.new_notebook()
    first = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    book.cells = [first, *map(nbformat.v4.new_code_cell, sources)]
    book.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter whose notebook lies in a checkout of its own, with the real profile."""
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    write_notebook(tmp_path / "notebooks" / "space_time.ipynb", "print(profile, overrides)")
    return Chapter("space_time")


def test_parameters_and_overrides_are_told_apart(chapter):
    job = prepare(chapter, "smoke", {"entities": "200", "run_dir": "x"}, seed=3)
    assert job.parameters == {
        "profile": "smoke", "seed": 3, "run_dir": "x", "overrides": {"entities": "200"},
    }  # fmt: skip


def test_a_misspelt_name_is_refused_before_anything_runs(chapter):
    with pytest.raises(ParameterError) as caught:
        prepare(chapter, "smoke", {"entitis": "200"})
    assert "Did you mean 'entities'" in caught.value.message
    assert "run_dir" in caught.value.hint  # the notebook's own parameters are listed too


def test_an_unknown_profile_is_refused(chapter):
    with pytest.raises(ParameterError, match="Unknown profile 'huge'"):
        prepare(chapter, "huge", {})


@pytest.mark.slow
def test_a_run_is_current_until_code_notebook_or_parameters_change(chapter, monkeypatch):
    job = prepare(chapter, "smoke", {})
    assert not is_current(job)
    execute(job)
    assert is_current(job)
    assert not is_current(prepare(chapter, "smoke", {"entities": "200"}))
    monkeypatch.setattr(notebooks, "code_hash", lambda name, pictures: "other code")
    assert not is_current(job)


@pytest.mark.slow
def test_a_failing_cell_is_named_and_leaves_no_result(chapter):
    write_notebook(chapter.notebook, "1 / 0")
    job = prepare(chapter, "smoke", {})
    with pytest.raises(NotebookError, match="cell 2: ZeroDivisionError"):
        execute_all([job])
    assert not job.output.exists()


@pytest.mark.slow
def test_refresh_stores_outputs_without_timings_or_injected_cells(chapter):
    with pytest.raises(NotebookError, match="no current smoke run"):
        refresh(chapter)
    source = """
from okml import steps
steps.QUIET_S = 0.0
with steps.announced("a training"):
    import time; time.sleep(0.2)
print("in", end=" ", flush=True)
time.sleep(0.2)  # so that the kernel sends the line in pieces
print("parts: 0.2 s")
print(profile, overrides)
"""
    write_notebook(chapter.notebook, source)
    job = prepare(chapter, "smoke", {})
    execute(job)
    assert "a training …" in job.output.read_text("utf-8")
    refresh(chapter)
    stored = nbformat.read(chapter.notebook, as_version=4)
    assert [cell.execution_count for cell in stored.cells] == [1, 2]
    assert stored.cells[1].outputs[0].text == "smoke {}\n"
    assert "papermill" not in stored.metadata
    assert all("papermill" not in cell.metadata for cell in stored.cells)
    assert is_current(prepare(chapter, "smoke", {}))  # storing outputs does not make a run stale
