"""HTTP downloads that resume after an interruption.

pooch's downloader starts over after every interruption; this one requests the missing byte range,
which a checkpoint of many gigabytes needs on an unreliable connection.
"""

from __future__ import annotations

import time
from pathlib import Path

import requests

from okml.data.errors import SourceError
from okml.data.progress import byte_bar

CHUNK = 1 << 16  # bytes read at a time; an interruption loses at most the current chunk
TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next bytes
ATTEMPTS = 5  # attempts in a row without a new byte
PAUSE = 0.5  # seconds before the second attempt, doubled each time


def download(url: str, part: Path, size: int | None) -> None:
    """Download ``url`` to ``part``, resuming from the bytes that ``part`` holds.

    Args:
        url: The address of the file.
        part: The unfinished file; it is kept for the next call when the transfer fails.
        size: The file's size in bytes if known; a server that offers another size is refused.

    Raises:
        SourceError: If the server cannot be reached, refuses, or the connection keeps breaking.
    """
    failures = 0
    while True:
        before = _bytes_here(part)
        if size is not None and before > size:
            part.unlink()
        try:
            if _transfer(url, part, size):
                return
            problem = "the line was cut"
        except requests.ConnectionError as error:
            problem = _reason(error)
        except (requests.exceptions.ChunkedEncodingError, requests.Timeout) as error:
            problem = _reason(error)
        except requests.RequestException as error:
            raise SourceError(_reason(error)) from error
        failures = 1 if _bytes_here(part) > before else failures + 1
        # Give up sooner on a host that never answered: it would not serve the next file either.
        if failures >= (ATTEMPTS if _bytes_here(part) else 2):
            raise SourceError(problem, unreachable=True)
        time.sleep(PAUSE * 2 ** (failures - 1))


def _transfer(url: str, part: Path, size: int | None) -> bool:
    """Fetch the missing bytes; return whether the file now has its full length."""
    done = _bytes_here(part)
    if size is not None and done == size:
        return True
    # Byte ranges and lengths refer to the uncompressed file.
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # the partial file does not belong to the server's current one
            return False
        response.raise_for_status()
        continues = response.status_code == requests.codes.partial_content
        if continues and not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink()
            return False
        done = done if continues else 0
        total = _announced(response, done)
        if size is not None and total is not None and total != size:
            raise SourceError(f"the server offers {total:,} bytes, the catalog says {size:,}")
        with (
            part.open("ab" if continues else "wb") as out,
            byte_bar(total or size, done, part.name.removesuffix(".part")) as bar,
        ):
            for block in response.iter_content(CHUNK):
                done += len(block)
                if size is not None and done > size:
                    raise SourceError(f"the server sends more than {size:,} bytes")
                out.write(block)
                bar.update(len(block))
    expected = size if size is not None else total
    return expected is None or done == expected


def _announced(response: requests.Response, done: int) -> int | None:
    length = response.headers.get("Content-Length")
    return done + int(length) if length is not None else None


def _bytes_here(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    # requests nests the system's message in three exceptions; the innermost is the useful one.
    text = str(error)
    for words in ("Failed to resolve", "Connection refused", "Connection reset", "unreachable"):
        if words in text:
            return words.lower() if words != "Failed to resolve" else "the host's name is not known"
    return text.splitlines()[0][:200]
