"""The metric network: a small convolutional classifier that no training of images ever sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64  # width of the features in which distances are taken


class MetricNetwork(nn.Module):
    """Features and classes of small images."""

    def __init__(self, image_channels: int, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(image_channels, 32, 1),
            _block(32, 64, 2),
            _block(64, 64, 2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 64, WIDTH),
            nn.SiLU(),
        )
        self.head = nn.Linear(WIDTH, classes)

    def features(self, images: Tensor) -> Tensor:
        """Map ``[B, C, s, s]`` in [-1, 1] to ``[B, 64]``."""
        out: Tensor = self.trunk(images)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the classes, ``[B, classes]``."""
        out: Tensor = self.head(self.features(images))
        return out

    @torch.no_grad()
    def read(self, images: Tensor, batch: int = 500) -> tuple[Tensor, Tensor]:
        """Return features ``[n, 64]`` and classes ``[n]`` of many images, all on the CPU."""
        device = self.head.weight.device
        parts = [self.features(part.to(device)) for part in torch.split(images, batch)]
        features = torch.cat(parts)
        return features.cpu(), self.head(features).argmax(1).cpu()


def _block(width_in: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()
    )
