"""Heads, their normalizations and their condition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from okml.add.discriminator import (
    EqualizedLinear,
    Heads,
    LocalBatchNorm,
    SpectralConv1d,
    join_conditions,
)
from okml.add.settings import DiscriminatorSettings
from okml.errors import ParameterError


def test_local_batch_norm_is_batch_norm_of_each_group() -> None:
    x = torch.randn(12, 3, 5)
    norm = LocalBatchNorm(3, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    expected = torch.cat(
        [
            nn.functional.batch_norm(part, None, None, norm.weight, norm.bias, training=True)
            for part in x.split(4)
        ]
    )
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm.eval()(x), expected, atol=1e-5, rtol=1e-5)


def test_local_batch_norm_splits_odd_batches_evenly() -> None:
    x = torch.randn(9, 2, 4)
    norm = LocalBatchNorm(2, 8)
    expected = torch.cat([norm(x[:5]), norm(x[5:])])
    torch.testing.assert_close(norm(x), expected)


def test_order_within_a_group_does_not_matter_and_groups_do_not_mix() -> None:
    heads = Heads([6], 0, DiscriminatorSettings(kernel=3, virtual_batch=4))
    x = torch.randn(8, 6, 9)
    (found,) = heads([x], None)
    order = torch.tensor([2, 0, 3, 1, 4, 5, 6, 7])
    (permuted,) = heads([x[order]], None)
    torch.testing.assert_close(permuted, found[order])
    (changed,) = heads([torch.cat([x[:4], 100 * x[4:].square()])], None)
    torch.testing.assert_close(changed[:4], found[:4])


def test_spectral_norm_is_torchs() -> None:
    ours = SpectralConv1d(4, 6, 3)
    ours.iterate(50)
    plain = nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular")
    plain.load_state_dict({"weight": ours.weight.detach(), "bias": ours.bias.detach()})
    peer = spectral_norm(plain, n_power_iterations=50)
    x = torch.randn(2, 4, 7)
    torch.testing.assert_close(ours(x), peer(x), atol=1e-5, rtol=1e-4)
    norm = torch.linalg.matrix_norm(ours.weight.flatten(1), 2)
    assert (ours.u @ ours.weight.flatten(1) @ ours.v).item() == pytest.approx(norm.item(), rel=1e-3)


def test_norm_follows_the_weight_only_when_told() -> None:
    convolution = SpectralConv1d(3, 3, 1)
    convolution.iterate(50)
    x = torch.randn(1, 3, 4)
    with torch.no_grad():
        convolution.weight.copy_(torch.diag(torch.tensor([5.0, 2.0, 1.0]))[:, :, None])
        convolution.bias.zero_()
    before = convolution(x)
    assert torch.equal(convolution(x), before)  # a forward pass changes nothing
    convolution.iterate(50)
    expected = torch.tensor([1.0, 0.4, 0.2])[:, None] * x
    torch.testing.assert_close(convolution(x), expected, atol=1e-5, rtol=1e-4)


def test_parameters_of_the_published_heads() -> None:
    heads = Heads([384] * 5, 2048)
    weights = 384 * 384 + 384 * 384 * 9 + 384 * 64 + 2048 * 64
    biases = 384 + 384 + 64 + 64
    affine = 2 * 2 * 384
    assert sum(p.numel() for p in heads.parameters()) == 5 * (weights + biases + affine)


def test_projection_by_hand() -> None:
    """The logit is the inner product of the token's embedding with the projected condition."""
    heads = Heads([3], 2, DiscriminatorSettings(kernel=1, embedding=4))
    head = heads.heads[0]
    x, condition = torch.randn(5, 3, 6), torch.randn(5, 2)
    hidden = head.first(x)
    hidden = (head.residual(hidden) + hidden) / math.sqrt(2)
    tokens = head.last(hidden)
    told = condition @ head.project.weight.T / math.sqrt(2) + head.project.bias
    expected = torch.einsum("bwn,bw->bn", tokens, told) / math.sqrt(4)
    torch.testing.assert_close(heads([x], condition)[0], expected)


def test_equalized_linear_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    out = EqualizedLinear(400, 300)(torch.randn(200, 400))
    assert out.std().item() == pytest.approx(1, abs=0.05)


def test_conditional_heads_ask_for_the_condition() -> None:
    with pytest.raises(ParameterError, match="condition"):
        Heads([3], 2, DiscriminatorSettings(kernel=1))([torch.randn(2, 3, 4)], None)


def test_short_features_are_refused() -> None:
    with pytest.raises(ParameterError, match="kernel of 9"):
        Heads([3], 0)([torch.randn(2, 3, 3)], None)


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ParameterError, match="odd"):
        SpectralConv1d(3, 3, 4)


def test_heads_compute_in_float32_under_autocast() -> None:
    heads = Heads([3], 0, DiscriminatorSettings(kernel=1))
    x = torch.randn(2, 3, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = heads([x], None)
    assert found.dtype == torch.float32
    assert torch.equal(found, heads([x.float()], None)[0])


def test_joint_condition() -> None:
    text, image = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[5.0], [-5.0]])
    unit, root = DiscriminatorSettings(), DiscriminatorSettings(condition_scale="root_width")
    hidden = torch.tensor([True, False])
    assert join_conditions(None, None, unit) is None
    found = join_conditions(text, image, unit, hidden)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, -1.0]]))
    found = join_conditions(text, None, root, hidden)  # without c_img nothing is hidden
    torch.testing.assert_close(found, math.sqrt(2) * torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
