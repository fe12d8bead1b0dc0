"""EfficientNet-Lite0 (Tan & Le, 2019) as a frozen feature network of the discriminator.

The real pretrained network of the reduced scale: 4.7 million parameters trained on ImageNet. The
Lite variant has neither squeeze-and-excitation nor swish, and pads as TensorFlow does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.add.interfaces import FeatureNetwork
from okml.data import fetch

NORM_EPSILON = 1e-3  # the weights were trained with it
LAST = 1280  # width of the pooled vector


class Stage(NamedTuple):
    """Equal blocks in a row: kernel, repeats, input and output width, expansion, first stride."""

    kernel: int
    repeats: int
    width_in: int
    width: int
    expansion: int
    stride: int


STAGES = (
    Stage(3, 1, 32, 16, 1, 1),
    Stage(3, 2, 16, 24, 6, 2),
    Stage(5, 2, 24, 40, 6, 2),
    Stage(3, 3, 40, 80, 6, 2),
    Stage(5, 3, 80, 112, 6, 1),
    Stage(5, 4, 112, 192, 6, 2),
    Stage(3, 1, 192, 320, 6, 1),
)
TAPS = (2, 4, 7, 10)  # last blocks of the stages of width 24, 40, 80 and 112


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": the odd pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, C, H, W]`` to ``[B, C', ceil(H / stride), ceil(W / stride)]``."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for side in (x.shape[-1], x.shape[-2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups
        )


class MBConv(nn.Module):
    """A mobile inverted bottleneck: expand, convolve each channel, project."""

    def __init__(self, stage: Stage, first: bool) -> None:
        super().__init__()
        width_in = stage.width_in if first else stage.width
        stride = stage.stride if first else 1
        inner = width_in * stage.expansion
        self.expands = stage.expansion > 1
        self.adds = stride == 1 and width_in == stage.width
        # Attribute names are those of the published weights.
        if self.expands:
            self._expand_conv = SameConv(width_in, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, NORM_EPSILON)
        self._depthwise_conv = SameConv(
            inner, inner, stage.kernel, stride, groups=inner, bias=False
        )
        self._bn1 = nn.BatchNorm2d(inner, NORM_EPSILON)
        self._project_conv = SameConv(inner, stage.width, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(stage.width, NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to ``[B, C', H', W']``."""
        h = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = functional.relu6(self._bn1(self._depthwise_conv(h)))
        out: Tensor = self._bn2(self._project_conv(h))
        return out + x if self.adds else out


class EfficientNetLite0(nn.Module):
    """The classifier with its published parameter names."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STAGES[0].width_in, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STAGES[0].width_in, NORM_EPSILON)
        self._blocks = nn.ModuleList(
            MBConv(stage, first=number == 0) for stage in STAGES for number in range(stage.repeats)
        )
        self._conv_head = SameConv(STAGES[-1].width, LAST, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(LAST, NORM_EPSILON)
        self._fc = nn.Linear(LAST, 1000)

    def blocks(self, x: Tensor, last: int) -> list[Tensor]:
        """Return the outputs of blocks 0 to ``last``, ``[B, C, h, w]`` each.

        Args:
            x: Images as the network takes them, ``[B, 3, H, W]``.
            last: The number of the last block that is computed.
        """
        h = functional.relu6(self._bn0(self._conv_stem(x)))
        outputs = []
        for block in list(self._blocks)[: last + 1]:
            h = block(h)
            outputs.append(h)
        return outputs

    def pooled(self, x: Tensor) -> Tensor:
        """Return the vector before the classifier, ``[B, 1280]``."""
        h = self.blocks(x, len(self._blocks) - 1)[-1]
        return functional.relu6(self._bn1(self._conv_head(h))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of ImageNet's classes, ``[B, 1000]``, of images ``[B, 3, H, W]``."""
        out: Tensor = self._fc(self.pooled(x))
        return out


def load_efficientnet(pretrained: bool = True) -> EfficientNetLite0:
    """Return the frozen network, with its published weights or with random ones."""
    network = EfficientNetLite0()
    if pretrained:
        (path,) = fetch("efficientnet_lite0").values()
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.requires_grad_(False).eval()


def as_input(images: Tensor, side: int) -> Tensor:
    """Return images as the network takes them, ``[B, 3, side, side]``.

    The network was trained on bytes as (x - 127) / 128, which images in [-1, 1] nearly are.

    Args:
        images: Images in [-1, 1], ``[B, 1 or 3, s, s]``.
        side: The new side in pixels.
    """
    colour = images.expand(-1, 3, -1, -1)
    return functional.interpolate(colour, size=side, mode="bilinear", antialias=True)


class EfficientNetFeatures(FeatureNetwork):
    """Feature maps of four stages at strides 4, 8, 16 and 16.

    Args:
        side: The side in pixels to which images are resized.
        pretrained: Whether published weights are loaded. With random ones, batch norms keep their
            initial statistics, so its features are random convolutions.
    """

    def __init__(self, side: int, pretrained: bool = True) -> None:
        super().__init__()
        self.side = side
        self.network = load_efficientnet(pretrained)
        self.channels = tuple(self._width(tap) for tap in TAPS)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return four tensors ``[B, C_k, N_k]``; see the base class."""
        outputs = self.network.blocks(as_input(images, self.side), TAPS[-1])
        return [outputs[tap].flatten(2) for tap in TAPS]

    def _width(self, tap: int) -> int:
        widths = [stage.width for stage in STAGES for _ in range(stage.repeats)]
        return widths[tap]


class EfficientNetEmbedding(nn.Module):
    """The pooled vector, c_img of the discriminator.

    Args:
        side: The side in pixels to which images are resized.
    """

    width = LAST

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.network = load_efficientnet()

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [-1, 1] to ``[B, 1280]``."""
        return self.network.pooled(as_input(images, self.side))
