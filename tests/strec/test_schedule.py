import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.strec.model import STRec
from okml.strec.sampler import SamplerSettings
from okml.strec.schedule import (
    RELEASED,
    check_schedule,
    encoder_costs,
    full_schedule,
    savings,
    scaled,
)

# Worked out by hand in our notes on the paper, to the digits shown.
SWEEP = [
    ((50, 50, 50, 50, 50, 50, 50, 1), 0.000, 0.123, 0.123),
    ((50, 50, 50, 50, 20, 20, 20, 1), 0.257, 0.348, 0.409),
    ((50, 50, 50, 20, 20, 10, 3, 1), 0.420, 0.490, 0.543),
    ((50, 20, 20, 5, 5, 5, 5, 1), 0.686, 0.722, 0.796),
    ((20, 20, 20, 5, 5, 5, 5, 1), 0.771, 0.797, 0.901),
    ((1, 1, 1, 1, 1, 1, 1, 1), 0.980, 0.980, 0.997),
]


@pytest.mark.parametrize(("schedule", "sparsity", "tokens", "pairs"), SWEEP)
def test_savings_by_hand(schedule, sparsity, tokens, pairs):
    found = savings(schedule, 50)
    assert found.sparsity == pytest.approx(sparsity, abs=6e-4)
    assert 1 - found.tokens == pytest.approx(tokens, abs=6e-4)
    assert 1 - found.pairs == pytest.approx(pairs, abs=6e-4)


@pytest.mark.parametrize(
    ("schedule", "length", "mflop"),
    [
        ((50,) * 8, 50, 167.5),
        (full_schedule(50, 8), 50, 150.2),
        (RELEASED[50], 50, 48.9),
        ((8,) * 8, 8, 25.4),
        (RELEASED[8], 8, 11.1),
    ],
)
def test_operations_by_hand(schedule, length, mflop):
    costs = encoder_costs(schedule, length, width=128, hidden=512)
    assert costs.encoder / 1e6 == pytest.approx(mflop, abs=0.06)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([4, 16]), st.sampled_from([8, 64]))
def test_parts_add_up_to_what_a_block_counts(keys, queries, width, hidden):
    settings = BackboneSettings(length=60, width=width, heads=2, layers=1, hidden=hidden)
    block = Backbone(3, settings).blocks[0]
    assert encoder_costs((queries,), keys, width, hidden).encoder == block.flops(keys, queries)


def test_a_model_counts_what_its_schedule_costs():
    settings = BackboneSettings(
        length=50, width=128, heads=4, layers=8, hidden=512, causal=False, padding_side="left"
    )
    model = STRec(10, settings, RELEASED[50], SamplerSettings())
    assert model.flops(50) == encoder_costs(RELEASED[50], 50, 128, 512).encoder
    assert Backbone(10, settings).flops(50) == encoder_costs((*(50,) * 7, 1), 50, 128, 512).encoder


def test_scoring_is_one_product_with_every_item():
    assert encoder_costs((1,), 1, 128, 512, items=26_744).scoring == 2 * 26_744 * 128


@pytest.mark.parametrize(
    ("schedule", "length", "layers", "message"),
    [
        ((50, 20, 1), 50, 4, "3 entries for 4 layers"),
        ((50, 20, 30, 1), 50, 4, "can only fall"),
        ((60, 20, 5, 1), 50, 4, "exceeds the window"),
        ((50, 20, 5, 2), 50, 4, "end with 1"),
    ],
)
def test_an_impossible_schedule_is_explained(schedule, length, layers, message):
    with pytest.raises(ParameterError, match=r"Schedule \d") as error:
        check_schedule(schedule, length, layers)
    assert message in f"{error.value} {error.value.hint}"


@given(st.sampled_from([50, 8]), st.integers(8, 4000))
def test_a_scaled_schedule_is_a_schedule(length, to_length):
    check_schedule(scaled(RELEASED[length], length, to_length), to_length, 8)


def test_scaling_to_the_same_length_changes_nothing():
    assert scaled(RELEASED[50], 50, 50) == RELEASED[50]
    assert scaled(RELEASED[50], 50, 100) == (100, 40, 40, 10, 10, 10, 10, 1)
