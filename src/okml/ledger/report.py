"""The ledger as rows: one claim a row, the scales beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from okml.ledger.claims import Claim, load_claims
from okml.ledger.estimates import Estimate
from okml.ledger.records import load_record
from okml.ledger.verdicts import Outcome, Verdict, judge
from okml.profile import PROFILE_NAMES, ProfileName


class Row(BaseModel):
    """One claim with its verdict at every profile."""

    model_config = ConfigDict(frozen=True)

    claim: Claim
    verdicts: dict[ProfileName, Verdict]

    @property
    def best(self) -> Verdict:
        """The verdict of the largest scale that was run, which is the one that counts."""
        return self.best_of(PROFILE_NAMES)

    def best_of(self, profiles: Sequence[ProfileName]) -> Verdict:
        """Return the verdict of the last of ``profiles`` that was run, or of the last one."""
        for name in reversed(profiles):
            if self.verdicts[name].outcome is not Outcome.NOT_RUN:
                return self.verdicts[name]
        return self.verdicts[profiles[-1]]


def chapter_rows(chapter: str) -> list[Row]:
    """Return the claims of one chapter with their verdicts, in the order of the digest."""
    records = {name: load_record(chapter, name) for name in PROFILE_NAMES}
    return [
        Row(claim=claim, verdicts={name: judge(claim, records[name]) for name in PROFILE_NAMES})
        for claim in load_claims(chapter)
    ]


def format_metric(metric: Estimate | None, digits: int = 3) -> str:
    """Write a metric as ``0.412 ± 0.008``; an em dash where there is none."""
    if metric is None:
        return "—"
    if metric.mean != metric.mean:
        return "undefined"
    spread = f" ± {metric.sd:.{digits}f}" if metric.sd is not None else ""
    return f"{metric.mean:.{digits}f}{spread}"
