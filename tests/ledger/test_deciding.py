"""The sample that would decide an open claim, against intervals of samples of that size."""

import math

import numpy as np
import pytest

from okml.ledger import Run, estimate_mean, estimate_over_seeds, parse_claims
from okml.ledger.deciding import open_comparisons

CLAIM = """
- id: demo.quality
  text: {en: It is better., ru: Так лучше.}
  source: Table 1
  metric: quality
  expect: {cpu: "> 0.5"}
  rests_on: {any: real}
"""
CONTROL = "  control: {metric: chance, margin: 0.1, text: {en: chance, ru: случайность}}\n"
CONDITION = '  conditions: [{metric: trained, bar: "> 0", text: {en: untrained, ru: не обучена}}]\n'


def spread(sd, count):
    """Return numbers with the mean 0 and this sample standard deviation, ``[count]``."""
    even = np.linspace(-1, 1, count)
    return sd * even / even.std(ddof=1)


def of_seeds(mean, sd, seeds):
    return estimate_over_seeds(dict(enumerate(mean + spread(sd, seeds))))


def of_units(mean, sd, n):
    return estimate_mean(mean + spread(sd, n), "users")


def of_both(mean, sd_of_seeds, sd_of_units, seeds, n):
    """Return the mean of a table without noise in its cells."""
    users = mean + spread(sd_of_units, n)
    return estimate_mean(
        {seed: users + offset for seed, offset in enumerate(spread(sd_of_seeds, seeds))}, "users"
    )


def opened(profile, quality, gain=None, text=CLAIM, **more):
    run = Run(profile.override({"name": "cpu"}), "cpu")
    run.measure("quality", quality)
    if gain is not None:
        run.compare("quality", "chance", gain)
    for name, number in more.items():
        run.measure(name, number)
    (claim,) = parse_claims(text, "demo")
    return open_comparisons(claim, run.record(1.0))


def clear_of_the_bar(number):
    low, high = number.interval
    return low > 0.5 or high < 0.5


@pytest.mark.parametrize(("mean", "clears", "end"), [(0.7, True, "lower"), (0.44, False, "upper")])
def test_the_seeds_that_are_named_would_decide_and_one_less_would_not(profile, mean, clears, end):
    number = of_seeds(mean, 0.3, 3)
    (found,) = opened(profile, number)
    assert (found.against, found.clears, found.end) == ("bar", clears, end)
    beyond = 0.5 - number.interval[0] if clears else number.interval[1] - 0.5
    assert found.by == pytest.approx(beyond)
    assert found.needed.seeds > 3
    assert clear_of_the_bar(of_seeds(mean, 0.3, found.needed.seeds))
    assert not clear_of_the_bar(of_seeds(mean, 0.3, found.needed.seeds - 1))


def test_without_seeds_it_is_units_as_many_as_the_square_of_the_widths(profile):
    (found,) = opened(profile, of_units(0.52, 0.4, 400))
    assert found.needed.seeds == 0
    # Student's t of 400 units is a little wider than that of more.
    assert clear_of_the_bar(of_units(0.52, 0.4, found.needed.n))
    assert not clear_of_the_bar(of_units(0.52, 0.4, round(0.98 * found.needed.n)))


def test_where_seeds_differ_more_seeds_are_enough(profile):
    (found,) = opened(profile, of_both(0.6, 0.1, 0.2, 3, 400))
    assert found.needed.n == 400
    assert clear_of_the_bar(of_both(0.6, 0.1, 0.2, found.needed.seeds, 400))
    assert not clear_of_the_bar(of_both(0.6, 0.1, 0.2, found.needed.seeds - 1, 400))


def test_where_units_differ_no_number_of_seeds_is_enough(profile):
    (found,) = opened(profile, of_both(0.52, 0.02, 0.4, 3, 400))
    assert not clear_of_the_bar(of_both(0.52, 0.02, 0.4, 1000, 400))
    seeds, n = found.needed.seeds, found.needed.n
    assert n == math.ceil(400 * seeds / 3)
    assert clear_of_the_bar(of_both(0.52, 0.02, 0.4, seeds, n))
    assert not clear_of_the_bar(of_both(0.52, 0.02, 0.4, seeds - 1, 400 * (seeds - 1) // 3))


def test_the_difference_from_the_control_is_held_against_its_margin(profile):
    gain = of_units(0.09, 0.4, 400)
    (found,) = opened(profile, of_units(0.8, 0.4, 400), gain, CLAIM + CONTROL)
    assert (found.against, found.clears, found.end) == ("control", False, "upper")
    both = opened(profile, of_units(0.52, 0.4, 400), gain, CLAIM + CONTROL)
    assert [each.against for each in both] == ["bar", "control"]


def test_of_two_ends_the_nearer_one_counts(profile):
    text = CLAIM.replace('"> 0.5"', '"in [0.3, 0.6]"')
    (found,) = opened(profile, of_units(0.58, 3.0, 400), text=text)
    assert (found.clears, found.end) == (True, "upper")


def test_nothing_is_said_where_a_larger_sample_is_not_what_is_missing(profile):
    number = of_units(0.52, 0.4, 400)
    assert opened(profile, number)
    assert opened(profile, of_units(0.9, 0.4, 400)) == []  # it is decided
    assert opened(profile, number, text=CLAIM + CONTROL) == []  # nothing to pair it with
    assert opened(profile, number, text=CLAIM.replace("cpu:", "gpu:", 1)) == []  # no bar
    skewed = number.model_copy(update={"high": 0.9})
    assert opened(profile, skewed) == []
    at_the_bar = of_units(0.5, 0.4, 400)
    assert opened(profile, at_the_bar.model_copy(update={"values": {"all": 0.5}})) == []
    assert opened(profile, number, text=CLAIM + CONDITION, trained=of_units(1, 0.1, 9))
    assert opened(profile, number, text=CLAIM + CONDITION, trained=of_units(0, 0.1, 9)) == []
