import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.decomposition import SeriesDecomposition
from okml.seqrec.mixers import AutoformerSettings
from okml.seqrec.settings import BackboneSettings


@pytest.mark.parametrize(("n", "kernel"), [(8, 3), (8, 25), (50, 25), (1, 3)])
def test_it_subtracts_a_moving_average_with_repeated_ends(n, kernel):
    x = torch.randn(2, n, 3, dtype=torch.float64)
    want = x.clone()
    for i in range(n):
        for step in range(-(kernel // 2), kernel // 2 + 1):
            want[:, i] -= x[:, min(max(i + step, 0), n - 1)] / kernel
    torch.testing.assert_close(SeriesDecomposition(kernel)(x), want)


def autoformer(**changes) -> Backbone:
    torch.manual_seed(0)
    options = {"length": 8, "width": 12, "heads": 3, "hidden": 24, "initial_std": 0.5}
    options |= {"causal": False, "norm": "decomposition", "trend": 3, "mixer": AutoformerSettings()}
    return Backbone(9, BackboneSettings(**options | changes)).eval()


@pytest.mark.parametrize("mixer", [{"kind": "autoformer"}, {"kind": "linformer"}])
def test_the_last_position_is_that_of_the_whole_output(mixer):
    model = autoformer(mixer=mixer)
    items = torch.randint(1, 10, (4, 8))
    torch.testing.assert_close(model.last(items, padded=False), model(items, padded=False)[:, -1])


def test_blocks_without_trend_and_a_norm_at_the_end():
    model = autoformer()
    items = torch.randint(1, 10, (4, 8))
    tokens, context = model.embed(items, None, padded=False)
    block = model.blocks[0]
    x = block.mixer_norm(tokens + block.mixer(tokens, context))
    x = block.feed_norm(x + block.feed_forward(x))
    torch.testing.assert_close(block(tokens, context), x)
    assert isinstance(block.mixer_norm, SeriesDecomposition)
    assert isinstance(model.norm, torch.nn.LayerNorm)


def test_it_is_refused_where_it_would_leak():
    with pytest.raises(ValueError, match="causal"):
        BackboneSettings(norm="decomposition", causal=True)
    with pytest.raises(ValueError, match="odd"):
        BackboneSettings(trend=4)
    model = autoformer(mixer={"kind": "attention"})
    with pytest.raises(ParameterError, match="full histories"):
        model(torch.ones(1, 8).long())
