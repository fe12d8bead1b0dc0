"""Verdicts: the outcome of a claim, computed from a record."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from okml.ledger.claims import Bar, Basis, Claim, Condition, Text
from okml.ledger.estimates import Estimate
from okml.ledger.records import RunRecord
from okml.profile import ProfileName
from okml.settings import Frozen


class Outcome(StrEnum):
    """The possible outcomes of a claim."""

    REPRODUCED = "reproduced"
    DIRECTION_HOLDS = "direction holds"
    IN_SIMULATOR = "holds in the simulator"
    UNDECIDED = "undecided"
    NOT_REPRODUCED = "not reproduced"
    NOT_RUN = "not run here"
    UNTESTABLE = "cannot be tested"


LABELS: dict[Outcome, Text] = {
    Outcome.REPRODUCED: Text(en="reproduced", ru="воспроизведено"),
    Outcome.DIRECTION_HOLDS: Text(en="direction holds", ru="направление верно"),
    Outcome.IN_SIMULATOR: Text(en="holds in the simulator", ru="верно в симуляторе"),
    Outcome.UNDECIDED: Text(en="undecided", ru="не решено"),
    Outcome.NOT_REPRODUCED: Text(en="not reproduced", ru="не воспроизведено"),
    Outcome.NOT_RUN: Text(en="not run here", ru="здесь не запускалось"),
    Outcome.UNTESTABLE: Text(en="cannot be tested", ru="проверить нельзя"),
}

NO_BAR = Text(
    en="No bar was set for this scale before the run.",
    ru="Порог для этого масштаба до запуска не задан.",
)
UNDEFINED = Text(
    en="The number is undefined for at least one seed.",
    ru="Хотя бы для одного начального значения число не определено.",
)
BARE = Text(
    en="The number has no interval, so it decides nothing.",
    ru="У числа нет интервала, поэтому оно ничего не решает.",
)
UNPAIRED = Text(
    en="The difference from the control has no interval.",
    ru="У разности с контролем нет интервала.",
)
MISSES_THE_BAR = Text(
    en="The whole interval misses the bar.", ru="Интервал целиком не достигает порога."
)
CONTROL_AS_GOOD = Text(en="The control is as good.", ru="Контроль не хуже.")
NO_CONDITION = Text(
    en="A condition of any verdict was not measured.",
    ru="Условие, без которого вердикта нет, не измерено.",
)
AT_THE_BAR = Text(en="The interval contains the bar.", ru="Порог лежит внутри интервала.")
AT_THE_CONTROL = Text(
    en="The interval of the difference from the control contains its margin.",
    ru="Требуемый отрыв от контроля лежит внутри интервала разности.",
)


class Verdict(Frozen):
    """The outcome of one claim at one profile, with its evidence."""

    claim: str  # its id
    profile: ProfileName | None  # None: the claim is untestable, or there is no record
    outcome: Outcome
    basis: Basis | None = None
    measured: Estimate | None = None
    control: Estimate | None = None  # the control metric
    difference: Estimate | None = None  # measured less control, paired
    control_beaten: bool | None = None  # None: there is no control, or it is undecided
    reason: Text | None = None  # the named cause, the needs of a run, or why it is undecided


def judge(claim: Claim, record: RunRecord | None) -> Verdict:
    """Decide one claim from one record.

    A claim holds where the whole interval of its metric clears the bar and the whole interval of
    the paired difference clears the control's margin. It is *not reproduced* where one of the two
    intervals misses as a whole, and *undecided* otherwise; also where a number has no interval
    and is not exact, no bar was set, or a condition is not met.

    A claim that holds is *reproduced* at ``gpu``, the paper's scale, on real data or by
    arithmetic; it *holds in the simulator* where it rests on one; otherwise its *direction
    holds*. *Not run here* means that there is no record, or that the run did not measure the
    metric.
    """
    if claim.untestable is not None or claim.metric is None:
        return Verdict(
            claim=claim.id, profile=None, outcome=Outcome.UNTESTABLE, reason=claim.untestable
        )
    measured = record.metrics.get(claim.metric) if record else None
    if record is None or measured is None:
        profile = record.profile if record else None
        return Verdict(claim=claim.id, profile=profile, outcome=Outcome.NOT_RUN, reason=claim.needs)
    control = record.metrics.get(claim.control.metric) if claim.control else None
    difference, bar = _difference(claim, record, measured, control), claim.bar(record.profile)
    tests = [_Test(None, NO_BAR)]
    if bar is not None:
        bare = UNDEFINED if measured.undefined else BARE
        tests = [_compare(bar, measured, bare, MISSES_THE_BAR, AT_THE_BAR)]
    if claim.control is not None:
        tests.append(
            _compare(claim.control.bar, difference, UNPAIRED, CONTROL_AS_GOOD, AT_THE_CONTROL)
        )
    outcome, reason = _decide(claim, record.profile, tests)
    conditions = claim.conditions_at(record.profile)
    if reasons := [why for condition in conditions if (why := unmet(condition, record))]:
        outcome, reason = Outcome.UNDECIDED, reasons[0]
    return Verdict(
        claim=claim.id,
        profile=record.profile,
        outcome=outcome,
        basis=claim.basis(record.profile),
        measured=measured,
        control=control,
        difference=difference,
        control_beaten=tests[-1].holds if claim.control else None,
        reason=reason,
    )


class _Test(NamedTuple):
    """The result of one comparison."""

    holds: bool | None  # None: undecided
    why: Text | None  # the reason where it does not hold or is undecided


def unmet(condition: Condition, record: RunRecord) -> Text | None:
    """Return why a condition of a verdict is not met by a record; None if it is met."""
    measured = record.metrics.get(condition.metric)
    if measured is None or measured.interval is None:
        return NO_CONDITION
    return None if Bar.parse(condition.bar).allows_all(measured.interval) else condition.text


def _compare(
    written: str, number: Estimate | None, bare: Text, beyond: Text, inside: Text
) -> _Test:
    """Compare a number with a bar.

    Args:
        written: The bar, as ``claims.yml`` writes it.
        number: The number; None if it was not measured.
        bare: The reason given where there is no interval.
        beyond: The reason given where the whole interval misses the bar.
        inside: The reason given where the interval contains the bar.
    """
    if number is None or number.interval is None:
        return _Test(None, bare)
    bar = Bar.parse(written)
    if bar.allows_all(number.interval):
        return _Test(True, None)
    return _Test(False, beyond) if bar.allows_none(number.interval) else _Test(None, inside)


def _difference(
    claim: Claim, record: RunRecord, measured: Estimate, control: Estimate | None
) -> Estimate | None:
    """Return the recorded difference; with an exact control it follows from the metric."""
    if claim.control is None or claim.metric is None:
        return None
    recorded = record.differences.get(claim.metric, {}).get(claim.control.metric)
    if recorded is None and control is not None and control.exact:
        return measured.shifted(-control.mean)
    return recorded


def _decide(
    claim: Claim, profile: ProfileName, tests: Sequence[_Test]
) -> tuple[Outcome, Text | None]:
    for holds, outcome in ((False, Outcome.NOT_REPRODUCED), (None, Outcome.UNDECIDED)):
        for test in tests:
            if test.holds is holds:
                why, cause = test.why, claim.cause.get(profile)
                if why is not None and cause is not None:
                    why = Text(en=f"{why.en} {cause.en}", ru=f"{why.ru} {cause.ru}")
                return outcome, why or cause
    basis = claim.basis(profile)
    if basis == "simulator":
        return Outcome.IN_SIMULATOR, None
    at_scale = profile == "gpu" and basis in ("real", "arithmetic")
    return Outcome.REPRODUCED if at_scale else Outcome.DIRECTION_HOLDS, None
