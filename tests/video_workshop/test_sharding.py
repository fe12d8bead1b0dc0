import pytest
import torch

from okml.video_workshop.items.memory import memory_table
from tests.processes import run_two
from tests.video_workshop.sharded import ITEMS, one_process


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run_two("tests.video_workshop.sharded", tmp_path_factory.mktemp("sharded"))


def test_two_processes_hold_a_slice_each(two):
    assert sorted(int(part["local rows"]) for part in two) == [5, 6]
    assert ITEMS + 1 == 5 + 6


def test_lookups_gradients_and_steps_are_those_of_one_process(two):
    whole = one_process()
    lookups = torch.cat([part["lookup"] for part in two])
    torch.testing.assert_close(lookups, whole["lookup"])
    for part in two:
        torch.testing.assert_close(part["gradient"], whole["gradient"])
        torch.testing.assert_close(part["table"], whole["table"])
        assert (part["table"][0] == 0).all()


def test_memory_of_tables_as_the_works_count_it():
    rows = {row["table"].split(":")[0].split(",")[0]: row for row in memory_table().to_dicts()}
    videos = rows["a row a video"]
    assert videos["weights, GB"] == pytest.approx(1024)
    assert videos["with Adam, GB"] == pytest.approx(3072)
    assert videos["with row-wise Adagrad, GB"] - videos["weights, GB"] == pytest.approx(4)
    assert rows["a row a token"]["weights, GB"] == pytest.approx(1.6384)
    assert rows["Semantic ID"]["rows"] == 4 * 2048**2
    assert rows["Semantic ID"]["weights, GB"] == pytest.approx(17.18, abs=0.01)
    assert rows["a row a video of KuaiRand-27K"]["weights, GB"] == pytest.approx(16.4, abs=0.01)
