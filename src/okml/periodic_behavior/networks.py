"""The networks of the paper, with batch normalization after or before every convolution.

Where it has no parameters of its own, the loss does not change if the weights of all convolutions
are multiplied by a positive number: they are scale-invariant. The last layer is not; the authors
keep it as it was initialized, with weights of a larger norm, so that all that is trained is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.periodic_behavior.arms import Arm, Normalization
from okml.periodic_behavior.images import CHANNELS, CLASSES
from okml.periodic_behavior.settings import ProblemSettings

WIDTHS = (1, 2, 4, 8)  # channels of the four stages, in multiples of the first


def build(problem: ProblemSettings, arm: Arm, last_norm: float) -> ConvNet | ResNet18:
    """Return the untrained network of an arm; weights that it does not train need no gradient.

    Without normalization the convolutions begin as He et al. (2015) derive it for such networks
    (section 2.2, eq. 10); torch's default is smaller, and activations shrink from layer to layer.

    Args:
        problem: The images and the network's size.
        arm: Its normalization, and whether its last layer is trained.
        last_norm: The norm of the last layer's weights where it is not.
    """
    kinds: dict[str, type[ConvNet] | type[ResNet18]] = {"convnet": ConvNet, "resnet18": ResNet18}
    made = kinds[problem.network](
        CHANNELS[problem.images], problem.channels, CLASSES[problem.images], arm.normalization
    )
    if arm.normalization == "none":
        for weight in invariant_weights(made):
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    if not arm.all_weights:
        last = made.last.weight
        last.data *= last_norm / last.norm().item()
        made.last.requires_grad_(False)
    return made


def invariant_weights(network: nn.Module) -> list[Tensor]:
    """Return the weights of all convolutions, ``[out, in, k, k]`` each.

    Normalization after a convolution makes its weights scale-invariant. Without normalization they
    are not, but have the same name.
    """
    return [each.weight for each in network.modules() if isinstance(each, nn.Conv2d)]


def _normalization(kind: Normalization, channels: int) -> nn.Module:
    return nn.Identity() if kind == "none" else nn.BatchNorm2d(channels, affine=kind == "affine")


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class ConvNet(nn.Module):
    """Four convolutions of 3 by 3, each normalized, with pooling after all but the first.

    Args:
        image_channels: The channels of an image.
        channels: The channels of the first convolution.
        classes: The number of classes.
        normalization: The kind of batch normalization.
    """

    def __init__(
        self, image_channels: int, channels: int, classes: int, normalization: Normalization
    ) -> None:
        super().__init__()
        widths = [image_channels, *(channels * width for width in WIDTHS)]
        self.convolutions = nn.ModuleList(map(_convolution, widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(_normalization(normalization, width) for width in widths[1:])
        self.last = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, ``[b, classes]``, of images ``[b, channels, side, side]``."""
        x = images
        for number, (convolve, normalize) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = torch.relu(normalize(convolve(x)))
            if number > 0:
                x = functional.max_pool2d(x, 2)  # half the side
        logits: Tensor = self.last(x.amax((2, 3)))
        return logits


class Block(nn.Module):
    """Two normalized convolutions beside a shortcut (He et al., 2016, pre-activation)."""

    def __init__(self, inputs: int, outputs: int, stride: int, kind: Normalization) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_normalization(kind, inputs), _normalization(kind, outputs)])
        self.convolutions = nn.ModuleList(
            [_convolution(inputs, outputs, stride=stride), _convolution(outputs, outputs)]
        )
        # Another normalization precedes a convolution of the shortcut, as in Li & Arora (2020).
        self.shortcut: nn.Sequential | None = None
        if inputs != outputs or stride > 1:
            convolution = _convolution(inputs, outputs, 1, stride)
            self.shortcut = nn.Sequential(_normalization(kind, inputs), convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output ``[b, outputs, side / stride, side / stride]``."""
        inner = torch.relu(self.norms[0](x))
        beside = x if self.shortcut is None else self.shortcut(inner)
        inner = self.convolutions[0](inner)
        found: Tensor = beside + self.convolutions[1](torch.relu(self.norms[1](inner)))
        return found


class ResNet18(nn.Module):
    """The pre-activation ResNet-18 for images of 32 by 32; arguments as of :class:`ConvNet`."""

    def __init__(
        self, image_channels: int, channels: int, classes: int, normalization: Normalization
    ) -> None:
        super().__init__()
        widths = [channels, *(channels * width for width in WIDTHS)]
        self.first = _convolution(image_channels, channels)
        self.blocks = nn.Sequential(
            *(
                Block(widths[stage + second], widths[stage + 1], stride, normalization)
                for stage in range(len(WIDTHS))
                for second, stride in ((0, 1 if stage == 0 else 2), (1, 1))
            )
        )
        self.norm = _normalization(normalization, widths[-1])
        self.last = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, ``[b, classes]``, of images ``[b, channels, side, side]``."""
        x = torch.relu(self.norm(self.blocks(self.first(images))))
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits
