"""A check whether a record was made with the current code and settings."""

from __future__ import annotations

from okml.chapters import chapter
from okml.code_key import code_key_of
from okml.ledger.records import RunRecord
from okml.runtime import commits_since
from okml.settings import Frozen


class Staleness(Frozen):
    """The changes since a record was made."""

    settings: bool  # whether the profile's settings changed, or the profile is gone
    code: bool  # whether the code that computes the chapter's numbers changed
    commits: int | None  # commits to the chapter's code since; None: Git does not know the commit


def staleness(record: RunRecord) -> Staleness | None:
    """Return the changes since a record was made; None if no number could differ.

    A record without a code key counts as changed by any commit to the chapter's own code.
    """
    stated = chapter(record.chapter).profiles().get(record.profile)
    settings = stated is None or stated.fingerprint() != record.settings_sha256
    made = record.provenance
    commits = commits_since(made.commit.sha, f"src/okml/{record.chapter}")
    code = commits != 0 if not made.code else made.code != code_key_of(record.chapter)
    return Staleness(settings=settings, code=code, commits=commits) if settings or code else None
