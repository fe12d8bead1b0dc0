"""A small vision transformer: the stand-in for DINOv2 on images of 8 pixels.

It is trained by the chapter to name the class, so its features are supervised where DINOv2's are
not.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from okml.add.interfaces import FeatureNetwork
from okml.settings import Count, Depth, Settings, Width, heads_divide


class VitSettings(Settings):
    """Sizes of the transformer."""

    patch: Count = 2  # pixels a side
    width: Annotated[Width, Field(ge=4)] = 64
    depth: Depth = 4
    heads: Depth = 4

    _heads = heads_divide()


class SmallVit(FeatureNetwork):
    """A pre-norm vision transformer with a class token.

    Its taps follow the paper's discriminator: the embedded patches and the output of each block,
    the class token added to every patch token ("add" readout of StyleGAN-T).

    Args:
        settings: The sizes of the transformer.
        image_size: The side of the images in pixels.
        classes: The number of classes.
    """

    def __init__(
        self, settings: VitSettings, image_size: int, image_channels: int, classes: int
    ) -> None:
        super().__init__()
        width, tokens = settings.width, (image_size // settings.patch) ** 2
        self.embed = nn.Conv2d(image_channels, width, settings.patch, settings.patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + tokens, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, settings.heads, 2 * width, dropout=0.0, activation="gelu",
                batch_first=True, norm_first=True,
            )
            for _ in range(settings.depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.channels = (width,) * (1 + settings.depth)

    def tokens(self, images: Tensor) -> list[Tensor]:
        """Return the token sequences before and after each block, ``[B, 1 + N, C]`` each."""
        patches = self.embed(images).flatten(2).transpose(1, 2)  # [B, N, C]
        h = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.position
        outputs = [h]
        for block in self.blocks:
            h = block(h)
            outputs.append(h)
        return outputs

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one ``[B, C, N]`` for each tap; see the base class."""
        return [(h[:, 1:] + h[:, :1]).transpose(1, 2) for h in self.tokens(images)]

    def embedding(self, images: Tensor) -> Tensor:
        """Return the normalized class token, ``[B, C]``."""
        out: Tensor = self.norm(self.tokens(images)[-1][:, 0])
        return out

    def classify(self, images: Tensor) -> Tensor:
        """Return the logits of the classes, ``[B, classes]``."""
        out: Tensor = self.head(self.embedding(images))
        return out


class VitEmbedding(nn.Module):
    """The class token of a transformer, c_img of the discriminator."""

    def __init__(self, vit: SmallVit) -> None:
        super().__init__()
        self.vit = vit
        self.width = vit.channels[0]

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [-1, 1] to ``[B, C]``."""
        return self.vit.embedding(images)
