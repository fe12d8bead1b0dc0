"""The text files of data sets: opening, checks of completeness, and errors that quote lines."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from okml.data.archives import UNREADABLE
from okml.errors import DataError

LFS_POINTER = "version https://git-lfs"


@dataclass(frozen=True)
class TextFile:
    """The lines of a file on disk, of a gzip file, or of a member of a zip archive.

    Attributes:
        name: The name in error messages.
        source: The input for polars: a path, or the bytes of the file.
        repair: The advice in errors about a damaged file; a sentence.
    """

    name: str
    source: Path | bytes
    repair: str

    @classmethod
    def open(cls, path: Path, *, member: str = "", repair: str = "") -> Self:
        """Open a file and check that it is complete and no web page.

        Args:
            path: The file; a name that ends in ``.gz`` is decompressed while it is read.
            member: The file inside ``path``, a zip archive; empty if ``path`` is the file.
            repair: The advice in errors about a damaged file; a sentence.

        Raises:
            DataError: If it is missing, empty, truncated, a web page or a Git LFS pointer.
        """
        repair = repair or f"Get {path.name} again from where its data set is published."
        name = f"{path}:{member}" if member else str(path)
        try:
            file = cls(name, _member(path, member) if member else path, repair)
            file._require_whole()
        except (OSError, KeyError, *UNREADABLE) as error:
            raise DataError(f"{name} cannot be read: {_reason(error)}.", repair) from error
        return file

    def lines(self) -> pl.LazyFrame:
        """Return the lines, lazily, as the one column ``line``, without their ends."""
        # To read a table of one column, the separator is a character that no text holds.
        lines = pl.scan_csv(
            self.source,
            has_header=False,
            schema={"line": pl.String},
            separator="\x01",
            quote_char=None,
            glob=False,
        )
        return lines.with_columns(pl.col("line").fill_null(""))

    def fields(
        self, separator: str, names: Iterable[str], *, header: str = ""
    ) -> tuple[pl.LazyFrame, str]:
        """Return the lines, lazily, cut into text columns, and the name of a problem.

        The problem is one more column: whether a line has another number of fields.

        Args:
            separator: The separator of fields, one or more characters.
            names: The names of the columns.
            header: The first line, which is not among the rows; empty for a file without header.

        Raises:
            DataError: If the file begins with another header.
        """
        if header:
            self.require_header(header)
        names = list(names)
        problem = f"it does not have {len(names)} fields, separated by {separator!r}"
        parts = pl.col("line").str.split_exact(separator, len(names))
        rows = (
            self.lines()
            .slice(1 if header else 0)
            .select(parts.struct.rename_fields([*names, "more"]).alias("fields"))
            .unnest("fields")
        )
        wrong = pl.col(names[-1]).is_null() | pl.col("more").is_not_null()
        return rows.with_columns(wrong.alias(problem)).drop("more"), problem

    def collect(self, lines: pl.LazyFrame) -> pl.DataFrame:
        """Run a query over ``lines()`` in chunks.

        Raises:
            DataError: If the file is no UTF-8 text, or its compressed stream ends too early.
        """
        try:
            return lines.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.name} is not whole, or not text: {reason}.", self.repair
            ) from error

    def require_header(self, header: str) -> None:
        """Raise unless the file begins with its header.

        Raises:
            DataError: If it begins with something else.
        """
        if (first := self.line(1)) != header:
            raise DataError(
                f"{self.name} begins with {first[:120]!r} instead of {header!r}: it is another "
                "file or of another data set.",
                self.repair,
            )

    def line(self, number: int) -> str:
        """Return the text of one line, counted from 1; empty past the end."""
        found = self.collect(self.lines().slice(number - 1, 1))["line"]
        return found[0] if len(found) else ""

    def bad_line(self, number: int, problem: str) -> DataError:
        """Return the error that describes the problem of one line."""
        text = self.line(number)
        shown = text if len(text) <= 120 else f"{text[:117]}..."
        return DataError(f"{self.name}, line {number:,}: {problem}: {shown!r}", self.repair)

    def _require_whole(self) -> None:
        start, end = _ends(self.source)
        if not end:
            raise DataError(f"{self.name} is empty.", self.repair)
        if isinstance(self.source, Path) and self.source.suffix == ".gz":
            start = self.line(1).encode()  # gzip's own checksum detects a truncated file
        elif end != b"\n":
            raise DataError(
                f"{self.name} breaks off in the middle of its last line.",
                f"{self.repair} If it is complete, add a line end to it.",
            )
        text = start.decode(errors="replace").lstrip("\ufeff \r\n\t")
        if text.startswith("<"):
            raise DataError(f"{self.name} is a web page, not data: {text[:60]!r}", self.repair)
        if text.startswith(LFS_POINTER):
            raise DataError(f"{self.name} is a Git LFS pointer, not the data.", self.repair)


def _member(archive: Path, member: str) -> bytes:
    # Reading checks the member against the checksum in the archive.
    with zipfile.ZipFile(archive) as opened:
        return opened.read(member)


def _ends(source: Path | bytes) -> tuple[bytes, bytes]:
    """Return the first bytes and the last one; the last is missing in an empty file."""
    if isinstance(source, bytes):
        return source[:200], source[-1:]
    with source.open("rb") as handle:
        start = handle.read(200)
        handle.seek(-1 if start else 0, os.SEEK_END)
        return start, handle.read(1)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error.args[0]) if error.args else str(error)
