import os
import shutil
import subprocess

import pytest

from okml.data.digests import ContentHash, digest_of, verified_digest


def test_hashes_are_those_of_sha256sum_md5sum_and_git(tmp_path):
    path = tmp_path / "hello.txt"
    path.write_bytes(b"hello\n")
    # printf 'hello\n' | sha256sum, | git hash-object --stdin, and | md5sum
    assert str(digest_of(path, "sha256")) == (
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    assert str(digest_of(path, "git_blob")) == "git_blob:ce013625030ba8dba906f756967f9e9ca394464a"
    assert str(digest_of(path, "md5")) == "md5:b1946ac92492d2347c6235b4d2611184"


def test_the_empty_file_has_gits_well_known_id(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert digest_of(path, "git_blob").value == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_a_stamp_spares_the_second_reading_until_the_file_changes(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"right")
    right = digest_of(path, "sha256")
    assert verified_digest(path, right, tmp_path) == right
    times = path.stat()
    # Same size and time: only reading the content could tell, and the stamp spares that.
    path.write_bytes(b"wrong")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verified_digest(path, right, tmp_path) == right
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert verified_digest(path, right, tmp_path) != right


def test_a_wrong_digest_leaves_no_stamp(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"something else")
    expected = ContentHash("sha256", "0" * 64)
    for _ in range(2):
        assert verified_digest(path, expected, tmp_path) == digest_of(path, "sha256")


def test_a_damaged_stamp_is_no_proof(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"right")
    right = digest_of(path, "sha256")
    verified_digest(path, right, tmp_path)
    (stamp,) = (tmp_path / ".stamps").iterdir()
    stamp.write_text("{half")
    path.write_bytes(b"wrong")
    assert verified_digest(path, right, tmp_path) != right


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_agrees(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(100_000))
    done = subprocess.run(["git", "hash-object", str(path)], capture_output=True, check=True)
    assert digest_of(path, "git_blob").value == done.stdout.decode().strip()
