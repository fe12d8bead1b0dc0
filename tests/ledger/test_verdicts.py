"""Verdicts: an interval against a bar and a paired difference against a control's margin."""

import pytest

from okml.ledger import Estimate, Run, exact, judge, parse_claims
from okml.ledger.verdicts import Outcome

CLAIM = """
- id: demo.quality
  text: {en: It is better., ru: Так лучше.}
  source: Table 1
  metric: quality
  expect: {cpu: "> 0.5", gpu: "> 0.5"}
  rests_on: {any: real}
  control: {metric: chance, margin: 0.1, text: {en: chance, ru: случайность}}
  needs: {en: a GPU, ru: GPU}
  cause: {cpu: {en: The model is small., ru: Модель мала.}}
"""


def estimate(low, high):
    values = {"0": low, "1": high}
    return Estimate(values=values, low=low, high=high, n=9, over="users", estimator="by hand")


def verdict(profile, name, quality, gain=(0.2, 0.3), text=CLAIM, trained=None):
    run = Run(profile.override({"name": name}), "cpu")
    run.measure("quality", estimate(*quality))
    if trained is not None:
        run.measure("trained", estimate(*trained))
    run.log("chance", 0.3, seed=0)
    if gain is not None:
        run.compare("quality", "chance", estimate(*gain))
    (claim,) = parse_claims(text, "demo")
    return judge(claim, run.record(1.0))


@pytest.mark.parametrize(
    ("name", "quality", "gain", "outcome", "beaten"),
    [
        ("gpu", (0.6, 0.7), (0.2, 0.3), Outcome.REPRODUCED, True),
        ("cpu", (0.6, 0.7), (0.2, 0.3), Outcome.DIRECTION_HOLDS, True),
        ("gpu", (0.4, 0.7), (0.2, 0.3), Outcome.UNDECIDED, True),  # the bar is inside
        ("gpu", (0.5, 0.7), (0.2, 0.3), Outcome.UNDECIDED, True),  # "> 0.5" has to be beaten
        ("gpu", (0.3, 0.4), (0.2, 0.3), Outcome.NOT_REPRODUCED, True),
        ("gpu", (0.3, 0.5), (0.2, 0.3), Outcome.NOT_REPRODUCED, True),
        ("gpu", (0.6, 0.7), (0.0, 0.3), Outcome.UNDECIDED, None),  # the margin is inside
        ("gpu", (0.6, 0.7), (0.0, 0.05), Outcome.NOT_REPRODUCED, False),
        ("gpu", (0.4, 0.7), (0.0, 0.05), Outcome.NOT_REPRODUCED, False),  # the control is enough
        ("gpu", (0.6, 0.7), None, Outcome.UNDECIDED, None),  # the difference was not measured
        ("smoke", (0.6, 0.7), (0.2, 0.3), Outcome.UNDECIDED, True),  # measured, but no bar was set
    ],
)
def test_every_outcome_of_a_measured_claim(profile, name, quality, gain, outcome, beaten):
    found = verdict(profile, name, quality, gain)
    assert (found.outcome, found.control_beaten) == (outcome, beaten)


@pytest.mark.parametrize(
    ("basis", "name", "outcome"),
    [
        ("simulator", "gpu", Outcome.IN_SIMULATOR),
        ("simulator", "smoke", Outcome.IN_SIMULATOR),
        ("synthetic", "gpu", Outcome.DIRECTION_HOLDS),
        ("arithmetic", "gpu", Outcome.REPRODUCED),
        ("{any: real, gpu: simulator}", "gpu", Outcome.IN_SIMULATOR),
        ("{any: simulator, gpu: real}", "gpu", Outcome.REPRODUCED),
    ],
)
def test_what_a_claim_rests_on_names_what_holds(profile, basis, name, outcome):
    text = CLAIM.replace("{any: real}", basis).replace("{cpu:", "{any:", 1)
    found = verdict(profile, name, (0.6, 0.7), text=text)
    assert found.outcome is outcome
    missed = verdict(profile, name, (0.1, 0.2), text=text)
    assert missed.outcome is Outcome.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("bar", "interval", "outcome"),
    [
        ("|x| <= 0.05", (-0.04, 0.05), Outcome.DIRECTION_HOLDS),
        ("|x| <= 0.05", (-0.2, -0.1), Outcome.NOT_REPRODUCED),  # the other side collapsed
        ("|x| <= 0.05", (-0.2, 0.2), Outcome.UNDECIDED),
        ("|x| < 0.05", (-0.04, 0.05), Outcome.UNDECIDED),
        ("in [-0.02, 0.1]", (-0.02, 0.1), Outcome.DIRECTION_HOLDS),
        ("in [-0.02, 0.1]", (0.11, 0.2), Outcome.NOT_REPRODUCED),
        ("<= 1e-3", (-2, 0.0005), Outcome.DIRECTION_HOLDS),
    ],
)
def test_bars_have_one_or_two_sides(profile, bar, interval, outcome):
    text = CLAIM.replace('cpu: "> 0.5"', f'cpu: "{bar}"')
    assert verdict(profile, "cpu", interval, text=text).outcome is outcome


