"""Verdicts: what a record says about a claim. Computed, never typed."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from okml.ledger.claims import Claim, Text
from okml.ledger.records import Metric, RunRecord
from okml.profile import ProfileName


class Outcome(StrEnum):
    """The five things a claim's run can end in."""

    REPRODUCED = "reproduced"
    DIRECTION_HOLDS = "direction holds"
    NOT_REPRODUCED = "not reproduced"
    NOT_RUN = "not run here"
    UNTESTABLE = "cannot be tested"


LABELS: dict[Outcome, Text] = {
    Outcome.REPRODUCED: Text(en="reproduced", ru="воспроизведено"),
    Outcome.DIRECTION_HOLDS: Text(en="direction holds", ru="направление верно"),
    Outcome.NOT_REPRODUCED: Text(en="not reproduced", ru="не воспроизведено"),
    Outcome.NOT_RUN: Text(en="not run here", ru="здесь не запускалось"),
    Outcome.UNTESTABLE: Text(en="cannot be tested", ru="проверить нельзя"),
}


class Verdict(BaseModel):
    """The outcome of one claim at one profile, with what it rests on."""

    model_config = ConfigDict(frozen=True)

    claim: str
    profile: ProfileName | None
    outcome: Outcome
    measured: Metric | None = None
    control: Metric | None = None
    control_beaten: bool | None = None  # None: no control, or it was not measured
    reason: Text | None = None  # the named cause, what a run needs, or why no test exists


def judge(claim: Claim, record: RunRecord | None) -> Verdict:
    """Decide one claim from one record.

    * *reproduced*: at ``gpu``, the paper's scale, every seed clears the bar;
    * *direction holds*: at ``smoke`` or ``cpu`` the mean clears that profile's bar, or at
      ``gpu`` the mean does but not every seed;
    * *not reproduced*: the mean misses the bar, or so does an end of its 95 % interval (where
      the metric has one), or the claim's negative control is as good;
    * *not run here*: there is no record, no bar for its profile, or the metric is missing.
    """
    if claim.untestable is not None:
        return Verdict(
            claim=claim.id, profile=None, outcome=Outcome.UNTESTABLE, reason=claim.untestable
        )
    profile = record.profile if record else None
    measured = record.metrics.get(claim.metric or "") if record else None
    if record is None or measured is None or record.profile not in claim.expect:
        return Verdict(
            claim=claim.id,
            profile=profile,
            outcome=Outcome.NOT_RUN,
            measured=measured,
            reason=claim.needs,
        )
    control = record.metrics.get(claim.control.metric) if claim.control else None
    beaten = (
        claim.control.beaten_by(measured.mean, control.mean) if claim.control and control else None
    )
    outcome = _outcome(claim, record.profile, measured, beaten)
    return Verdict(
        claim=claim.id,
        profile=record.profile,
        outcome=outcome,
        measured=measured,
        control=control,
        control_beaten=beaten,
        reason=claim.cause.get(record.profile) if outcome is Outcome.NOT_REPRODUCED else None,
    )


def _outcome(claim: Claim, profile: ProfileName, measured: Metric, beaten: bool | None) -> Outcome:
    if claim.control is not None and not beaten:  # a control that was not measured proves nothing
        return Outcome.NOT_REPRODUCED
    ends = [end for end in (measured.low, measured.high) if end is not None]
    if not all(claim.meets_bar(profile, value) for value in (measured.mean, *ends)):
        return Outcome.NOT_REPRODUCED
    every_seed = all(claim.meets_bar(profile, value) for value in measured.numbers)
    return Outcome.REPRODUCED if profile == "gpu" and every_seed else Outcome.DIRECTION_HOLDS
