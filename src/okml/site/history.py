"""The history of verdicts: the changes that commits to claims and records made.

The history comes from Git: the claims and the records of each commit are judged by today's rules. A
record that today's code cannot read is passed over, so a claim's history starts with the first
verdict that can be computed, and that one is no change. A shallow clone has only the end of the
history; it has no changes here, since some of the changes would look like all of them.
"""

from __future__ import annotations

import datetime
import io
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from okml.chapters import CHAPTERS
from okml.ledger import Claim, RunRecord, Verdict, judge
from okml.ledger.report import RECORDED
from okml.profile import PROFILE_NAMES
from okml.yaml_text import parse_yaml

COMMIT = "commit "
# The files of the ledger: the chapter and the scale, or "claims", by path.
FILES = {
    **{f"results/{name}/{scale}.json": (name, scale) for name in CHAPTERS for scale in RECORDED},
    **{f"src/okml/{name}/claims.yml": (name, "claims") for name in CHAPTERS},
}


@dataclass(frozen=True)
class VerdictChange:
    """A change of the verdict on a claim by one commit."""

    claim: Claim  # the claim as it stands after the commit
    before: Verdict
    after: Verdict
    commit: str  # its full SHA
    date: datetime.datetime  # the time of the commit, with its time zone


def is_shallow(root: Path) -> bool:
    """Tell whether the clone in a folder lacks the beginning of its history."""
    return _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"


@lru_cache(maxsize=1)
def verdict_changes(root: Path) -> list[VerdictChange]:
    """Return all changes of verdicts in a repository, the oldest first; none if it is shallow.

    A process reads the history once. The caller must not change the returned list, which is cached.

    Args:
        root: The folder of the repository.
    """
    if is_shallow(root):
        return []
    found: list[VerdictChange] = []
    claims: dict[str, list[Claim]] = {chapter: [] for chapter in CHAPTERS}
    records: dict[str, dict[str, RunRecord]] = {chapter: {} for chapter in CHAPTERS}
    latest: dict[str, Verdict] = {}
    for commit, date, texts in _commits(root):
        for path, text in texts.items():
            chapter, what = FILES[path]
            with suppress(ValueError, TypeError, yaml.YAMLError):  # a file of an older form
                if what == "claims":
                    read = [Claim.model_validate(entry) for entry in parse_yaml(text)]
                    claims[chapter] = read or claims[chapter]
                else:
                    records[chapter][what] = RunRecord.model_validate_json(text)
        for chapter in dict.fromkeys(FILES[path][0] for path in texts):
            for claim, verdict in _verdicts(claims[chapter], records[chapter].values()):
                before = latest.get(claim.id)
                if before is not None and before.outcome is not verdict.outcome:
                    found.append(VerdictChange(claim, before, verdict, commit, date))
                latest[claim.id] = verdict
    return found


def _verdicts(
    claims: Iterable[Claim], records: Iterable[RunRecord]
) -> Iterator[tuple[Claim, Verdict]]:
    """Yield the claims that a record measured, with the verdict of the largest such scale."""
    from_largest = sorted(
        records, key=lambda record: PROFILE_NAMES.index(record.profile), reverse=True
    )
    for claim in claims:
        measured = (record for record in from_largest if claim.metric in record.metrics)
        if (largest := next(measured, None)) is not None:
            yield claim, judge(claim, largest)


def _commits(root: Path) -> Iterator[tuple[str, datetime.datetime, dict[str, str]]]:
    """Yield the commits that changed claims or records, the oldest first, with their new texts."""
    log = _git(
        root, "log", "--reverse", "--first-parent", "-m", "--name-only", "--diff-filter=AM",
        f"--format={COMMIT}%H %cI", "--", *FILES,
    )  # fmt: skip
    entries = [entry.split() for entry in log.decode().split(COMMIT)[1:]]
    named = [f"{sha}:{path}" for sha, _, *paths in entries for path in paths]
    blobs = io.BytesIO(_git(root, "cat-file", "--batch", stdin="\n".join(named).encode()))
    for sha, date, *paths in entries:
        texts = {}
        for path in paths:  # each comes as a line that ends in its length, itself, and a line's end
            length = int(blobs.readline().split()[-1])
            texts[path] = blobs.read(length).decode()
            blobs.seek(1, io.SEEK_CUR)
        yield sha, datetime.datetime.fromisoformat(date), texts


def _git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what Git prints; nothing if the folder is no repository."""
    return subprocess.run(
        ["git", *arguments], cwd=root, input=stdin, capture_output=True, check=False
    ).stdout
