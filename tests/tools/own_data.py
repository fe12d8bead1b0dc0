"""Tiny files under the names of true data sets and models, for tests of a whole profile."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from okml.clock import now
from okml.data.cache import Note, write_notes
from okml.data.catalog import catalog
from okml.data.digests import digest_of


class OwnData:
    """A cache and a catalog of a test's own, which its processes inherit.

    An entry keeps what the shipped catalog says of it, but for its files: those are the test's, in
    the format that the loader of the true files reads.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self._file = folder / "catalog_0.yml"
        self._entries: dict[str, Any] = {}
        self._monkeypatch = monkeypatch
        self._file.write_text("{}")
        monkeypatch.setenv("OKML_DATA", str(self.cache))
        monkeypatch.setenv("OKML_OFFLINE", "1")
        monkeypatch.setenv("OKML_CATALOG", str(self._file))

    def files(self, name: str, contents: Mapping[str, bytes | Path]) -> None:
        """Put files of an entry into the cache: their content, or the path of a copy."""
        entry = catalog()[name].model_dump(mode="json", exclude_none=True)
        pickled = {file["name"] for file in entry.get("files", ()) if file["tensors_only"]}
        source = {"kind": "https", "url": "https://example.org/{name}"}
        listed = []
        for file, content in contents.items():
            found = content.read_bytes() if isinstance(content, Path) else content
            place = self.cache / entry["folder"] / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(found)
            sha256 = hashlib.sha256(found).hexdigest()
            listed.append(
                {"name": file, "bytes": len(found), "sha256": sha256}
                | ({"tensors_only": True} if file in pickled else {})
            )
        unkept = ("name", "snapshot", "sources", "files")
        kept = {key: value for key, value in entry.items() if key not in unkept}
        self._entries[name] = {**kept, "files": listed, "sources": [source]}
        # A new path, since a catalog is read once in a process.
        self._file = self._file.with_name(f"catalog_{len(self._entries)}.yml")
        self._file.write_text(yaml.safe_dump(self._entries))
        self._monkeypatch.setenv("OKML_CATALOG", str(self._file))

    def snapshot(self, name: str, folder: Path) -> None:
        """Put a folder of the hub, such as one that ``save_pretrained`` wrote, into the cache."""
        place = self.cache / catalog()[name].folder
        shutil.copytree(folder, place)
        write_notes(
            place,
            {
                str(path.relative_to(place)): Note(
                    source="a test",
                    digest=str(digest_of(path, "sha256")),
                    bytes=path.stat().st_size,
                    fetched=now(),
                )
                for path in sorted(place.rglob("*"))
                if path.is_file()
            },
        )
