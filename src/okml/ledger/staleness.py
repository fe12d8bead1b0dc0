"""Whether a record still is one of today's code and settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from okml.chapters import chapter
from okml.code_key import code_key_of
from okml.ledger.records import RunRecord
from okml.runtime import commits_since


class Staleness(BaseModel):
    """What changed since a record was made."""

    model_config = ConfigDict(frozen=True)

    settings: bool  # the profile states others, or is stated no more
    code: bool  # what computes the chapter's numbers
    commits: int | None  # to the chapter's own code since; None: Git does not know the commit


def staleness(record: RunRecord) -> Staleness | None:
    """Return what changed since a record was made; None: nothing that could change a number.

    A record from before code had keys counts as changed by any commit to the chapter's own code.
    """
    stated = chapter(record.chapter).profiles().get(record.profile)
    settings = stated is None or stated.fingerprint() != record.settings_sha256
    made = record.provenance
    commits = commits_since(made.commit.sha, f"src/okml/{record.chapter}")
    code = commits != 0 if not made.code else made.code != code_key_of(record.chapter)
    return Staleness(settings=settings, code=code, commits=commits) if settings or code else None
