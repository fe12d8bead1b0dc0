import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections import namedtuple

import pytest

from okml.data import DataError, check_obtainable, fetch, fetched_from
from okml.data.download import CHUNK
from okml.errors import ParameterError, ResourceError

from .conftest import sha256

fork = multiprocessing.get_context("fork")


def test_a_file_is_downloaded_verified_and_kept(web, cache, toy):
    path = fetch("toy")["toy.txt"]
    assert path == cache / "toy" / "toy.txt"
    assert path.read_bytes() == toy
    assert fetch("toy") == {"toy.txt": path}
    assert len(web.requests) == 1
    assert not list(cache.rglob("*.part"))


def test_other_content_is_refused_and_the_error_names_both_hashes(web, cache, toy):
    web.files["/toy.txt"] = bytes(len(toy))
    with pytest.raises(DataError, match=sha256(toy)) as caught:
        fetch("toy")
    assert sha256(bytes(len(toy))) in str(caught.value)
    assert not list((cache / "toy").iterdir())


def test_a_stale_piece_does_not_poison_the_download(cache, toy):
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / "toy.txt.part").write_bytes(b"a piece of another version")
    assert fetch("toy")["toy.txt"].read_bytes() == toy


def test_the_next_source_serves_and_is_recorded(web, use_catalog):
    web.files["/second/a"] = b"content"
    file = {"name": "a", "sha256": sha256(b"content")}
    sources = [
        {"kind": "https", "url": f"{web.address}/{place}/a"} for place in ("first", "second")
    ]
    use_catalog({"toy": {"files": [file], "sources": sources}})
    (served,) = fetched_from("toy").values()
    assert served.source == f"{web.address}/second/a"
    assert served.sha256 == sha256(b"content")
    assert served.path.read_bytes() == b"content"


def test_gits_hash_verifies_where_no_other_is_known(web, use_catalog):
    web.files["/a"] = b"hello\n"
    file = {"name": "a", "git_blob": "ce013625030ba8dba906f756967f9e9ca394464a"}
    use_catalog(
        {"toy": {"files": [file], "sources": [{"kind": "https", "url": web.address + "/a"}]}}
    )
    (served,) = fetched_from("toy").values()
    assert served.sha256 == sha256(b"hello\n")
    web.files["/a"] = b"jello\n"
    served.path.write_bytes(b"jello\n")
    with pytest.raises(DataError, match="git_blob:ce013625"):
        fetch("toy")
    with pytest.raises(DataError, match="git_blob:ce013625"):
        fetch("toy", force=True)


def test_a_damaged_file_is_reported_with_its_repair_and_repaired(web, toy):
    path = fetch("toy")["toy.txt"]
    path.write_bytes(toy[:-1] + b"!")
    with pytest.raises(DataError, match="is damaged") as caught:
        fetch("toy")
    assert str(path) in caught.value.message
    assert sha256(toy) in caught.value.message
    assert sha256(path.read_bytes()) in caught.value.message
    assert caught.value.hint == "Repair it with: okml data fetch toy --force"
    assert fetch("toy", force=True)["toy.txt"].read_bytes() == toy


def test_a_truncated_file_is_damage_too(toy):
    path = fetch("toy")["toy.txt"]
    path.write_bytes(toy[:100])
    with pytest.raises(DataError, match="100 bytes instead of 256,000"):
        fetch("toy")


def test_a_repair_that_fails_leaves_the_file_alone(web, toy):
    path = fetch("toy")["toy.txt"]
    path.write_bytes(b"damaged")
    web.files.clear()
    with pytest.raises(DataError, match="HTTP 404"):
        fetch("toy", force=True)
    assert path.read_bytes() == b"damaged"


