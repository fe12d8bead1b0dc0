import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.block import Block
from okml.seqrec.mixers import MIXERS, Context, QueryMixer, Shape
from okml.seqrec.settings import BackboneSettings

ITEMS = 30
HISTORIES = [[3, 7, 2, 9, 11], [5], [8, 8, 1]]


def backbone(**changes) -> Backbone:
    torch.manual_seed(0)
    options = {"length": 6, "width": 8, "heads": 2, "hidden": 16, "initial_std": 0.5} | changes
    return Backbone(ITEMS, BackboneSettings(**options)).eval()


def padded(histories, length, side) -> torch.Tensor:
    rows = [
        [0] * (length - len(h)) + h if side == "left" else h + [0] * (length - len(h))
        for h in histories
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_history_gives_the_same_vector_whatever_its_padding(norm, causal, side):
    model = backbone(norm=norm, causal=causal, padding_side=side)
    together = model.last(padded(HISTORIES, 6, side))
    for row, history in zip(together, HISTORIES, strict=True):
        alone = model.last(torch.tensor([history]), padded=False)
        torch.testing.assert_close(row, alone[0])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("causal", [True, False])
def test_the_last_query_alone_equals_all_queries(side, causal):
    model = backbone(causal=causal, padding_side=side, residual="gated", activation="swiglu")
    items = padded(HISTORIES, 6, side)
    everything = model(items)
    ends = [-1, -1, -1] if side == "left" else [4, 0, 2]
    expected = torch.stack([row[end] for row, end in zip(everything, ends, strict=True)])
    torch.testing.assert_close(model.last(items), expected)


def test_a_causal_backbone_does_not_see_the_future_and_a_bidirectional_one_does():
    items = torch.tensor([[1, 2, 3, 4, 5]])
    changed = torch.tensor([[1, 2, 3, 9, 5]])
    causal, both = backbone(causal=True), backbone(causal=False)
    torch.testing.assert_close(causal(items)[:, :3], causal(changed)[:, :3])
    assert not torch.allclose(causal(items)[:, 3:], causal(changed)[:, 3:])
    assert not torch.allclose(both(items)[:, 0], both(changed)[:, 0])


def test_both_padding_sides_are_one_network():
    left, right = backbone(padding_side="left"), backbone(padding_side="right")
    right.load_state_dict(left.state_dict())
    a, b = left(padded(HISTORIES, 6, "left")), right(padded(HISTORIES, 6, "right"))
    for row, history in enumerate(HISTORIES):
        torch.testing.assert_close(a[row, -len(history) :], b[row, : len(history)])


def test_no_position_is_nan_even_in_padding():
    for side in ("left", "right"):
        assert backbone(padding_side=side)(padded(HISTORIES, 6, side)).isfinite().all()


def test_queries_need_a_mixer_that_shrinks():
    for name, kind in MIXERS.items():
        if issubclass(kind, QueryMixer):
            continue
        causal = not kind.supports_bidirectional
        options = BackboneSettings(width=8, heads=2, mixer=name, causal=causal)
        block = Block(options, Shape(length=4, width=8, heads=2, causal=causal))
        tokens, times = torch.zeros(1, 4, 8), torch.zeros(1, 4).long()
        with pytest.raises(ParameterError, match="writes every token"):
            block(tokens, Context(times=times), tokens[:, :1])
