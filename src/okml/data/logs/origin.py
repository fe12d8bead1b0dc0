"""The files of a catalog entry, with their source and terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from okml.data.cache import repair_command
from okml.data.catalog import entry
from okml.data.inventory import fetched_from


@dataclass(frozen=True)
class Origin:
    """The paths of a log's files, with their source and terms."""

    paths: dict[str, Path]  # by the file's name in the catalog
    source: str  # description of the source that served them
    license: str
    notice: str
    repair: str  # advice in errors about a damaged file


def origin_of(name: str, files: Iterable[str] | None = None) -> Origin:
    """Fetch files of a catalog entry, all if none are named, and return their origin.

    Errors are those of ``okml.data.fetch``.
    """
    served = fetched_from(name, files)
    sources = list(dict.fromkeys(provenance.source for provenance in served.values()))
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    terms = entry(name).license
    return Origin(
        paths={file: provenance.path for file, provenance in served.items()},
        source=sources[0] + more,
        license=terms.id,
        notice=terms.notice,
        repair=repair_command(name),
    )
