import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from okml.data.archives import (
    extract_deb_member,
    extract_tar_member,
    extract_zip_member,
    is_safe_member,
    join,
)
from okml.data.errors import SourceError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "", "."])
def test_names_that_lead_out(name):
    assert not is_safe_member(name)


@pytest.mark.parametrize("name", ["x", "a/b.txt", "./a/b", "a..b"])
def test_names_that_stay_inside(name):
    assert is_safe_member(name)


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt"])
def test_members_that_lead_out_are_refused(tmp_path, name):
    zipped = make_zip(tmp_path / "a.zip", {name: "x"})
    tarred = make_tar(tmp_path / "a.tgz", (tarfile.TarInfo(name), b"x"))
    for extract, archive in ((extract_zip_member, zipped), (extract_tar_member, tarred)):
        with pytest.raises(SourceError, match="leads out"):
            extract(archive, name, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    zipped = make_zip(tmp_path / "a.zip", {link: str(tmp_path / "secret")})
    with pytest.raises(SourceError, match="not a regular file"):
        extract_zip_member(zipped, "link", tmp_path / "out", None)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo("link")
        info.type = kind
        info.linkname = str(tmp_path / "secret")
        tarred = make_tar(tmp_path / "a.tgz", (info, b""))
        with pytest.raises(SourceError, match="not a regular file"):
            extract_tar_member(tarred, "link", tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_only_the_named_member_touches_the_disk(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", {"data/x": "wanted", "../evil": "not", "setup.py": "not"})
    target = tmp_path / "below" / "out"
    target.parent.mkdir()
    extract_zip_member(zipped, "data/x", target, 6)
    assert target.read_text() == "wanted"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "below"]


def test_a_member_longer_than_announced_is_stopped(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", {"bomb": bytes(5_000_000)})
    with pytest.raises(SourceError, match="more than the expected 100 bytes"):
        extract_zip_member(zipped, "bomb", tmp_path / "out", 100)
    assert (tmp_path / "out").stat().st_size <= 100


def test_missing_members_and_damaged_archives_say_so(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", {"x": "x"})
    with pytest.raises(SourceError, match=r"no y in a\.zip"):
        extract_zip_member(zipped, "y", tmp_path / "out", None)
    tarred = make_tar(tmp_path / "a.tgz", (tarfile.TarInfo("x"), b"x" * 100_000))
    with pytest.raises(SourceError, match=r"no y in a\.tgz"):
        extract_tar_member(tarred, "y", tmp_path / "out", None)
    tarred.write_bytes(tarred.read_bytes()[:40])
    with pytest.raises(SourceError, match="damaged"):
        extract_tar_member(tarred, "x", tmp_path / "out", None)
    zipped.write_bytes(b"not a zip")
    with pytest.raises(SourceError, match="damaged"):
        extract_zip_member(zipped, "x", tmp_path / "out", None)


def test_pieces_are_joined_in_order(tmp_path):
    pieces = [tmp_path / name for name in "abc"]
    for piece in pieces:
        piece.write_text(piece.name * 3)
    join(pieces, tmp_path / "out", 9)
    assert (tmp_path / "out").read_text() == "aaabbbccc"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_debian_member_is_read_without_unpacking_the_rest(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(control)
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / "toy").write_text("wanted")
    (tree / "usr" / "share" / "link").symlink_to("/etc/passwd")
    archive = tmp_path / "toy.deb"
    subprocess.run(["dpkg-deb", "-b", str(tree), str(archive)], check=True, capture_output=True)
    extract_deb_member(archive, "usr/share/toy", tmp_path / "out", 6)
    assert (tmp_path / "out").read_text() == "wanted"
    with pytest.raises(SourceError, match="not a regular file"):
        extract_deb_member(archive, "usr/share/link", tmp_path / "link", None)
    archive.write_bytes(b"not a package")
    with pytest.raises(SourceError, match="damaged"):
        extract_deb_member(archive, "usr/share/toy", tmp_path / "out", None)


def zip_with(path, **changes):
    """Write a zip archive, and change fields of its one member in both of its headers."""
    make_zip(path, {"a": "content"})
    content = bytearray(path.read_bytes())
    local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
    places = {"flags": (local + 6, central + 8), "method": (local + 8, central + 10)}
    for name, value in changes.items():
        for place in places[name]:
            content[place] = value
    path.write_bytes(content)


def squeezed(path, method):
    """Write a compressed zip archive whose content is damaged."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)


def tar_of(path, mode, place):
    """Write a tar archive and damage its bytes from a place on."""
    with tarfile.open(path, mode) as archive:
        info = tarfile.TarInfo("a")
        info.size = 50_000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 200))
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + b"\xff" * 20 + content[at + 20 :])


UNREADABLE = {
    "an empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"no archive"),
    "a web page": lambda path: path.write_bytes(b"<!DOCTYPE html>" * 100),
    "zeros": lambda path: path.write_bytes(bytes(2_000)),
    "a zip with a password": lambda path: zip_with(path, flags=1),
    "a zip of a newer version": lambda path: zip_with(path, flags=32),
    "a zip with an unknown method": lambda path: zip_with(path, method=99),
    "a zip damaged in deflate": lambda path: squeezed(path, zipfile.ZIP_DEFLATED),
    "a zip damaged in bzip2": lambda path: squeezed(path, zipfile.ZIP_BZIP2),
    "a zip damaged in LZMA": lambda path: squeezed(path, zipfile.ZIP_LZMA),
    "a tar damaged in gzip": lambda path: tar_of(path, "w:gz", 0.1),
    "a tar damaged in bzip2": lambda path: tar_of(path, "w:bz2", 0.5),
    "a tar damaged in xz": lambda path: tar_of(path, "w:xz", 0.5),
    "a tar damaged at its start": lambda path: tar_of(path, "w", 0.0),
    "gzip without a tar": lambda path: path.write_bytes(gzip.compress(b"x" * 999)),
    "xz without a tar": lambda path: path.write_bytes(lzma.compress(b"x" * 999)),
    "bzip2 without a tar": lambda path: path.write_bytes(bz2.compress(b"x" * 999)),
    "cut": lambda path: path.write_bytes(make_zip(path, {"a": "x" * 999}).read_bytes()[:-30]),
}


@pytest.mark.parametrize("write", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("extract", [extract_zip_member, extract_tar_member])
def test_archives_that_cannot_be_read_are_named(tmp_path, extract, write):
    write(tmp_path / "a.bin")
    with pytest.raises(SourceError, match=r"a\.bin"):
        extract(tmp_path / "a.bin", "a", tmp_path / "out", None)
