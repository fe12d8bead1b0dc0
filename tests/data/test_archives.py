import io
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
