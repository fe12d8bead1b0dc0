"""A result is whole or not there, whatever happens to its files, and two runs never mix."""

import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest

from okml.kept import load, needs_of, results, save

ENTRY = "tiny.maths.scaled"


@pytest.fixture
def needs(package, profile):
    return needs_of(profile, [ENTRY], "cpu")


def save_result(folder, needs, value):
    frames = {name: pl.DataFrame({"x": [value]}) for name in ("one", "two")}
    return save(folder, needs, {"value": value}, frames)


def is_whole(kept, value):
    numbers = {kept.content["value"], *(frame["x"][0] for frame in kept.frames.values())}
    return numbers == {value} and kept.frames.keys() == {"one", "two"}


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def edit(path):
    path.write_bytes(path.read_bytes().replace(b'"value": 1', b'"value": 7'))


DAMAGES = {
    "frame missing": ("one.parquet", os.remove, "one.parquet is missing"),
    "frame cut": ("one.parquet", cut, "one.parquet is cut or was edited"),
    "frame of another": (
        "one.parquet",
        lambda path: pl.DataFrame({"x": [7]}).write_parquet(path),
        "one.parquet is cut or was edited",
    ),
    "list missing": ("step.json", os.remove, "step.json is missing"),
    "list cut": ("step.json", cut, "step.json is cut or was edited"),
    "number edited": ("step.json", edit, "step.json was edited"),
    "no text": ("step.json", lambda path: path.write_bytes(b"\xff\xfe\x00"), "step.json is cut"),
    "no object": ("step.json", lambda path: path.write_text("[1]"), "step.json is cut"),
    "other fields": ("step.json", lambda path: path.write_text("{}"), "step.json is cut"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_computed_again_and_said_in_a_line(needs, run_dir, capsys, damage):
    folder = run_dir / "steps" / "probe"
    save_result(folder, needs, 1)
    assert is_whole(load(folder, needs), 1)
    name, harm, said = DAMAGES[damage]
    harm(folder / needs.folder_name / name)
    assert load(folder, needs) is None
    printed = capsys.readouterr().out
    assert printed.startswith("kept: probe is computed again: ")
    assert said in printed
    assert printed.count("\n") == 1
    save_result(folder, needs, 2)
    assert is_whole(load(folder, needs), 2)
    assert [path.name for path in folder.iterdir()] == [needs.folder_name]


def test_the_result_of_another_is_not_taken_for_this_one(needs, run_dir, capsys):
    folder, other = run_dir / "probe", needs.model_copy(update={"device": "cuda"})
    save_result(folder, needs, 1)
    shutil.copytree(folder / needs.folder_name, folder / other.folder_name)
    assert load(folder, other) is None
    assert "that of another result" in capsys.readouterr().out


class Killed(BaseException):
    """The process ends here."""


class Killer:
    """Ends a save before its n-th change of the disk; nothing that follows changes it, either."""

    def __init__(self):
        self.folder, self.left, self.changes = None, None, 0
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.folder is None or not self.is_change(event, arguments):
            return
        self.changes += 1
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1

    def is_change(self, event, arguments):
        if not arguments or not str(arguments[0]).startswith(self.folder):
            return False
        if event == "open":
            _, mode, flags = arguments
            return bool(flags & (os.O_WRONLY | os.O_RDWR)) or "w" in str(mode)
        return event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

    def run(self, folder, save, left):
        self.folder, self.left, self.changes = str(folder), left, 0
        try:
            save()
        except Killed:
            return False
        finally:
            self.folder = None
        return True


@pytest.fixture(scope="module")
def killer():
    return Killer()


@pytest.mark.parametrize("before", ["nothing", "other code", "damaged", "the same"])
def test_a_kill_between_any_two_changes_of_the_disk_leaves_whole_results(
    needs, tmp_path, killer, before
):  # fmt: skip
    earlier = needs.model_copy(update={"code": {ENTRY: "0" * 64}})

    def prepare(folder):
        if before != "nothing":
            save_result(folder, earlier if before == "other code" else needs, 1)
        if before == "damaged":
            cut(folder / needs.folder_name / "two.parquet")

    prepare(tmp_path / "whole")
    killer.run(tmp_path, lambda: save_result(tmp_path / "whole", needs, 2), None)
    changes = killer.changes
    assert changes >= 5  # a folder, three files, a rename
    for left in range(changes):
        folder = tmp_path / str(left)
        prepare(folder)
        assert not killer.run(tmp_path, lambda: save_result(folder, needs, 2), left)  # noqa: B023
        kept, old = load(folder, needs), load(folder, earlier)
        assert kept is None or is_whole(kept, 2) or (before == "the same" and is_whole(kept, 1))
        assert (old is not None and is_whole(old, 1)) == (before == "other code")
        save_result(folder, needs, 3)  # the run is started again
        assert is_whole(load(folder, needs), 3)


def test_old_results_do_not_pile_up(needs, run_dir):
    folder = run_dir / "probe"
    versions = [needs.model_copy(update={"code": {ENTRY: f"{number:064}"}}) for number in range(6)]
    for number, version in enumerate(versions):
        save_result(folder, version, number)
        place = folder / version.folder_name
        os.utime(place, (number, number))
    kept = [load(folder, version) is not None for version in versions]
    assert kept == [False] * 3 + [True] * results.NEWEST


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(needs, run_dir):
    folder = run_dir / "probe"
    ended = subprocess.Popen(["true"])
    ended.wait()
    ours, own = results._new_name(folder), f"-{os.getpid()}."
    dead = folder / ours.name.replace(own, f"-{ended.pid}.")
    other = folder / ours.name.replace(own, f"-{os.getppid()}.")  # goes on
    for path in (dead, other):
        path.mkdir(parents=True)
    save_result(folder, needs, 1)
    assert not dead.exists()
    assert other.exists()


def test_of_two_processes_that_keep_the_same_both_go_on(needs, run_dir, monkeypatch):
    folder = run_dir / "probe"
    real = results._put

    def other_first(draft, final):
        monkeypatch.setattr(results, "_put", real)
        monkeypatch.setattr(type(final), "exists", lambda path: False)  # not yet, it saw
        shutil.copytree(draft, final)
        real(draft, final)

    monkeypatch.setattr(results, "_put", other_first)
    assert is_whole(save_result(folder, needs, 1), 1)
    assert [path.name for path in folder.iterdir()] == [needs.folder_name]


def test_the_list_is_readable(needs, run_dir):
    save_result(run_dir, needs, 1)
    listing = json.loads((run_dir / needs.folder_name / "step.json").read_text("utf-8"))
    assert listing["needs"]["entries"] == [ENTRY]
    assert listing["needs"]["code"].keys() == {ENTRY}
