import json
import os

import pytest

from okml.data import fetch, listed, listing, verify
from okml.data.by_hand import UNVOUCHED
from okml.data.cache import NOTES
from okml.data.logs import microlens
from okml.errors import DataError
from okml.lightsage.datasets.coveo import COLUMNS, WHERE
from okml.paths import data_roots

from .conftest import sha256


def test_the_listing_follows_the_cache(toy):
    row, *_ = listing()
    assert (row.name, row.state, row.bytes, row.folder) == ("toy", "not here", len(toy), None)
    path = fetch("toy")["toy.txt"]
    row, *_ = listing()
    assert (row.state, row.folder, row.files) == ("here", path.parent, 1)


def test_half_an_entry_is_listed_as_such(web, use_catalog):
    web.files["/a"] = b"a"
    files = [{"name": "a", "sha256": sha256(b"a")}, {"name": "b", "sha256": sha256(b"b")}]
    source = {"kind": "https", "url": web.address + "/{name}"}
    use_catalog({"toy": {"files": files, "sources": [source]}})
    fetch("toy", ["a"])
    row, *_ = listing()
    assert (row.state, row.bytes) == ("partly here", None)


def test_verify_reads_the_content_whatever_the_stamps_say(web, toy):
    (check,) = verify("toy")
    assert (check.state, check.path) == ("missing", None)
    path = fetch("toy")["toy.txt"]
    (check,) = verify("toy")
    assert (check.state, check.source) == ("ok", f"{web.address}/toy.txt")
    times = path.stat()
    path.write_bytes(bytes(len(toy)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (check,) = verify("toy")
    assert check.state == "damaged"
    assert (check.expected, check.found) == (
        f"sha256:{sha256(toy)}", f"sha256:{sha256(bytes(len(toy)))}",
    )  # fmt: skip


def test_what_a_program_fetches_needs_no_hand(toy):
    row, *_ = listing()
    assert (row.by_hand, row.instruction, row.bytes_here) == ("", "", 0)
    fetch("toy")
    assert listed("toy").bytes_here == len(toy)


def test_manual_sources_alone_are_by_hand(use_catalog):
    manual = {"kind": "manual", "url": "https://form.example", "steps": "Sign."}
    source = {"kind": "https", "url": "https://file.example/{name}"}
    files = [{"name": "a", "sha256": "0" * 64}]
    use_catalog({
        "form": {"files": files, "sources": [manual]},
        "both": {"files": files, "sources": [source, manual]},
    })  # fmt: skip
    assert listed("form").by_hand == "https://form.example"
    assert listed("form").instruction.endswith(f" → {data_roots()[0] / 'form'} (a)")
    assert listed("both").by_hand == ""


def test_a_name_that_is_neither_is_not_listed():
    assert listed("/a/folder/of/my/own") is None


@pytest.mark.parametrize("name", UNVOUCHED)
def test_unvouched_sets_are_here_once_all_their_files_are(name, tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    states = [listed(name).state]
    for *_, file in UNVOUCHED[name].files:
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        states.append(listed(name).state)
    assert states == ["not here", *["partly here"] * (len(states) - 2), "here"]
    assert listed(name).bytes_here == len(states) - 1


@pytest.mark.parametrize(
    ("name", "page"),
    [("microlens_100k", "MicroLens-100k-Dataset"), ("microlens_1m", "MicroLens-1M-Dataset")],
)
def test_the_files_named_for_microlens_are_those_that_are_read(name, page, tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    pairs, titles, *_ = UNVOUCHED[name].files
    (tmp_path / name).mkdir()
    for file in (*pairs, *titles):
        (tmp_path / name / file).touch()
    read = [path.name for path in microlens.files_of(name)]
    assert read == [pairs[0], titles[0]] == list(listed(name).names[:2])
    assert UNVOUCHED[name].url == f"https://recsys.westlake.edu.cn/{page}/"


def test_the_files_named_for_coveo_are_those_that_are_read():
    assert [file for (file,) in UNVOUCHED["coveo"].files] == list(COLUMNS)
    assert UNVOUCHED["coveo"].url == WHERE
    assert WHERE == "https://www.coveo.com/en/ailabs/sigir-ecom-data-challenge"


def note(**changes):
    fields = {"source": "here", "digest": f"sha256:{'0' * 64}", "bytes": 1, "fetched": "now"}
    return {"toy.txt": {**fields, **changes}}


NOTES_THAT_SAY_NOTHING = {
    "empty": b"",
    "cut": b'{"toy.txt": {"sou',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "not UTF-8": b'{"\xff": {}}',
    "nested too deeply": b"[" * 100_000,
    "a file without fields": b'{"toy.txt": {}}',
    "a file that is a text": b'{"toy.txt": "x"}',
    "a size that is a text": json.dumps(note(bytes="many")).encode(),
    "a field too many": json.dumps(note(more=1)).encode(),
    "a file elsewhere": json.dumps({"../x": note()["toy.txt"]}).encode(),
    "an absolute path": json.dumps({"/x": note()["toy.txt"]}).encode(),
}


@pytest.mark.parametrize("content", NOTES_THAT_SAY_NOTHING.values(), ids=NOTES_THAT_SAY_NOTHING)
def test_damaged_notes_are_named(toy, content):
    path = fetch("toy")["toy.txt"]
    (path.parent / NOTES).write_bytes(content)
    with pytest.raises(DataError, match=r"provenance\.json is damaged") as error:
        verify("toy")
    assert "Remove it" in error.value.hint
    (path.parent / NOTES).unlink()  # the advice works
    assert verify("toy")[0].state == "ok"
