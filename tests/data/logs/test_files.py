import gzip
import zipfile

import pytest

from okml.data.logs.files import TextFile
from okml.errors import DataError


def lines_of(file: TextFile) -> list[str]:
    return file.collect(file.lines())["line"].to_list()


CONTENT = 'a,b\n\n"quoted, not closed\nx\r\nlast\n'
LINES = ["a,b", "", '"quoted, not closed', "x", "last"]


def test_lines_of_a_plain_a_compressed_and_an_archived_file(write, tmp_path):
    plain = TextFile.open(write("a[1].txt", CONTENT))
    assert lines_of(plain) == LINES
    assert [plain.line(number) for number in range(1, 7)] == [*LINES, ""]
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT.encode()))
    assert lines_of(TextFile.open(tmp_path / "a.gz")) == LINES
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/a.txt", CONTENT)
    archived = TextFile.open(tmp_path / "a.zip", member="inner/a.txt")
    assert lines_of(archived) == LINES
    assert archived.name.endswith("a.zip:inner/a.txt")


def test_another_encoding_is_no_text(tmp_path):
    path = tmp_path / "u.item"
    path.write_bytes("Les Misérables\n".encode("latin-1"))
    with pytest.raises(DataError, match="not text"):
        lines_of(TextFile.open(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("1,2\n3,", "breaks off in the middle of its last line"),
        ("<!DOCTYPE html>\n<html>\n", "is a web page"),
        ("\n  <html>\n", "is a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ],
)
def test_what_is_no_data_is_refused_at_the_door(write, content, words):
    path = write("log.csv", content)
    with pytest.raises(DataError, match=words) as caught:
        TextFile.open(path, repair="Fetch it again.")
    assert str(path) in caught.value.message
    assert caught.value.hint.startswith("Fetch it again.")


def test_a_compressed_web_page_and_a_cut_stream(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"<html>\n"))
    with pytest.raises(DataError, match="is a web page"):
        TextFile.open(path)
    whole = gzip.compress("".join(f"{n * n}\n" for n in range(5_000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is not whole") as caught:
        lines_of(TextFile.open(path))
    assert "Get log.gz again" in caught.value.hint


def test_missing_files_members_and_broken_archives(write, tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        TextFile.open(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="not a zip file"):
        TextFile.open(write("a.zip", "text\n"), member="a")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a", "text\n")
    with pytest.raises(DataError, match="no item named 'b'"):
        TextFile.open(tmp_path / "b.zip", member="b")
