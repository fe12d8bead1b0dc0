"""The autoencoder of a latent diffusion model."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from okml.add.interfaces import Codec
from okml.add.student import enable_checkpointing


class LatentCodec(Codec):
    """A KL autoencoder of diffusers; latents are scaled as its diffusion network takes them.

    Args:
        vae: An autoencoder with its ``scaling_factor``. Keep it in bfloat16 or float32:
            SDXL's overflows in float16.
        checkpointing: Whether the backward pass recomputes the decoder's activations, one image
            after the other. At 512 by 512 they are larger than those of a checkpointed SDXL UNet,
            and the largest block of a whole micro-batch would take more than all that is kept.
    """

    def __init__(self, vae: AutoencoderKL, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.vae = vae
        self.scale = float(vae.config.scaling_factor)
        self.channels = int(vae.config.latent_channels)
        self.shrinks = 2 ** (len(vae.config.block_out_channels) - 1)  # pixels a side of a latent
        if checkpointing:
            enable_checkpointing(vae)
            vae.enable_slicing()  # no layer looks at more than one image

    def latent_shape(self, side: int) -> tuple[int, int, int]:
        """Return the shape ``(c, h, w)`` of the latents of an image of ``side`` pixels."""
        return self.channels, side // self.shrinks, side // self.shrinks

    def encode(self, images: Tensor) -> Tensor:
        """Return the mean of the posterior, scaled, ``[B, c, H/8, W/8]`` float32."""
        mean: Tensor = self.vae.encode(images.to(self.vae.dtype)).latent_dist.mode()
        return self.scale * mean.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Return images, ``[B, 3, 8h, 8w]`` float32; differentiable, not clamped."""
        images: Tensor = self.vae.decode((latents / self.scale).to(self.vae.dtype)).sample
        return images.float()

    @torch.no_grad()
    def moments(self, images: Tensor) -> Tensor:
        """Return mean and log-variance of the posterior, ``[B, 2, c, h, w]`` float32, unscaled."""
        posterior = self.vae.encode(images.to(self.vae.dtype)).latent_dist
        return torch.stack([posterior.mean, posterior.logvar], 1).float()


def sample_latents(moments: Tensor, scale: float, noise: Tensor) -> Tensor:
    """Return latents ``[B, c, h, w]`` drawn from stored moments ``[B, 2, c, h, w]``.

    Args:
        moments: The moments from :meth:`LatentCodec.moments`.
        scale: The autoencoder's ``scaling_factor``.
        noise: Standard normal noise, ``[B, c, h, w]``.
    """
    mean, log_variance = moments.float().unbind(1)
    # diffusers' posterior has the same clamp.
    return scale * (mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise)
