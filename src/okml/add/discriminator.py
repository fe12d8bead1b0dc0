"""The trainable heads on frozen features, conditioned on text and image.

Heads are those of StyleGAN-T (arXiv 2301.09515), which the paper takes over: convolutions over the
sequence of positions, a residual block, and a projection on the condition. They stay in float32
whatever the precision around them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.add.settings import DiscriminatorSettings
from okml.errors import ParameterError


class Heads(nn.Module):
    """One head D_k for each tapped feature map.

    Args:
        channels: The width C_k of each map.
        condition_width: The width of the joint condition; 0 for unconditional heads.
        settings: The sizes of the heads.
    """

    def __init__(
        self,
        channels: Sequence[int],
        condition_width: int,
        settings: DiscriminatorSettings | None = None,
    ) -> None:
        super().__init__()
        settings = settings or DiscriminatorSettings()
        self.heads = nn.ModuleList(Head(c, condition_width, settings) for c in channels)

    # Compiled code has no second derivative, and R1 needs one.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, features: Sequence[Tensor], condition: Tensor | None) -> list[Tensor]:
        """Return the logits of each head, ``[B, N_k]``.

        Give real and generated images in separate calls: examples of one call share batch
        statistics.

        Args:
            features: ``[B, C_k, N_k]`` each.
            condition: ``[B, condition_width]``; None for unconditional heads.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            condition = None if condition is None else condition.float()
            pairs = zip(self.heads, features, strict=True)
            return [head(each.float(), condition) for head, each in pairs]

    @torch.no_grad()
    def iterate_norms(self) -> None:
        """Bring the estimates of the spectral norms up to the weights; call after each update.

        Doing it here, and not in every forward pass, leaves a step a function of weights and batch
        alone: it is the same for any number of micro-batches and processes.
        """
        for module in self.modules():
            if isinstance(module, SpectralConv1d):
                module.iterate()


class Head(nn.Module):
    """D_k: features of one tap to one logit for each position."""

    def __init__(
        self, channels: int, condition_width: int, settings: DiscriminatorSettings
    ) -> None:
        super().__init__()
        self.first = _Block(channels, 1, settings.virtual_batch)
        self.residual = _Block(channels, settings.kernel, settings.virtual_batch)
        width = settings.embedding if condition_width else 1
        self.last = SpectralConv1d(channels, width, 1)
        self.project = EqualizedLinear(condition_width, width) if condition_width else None

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Return logits, ``[B, N]``, of features ``[B, C, N]``."""
        hidden = self.first(features)
        hidden = (self.residual(hidden) + hidden) / math.sqrt(2)
        out: Tensor = self.last(hidden)  # [B, width, N]
        if self.project is None:
            return out.squeeze(1)
        if condition is None:
            raise ParameterError("These heads are conditional and were given no condition.")
        weight: Tensor = self.project(condition)  # [B, width]
        return (out * weight[:, :, None]).sum(1) / math.sqrt(out.shape[1])


class _Block(nn.Module):
    def __init__(self, channels: int, kernel: int, virtual_batch: int) -> None:
        super().__init__()
        self.convolution = SpectralConv1d(channels, channels, kernel)
        self.norm = LocalBatchNorm(channels, virtual_batch)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.norm(self.convolution(x)), 0.2)


class SpectralConv1d(nn.Module):
    """A circular convolution whose weight is divided by an estimate of its spectral norm.

    As ``torch.nn.utils.parametrizations.spectral_norm``, except that the power iteration runs when
    :meth:`iterate` is called and not in each forward pass.
    """

    u: Tensor
    v: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ParameterError(f"The kernel of a head must be odd and is {kernel}.")
        plain = nn.Conv1d(in_channels, out_channels, kernel)  # torch initializes it
        self.weight = plain.weight
        self.bias = plain.bias
        matrix = self.weight.detach().flatten(1)
        self.register_buffer("u", functional.normalize(torch.randn(len(matrix)), dim=0))
        self.register_buffer("v", functional.normalize(matrix.T @ self.u, dim=0))
        self.iterate(15)

    @torch.no_grad()
    def iterate(self, times: int = 1) -> None:
        """Take steps of the power iteration."""
        matrix = self.weight.flatten(1)
        for _ in range(times):
            self.u.copy_(functional.normalize(matrix @ self.v, dim=0))
            self.v.copy_(functional.normalize(matrix.T @ self.u, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out, N]`` of ``[B, in, N]``.

        Raises:
            ParameterError: If the kernel is wider than the features are long.
        """
        norm = self.u @ self.weight.flatten(1) @ self.v
        side = self.weight.shape[2] // 2
        if side:
            if side > x.shape[2]:
                raise ParameterError(
                    f"A head's kernel of {self.weight.shape[2]} does not fit into features of "
                    f"{x.shape[2]} positions.",
                    "Set heads.kernel to a smaller odd number, or tap larger feature maps.",
                )
            x = functional.pad(x, (side, side), mode="circular")
        return functional.conv1d(x, self.weight / norm, self.bias)


class LocalBatchNorm(nn.Module):
    """Batch normalization over near-equal groups of at most ``virtual_batch`` examples.

    There are no running statistics: training and evaluation are the same.
    """

    def __init__(self, channels: int, virtual_batch: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.virtual_batch = virtual_batch
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]`` of ``[B, C, N]``."""
        groups = math.ceil(len(x) / self.virtual_batch)
        if len(x) % groups:
            return torch.cat([self(part) for part in x.tensor_split(groups)])
        size, channels, length = len(x) // groups, *x.shape[1:]
        grouped = x.reshape(groups, size, channels, length)
        variance, mean = torch.var_mean(grouped, (1, 3), correction=0, keepdim=True)
        normed = ((grouped - mean) * (variance + self.epsilon).rsqrt()).reshape(x.shape)
        return normed * self.weight[:, None] + self.bias[:, None]


class EqualizedLinear(nn.Module):
    """A linear map with standard normal weights that are scaled by 1 / sqrt(in) when used."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out]`` of ``[B, in]``."""
        return functional.linear(x, self.weight / math.sqrt(x.shape[1]), self.bias)


def join_conditions(
    text: Tensor | None,
    image: Tensor | None,
    settings: DiscriminatorSettings,
    hide_image: Tensor | None = None,
) -> Tensor | None:
    """Return the joint condition of the heads, ``[B, Dt + Di]``; None without any.

    Args:
        text: The text embedding c_text, ``[B, Dt]``.
        image: The image embedding c_img, ``[B, Di]``.
        settings: The settings of the heads, which say to what length embeddings are scaled.
        hide_image: A mask ``[B]``; where it is true, c_img becomes zero.
    """
    parts = []
    for value in (text, image):
        if value is not None:
            length = math.sqrt(value.shape[1]) if settings.condition_scale == "root_width" else 1.0
            parts.append(length * functional.normalize(value.float(), dim=1))
    if image is not None and hide_image is not None:
        parts[-1] = parts[-1].masked_fill(hide_image[:, None], 0.0)
    return torch.cat(parts, 1) if parts else None