def test_a_read_only_folder_serves_without_being_written(web, cache, toy, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    (shared / "toy").mkdir(parents=True)
    (shared / "toy" / "toy.txt").write_bytes(toy)
    before = sorted(shared.rglob("*"))
    monkeypatch.setenv("OKML_DATA", f"{cache}{os.pathsep}{shared}")
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert fetch("toy") == {"toy.txt": shared / "toy" / "toy.txt"}
    assert sorted(shared.rglob("*")) == before
    (served,) = fetched_from("toy").values()
    assert served.source == f"a copy of {web.address}/toy.txt"
    assert web.requests == []


def test_a_damaged_read_only_copy_is_repaired_in_the_cache(cache, toy, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    (shared / "toy").mkdir(parents=True)
    (shared / "toy" / "toy.txt").write_bytes(b"damaged")
    monkeypatch.setenv("OKML_DATA", f"{cache}{os.pathsep}{shared}")
    with pytest.raises(DataError, match="is damaged"):
        fetch("toy")
    assert fetch("toy", force=True) == {"toy.txt": cache / "toy" / "toy.txt"}
    assert fetch("toy") == {"toy.txt": cache / "toy" / "toy.txt"}
    assert (shared / "toy" / "toy.txt").read_bytes() == b"damaged"


def test_a_filled_cache_that_cannot_be_written_to_still_serves(cache, toy, monkeypatch):
    path = fetch("toy")["toy.txt"]
    # A file in the way stops even root, whom permissions do not stop.
    shutil.rmtree(cache / ".stamps")
    (cache / ".stamps").write_text("in the way")
    assert fetch("toy") == {"toy.txt": path}


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path, toy, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="cannot be written to") as caught:
        fetch("toy")
    assert "OKML_DATA" in caught.value.hint


def test_offline_says_so_at_once(web, toy, monkeypatch):
    monkeypatch.setenv("OKML_OFFLINE", "1")
    with pytest.raises(DataError, match="OKML_OFFLINE"):
        fetch("toy")
    assert web.requests == []
    monkeypatch.setenv("OKML_OFFLINE", "0")
    path = fetch("toy")["toy.txt"]
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert fetch("toy") == {"toy.txt": path}


def test_gated_terms_are_accepted_first(web, use_catalog, monkeypatch):
    web.files["/a"] = b"a"
    terms = {"id": "strict", "url": "https://example.org/strict", "redistribute": False}
    values = {
        "files": [{"name": "a", "sha256": sha256(b"a")}],
        "sources": [{"kind": "https", "url": web.address + "/a"}],
        "license": {**terms, "accept": True},
    }
    use_catalog({"toy": values})
    with pytest.raises(DataError, match=r"https://example\.org/strict") as caught:
        fetch("toy")
    assert "OKML_ACCEPT=strict okml data fetch toy" in caught.value.hint
    assert web.requests == []
    monkeypatch.setenv("OKML_ACCEPT", "other, strict")
    assert fetch("toy")["a"].read_bytes() == b"a"


def test_what_can_be_had_is_known_before_anything_is_downloaded(web, use_catalog, monkeypatch):
    web.files["/a"] = b"a"
    plain = {
        "files": [{"name": "a", "sha256": sha256(b"a")}],
        "sources": [{"kind": "https", "url": web.address + "/a"}],
    }
    terms = {"id": "strict", "url": "https://example.org", "redistribute": False, "accept": True}
    snapshot = {"kind": "hub_snapshot", "repo": "a/b", "revision": "main", "approximate_bytes": 1}
    use_catalog(
        {"toy": plain, "gated": plain | {"license": terms}, "model": {"snapshot": snapshot}}
    )
    check_obtainable("toy")
    check_obtainable("model")
    with pytest.raises(DataError, match="accept"):
        check_obtainable("gated")
    monkeypatch.setenv("OKML_OFFLINE", "1")
    for name in ("toy", "model"):
        with pytest.raises(DataError, match="going out is off"):
            check_obtainable(name)
    monkeypatch.delenv("OKML_OFFLINE")
    monkeypatch.setenv("OKML_ACCEPT", "strict")
    check_obtainable("gated")
    assert web.requests == []
    fetch("gated")
    monkeypatch.delenv("OKML_ACCEPT")
    check_obtainable("gated")  # it is here


def test_when_all_sources_fail_one_error_says_everything(web, cache, use_catalog):
    steps = "Sign the form on the page, then download a.txt."
    values = {
        "files": [{"name": "a.txt", "bytes": 1_500_000, "sha256": "0" * 64}],
        "sources": [
            {"kind": "https", "url": web.address + "/a.txt"},
            {"kind": "manual", "url": "https://example.org/form", "steps": steps},
        ],
    }
    use_catalog({"toy": values})
    with pytest.raises(DataError) as caught:
        fetch("toy")
    text = str(caught.value)
    for words in (
        "a.txt", "1.5 MB", f"{web.address}/a.txt: HTTP 404", "https://example.org/form", steps,
        "okml data fetch toy", str(cache / "toy"),
    ):  # fmt: skip
        assert words in text


def test_a_dead_host_is_asked_once_and_the_other_files_still_come(web, use_catalog, monkeypatch):
    web.files["/b"] = b"b"
    dead = {"kind": "https", "url": "http://127.0.0.1:9/{name}"}
    alive = {"kind": "https", "url": web.address + "/b"}
    values = {
        "files": [
            {"name": "a", "sha256": "0" * 64},
            {"name": "b", "sha256": sha256(b"b"), "sources": [dead, alive]},
            {"name": "c", "sha256": "1" * 64},
        ],
        "sources": [dead],
    }
    use_catalog({"toy": values})
    with pytest.raises(DataError, match=r"toy: a, c cannot be had"):
        fetch("toy")
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert fetch("toy", ["b"])["b"].read_bytes() == b"b"


def test_a_full_disk_is_noticed_before_the_download(web, toy, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 10**5, 10**5))
    with pytest.raises(ResourceError, match=r"100\.0 kB free; the download needs 256\.0 kB"):
        fetch("toy")
    assert web.requests == []


