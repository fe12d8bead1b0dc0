import os
import sys

import numpy as np
import pytest

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Quantity,
    alone,
    compare,
    extrapolated,
    in_turns,
    medians,
    taken_with_memory,
    two_digits,
    write_benchmark,
)
from okml.errors import RecordError

QUANTITIES = [
    Quantity("seconds", "time", "s"),
    Quantity("rate", "speed", "tokens/s", better="higher"),
]


def comparisons():
    ours = {"seconds": 2.0, "rate": 300.0}
    return compare(ours, {"peer 1.0": {"seconds": 8.0, "rate": 100.0}}, QUANTITIES, repeats=3)


def test_a_ratio_says_how_many_times_better_okml_is():
    time, speed = comparisons()
    assert (time.ratio, speed.ratio) == (4.0, 3.0)
    assert (time.peer, time.repeats) == ("peer 1.0", 3)


def test_a_record_survives_the_disk(tmp_path):
    check = Check(what="coefficients", difference=1e-9, tolerance=1e-6)
    written = write_benchmark(tmp_path / "demo.json", "Demo", "A task.", comparisons(), [check])
    assert BenchmarkRecord.read(tmp_path / "demo.json") == written
    assert written.name == "demo"
    assert str(written).splitlines()[1] == "speed: 3.00x peer 1.0"


def test_contestants_that_disagree_are_not_recorded(tmp_path):
    check = Check(what="coefficients", difference=1e-3, tolerance=1e-6)
    with pytest.raises(RecordError, match=r"differ by 0\.001"):
        write_benchmark(tmp_path / "demo.json", "Demo", "A task.", comparisons(), [check])
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_an_error(tmp_path):
    path = tmp_path / "demo.json"
    path.write_text('{"name": "demo"}')
    with pytest.raises(RecordError, match="is no recorded benchmark"):
        BenchmarkRecord.read(path)


def test_contestants_take_turns_and_what_warms_up_is_not_measured():
    turns = []
    work = {name: lambda name=name: turns.append(name) or len(turns) for name in ("ours", "peer")}
    figures, last = in_turns(work, repeats=2, warm=1)
    assert turns == ["ours", "peer"] * 3
    assert last == {"ours": 5, "peer": 6}
    assert figures.keys() == work.keys()
    assert figures["ours"].keys() == {"seconds", "cpu_seconds"}


def test_what_grew_faster_than_in_proportion_goes_on_so():
    assert extrapolated(2.0, 30.0, 10) == 450.0
    assert extrapolated(2.0, 3.0, 10) == 30.0
    assert extrapolated(0.0, 0.5, 10) == 5.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0714, "0.071"), (0.0, "0"), (9.96, "10"), (263.2, "260"), (5351.0, "5,400")],
)
def test_two_digits_are_written_without_an_exponent(value, text):
    assert two_digits(value) == text


def test_the_median_is_of_each_figure():
    rounds = [{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 8.0}, {"a": 2.0, "b": 7.0}]
    assert medians(rounds) == {"a": 2.0, "b": 8.0}


def test_work_alone_has_a_process_of_its_own():
    assert alone(os.getpid) != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a peak that can be forgotten")
def test_memory_is_what_the_work_adds_at_its_peak():
    small, large = (taken_with_memory(lambda n=n: np.ones(n).sum())[1] for n in (1, 2**24))
    assert small["memory_gib"] < 2**-6 < 2**-4 < large["memory_gib"]  # 2**-3 GiB of numbers
