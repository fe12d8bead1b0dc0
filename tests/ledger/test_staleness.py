"""Stale records: other settings, other code, or a commit that Git does not know."""

import subprocess

import pytest

from okml.chapters import chapter
from okml.ledger import Run
from okml.ledger import staleness as module
from okml.ledger.staleness import Staleness, staleness
from okml.runtime import Commit, commits_since

STATED = chapter("strec").profile("cpu")


def record(settings=STATED, code="now", sha="made here"):
    made = Run(settings, "cpu").record(1.0)
    commit = Commit(sha=sha, dirty=False)
    provenance = made.provenance.model_copy(update={"code": code, "commit": commit})
    return made.model_copy(update={"provenance": provenance})


@pytest.mark.parametrize(
    ("made", "commits", "expected"),
    [
        ({}, 3, None),  # what was committed changes no number
        ({"code": "then"}, 3, Staleness(settings=False, code=True, commits=3)),
        ({"settings": STATED.override({"seeds": "[9]"})}, 0,
         Staleness(settings=True, code=False, commits=0)),
        ({"code": ""}, 0, None),  # records from before code had keys go by commits
        ({"code": ""}, 2, Staleness(settings=False, code=True, commits=2)),
        ({"code": ""}, None, Staleness(settings=False, code=True, commits=None)),
    ],
)  # fmt: skip
def test_a_record_is_of_todays_settings_and_code(monkeypatch, made, commits, expected):
    monkeypatch.setattr(module, "code_key_of", lambda name: "now")
    monkeypatch.setattr(module, "commits_since", lambda sha, path: commits)
    assert staleness(record(**made)) == expected


def test_a_profile_that_is_stated_no_more_makes_its_record_stale(monkeypatch):
    monkeypatch.setattr(module, "code_key_of", lambda name: "now")
    monkeypatch.setattr("okml.strec.config.PROFILES", {})
    assert staleness(record()).settings


def test_commits_to_a_path_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]

    def git(*arguments):
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init")
    for number, name in enumerate(("a", "a", "b", "a")):
        (tmp_path / name).write_text(str(number))
        git("add", name)
        git("commit", "-m", name)
    first = git("rev-list", "--max-parents=0", "HEAD")
    assert [commits_since(first, name) for name in ("a", "b", "c")] == [2, 1, 0]
    assert commits_since("0" * 40, "a") is None
