"""What a step may measure, log and compare, and how parts join."""

import numpy as np
import pytest
from pydantic import ValidationError

from okml.errors import RecordError
from okml.ledger import Estimate, Measurements, estimate_mean, exact

SOME = estimate_mean(np.arange(4.0), "users")


def test_a_metric_is_kept_with_its_interval_and_unit():
    made = Measurements()
    made.measure("distance", SOME, "km")
    kept = made.metrics["distance"]
    assert (kept.mean, kept.low, kept.n, kept.over, kept.unit) == (1.5, SOME.low, 4, "users", "km")
    assert made.values("distance") == [1.5]


def test_seeds_of_a_bare_number_join_and_decide_nothing():
    made, part = Measurements(), Measurements()
    made.log("r2", 0.5, seed=0, unit="R²")
    part.log("r2", 0.7, seed=1)
    made.take(part)
    assert made.values("r2") == [0.5, 0.7]
    assert made.metrics["r2"].interval is None
    assert made.metrics["r2"].unit == "R²"


def test_an_exact_number_is_its_own_interval():
    made = Measurements()
    made.log("parameters", 12, exact=True)
    assert made.metrics["parameters"].interval == (12, 12)


def test_differences_are_found_by_metric_and_control():
    made, part = Measurements(), Measurements()
    made.compare("r2", "chance", SOME)
    part.compare("r2", "letters", SOME)
    made.take(part)
    assert made.differences == {"r2": {"chance": SOME, "letters": SOME}}
    with pytest.raises(RecordError, match="compares 'r2' with 'chance' twice"):
        made.take(made)


@pytest.mark.parametrize(
    "again",
    [
        lambda made: made.log("bare", 1.0, seed=0),
        lambda made: made.log("whole", 1.0, seed=9),
        lambda made: made.log("count", 1.0, seed=9),
        lambda made: made.measure("bare", SOME),
        lambda made: made.log("bare", 2.0, exact=True),
    ],
)
def test_nothing_is_recorded_twice(again):
    made = Measurements()
    made.log("bare", 0.5, seed=0)
    made.measure("whole", SOME)
    made.measure("count", exact(3))
    with pytest.raises(RecordError, match="twice"):
        again(made)


def test_asking_for_a_number_that_was_not_measured_is_an_error():
    with pytest.raises(RecordError, match="no 'rho'"):
        Measurements().values("rho")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": {"all": float("inf")}}, "not finite"),
        ({"values": {"0": 1.0}, "low": float("-inf"), "high": 2.0}, "not finite"),
        ({"values": {"0": 1.0}, "low": 2.0, "high": 0.0}, "lower one first"),
        ({"values": {"0": 1.0}, "low": 0.0}, "two ends"),
        ({"values": {"0": 1.0}, "exact": True}, "no seeds"),
        ({"values": {}}, "at least 1"),
    ],
)
def test_senseless_estimates_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Estimate(**fields)
