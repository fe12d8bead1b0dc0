import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from okml import cli
from okml.cli import app
from okml.errors import ResourceError
from okml.paths import repository_root
from okml.runtime import commit


def program(*lines):
    """Run lines of Python in a process of their own."""
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_is_a_program():
    start = "import sys; sys.argv = ['okml', 'data', 'verify', 'nothing']"
    done = program(start, "from okml.cli import main", "main()")
    assert done.returncode == 2
    assert done.stderr.startswith("error: The catalog has no data set or model called 'nothing'.")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_answers_without_the_large_libraries():
    done = program(
        "import sys",
        "from typer.testing import CliRunner",
        "from okml.cli import app",
        "print(CliRunner().invoke(app, ['--help']).exit_code)",
        "print(sorted({'torch', 'polars', 'transformers'} & set(sys.modules)))",
    )
    assert done.stdout.splitlines() == ["0", "[]"]


def test_report_formats_agree():
    runner = CliRunner()
    rows = json.loads(runner.invoke(app, ["report", "space_time", "--format", "json"]).stdout)
    markdown = runner.invoke(app, ["report", "space_time", "--format", "markdown"]).stdout
    lines = markdown.strip().splitlines()
    assert lines[0].startswith("| claim | paper |")
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        row["claim"]["id"] for row in rows
    ]


def test_plan_as_json_matches_the_table(monkeypatch):
    # A console takes its width from COLUMNS once, when it is made, and GNU readline sets COLUMNS
    # for the children of a process that imports it, such as the workers of pytest-xdist.
    monkeypatch.setattr(cli, "out", Console(width=200))
    runner = CliRunner()
    plan = json.loads(runner.invoke(app, ["plan", "space_time", "--json"]).stdout)
    assert plan["chapter"] == "space_time"
    assert plan["profile"] == "gpu"
    table = runner.invoke(app, ["plan", "space_time"]).stdout
    for item in plan["items"]:
        assert item["what"] in table
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    assert ["time", f"{plan['hours']:,.4g} h", "the sum, with one card"] in rows
    memory = f"{plan['memory_gib']:,.4g} GiB"
    assert ["memory", memory, "the largest held at a time, with one card"] in rows
    assert not any("workers" in row[0] for row in rows if row)


def test_plan_says_what_the_cards_of_this_machine_take(monkeypatch):
    monkeypatch.setattr(cli, "out", Console(width=200))
    cards = (SimpleNamespace(memory_gib=80.0),) * 8
    machine = SimpleNamespace(memory_gib=2000.0, gpus=cards)
    monkeypatch.setattr("okml.resources.environment", lambda: machine)
    plan = json.loads(CliRunner().invoke(app, ["plan", "lightsage", "--json"]).stdout)
    assert plan["jobs"] > 16
    for per_card, count in ((None, 8), ("2", 16)):
        if per_card:
            monkeypatch.setenv("OKML_PER_CARD", per_card)
        table = CliRunner().invoke(app, ["plan", "lightsage"]).stdout
        rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines()]
        memory = f"{count * plan['memory_gib']:,.4g} GiB"
        assert [f"memory of {count} workers", memory] in rows
        hours = f"at least {plan['hours'] / count:,.4g} h"
        assert [f"time of {count} workers", hours] in rows


def test_plan_marks_upper_bounds(monkeypatch):
    monkeypatch.setattr(cli, "out", Console(width=200))
    table = CliRunner().invoke(app, ["plan", "strec"]).stdout
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines()]
    bounds = {row[0] for row in rows if len(row) == 2 and row[1].startswith("at most ")}
    logs = ("gowalla_merged", "amazon_electronics")
    rows_of_logs = {f"training rows of {name}" for name in logs}
    assert bounds == {*rows_of_logs, "checkpoints on disk", "disk"}


def test_plan_says_what_exceeds_the_budget(monkeypatch):
    planned = ("plan", "periodic_behavior", "--profile", "smoke")
    assert "its budget is" not in at_80_columns(monkeypatch, *planned)
    shown = at_80_columns(monkeypatch, *planned, "-p", "budget.memory_gib=0.5")
    assert "GiB of memory at smoke; its budget is 0.5." in shown


def at_80_columns(monkeypatch, *arguments):
    monkeypatch.setattr(cli, "out", Console(width=80))
    return CliRunner().invoke(app, arguments).stdout


def test_names_of_data_can_be_copied_on_a_narrow_terminal(monkeypatch):
    shown = at_80_columns(monkeypatch, "data", "list").split()
    rows = json.loads(CliRunner().invoke(app, ["data", "list", "--json"]).stdout)
    assert {row["name"] for row in rows} >= {"yoochoose", "coveo", "world_models"}
    assert all(row["name"] in shown for row in rows)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("plan", "lightsage"), "coveo"),
        (("plan", "video_workshop"), "microlens_100k"),
        (("plan", "offline_rl"), "yoochoose"),
        (("data", "list"), "coveo"),
        (("doctor",), "yoochoose"),
    ],
)
def test_where_data_come_from_by_hand_is_said_in_one_line(monkeypatch, tmp_path, arguments, name):
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    shown = at_80_columns(monkeypatch, *arguments).splitlines()
    (line,) = (line for line in shown if name in line and "by hand: http" in line)
    assert f" → {tmp_path / name} (" in line


@pytest.mark.parametrize("folder", ["", "ru/"])
def test_the_guide_lists_the_variables_that_the_code_reads(folder):
    root = repository_root()
    sources = "".join(path.read_text("utf-8") for path in (root / "src/okml").rglob("*.py"))
    page = (root / f"book/{folder}guides/laptop.md").read_text("utf-8")
    listed = re.findall(r"^\| `(OKML_\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted({*re.findall(r'"(OKML_[A-Z_]+[A-Z])"', sources)})


def test_the_doctor_says_which_commit_records_would_name(monkeypatch, tmp_path):
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    assert cli.stated(commit()).startswith("unknown: git does not answer here")
    for git in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(["git", *git], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert cli.stated(commit()) == head[:7]


def test_a_full_run_that_does_not_fit_is_refused(monkeypatch):
    started = []
    monkeypatch.setattr(
        "okml.resources.environment", lambda: SimpleNamespace(memory_gib=1, gpus=())
    )
    monkeypatch.setattr("okml.notebooks.execute_all", lambda jobs, say: started.extend(jobs))
    run = ["run", "offline_rl", "--profile", "gpu"]
    refused = CliRunner().invoke(app, run)
    assert isinstance(refused.exception, ResourceError)
    assert "memory of one GPU" in refused.exception.message
    assert started == []
    assert CliRunner().invoke(app, [*run, "--force"]).exit_code == 0
    assert [job.chapter.name for job in started] == ["offline_rl"]


@pytest.mark.parametrize("wanted", [True, False])
def test_what_other_code_has_kept_is_offered_before_notebooks(monkeypatch, tmp_path, wanted):
    happened = []
    monkeypatch.setattr("okml.kept.offer", lambda *given: happened.append(given))
    monkeypatch.setattr("okml.notebooks.execute_all", lambda jobs, **options: happened.append(jobs))
    command = ["run", "space_time", "--force", "--out", str(tmp_path), *["--adopt"] * wanted]
    assert CliRunner().invoke(app, command).exit_code == 0
    (settings, folder, adopt), (job,) = happened
    assert (settings.chapter, settings.name) == ("space_time", "smoke")
    assert folder == job.folder == tmp_path / "run" / "space_time"
    assert adopt == wanted