def test_a_control_may_have_to_lie_above(profile):
    text = CLAIM.replace("metric: chance,", "metric: chance, better: lower,")
    assert verdict(profile, "cpu", (0.6, 0.7), (-0.3, -0.2), text).control_beaten is True
    assert verdict(profile, "cpu", (0.6, 0.7), (0.2, 0.3), text).control_beaten is False


@pytest.mark.parametrize("quality", [(0.6, 0.7), (0.3, 0.4)])  # it would hold, or would not
@pytest.mark.parametrize(
    ("trained", "decided"),
    [((0.8, 0.9), True), ((0.7, 0.9), False), ((0.1, 0.2), False), (None, False)],
)
def test_nothing_is_decided_before_a_condition_is_met(profile, quality, trained, decided):
    condition = '{metric: trained, bar: ">= 0.8", text: {en: It is not trained., ru: Не обучена.}}'
    text = CLAIM.replace("  needs:", f"  conditions: [{condition}]\n  needs:")
    found = verdict(profile, "gpu", quality, text=text, trained=trained)
    assert (found.outcome != Outcome.UNDECIDED) == decided
    said = "It is not trained." if trained else "A condition of any verdict was not measured."
    assert decided or found.reason.en == said
    (claim,) = parse_claims(text, "demo")
    assert claim.as_it_stands("gpu").condition == "trained >= 0.8"


def test_a_condition_is_asked_at_the_scales_that_it_names(profile):
    condition = (
        '{metric: trained, bar: ">= 0.8", profiles: [smoke, cpu], '
        "text: {en: It is not trained., ru: Не обучена.}}"
    )
    text = CLAIM.replace("  needs:", f"  conditions: [{condition}]\n  needs:")
    decided = {
        name: verdict(profile, name, (0.6, 0.7), text=text, trained=(0.1, 0.2)).outcome
        for name in ("cpu", "gpu")
    }
    assert decided["cpu"] is Outcome.UNDECIDED
    assert decided["gpu"] is verdict(profile, "gpu", (0.6, 0.7), text=CLAIM).outcome
    (claim,) = parse_claims(text, "demo")
    assert claim.as_it_stands("cpu").condition == "trained >= 0.8"
    assert claim.as_it_stands("gpu").condition is None


def test_an_exact_control_needs_no_recorded_difference(profile):
    run = Run(profile.override({"name": "cpu"}), "cpu")
    run.measure("quality", estimate(0.6, 0.7))
    run.measure("chance", exact(0.25))
    (claim,) = parse_claims(CLAIM, "demo")
    found = judge(claim, run.record(1.0))
    assert found.outcome is Outcome.DIRECTION_HOLDS
    assert (found.difference.low, found.difference.high) == pytest.approx((0.35, 0.45))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (lambda run: run.log("quality", 0.9), "no interval"),
        (lambda run: run.log("quality", float("nan"), seed=0), "undefined"),
    ],
)
def test_a_bare_number_decides_nothing(profile, log, said):
    run = Run(profile.override({"name": "gpu"}), "cpu")
    log(run)
    (claim,) = parse_claims(CLAIM, "demo")
    found = judge(claim, run.record(1.0))
    assert found.outcome is Outcome.UNDECIDED
    assert said in found.reason.en


def test_arithmetic_decides_as_a_bare_number(profile):
    run = Run(profile.override({"name": "cpu"}), "cpu")
    run.measure("quality", exact(0.9))
    run.log("chance", 0.1, exact=True)
    (claim,) = parse_claims(CLAIM, "demo")
    assert judge(claim, run.record(1.0)).outcome is Outcome.DIRECTION_HOLDS


def test_a_failure_shows_its_cause_and_a_missing_run_what_it_needs(profile):
    assert verdict(profile, "cpu", (0.1, 0.2)).reason.en.endswith("The model is small.")
    assert "no bar" in verdict(profile, "smoke", (0.6, 0.7)).reason.en.lower()
    (claim,) = parse_claims(CLAIM, "demo")
    missing = judge(claim, Run(profile, "cpu").record(1.0))
    assert (missing.outcome, missing.reason.en) == (Outcome.NOT_RUN, "a GPU")


def test_without_a_record_nothing_was_run():
    (claim,) = parse_claims(CLAIM, "demo")
    assert judge(claim, None).outcome is Outcome.NOT_RUN
