"""A web server on this machine that can misbehave, and a catalog of a test's own."""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from okml.paths import data_roots


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Web:
    """What the server has, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # bytes before the line is cut, per request
    ranges: bool = True  # whether it knows byte ranges
    stall: threading.Event = field(default_factory=threading.Event)
    stall_after: int | None = None  # bytes after which it waits for `stall`
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header
    address: str = ""


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            web.requests.append((self.path, wanted))
            content = web.files.get(self.path)
            if content is None:
                self.send_error(404, "Not Found")
                return
            start = 0
            if wanted and web.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if web.stall_after is not None:
                self.wfile.write(body[: web.stall_after])
                self.wfile.flush()
                web.stall.wait(30)
                body = body[web.stall_after :]
            if web.cut_after:
                body = body[: web.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(web)) as server:
        web.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield web
        web.stall.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty, writable cache that is the only data folder, with going out allowed."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OKML_DATA", str(folder))
    monkeypatch.delenv("OKML_OFFLINE", raising=False)
    monkeypatch.delenv("OKML_ACCEPT", raising=False)
    monkeypatch.setattr("okml.data.download.PAUSE", 0.001)
    return folder


OUTSIDE = [str(root) for root in data_roots()]


@pytest.fixture
def filled_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache before the data folders of this machine, so that nothing comes twice."""
    monkeypatch.setenv("OKML_DATA", os.pathsep.join([str(cache), *OUTSIDE]))
    return cache


Entries = dict[str, dict[str, object]]


@pytest.fixture
def use_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Replace the shipped catalog by the given entries; what every entry needs is filled in."""
    module = importlib.import_module("okml.data.catalog")  # `okml.data` has a function so called

    def use(entries: Entries) -> None:
        path = tmp_path / "catalog.yml"
        path.write_text(
            yaml.safe_dump({name: complete(values) for name, values in entries.items()})
        )
        monkeypatch.setattr(module, "CATALOG_FILE", path)
        module._catalog_in.cache_clear()

    yield use
    module._catalog_in.cache_clear()


def complete(values: dict[str, object]) -> dict[str, object]:
    terms = {"id": "CC0-1.0", "url": "https://example.org/terms", "redistribute": True}
    return {
        "kind": "dataset",
        "title": "A set of a test",
        "license": terms,
        "citation": "nobody2023",
        "origin": "https://example.org/set",
        **values,
    }


@pytest.fixture
def toy(web: Web, use_catalog: Callable) -> bytes:
    """The entry ``toy`` with the file ``toy.txt`` that the server has; return its content."""
    content = bytes(range(256)) * 1000
    web.files["/toy.txt"] = content
    file = {"name": "toy.txt", "bytes": len(content), "sha256": sha256(content)}
    source = {"kind": "https", "url": web.address + "/{name}"}
    use_catalog({"toy": {"files": [file], "sources": [source]}})
    return content
