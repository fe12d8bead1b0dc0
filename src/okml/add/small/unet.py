"""The small diffusion network, a ``UNet2DModel`` of diffusers, and its noise schedule."""

from __future__ import annotations

from diffusers import DDPMScheduler, UNet2DModel

from okml.add.denoiser import Denoiser

CONDITION = "class_labels"  # the argument through which the network takes a prompt vector


def prompt_width(channels: tuple[int, ...]) -> int:
    """Return the width of the prompt vectors that a network of these widths takes."""
    return 4 * channels[0]


def small_unet(size: int, image_channels: int, channels: tuple[int, ...]) -> Denoiser:
    """Return a prompt-conditioned network with random weights.

    A prompt vector is added to the embedding of the timestep; the zero vector means no prompt.
    The lowest resolution has attention.

    Args:
        size: The height and width of the images.
        image_channels: The number of color channels, 1 or 3.
        channels: The width at each resolution; each resolution is half of the one before.
    """
    plain = len(channels) - 1
    network = UNet2DModel(
        sample_size=size,
        in_channels=image_channels,
        out_channels=image_channels,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        norm_num_groups=8,
        attention_head_dim=16,
        class_embed_type="identity",
    )
    return Denoiser(network)


def small_scheduler() -> DDPMScheduler:
    """Return Stable Diffusion's noise levels with zero signal at the last, for v-prediction."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        clip_sample=False,
    )
