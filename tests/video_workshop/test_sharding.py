"""Item rows that two processes share train as those of one process do, with the real losses."""

from types import SimpleNamespace

import pytest
import torch

from okml.errors import ParameterError
from okml.video_workshop.common.table import IdTable, ReadItems
from okml.video_workshop.items.memory import memory_table
from tests.processes import run_two
from tests.video_workshop.sharded import ASKED, ITEMS, ROWS, WIDTH, objective, train


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run_two("tests.video_workshop.sharded", tmp_path_factory.mktemp("sharded"))


def part_of(found, prefix):
    return {name.removeprefix(prefix): value for name, value in found.items()
            if name.startswith(prefix)}  # fmt: skip


def test_two_processes_draw_and_hold_a_slice_each(two):
    assert [int(part["local rows"]) for part in two] == [7, 6]
    rows = part_of(two[0], "first ")[ROWS]
    assert (rows[0] == 0).all()
    assert len(rows[1:].unique()) == rows[1:].numel()  # one seed, and yet no numbers in common
    assert 0.01 < rows[1:].std() < 0.03


def test_a_process_looks_up_rows_of_both_and_may_ask_for_none(two):
    rows = part_of(two[0], "first ")[ROWS]
    for part, asked in zip(two, ASKED, strict=True):
        torch.testing.assert_close(part["looked up"], rows[asked])


def test_the_gradient_of_a_row_is_the_mean_over_processes(two):
    # Only the first process asked: twice for item 3, once for 12; the padding is not trained.
    expected = torch.zeros(ITEMS + 1, WIDTH)
    expected[3], expected[12] = 1.0, 0.5
    for part in two:
        torch.testing.assert_close(part["gradient"], expected)


def test_shared_rows_train_to_the_weights_of_one_process(two):
    twin, first = objective(), part_of(two[0], "first ")
    twin.load_state_dict(first)
    train(twin, accumulation=2)  # the halves of a batch one after the other
    last = part_of(two[0], "last ")
    assert last.keys() == twin.state_dict().keys()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(last[name], value, atol=1e-5, rtol=1e-4, msg=name)
    moved = (last[ROWS] - first[ROWS]).abs().amax(1)
    assert moved[1:].min() > 1e-3  # every row was trained
    assert moved[0] == 0


def test_the_memory_of_a_billion_rows_is_what_one_row_was_measured_to_take(two):
    measured = {float(part["bytes a row"]) for part in two}
    (row,) = (row for row in memory_table().to_dicts() if row["rows"] == 10**9)
    assert measured == {row["to train, GB"] * 1e9 / row["rows"] * WIDTH / row["width"]}


def test_the_whole_table_is_refused_where_no_process_has_it():
    table = IdTable(4, 2)
    table.mesh = SimpleNamespace(size=lambda: 2)
    with pytest.raises(ParameterError, match="spread over 2 processes"):
        table()


def test_items_are_looked_up_once_for_all_their_uses():
    table, asked = IdTable(9, 3), []

    def lookup(ids):
        asked.append(ids.tolist())
        return table.lookup(ids)

    items, targets = torch.tensor([[4, 2, 0], [2, 2, 7]]), torch.tensor([[2, 9, 0], [2, 7, 4]])
    read = ReadItems(lookup, items, targets)
    assert torch.equal(read[items], table.rows.weight[items])
    (read[items].sum() + read[targets].sum()).backward()
    (numbers,) = asked  # the padding stands where an item comes again
    assert [number for number in numbers if number] == [2, 4, 7, 9]
    uses = torch.bincount(torch.cat([items, targets]).flatten(), minlength=10)
    uses[0] = 0  # the padding is not trained
    assert torch.equal(table.rows.weight.grad, uses[:, None].expand(10, 3).float())


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
