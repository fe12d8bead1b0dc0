import json
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from okml import cli
from okml.cli import app


def okml(*arguments):
    """Run the command as a script would."""
    command = [sys.executable, "-c", "from okml.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "spacetime"), 2, "Did you mean 'space_time'"),
        (("run", "space_time", "-p", "entitis=5"), 2, "Did you mean 'entities'"),
        (("run", "space_time", "-p", "entities"), 2, "takes name=value"),
        (("run", "space_time", "-p", "entities=many"), 2, "valid integer"),
        (("plan", "nothing"), 2, "Unknown chapter"),
    ],
)
def test_errors_are_one_message_and_a_code(arguments, code, message):
    done = okml(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


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


def test_doctor_says_what_is_missing():
    done = okml("doctor")
    assert done.returncode == 0
    assert "memory" in done.stdout
