"""Feature networks: shapes, taps and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from okml.add.features import (
    IMAGENET,
    ClassToken,
    ImageInput,
    VisionTransformerFeatures,
)
from okml.errors import ParameterError

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 28,
    "patch_size": 7,
}
INPUT = ImageInput(28, IMAGENET.mean, IMAGENET.std)


def transformer(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "dinov2":
        return Dinov2Model(Dinov2Config(**SMALL)).eval()
    if kind == "dino":
        return ViTModel(ViTConfig(**SMALL), add_pooling_layer=False).eval()
    return CLIPVisionModel(CLIPVisionConfig(**SMALL)).eval()


def test_input_by_hand() -> None:
    images = torch.tensor([-1.0, 0.0, 3.0]).reshape(1, 1, 1, 3)
    wanted = ImageInput(None, (0.5, 0.25), (0.5, 0.25))
    found = wanted(images)
    # [-1, 1] to [0, 1] is 0, 0.5, 2: nothing is clamped.
    expected = torch.tensor([[[-1.0, 0.0, 3.0]], [[-1.0, 1.0, 7.0]]])
    torch.testing.assert_close(found, expected[None])


def test_input_is_resized_only_where_needed() -> None:
    images = torch.rand(1, 3, 28, 28)
    assert torch.equal(INPUT(images), ImageInput(None, INPUT.mean, INPUT.std)(images))
    assert INPUT(torch.rand(1, 1, 11, 17)).shape == (1, 3, 28, 28)
    constant = INPUT(torch.full((1, 3, 5, 5), 0.3))
    torch.testing.assert_close(constant, INPUT(torch.full((1, 3, 28, 28), 0.3)))


@pytest.mark.parametrize("kind", ["dinov2", "dino", "clip"])
@pytest.mark.parametrize("resolution", [28, 21])
def test_taps_of_a_transformer(kind: str, resolution: int) -> None:
    """One sequence before the blocks and one after each tapped block; the class token is added."""
    network = transformer(kind)
    images = ImageInput(resolution, IMAGENET.mean, IMAGENET.std)
    features = VisionTransformerFeatures(network, (1, 3), images)
    x = torch.rand(2, 3, 30, 30)
    taps = features(x)
    assert features.channels == (16, 16, 16)
    assert [tuple(tap.shape) for tap in taps] == [(2, 16, (resolution // 7) ** 2)] * 3

    seen: list[torch.Tensor] = []
    layers = network.layers if kind == "dino" else getattr(network.encoder, "layer", None)
    layers = layers if layers is not None else network.encoder.layers
    first = layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    hooks = [
        layers[block].register_forward_hook(
            lambda _, given, out: seen.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in (1, 3)
    ]
    options = {} if kind == "dinov2" else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        network(images(x), **options)
    for hook in (first, *hooks):
        hook.remove()
    for tap, state in zip(taps, seen, strict=True):
        expected = torch.stack([state[:, 1 + n] + state[:, 0] for n in range(tap.shape[2])], 2)
        torch.testing.assert_close(tap, expected)


def test_blocks_beyond_the_network_are_refused() -> None:
    with pytest.raises(ParameterError, match="of 4"):
        VisionTransformerFeatures(transformer("dinov2"), (2, 4), INPUT)


def test_every_tap_sends_a_gradient_to_the_images() -> None:
    """All channels are taken together: single ones of published networks may be dead."""
    features = VisionTransformerFeatures(transformer("dinov2"), (1, 3), INPUT)
    features.requires_grad_(False)
    images = torch.rand((1, 3, 28, 28), requires_grad=True)
    for tap in features(images):
        (gradient,) = torch.autograd.grad(tap.square().sum(), images, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient != 0).float().mean() > 0.9


def test_class_token_is_the_first_after_the_last_norm() -> None:
    network = transformer("dinov2")
    x = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        expected = network(INPUT(x)).pooler_output  # of DINOv2 that is the class token
        torch.testing.assert_close(ClassToken(network, INPUT)(x), expected)


def test_half_precision_networks_take_float_images() -> None:
    network = transformer("dinov2").bfloat16()
    taps = VisionTransformerFeatures(network, (1,), INPUT)(torch.rand(1, 3, 28, 28))
    assert all(tap.dtype == torch.bfloat16 for tap in taps)
    token = ClassToken(network, INPUT)(torch.rand(1, 3, 28, 28))
    assert token.dtype == torch.float32