def test_a_disk_that_fills_up_on_the_way_is_the_reason(toy, monkeypatch):
    def fill(url, part, size):
        raise OSError(errno.ENOSPC, "No space left on device", str(part))

    monkeypatch.setattr("okml.data.sources.download", fill)
    with pytest.raises(DataError, match="No space left on device"):
        fetch("toy")


def test_unknown_names_are_no_data_errors(toy):
    with pytest.raises(ParameterError, match="toys"):
        fetch("toys")
    with pytest.raises(ParameterError, match=r"toy has no file 'toy\.csv'"):
        fetch("toy", ["toy.csv"])


def test_two_processes_download_once(web, cache, toy, monkeypatch):
    web.stall_after = 1000
    processes = [fork.Process(target=fetch, args=("toy",)) for _ in range(2)]
    for process in processes:
        process.start()
    wait_until(lambda: (cache / "toy" / "toy.txt.part").exists())
    web.stall.set()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(web.requests) == 1
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert fetch("toy")["toy.txt"].read_bytes() == toy


def test_a_killed_download_is_continued(web, cache, toy):
    web.stall_after = 2 * CHUNK
    process = fork.Process(target=fetch, args=("toy",))
    process.start()
    part = cache / "toy" / "toy.txt.part"
    wait_until(lambda: part.exists() and part.stat().st_size == 2 * CHUNK)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not (cache / "toy" / "toy.txt").exists()
    web.stall_after = None
    web.stall.set()
    assert fetch("toy")["toy.txt"].read_bytes() == toy
    assert web.requests[-1] == ("/toy.txt", f"bytes={2 * CHUNK}-")


def wait_until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_notes_beside_the_files_are_readable_by_people(cache, toy):
    fetch("toy")
    (note,) = json.loads((cache / "toy" / "provenance.json").read_text()).values()
    assert note["digest"] == f"sha256:{sha256(toy)}"
    assert note["bytes"] == len(toy)


@pytest.mark.realdata
def test_a_member_of_a_published_wheel():
    path = fetch("airports")["airports.csv"]
    assert path.read_text(encoding="utf-8").startswith('"icao","iata","name"')
    assert fetched_from("airports")["airports.csv"].source == "PyPI airportsdata 20260905"


def test_what_only_a_person_can_fetch_says_what_goes_where(tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    with pytest.raises(DataError, match="coveo can only be fetched by hand") as caught:
        fetch("coveo")
    assert "browsing_train.csv, search_train.csv" in caught.value.hint
    assert caught.value.hint.endswith(f"into {tmp_path / 'coveo'}.")
