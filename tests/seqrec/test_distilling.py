import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone, Distilling, distilled_lengths
from okml.seqrec.settings import BackboneSettings


def informer(**changes) -> Backbone:
    torch.manual_seed(0)
    options = {"length": 50, "width": 12, "heads": 3, "hidden": 24, "layers": 8}
    options |= {"causal": False, "distilling": True, "mixer": "informer"}
    return Backbone(9, BackboneSettings(**options | changes)).eval()


def test_lengths_are_halved():
    assert distilled_lengths(50, 8) == [50, 25, 13, 7, 4, 2, 1, 1]
    assert distilled_lengths(8, 3) == [8, 4, 2]


@pytest.mark.parametrize("n", [1, 2, 7, 8, 50])
def test_against_the_definition(n):
    torch.manual_seed(0)
    layer = Distilling(3).double().train()
    x = torch.randn(4, n, 3, dtype=torch.float64)
    weight, bias = layer.convolution.weight, layer.convolution.bias
    y = torch.zeros(4, n, 3, dtype=torch.float64)
    for i in range(n):
        for step in (-1, 0, 1):
            y[:, i] += x[:, (i + step) % n] @ weight[:, :, step + 1].T
        y[:, i] += bias
    mean, variance = y.mean((0, 1)), y.var((0, 1), correction=0)
    y = (y - mean) / (variance + 1e-5).sqrt()
    y = torch.where(y > 0, y, y.exp() - 1)
    want = [
        torch.stack([y[:, j] for j in range(2 * i - 1, 2 * i + 2) if 0 <= j < n]).amax(0)
        for i in range((n - 1) // 2 + 1)
    ]
    torch.testing.assert_close(layer(x), torch.stack(want, 1))


@pytest.mark.parametrize("mixer", ["informer", "attention", "linformer"])
@pytest.mark.parametrize("layers", [1, 2, 3, 8])
def test_the_last_pooled_position_is_read(mixer, layers):
    model = informer(mixer=mixer, layers=layers)
    items = torch.randint(1, 10, (4, 50))
    hidden = model(items, padded=False)
    assert hidden.shape == (4, distilled_lengths(50, layers)[-1], 12)
    torch.testing.assert_close(model.last(items, padded=False), hidden[:, -1])


def test_gradients_reach_all_parts():
    model = informer(layers=3).train()
    items = torch.randint(1, 10, (4, 50))
    model.last(items, padded=False).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_flops_are_those_that_pytorch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model = informer(layers=4)
    items = torch.ones(1, 50).long()
    unfused = sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), unfused:
        model.last(items, padded=False)
    assert model.flops(50) == counter.get_total_flops()


def test_it_is_refused_where_it_would_mislead():
    with pytest.raises(ValueError, match="causal"):
        BackboneSettings(distilling=True, causal=True)
    with pytest.raises(ParameterError, match="full histories"):
        informer(mixer="attention")(torch.ones(1, 50).long())
    timed = informer(mixer="hstu")
    with pytest.raises(ParameterError, match="distilled tokens have none"):
        timed(torch.ones(1, 50).long(), torch.ones(1, 50).long(), padded=False)
