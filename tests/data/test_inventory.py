import os

from okml.data import fetch, listing, verify

from .conftest import sha256


def test_the_listing_follows_the_cache(toy):
    (row,) = listing()
    assert (row.name, row.state, row.bytes, row.folder) == ("toy", "not here", len(toy), None)
    path = fetch("toy")["toy.txt"]
    (row,) = listing()
    assert (row.state, row.folder, row.files) == ("here", path.parent, 1)


def test_half_an_entry_is_listed_as_such(web, use_catalog):
    web.files["/a"] = b"a"
    files = [{"name": "a", "sha256": sha256(b"a")}, {"name": "b", "sha256": sha256(b"b")}]
    source = {"kind": "https", "url": web.address + "/{name}"}
    use_catalog({"toy": {"files": files, "sources": [source]}})
    fetch("toy", ["a"])
    (row,) = listing()
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
