"""Whole model folders from the Hugging Face hub: safetensors, tokenizer and configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from pydantic import Field

from okml.data.digests import ContentHash, Expected, digest_of
from okml.data.errors import SourceError
from okml.settings import Frozen

# Weights only as safetensors: a pickle runs code when it is opened.
WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "LICENSE*",
    "NOTICE*",
)


class HubSnapshotSource(Frozen):
    """A model repository on the hub.

    ``revision`` may be a branch: its commit at the time of fetching is recorded beside the files,
    with the hash of each.
    """

    kind: Literal["hub_snapshot"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str
    approximate_bytes: int  # size of the wanted files, for display; the hub has the exact one
    # Patterns of paths in the repository, for one of several parts such as a diffusion pipeline;
    # empty: the usual files of a transformers model, at the top.
    files: tuple[str, ...] = ()

    def wants(self, path: str) -> bool:
        """Tell whether a file of the repository belongs to the model."""
        if self.files:
            return any(fnmatch(path, pattern) for pattern in self.files)
        return "/" not in path and any(fnmatch(path, pattern) for pattern in WANTED)


@dataclass(frozen=True)
class HubCommit:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[Expected, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes or 0 for file in self.files)

    def describe(self) -> str:
        """Return repository and commit."""
        return f"hub:{self.repo}@{self.commit}"


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the hub's errors into a ``SourceError`` that says what to do."""
    from huggingface_hub.errors import GatedRepoError

    try:
        yield
    except GatedRepoError as error:
        raise SourceError(
            f"{repo} is gated: ask for access on https://huggingface.co/{repo}, "
            "then log in with `hf auth login`",
            unreachable=True,
        ) from error
    except Exception as error:
        # The client's transport errors share no base class across releases.
        words = (str(error) or "no answer").splitlines()[0]
        raise SourceError(f"{type(error).__name__}: {words[:200]}", unreachable=True) from error


def resolve(source: HubSnapshotSource) -> HubCommit:
    """Ask the hub for the commit, and for size and hash of each wanted file.

    Raises:
        SourceError: If the hub does not answer, or the repository has only pickled weights.
    """
    from huggingface_hub import HfApi

    with _hub_errors(source.repo):
        info = HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
    files = []
    for sibling in info.siblings or ():
        name = sibling.rfilename
        if not source.wants(name):
            continue
        if sibling.size is None or info.sha is None:
            raise SourceError(f"the hub gives no size for {name}")
        if sibling.lfs is not None:
            digest = ContentHash("sha256", sibling.lfs.sha256)
        elif sibling.blob_id is not None:
            digest = ContentHash("git_blob", sibling.blob_id)
        else:
            raise SourceError(f"the hub gives no hash for {name}")
        files.append(Expected(name, digest, sibling.size))
    if info.sha is None or not any(file.name.endswith(".safetensors") for file in files):
        raise SourceError(
            f"{source.repo} has no safetensors weights at {source.revision}; pickles are refused"
        )
    return HubCommit(source.repo, info.sha, tuple(files))


def download_snapshot(snapshot: HubCommit, folder: Path) -> None:
    """Download the files of ``snapshot`` to ``folder`` and verify each against the hub's hash.

    An interrupted download in ``folder`` is resumed.

    Raises:
        SourceError: If a file cannot be had or has another hash; the wrong file is deleted.
    """
    from huggingface_hub import snapshot_download

    # Intact files are not requested or hashed again: a checkpoint can be 138 GB.
    missing = [file for file in snapshot.files if not _is_here(file, folder)]
    if missing:
        with _hub_errors(snapshot.repo):
            snapshot_download(
                snapshot.repo,
                revision=snapshot.commit,
                allow_patterns=[file.name for file in missing],
                local_dir=folder,
            )
    for file in missing:
        path = folder / file.name
        found = digest_of(path, file.digest.algorithm)
        if found != file.digest:
            path.unlink()
            raise SourceError(f"{file.name} is {found}, the hub says {file.digest}")
    # The client's notes on partial transfers; not part of the model.
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _is_here(file: Expected, folder: Path) -> bool:
    path = folder / file.name
    whole = path.is_file() and path.stat().st_size == file.bytes
    return whole and digest_of(path, file.digest.algorithm) == file.digest
