"""Which tests a change concerns, on the repository itself and on one with a branch."""

from __future__ import annotations

import subprocess

from tests.tools import changed
from tests.tools.changed import chosen, concerned
from tests.tools.nearest import ROOT


def test_a_source_a_test_and_what_tests_import_are_told_apart():
    assert concerned(ROOT / "src/okml/seqrec/ranking.py")[0] == "tests/seqrec/test_ranking.py"
    assert concerned(ROOT / "tests/test_cli.py") == ["tests/test_cli.py"]
    assert concerned(ROOT / "notebooks/add.ipynb") == ["tests/test_notebook_skeleton.py"]
    shared = concerned(ROOT / "tests/processes.py")
    assert {"tests/add/test_processes.py", "tests/training/test_resume.py"} <= set(shared)
    assert "tests/test_paths.py" not in shared
    assert concerned(ROOT / "README.md") == []


def test_the_nearest_of_each_file_come_before_the_second_nearest():
    assert chosen([["a", "b"], ["c", "a", "d"], []]) == ["a", "c", "b", "d"]


def test_what_changed_since_main_is_found(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments],
                       cwd=tmp_path, check=True, capture_output=True)  # fmt: skip

    def change(*names):
        for name in names:
            (tmp_path / name).write_text(name)

    monkeypatch.setattr(changed, "ROOT", tmp_path)
    git("init", "--initial-branch=main")
    change("old", "gone", "committed", "edited")
    git("add", ".")
    git("commit", "-m", "first")
    git("switch", "-c", "branch")
    (tmp_path / "committed").write_text("otherwise")
    git("rm", "gone")
    git("commit", "-am", "second")
    (tmp_path / "edited").write_text("otherwise")
    change("new")
    names = [path.name for path in changed.changed_files()]
    assert names == ["committed", "edited", "new"]
