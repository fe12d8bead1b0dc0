"""The sources of files, one class for each kind.

Every source writes one file to a given path and returns a description of what served it. The
caller verifies the hash of the file; a source checks the archive that it opens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from okml.data.archives import extract_tar_member, is_safe_member
from okml.data.download import download
from okml.data.errors import SourceError
from okml.settings import Frozen

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Plain HTTP is allowed only for a mirror on the same machine.
Url = Annotated[str, Field(pattern=r"^(https://|http://127\.0\.0\.1[:/])")]


def _safe_member(member: str) -> str:
    if not is_safe_member(member):
        raise ValueError(f"{member!r} leads out of the archive")
    return member


Member = Annotated[str, AfterValidator(_safe_member)]


class Source(Frozen, ABC):
    """A place that serves a file.

    ``{name}`` in an address or a member stands for the file's name, so that one source can serve
    all files of an entry.
    """

    @abstractmethod
    def describe(self, name: str) -> str:
        """Return a description of the source of the file ``name``, with its version."""

    @abstractmethod
    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Write the file to ``part`` and return a description of the source.

        Args:
            name: The file's name in the catalog.
            size: The file's size in bytes if known.
            part: The file to write; a partial file of an interrupted call may be continued.
            work: A folder for archives, kept until the last file of the call is fetched.

        Raises:
            SourceError: If this source cannot serve it.
        """

    def extra_bytes(self) -> int:
        """Return the bytes of disk that the transfer needs beside the file itself."""
        return 0


class HttpsSource(Source):
    """A file at an address of the web."""

    kind: Literal["https"]
    url: Url

    def describe(self, name: str) -> str:
        """Return the address."""
        return self.url.format(name=name)

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Download, resuming an interrupted call; see ``Source.obtain``."""
        download(self.describe(name), part, size)
        return self.describe(name)


class HttpsArchiveSource(Source):
    """A member of a tar archive at an address of the web."""

    kind: Literal["https_archive"]
    url: Url
    bytes: int | None = None  # size of the archive
    member: Member

    def describe(self, name: str) -> str:
        """Return the address and the member."""
        return f"{self.url}#{self.member.format(name=name)}"

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Download the archive and extract the member; see ``Source.obtain``."""
        archive = work / self.url.rpartition("/")[2]
        if not archive.exists():
            download(self.url, archive, self.bytes)
        extract_tar_member(archive, self.member.format(name=name), part, size)
        return self.describe(name)

    def extra_bytes(self) -> int:
        """Return the archive's bytes."""
        return self.bytes or 0


class ManualSource(Source):
    """Steps that only a person can take, such as signing a form."""

    kind: Literal["manual"]
    url: str
    steps: str

    def describe(self, name: str) -> str:
        """Return the page where the steps begin."""
        return f"by hand from {self.url}"

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Raise, since only a person can take the steps."""
        raise SourceError(self.steps)
