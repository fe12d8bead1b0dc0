"""Large files of an archive, unpacked once into the cache."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from okml.data.archives import extract_tar_members
from okml.data.cache import exclusive
from okml.data.catalog import entry
from okml.data.errors import SourceError
from okml.data.progress import waiting
from okml.errors import DataError
from okml.paths import data_roots


def unpacked(name: str, archive: Path, members: Iterable[str], *, repair: str) -> dict[str, Path]:
    """Return files of a verified tar archive by name, unpacking the missing ones.

    They lie in the cache, in a folder named after the archive's hash, so that versions of the
    archive are kept apart. Each file is unpacked atomically.

    Args:
        name: The entry of the catalog, whose only file is the archive.
        archive: The path of the archive.
        members: Paths inside the archive.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If a member is missing, or the archive cannot be read.
    """
    cache = data_roots()[0]
    (file,) = entry(name).files
    folder = cache / entry(name).folder / f"unpacked-{file.digest.value[:16]}"
    paths = {member: folder / Path(member).name for member in members}
    if missing := _missing(paths):
        with exclusive(name, cache):
            missing = _missing(paths)  # another process may have unpacked them meanwhile
            parts = {member: path.with_suffix(".part") for member, path in missing.items()}
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with waiting(f"unpacking {len(parts)} files of {archive.name}"):
                    extract_tar_members(archive, parts)
            except SourceError as error:
                raise DataError(f"{archive} cannot be unpacked: {error.reason}.", repair) from error
            for member, part in parts.items():
                part.replace(paths[member])
    return {path.name: path for path in paths.values()}


def _missing(paths: dict[str, Path]) -> dict[str, Path]:
    return {member: path for member, path in paths.items() if not path.is_file()}
