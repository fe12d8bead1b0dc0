import pytest

from okml.benchmark import BenchmarkRecord, Check, Quantity, compare, write_benchmark
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
