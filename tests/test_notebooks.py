import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path

import nbformat
import papermill
import pytest
import torch

from okml import chapters, notebooks
from okml.chapters import Chapter
from okml.errors import ParameterError
from okml.notebooks import (
    NotebookError,
    execute,
    execute_all,
    is_current,
    prepare,
    refresh,
)
from tests.notebooks import write_notebook

STREC = Chapter("strec")


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter whose notebook lies in a checkout of its own, with the real profile."""
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    write_notebook(tmp_path / "notebooks" / "space_time.ipynb", "print(profile, overrides)")
    return Chapter("space_time")


def test_a_notebook_gets_the_changes_and_the_folder_of_a_run(chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {"entities": "200", "seeds": "[7]"}
    job = prepare(chapter, "smoke", changes, run_dir=Path("x"))
    run_dir = str(tmp_path / "x")
    assert job.parameters == {"profile": "smoke", "overrides": changes, "run_dir": run_dir}
    assert (job.settings.entities, job.settings.seeds) == (200, (7,))


def test_a_misspelt_name_is_refused_before_anything_runs(chapter):
    with pytest.raises(ParameterError) as caught:
        prepare(chapter, "smoke", {"entitis": "200"})
    assert "Did you mean 'entities'" in caught.value.message


def test_chapters_in_one_folder_keep_their_runs_apart(chapter, tmp_path):
    write_notebook(tmp_path / "notebooks" / "strec.ipynb")
    jobs = [prepare(each, "smoke", {}, out=tmp_path / "out") for each in (chapter, STREC)]
    assert [job.parameters["run_dir"] for job in jobs] == [
        str(tmp_path / "out" / "run" / name) for name in ("space_time", "strec")
    ]
    assert len({job.output for job in jobs}) == 2


@pytest.mark.parametrize(
    "source",
    ["seed = None", 'profile = "smoke"', 'profile = "smoke"\nseed = None\nrun_dir = None', ""],
)
def test_a_notebook_that_would_not_hear_a_parameter_is_refused(chapter, source):
    book = nbformat.read(chapter.notebook, as_version=4)
    book.cells[0].source = source
    nbformat.write(book, chapter.notebook)
    with pytest.raises(ParameterError, match="has no parameter called"):
        prepare(chapter, "cpu", {"entities": "200"})


def test_a_notebook_without_a_cell_of_parameters_is_refused(chapter):
    book = nbformat.read(chapter.notebook, as_version=4)
    book.cells[0].metadata.tags = []
    nbformat.write(book, chapter.notebook)
    with pytest.raises(ParameterError, match="no parameter called overrides or profile or run_dir"):
        prepare(chapter, "cpu", {})


NO_NOTEBOOKS = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"7",
    "another object": b"{}",
    "of the future": b'{"nbformat": 99, "nbformat_minor": 0, "cells": [], "metadata": {}}',
    "a text for a version": b'{"nbformat": "4", "cells": [], "metadata": {}}',
    "cells of text": b'{"nbformat": 4, "nbformat_minor": 5, "cells": ["x"], "metadata": {}}',
    "cells without a type": b'{"nbformat": 4, "nbformat_minor": 5, "cells": [{}], "metadata": {}}',
    "not UTF-8": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"\xff": 1}, "cells": []}',
    "nested too deeply": b'{"nbformat": 4, "metadata": ' + b'{"a":' * 100_000,
}


@pytest.mark.parametrize("content", NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_a_file_that_is_no_notebook_is_named(chapter, content):
    chapter.notebook.write_bytes(content)
    with pytest.raises(NotebookError, match=r"space_time\.ipynb is no notebook: .+\."):
        prepare(chapter, "smoke", {})


@pytest.mark.parametrize("content", NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_a_damaged_output_is_made_again(chapter, content):
    job = prepare(chapter, "smoke", {})
    job.output.parent.mkdir(parents=True)
    job.output.write_bytes(content)
    assert not is_current(job)


def stream(name, text):
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_streams_are_joined_as_a_terminal_shows_them():
    table = nbformat.v4.new_output("display_data", data={"text/plain": "a table"})
    outputs = [
        stream("stderr", "10 %\r20"), stream("stdout", "one\ntw"), stream("stderr", " %\r"),
        stream("stdout", "o\r\n"), table, stream("stdout", "gone\rthree"),
    ]  # fmt: skip
    assert notebooks.joined_streams(outputs) == [
        stream("stdout", "one\ntwo\nthree"), stream("stderr", "20 %"), table,
    ]  # fmt: skip


@pytest.mark.parametrize("piece", ["x", "x\r", "\r", "\n", " …", ": 1", ": 1.1 s", "\b"])
def test_a_long_line_takes_no_longer_than_its_length(piece):
    # Work that grows with the square of a million characters would take far longer.
    def hang(*_):
        raise TimeoutError("this takes more than linear time")

    signal.signal(signal.SIGVTALRM, hang)
    signal.setitimer(signal.ITIMER_VIRTUAL, 60)  # of processor time
    try:
        text = piece * (1_000_000 // len(piece))
        (joined,) = notebooks.joined_streams([stream("stdout", text), stream("stdout", "\nend")])
        (shown,) = notebooks.without_progress([joined])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    assert shown["text"].endswith("end")


@pytest.fixture
def at_once(monkeypatch):
    """How many chapters `execute_all` runs at a time, and the threads of each; none really runs."""
    found = {"now": 0, "most": 0, "threads": set()}

    def run(job):
        found["now"] += 1
        found["most"] = max(found["most"], found["now"])
        found["threads"].add(os.environ["OMP_NUM_THREADS"])
        time.sleep(0.2)
        found["now"] -= 1

    monkeypatch.setattr(notebooks, "execute", run)
    return found


@pytest.mark.parametrize(
    ("profile", "changes", "gpu", "cores", "memory", "expected", "threads"),
    [
        ("smoke", {}, False, 16, 64, 2, "8"),
        ("smoke", {}, False, 2, 64, 2, "1"),
        ("smoke", {}, False, 1, 64, 1, "1"),
        ("cpu", {}, False, 2, 15, 1, "2"),  # 8 GiB each
        ("smoke", {}, True, 16, 64, 1, "16"),  # "auto" takes the GPU, which the two would share
        ("smoke", {"device": "cpu"}, True, 16, 64, 2, "8"),
        ("gpu", {"device": "cuda"}, False, 16, 64, 1, "16"),
    ],
)
def test_chapters_share_the_cores_as_far_as_memory_allows_and_no_gpu(
    chapter,
    tmp_path,
    monkeypatch,
    at_once,
    profile,
    changes,
    gpu,
    cores,
    memory,
    expected,
    threads,
):
    monkeypatch.setattr(notebooks, "accelerator", lambda: torch.device("cuda") if gpu else None)
    monkeypatch.setattr(notebooks, "usable_cores", lambda: cores)
    monkeypatch.setattr(notebooks, "total_memory_gib", lambda: memory)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    write_notebook(tmp_path / "notebooks" / "strec.ipynb")
    jobs = [prepare(each, profile, changes) for each in (chapter, STREC)]
    execute_all(jobs)
    assert (at_once["most"], at_once["threads"]) == (expected, {threads})
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.fixture
def in_parts(chapter, tmp_path, monkeypatch):
    """The chapter with two notebooks, one after the other."""
    monkeypatch.setattr(chapters, "THEMES", {"space_time": ("space_time", "space_time_later")})
    write_notebook(tmp_path / "notebooks" / "space_time_later.ipynb", "print(run_dir)")
    return chapter


def test_the_notebooks_of_a_chapter_share_its_run_and_take_turns(in_parts, monkeypatch):
    running, order = [], []

    def run(job):
        assert not running
        running.append(job)
        time.sleep(0.05)
        order.append(running.pop().name)

    monkeypatch.setattr(notebooks, "execute", run)
    monkeypatch.setattr(notebooks, "side_by_side", lambda jobs: 2)
    jobs = [prepare(in_parts, "smoke", {}, notebook=path) for path in in_parts.notebooks]
    execute_all(jobs)
    assert order == ["space_time", "space_time_later"]
    assert len({job.folder for job in jobs}) == 1
    assert [job.notebook for job in jobs] == list(in_parts.notebooks)
    assert jobs[0].key != jobs[1].key


def test_all_notebooks_of_a_chapter_are_refreshed_or_none(in_parts):
    first, second = (prepare(in_parts, "smoke", {}, notebook=path) for path in in_parts.notebooks)
    execute(first)
    with pytest.raises(NotebookError, match="no smoke run of space_time by"):
        refresh(in_parts)
    execute(second)
    assert refresh(in_parts) == in_parts.notebooks
    for path in in_parts.notebooks:
        assert all(cell.execution_count for cell in nbformat.read(path, as_version=4).cells)


def test_each_chapter_is_said_to_start_and_to_end(chapter, monkeypatch):
    said = []

    def run(job):
        if job.settings.seeds == (1,):
            raise NotebookError("It broke.")

    monkeypatch.setattr(notebooks, "execute", run)
    jobs = [prepare(chapter, "smoke", {"seeds": seeds}) for seeds in ("[0]", "[1]")]
    with pytest.raises(NotebookError, match="It broke"):
        execute_all(jobs, said.append)
    assert [re.sub(r"\d+\.\d", "#", text) for text in said] == [
        "space_time starts", "space_time ends: done, # s",
        "space_time starts", "space_time ends: failed, # s",
    ]  # fmt: skip


def test_chapters_that_run_are_asked_to_stop_when_the_command_is(chapter, monkeypatch):
    kernel = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3,))

    def run(job):
        kernel.start()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        kernel.join()

    monkeypatch.setattr(notebooks, "execute", run)
    with pytest.raises(SystemExit):
        execute_all([prepare(chapter, "smoke", {})], lambda text: None)
    assert kernel.exitcode == -signal.SIGTERM  # and not 0, at the end of its sleep


@pytest.mark.parametrize(("profile", "limit"), [("smoke", notebooks.CELL_TIMEOUT_S), ("gpu", None)])
def test_only_a_run_at_full_scale_has_no_limit_of_time(chapter, monkeypatch, profile, limit):
    asked = {}

    def run(source, target, **options):
        asked.update(options)
        write_notebook(Path(target))

    monkeypatch.setattr(papermill, "execute_notebook", run)
    execute(prepare(chapter, profile, {}))
    assert asked["execution_timeout"] == limit


def test_a_cell_that_hangs_ends_with_what_to_do(chapter, monkeypatch):
    monkeypatch.setattr(notebooks, "CELL_TIMEOUT_S", 1)
    write_notebook(chapter.notebook, "import time; time.sleep(60)")
    with pytest.raises(NotebookError, match="a cell ran longer than 1 s") as caught:
        execute(prepare(chapter, "smoke", {}))
    assert "python -m okml.space_time --profile smoke" in caught.value.hint


def test_a_kernel_that_dies_is_noticed_without_a_limit_of_time(chapter, monkeypatch):
    monkeypatch.setattr(notebooks, "NO_TIMEOUT", ("smoke",))
    write_notebook(chapter.notebook, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match="its kernel ended"):
        execute(prepare(chapter, "smoke", {}))


def test_the_failure_of_one_chapter_leaves_the_others_results(chapter, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "side_by_side", lambda jobs: 1)
    write_notebook(tmp_path / "notebooks" / "strec.ipynb", "print(1)")
    broken, whole = prepare(chapter, "smoke", {}), prepare(STREC, "smoke", {})
    broken.output.mkdir(parents=True)  # no file can take its place
    with pytest.raises(NotebookError, match="space_time could not read or write a file"):
        execute_all([broken, whole])
    assert is_current(whole)


def test_a_run_is_current_until_code_notebook_or_parameters_change(chapter, monkeypatch):
    job = prepare(chapter, "smoke", {})
    assert not is_current(job)
    execute(job)
    assert is_current(job)
    assert not is_current(prepare(chapter, "smoke", {"entities": "200"}))
    monkeypatch.setattr(notebooks, "code_hash", lambda name: "other code")
    assert not is_current(job)


def test_sources_of_other_chapters_change_nothing_that_a_notebook_shows():
    assert notebooks.code_hash("space_time") != notebooks.code_hash("strec")


def test_a_failing_cell_is_named_and_leaves_no_result(chapter):
    write_notebook(chapter.notebook, "1 / 0")
    job = prepare(chapter, "smoke", {})
    with pytest.raises(NotebookError, match="cell 2: ZeroDivisionError"):
        execute_all([job])
    assert not job.output.exists()


def test_refresh_keeps_the_translations_of_the_repository_not_those_of_the_run(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("Words"), nbformat.v4.new_code_cell("1")]
    committed = nbformat.v4.new_notebook(cells=cells)
    executed = nbformat.from_dict(committed)
    executed.cells[0].metadata["ru"] = {"of": "1", "source": ["Прежние слова"]}
    committed.cells[0].metadata["ru"] = {"of": "1", "source": ["Слова"]}
    nbformat.write(committed, tmp_path / "a.ipynb")
    notebooks._store(executed, tmp_path / "a.ipynb")
    [words, code] = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    assert words.metadata == {"ru": {"of": "1", "source": ["Слова"]}}
    assert code.metadata == {}


def test_refresh_stores_outputs_without_timings_or_injected_cells(chapter):
    with pytest.raises(NotebookError, match="no smoke run of"):
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
