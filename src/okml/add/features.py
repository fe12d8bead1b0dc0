"""Frozen feature networks for the discriminator, from models of any library."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.add.interfaces import FeatureNetwork
from okml.errors import ParameterError


@dataclass(frozen=True)
class ImageInput:
    """How a network wants its images.

    Attributes:
        resolution: The height and width in pixels; None to keep those of the images.
        mean: The mean of each channel, subtracted from values in [0, 1].
        std: The standard deviation of each channel, by which the difference is divided.
    """

    resolution: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Return images ``[B, len(mean), R, R]`` of images in [-1, 1], ``[B, C, H, W]``.

        One channel becomes as many as are wanted. Nothing is clamped; differentiable.
        """
        images = (images.float() + 1) / 2
        if images.shape[1] == 1:
            images = images.expand(-1, len(self.mean), -1, -1)
        if self.resolution is not None and images.shape[2:] != (self.resolution, self.resolution):
            # Area resampling, as in StyleGAN-T, would show blocks where 512 becomes 518.
            size = (self.resolution, self.resolution)
            images = functional.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            )
        mean, std = (_filled(values, images)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std


def _filled(values: Sequence[float], like: Tensor) -> Tensor:
    """Return numbers as a tensor; filled on its device, where a copy would wait for the device."""
    return torch.stack([like.new_full((), value) for value in values])


IMAGENET = ImageInput(None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ImageInput(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class VisionTransformerFeatures(FeatureNetwork):
    """Token sequences inside a vision transformer of ``transformers`` (DINO, DINOv2, CLIP).

    The first tap is the sequence that enters the blocks; no final layer norm is applied. The class
    token is added to every patch token and left out.

    Args:
        network: A ``Dinov2Model``, ``ViTModel``, ``CLIPVisionModel`` or a network of the same form.
        blocks: The blocks whose outputs are tapped, from 0; StyleGAN-T: 2, 5, 8 and 11 of 12.
        images: The preprocessing of images for the network.
        prefix: The number of tokens before the patches: class token and registers.
    """

    def __init__(
        self, network: nn.Module, blocks: Sequence[int], images: ImageInput, prefix: int = 1
    ) -> None:
        super().__init__()
        depth, width = network.config.num_hidden_layers, network.config.hidden_size  # type: ignore[union-attr]
        if not all(0 <= block < depth for block in blocks):  # type: ignore[operator]
            raise ParameterError(f"Blocks {list(blocks)} of a network of {depth}.")
        self.network = network
        self.blocks = tuple(blocks)
        self.images = images
        self.prefix = prefix
        self.channels = (width,) * (len(blocks) + 1)  # type: ignore[assignment]
        accepted = inspect.signature(network.forward).parameters
        # DINOv2 always interpolates; the others have to be told.
        self._options = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted else {}
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the tapped sequences, ``[B, width, patches]`` each."""
        dtype = next(self.network.parameters()).dtype
        out = self.network(
            self.images(images).to(dtype), output_hidden_states=True, **self._options
        )
        states = [out.hidden_states[0], *(out.hidden_states[1 + block] for block in self.blocks)]
        return [(x[:, self.prefix :] + x[:, :1]).transpose(1, 2) for x in states]


class ClassToken(nn.Module):
    """c_img: the class token of a vision transformer after its last layer norm.

    Args:
        network: A network as :class:`VisionTransformerFeatures` takes it.
        images: The preprocessing of images for the network.
    """

    def __init__(self, network: nn.Module, images: ImageInput) -> None:
        super().__init__()
        self.network = network
        self.images = images

    def forward(self, images: Tensor) -> Tensor:
        """Return ``[B, width]`` float32 of images in [-1, 1], ``[B, C, H, W]``."""
        dtype = next(self.network.parameters()).dtype
        token: Tensor = self.network(self.images(images).to(dtype)).last_hidden_state[:, 0]
        return token.float()
