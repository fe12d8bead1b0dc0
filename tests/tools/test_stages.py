"""Stages of make, on a Makefile that lets one fail."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from types import SimpleNamespace

from tests.tools.nearest import ROOT

MAKEFILE = """
good:
\t@echo made of $(STUFF)
bad:
\t@echo spoilt >&2; false
"""


def stages(folder, *targets):
    command = f"{sys.executable} {ROOT}/.ci/stages.py some {' '.join(targets)}"
    (folder / "Makefile").write_text(f"{MAKEFILE}all:\n\t+@{command}\n")
    make = ["make", "all", "STUFF=wood"]
    # A make around the tests would make this one say which folder it enters.
    around = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(make, cwd=folder, env=around, capture_output=True, text=True, check=False)


def without_times(text):
    return re.sub(r"\d\d:\d\d:\d\d|\d+\.\d+", "#", text)


def test_each_stage_is_announced_logged_and_summed_up(tmp_path):
    done = stages(tmp_path, "good", "good")
    assert done.returncode == 0
    assert (tmp_path / "_build/logs/some.log").read_text() in done.stdout
    lines = without_times(done.stdout).splitlines()
    assert lines[:3] == ["#  good starts", "made of wood", "#  good ends: done, # s"]
    assert [line.split() for line in lines[-4:]] == [
        ["make", "some,", "in", "seconds", "and", "in", "units", "of", "#", "s"],
        ["good", "#", "s", "#", "units", "done"], ["good", "#", "s", "#", "units", "done"],
        ["all", "#", "s", "#", "units", "_build/logs/some.log"],
    ]  # fmt: skip


def test_targets_run_side_by_side_and_one_that_fails_fails_their_stage(tmp_path):
    done = stages(tmp_path, "good+good")
    assert done.returncode == 0
    done = stages(tmp_path, "good+bad", "good")
    assert done.returncode != 0
    lines = without_times(done.stdout).splitlines()
    assert {"made of wood", "spoilt", "#  good+bad ends: failed, # s"} <= {*lines}
    assert lines[-2].split() == ["good", "not", "run"]


def test_nothing_runs_after_a_failure(tmp_path):
    done = stages(tmp_path, "good", "bad", "good")
    assert done.returncode != 0
    assert done.stdout.count("made of wood") == 1
    log = (tmp_path / "_build/logs/some.log").read_text()
    assert "spoilt" in log
    assert re.findall(r"^  \w+ .*?(done|failed|not run)$", log, re.M) == [
        "done", "failed", "not run",
    ]  # fmt: skip


def test_times_are_also_multiples_of_a_fixed_piece_of_work(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("stages", ROOT / ".ci/stages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The loop takes 2 s before and 4 s after, the stages 30 s and 6 s.
    clock = iter([0, 2, 2, 2, 32, 32, 38, 38, 38, 42])
    given = SimpleNamespace(monotonic=clock.__next__, strftime=lambda form: "now")
    monkeypatch.setattr(module, "time", given)
    monkeypatch.setattr(module, "LOOPS", 1)
    monkeypatch.setattr(module, "run", lambda target, log: True)
    monkeypatch.setattr(module, "say", lambda log, *lines: said.extend(lines))
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    assert module.main("some", "one", "other") == 0
    assert [line.split() for line in said[-4:]] == [
        ["make", "some,", "in", "seconds", "and", "in", "units", "of", "3.000", "s"],
        ["one", "30.0", "s", "10.0", "units", "done"],
        ["other", "6.0", "s", "2.0", "units", "done"],
        ["all", "36.0", "s", "12.0", "units", "_build/logs/some.log"],
    ]


def test_no_value_that_make_exports_has_a_comment_behind_it():
    # The spaces before a comment would be part of the value.
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert [line for line in lines if re.search(r"\bexport\b.*=.*#", line)] == []


def test_the_weekly_run_installs_the_extras_that_tests_would_be_skipped_without():
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    needed = {extra for text in texts for extra in re.findall(r'needs the extra `(\w+)`"', text)}
    weekly = (ROOT / ".github/workflows/weekly.yml").read_text()
    assert {*re.findall(r"make book EXTRAS=(\w+)", weekly)} == needed == {"ray"}
