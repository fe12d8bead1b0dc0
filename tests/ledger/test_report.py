"""How an estimate is written: what is printed tells it from zero and its ends from each other."""

import re

import numpy as np
import pytest

from okml.ledger import Estimate, format_estimate

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def estimate(mean, low, high):
    return Estimate(values={"all": mean}, low=low, high=high, estimator="drawn")


def printed(text):
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.412, 0.398, 0.426, "0.412 [0.398, 0.426]"),
        (68.641, 67.63, 69.65, "68.64 [67.63, 69.65]"),
        (0.00026, 0.00002, 0.00051, "0.00026 [0.00002, 0.00051]"),
        (-0.0025, -0.0048, -0.0002, "-0.0025 [-0.0048, -0.0002]"),
        (0.999374, 0.99931, 0.99943, "0.99937 [0.99931, 0.99943]"),
        (-0.00001, -0.0071, 0.0069, "0.0000 [-0.0071, 0.0069]"),
        (0.0, 0.0, 0.0, "0.000 [0.000, 0.000]"),
        (1e-17, -0.2, 0.2, "0.000 [-0.200, 0.200]"),
    ],
)
def test_a_narrow_interval_has_more_decimals(mean, low, high, text):
    assert format_estimate(estimate(mean, low, high)) == text


def test_a_number_alone_has_its_digits_and_a_count_none():
    assert format_estimate(Estimate(values={"all": 0.00042})) == "0.00042"
    assert format_estimate(Estimate(values={"all": 12.0})) == "12"
    assert format_estimate(Estimate(values={"0": 0.5, "1": 0.5001})) == "0.500050 ± 0.000071"


def test_every_estimate_can_be_told_from_zero_and_its_interval_has_a_width():
    rng = np.random.default_rng(0)
    for size, spread, place in rng.uniform(-7, 4, (3000, 3)):
        width = 10.0**spread
        mean = np.sign(place) * 10.0**size
        low = mean - width * rng.uniform()
        exact = [mean, low, low + width]
        text = format_estimate(estimate(*exact))
        shown = printed(text)
        unit = 10.0 ** -len(text.split()[0].partition(".")[2])
        assert np.abs(np.subtract(shown, exact)).max() <= 0.51 * unit, text
        assert shown[1] < shown[2], text
        for number, written in zip(exact, shown, strict=True):
            assert written != 0 or abs(number) < width / 100, text
        assert unit <= max(width, 1e-12), text
        assert "-0." not in re.sub(r"-0\.0*[1-9]", "", text), text
