from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from okml.errors import ParameterError
from okml.paths import (
    atomic_write,
    build_dir,
    data_roots,
    exchange,
    repository_root,
    results_dir,
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OKML_ROOT", raising=False)
    (tmp_path / "clone" / "src" / "okml").mkdir(parents=True)
    (tmp_path / "clone" / "_toc.yml").touch()
    return tmp_path / "clone"


def test_the_checkout_around_the_working_folder_is_found(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = checkout / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert repository_root() == checkout
    assert build_dir() == checkout / "_build"
    assert results_dir() == checkout / "results"


def test_elsewhere_it_is_where_the_package_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OKML_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert repository_root() == Path(__file__).parents[1]


def test_the_environment_has_the_last_word(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("OKML_ROOT", str(tmp_path / "other"))
    assert repository_root() == tmp_path / "other"


def test_no_checkout_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OKML_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("okml.paths.__file__", str(tmp_path / "site-packages" / "paths.py"))
    with pytest.raises(ParameterError, match="No okml checkout"):
        repository_root()


def test_data_folders_are_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OKML_DATA", os.pathsep.join([str(tmp_path / "a"), "~/b", ""]))
    assert data_roots() == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_data_lie_in_the_user_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("OKML_DATA", raising=False)
    else:
        monkeypatch.setenv("OKML_DATA", value)
    (root,) = data_roots()
    assert "okml" in root.parts


def test_a_file_appears_whole_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with atomic_write(path) as handle:
        handle.write("да")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "да"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_bytes_can_be_written(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "b", "wb") as handle:
        handle.write(b"\x00\xff")
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as handle:
            handle.write("new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_those_of_open(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a") as handle:
            handle.write("x")
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own exchange")
def test_two_folders_change_places_or_nothing_happens(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "new").exists()
    assert (tmp_path / "new" / "old").exists()
    assert not exchange(tmp_path / "new", tmp_path / "nothing")
    assert (tmp_path / "new" / "old").exists()


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "[a].json"
    write = """
import os, sys
from pathlib import Path
from okml.paths import atomic_write
with atomic_write(Path(sys.argv[1])) as handle:
    handle.write("half")
    handle.flush()
    os.kill(os.getpid(), 9)
"""
    for count in (1, 1):
        subprocess.run([sys.executable, "-c", write, str(path)], check=False)
        assert len(list(tmp_path.iterdir())) == count
    with atomic_write(path) as handle, atomic_write(path) as other:  # none disturbs the other
        handle.write("whole")
        other.write("first")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "whole"
