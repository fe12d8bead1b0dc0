"""Findings: the sentences that the landing page opens with, one for each verdict of a claim."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Self

from pydantic import Field, model_validator

from okml.ledger.claims import Text
from okml.ledger.estimates import Estimate
from okml.ledger.quoting import typed_results
from okml.ledger.report import format_estimate
from okml.ledger.verdicts import Outcome, Verdict
from okml.settings import Frozen
from okml.yaml_text import parse_yaml

SLOT = re.compile(r"\{(measured|difference)\}")
HOLDS = (Outcome.REPRODUCED, Outcome.DIRECTION_HOLDS, Outcome.IN_SIMULATOR)


class Finding(Frozen):
    """A finding: a claim, and what to say if it holds, if it fails and if it is undecided."""

    claim: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")  # its id
    # Sentences; {measured} and {difference} are the places of the verdict's numbers.
    holds: Text
    fails: Text
    undecided: Text
    digest_only: bool = False  # whether the landing page leaves it out

    @model_validator(mode="after")
    def _numbers_come_from_the_record(self) -> Self:
        for variant in (self.holds, self.fails, self.undecided):
            for text in (variant.en, variant.ru):
                if not SLOT.search(text):
                    raise ValueError(f"a sentence has no {{measured}} or {{difference}}: {text}")
                if typed := typed_results(text):
                    raise ValueError(f"a sentence has a typed result, {typed[0]}: {text}")
        return self

    def sentence(self, verdict: Verdict) -> Text | None:
        """Return the sentence that a verdict allows; None for a claim that was not run."""
        if verdict.outcome in HOLDS:
            return self.holds
        variants = {Outcome.NOT_REPRODUCED: self.fails, Outcome.UNDECIDED: self.undecided}
        return variants.get(verdict.outcome)


def filled(sentence: str, verdict: Verdict) -> Iterator[str | Estimate | None]:
    """Yield the parts of a sentence, with the verdict's estimates in their places.

    Args:
        sentence: A sentence of a finding, with the places ``{measured}`` and ``{difference}``.
        verdict: The verdict on the finding's claim.

    Yields:
        A text, or the estimate of a place; None if the verdict lacks that estimate.
    """
    for place, part in enumerate(SLOT.split(sentence)):
        if place % 2 == 0:
            yield part
        else:
            yield verdict.measured if part == "measured" else verdict.difference


def load_findings() -> list[Finding]:
    """Return all findings in the order of the file, those for digests only included."""
    text = (resources.files("okml.ledger") / "findings.yml").read_text(encoding="utf-8")
    return [Finding.model_validate(entry) for entry in parse_yaml(text)]


def told_findings(verdicts: Mapping[str, Verdict]) -> Iterator[tuple[Finding, Text, Verdict]]:
    """Yield the findings of the landing page whose claims have been measured.

    Args:
        verdicts: The verdict on each claim, by the claim's id.

    Yields:
        The finding, the sentence that the verdict on its claim allows, and that verdict.
    """
    for finding in load_findings():
        verdict = None if finding.digest_only else verdicts.get(finding.claim)
        if verdict and (sentence := finding.sentence(verdict)):
            yield finding, sentence, verdict


def written(sentence: str, verdict: Verdict) -> str:
    """Return a sentence with the verdict's estimates as text."""
    return "".join(
        part if isinstance(part, str) else format_estimate(part)
        for part in filled(sentence, verdict)
    )
