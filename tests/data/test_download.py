import socket
import sys

import pytest

from okml.data.download import ATTEMPTS, CHUNK, download
from okml.data.errors import SourceError
from okml.data.progress import byte_bar

CONTENT = bytes(range(256)) * 2000


def test_a_cut_line_is_continued_where_it_broke(web, tmp_path):
    web.files["/x"] = CONTENT
    web.cut_after = [100_000, 0, 150_000]
    part = tmp_path / "x.part"
    download(f"{web.address}/x", part, len(CONTENT))
    assert part.read_bytes() == CONTENT
    starts = [int(wanted[len("bytes=") : -1]) for _, wanted in web.requests[1:]]
    assert starts == [CHUNK, CHUNK, 3 * CHUNK]  # whole blocks of what had arrived


@pytest.mark.parametrize("terminal", [True, False])
def test_bytes_are_counted_where_someone_looks(monkeypatch, terminal):
    for name in ("CI", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with byte_bar(10, 0, "x") as bar:
        assert bar.disable is not terminal


def test_a_later_call_continues_an_earlier_one(web, tmp_path):
    web.files["/x"] = CONTENT
    part = tmp_path / "x.part"
    part.write_bytes(CONTENT[:1234])
    download(f"{web.address}/x", part, len(CONTENT))
    assert part.read_bytes() == CONTENT
    assert web.requests == [("/x", "bytes=1234-")]


def test_a_finished_part_asks_for_nothing(web, tmp_path):
    part = tmp_path / "x.part"
    part.write_bytes(CONTENT)
    download(f"{web.address}/x", part, len(CONTENT))
    assert web.requests == []


def test_a_server_without_ranges_starts_over(web, tmp_path):
    web.files["/x"] = CONTENT
    web.ranges = False
    part = tmp_path / "x.part"
    part.write_bytes(b"an older piece")
    download(f"{web.address}/x", part, None)
    assert part.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(web, tmp_path):
    web.files["/x"] = CONTENT
    part = tmp_path / "x.part"
    for size in (len(CONTENT), None):  # the second way, only the server knows
        part.write_bytes(CONTENT + b"more")
        download(f"{web.address}/x", part, size)
        assert part.read_bytes() == CONTENT


def test_a_file_of_another_size_is_refused_at_once(web, tmp_path):
    web.files["/x"] = CONTENT
    with pytest.raises(SourceError, match="offers 512,000 bytes, the catalog says 7"):
        download(f"{web.address}/x", tmp_path / "x.part", 7)
    assert not (tmp_path / "x.part").exists()


def test_a_missing_file_is_the_servers_answer_not_a_dead_host(web, tmp_path):
    with pytest.raises(SourceError, match="HTTP 404") as caught:
        download(f"{web.address}/x", tmp_path / "x.part", None)
    assert not caught.value.unreachable
    assert len(web.requests) == 1


def test_a_line_that_gives_nothing_more_is_given_up_and_the_part_kept(web, tmp_path):
    web.files["/x"] = CONTENT
    web.cut_after = [CHUNK + 10, *[0] * 20]
    with pytest.raises(SourceError):
        download(f"{web.address}/x", tmp_path / "x.part", len(CONTENT))
    assert (tmp_path / "x.part").read_bytes() == CONTENT[:CHUNK]
    assert len(web.requests) == ATTEMPTS


def test_a_dead_host_is_named_as_such(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(SourceError, match="connection refused") as caught:
        download(f"http://127.0.0.1:{port}/x", tmp_path / "x.part", None)
    assert caught.value.unreachable
