"""The published networks with random weights, built from their published configurations.

On the ``meta`` device they cost nothing, so their sizes can be checked anywhere. Configurations are
those of the files ``config.json`` of each repository.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig

from okml.add.full_scale.architectures import LATENT_SHAPE, TEXT_TOWERS, Backbone, TextName

_UNET = {
    "sample_size": 64,
    "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
}
UNETS: dict[Backbone, dict[str, Any]] = {
    "sd15": _UNET | {"cross_attention_dim": 768, "attention_head_dim": 8},
    "sd21": _UNET
    | {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "sample_size": 128,
        "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


def build_unet(name: Backbone, device: str = "meta") -> UNet2DConditionModel:
    """Return the UNet of a backbone."""
    with torch.device(device):
        return UNet2DConditionModel(**UNETS[name])


def build_vae(device: str = "meta") -> AutoencoderKL:
    """Return SDXL's autoencoder; those of the other backbones have its form."""
    widths = (128, 256, 512, 512)
    with torch.device(device):
        return AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=2,
            latent_channels=LATENT_SHAPE[0],
            sample_size=1024,
            scaling_factor=0.13025,
        )


def build_text_tower(name: TextName, device: str = "meta") -> nn.Module:
    """Return a CLIP text tower."""
    model, settings = TEXT_TOWERS[name]
    with torch.device(device):
        return model(CLIPTextConfig(**settings))


def backbone_scheduler() -> DDPMScheduler:
    """Return the noise schedule that SD 1.5, SD 2.1-base and SDXL share; all predict noise."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        steps_offset=1,
    )
