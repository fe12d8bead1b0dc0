import pytest

from okml.ledger import Run, judge, parse_claims
from okml.ledger.verdicts import Outcome

CLAIM = """
- id: demo.quality
  text: {en: It is better., ru: Так лучше.}
  source: Table 1
  metric: quality
  expect: {cpu: "> 0.5", gpu: "> 0.5"}
  control: {metric: chance, margin: 0.1, text: {en: chance, ru: случайность}}
  needs: {en: a GPU, ru: GPU}
  cause: {cpu: {en: The model is small., ru: Модель мала.}}
"""


def verdict(profile, name, quality, chance=(0.0, 0.0), interval=None):
    run = Run(profile.override({"name": name}), "cpu")
    for seed, value in enumerate(quality):
        run.log("quality", value, seed=seed, interval=interval)
    for seed, value in enumerate(chance):
        run.log("chance", value, seed=seed)
    (claim,) = parse_claims(CLAIM, "demo")
    return judge(claim, run.record(1.0))


@pytest.mark.parametrize(
    ("name", "quality", "chance", "outcome"),
    [
        ("gpu", [0.6, 0.7], [0.0, 0.0], Outcome.REPRODUCED),
        ("gpu", [0.4, 0.9], [0.0, 0.0], Outcome.DIRECTION_HOLDS),  # one seed misses the bar
        ("cpu", [0.6, 0.7], [0.0, 0.0], Outcome.DIRECTION_HOLDS),  # never more at small scale
        ("cpu", [0.4, 0.5], [0.0, 0.0], Outcome.NOT_REPRODUCED),
        ("gpu", [0.6, 0.7], [0.6, 0.7], Outcome.NOT_REPRODUCED),  # the control is as good
        ("gpu", [0.6, 0.7], [], Outcome.NOT_REPRODUCED),  # the control was not measured
        ("cpu", [float("nan"), 0.9], [0.0, 0.0], Outcome.NOT_REPRODUCED),
        ("smoke", [0.9, 0.9], [0.0, 0.0], Outcome.NOT_RUN),  # no bar for this profile
        ("cpu", [], [0.0, 0.0], Outcome.NOT_RUN),
    ],
)
def test_every_outcome(profile, name, quality, chance, outcome):
    assert verdict(profile, name, quality, chance).outcome is outcome


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.55, 0.75), Outcome.DIRECTION_HOLDS),
        ((0.45, 0.85), Outcome.NOT_REPRODUCED),  # chance could have brought the mean over the bar
    ],
)
def test_the_whole_interval_has_to_clear_the_bar(profile, interval, outcome):
    assert verdict(profile, "cpu", [0.6, 0.7], interval=interval).outcome is outcome


def test_a_failure_shows_its_cause_and_a_missing_run_what_it_needs(profile):
    assert verdict(profile, "cpu", [0.1]).reason.en == "The model is small."
    assert verdict(profile, "smoke", [0.9]).reason.en == "a GPU"


def test_without_a_record_nothing_was_run():
    (claim,) = parse_claims(CLAIM, "demo")
    assert judge(claim, None).outcome is Outcome.NOT_RUN
