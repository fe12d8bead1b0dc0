"""Published weights in the published networks, by way of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from okml.add.denoiser import Denoiser
from okml.add.features import ClassToken, ImageInput, VisionTransformerFeatures
from okml.add.full_scale.architectures import STUDENT_SIDE, VISION, Backbone, FeatureName
from okml.add.full_scale.codec import LatentCodec
from okml.add.full_scale.prompts import (
    SdPrompts,
    SdxlPrompts,
    TextEmbedding,
    Tokenize,
    tokenizer_of,
)
from okml.data import fetch, local_model

# Names in the catalog.
PIPELINES: dict[Backbone, str] = {
    "sd15": "stable_diffusion_1.5",
    "sd21": "stable_diffusion_2.1_base",
    "sdxl": "sdxl_base_1.0",
}
TURBO: dict[Backbone, str] = {"sd21": "sd_turbo", "sdxl": "sdxl_turbo"}
CLIP_G14 = "clip_vit_g14"
IMAGE_CONDITION: FeatureName = "dinov2_vitl14"  # c_img of the paper
CONDITIONS_IN = torch.bfloat16


@dataclass(frozen=True)
class Pipeline:
    """The parts of a latent diffusion model.

    Attributes:
        denoiser: The UNet that denoises latents.
        codec: The autoencoder between images and latents.
        prompts: The text towers, which make the UNet's arguments of token numbers.
        tokenize: The tokenizer of each text tower.
        scheduler: The noise schedule.
    """

    denoiser: Denoiser
    codec: LatentCodec
    prompts: nn.Module
    tokenize: tuple[Tokenize, ...]
    scheduler: DDPMScheduler

    def to(self, device: torch.device) -> Pipeline:
        """Move the networks and return the pipeline."""
        for network in (self.denoiser, self.codec, self.prompts):
            network.to(device)
        return self


def load_pipeline(
    name: Backbone,
    dtype: torch.dtype = torch.bfloat16,
    *,
    side: int = STUDENT_SIDE,
    checkpointing: bool = False,
    turbo: bool = False,
) -> Pipeline:
    """Return a published model in evaluation mode, fetched where it is not here yet.

    Args:
        name: The name of the backbone.
        dtype: The floating-point type of all weights.
        side: The side of the images, which SDXL is told.
        checkpointing: Whether the decoder is checkpointed; see :class:`LatentCodec`.
        turbo: Whether the released student is loaded in place of the base model.

    Raises:
        DataError: If it cannot be had; the message says what to do.
    """
    folder = pipeline_folder(name, turbo=turbo)
    return open_pipeline(folder, name, dtype, side=side, checkpointing=checkpointing)


def pipeline_folder(name: Backbone, *, turbo: bool = False) -> Path:
    """Return the folder of a published model, fetched where it is not here yet."""
    return fetch(TURBO[name] if turbo else PIPELINES[name])["model_index.json"].parent


def open_pipeline(
    folder: Path,
    name: Backbone,
    dtype: torch.dtype,
    *,
    side: int = STUDENT_SIDE,
    checkpointing: bool = False,
) -> Pipeline:
    """Return the model that lies in ``folder`` as diffusers saves pipelines."""
    options = {"torch_dtype": dtype, "use_safetensors": True}
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options)
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", **options)
    text = {"dtype": dtype, "use_safetensors": True}
    tower = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", **text)
    tokenizers = [CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")]
    prompts: nn.Module = SdPrompts(tower)
    if name == "sdxl":
        tower_2 = CLIPTextModelWithProjection.from_pretrained(
            folder, subfolder="text_encoder_2", **text
        )
        tokenizers.append(CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2"))
        prompts = SdxlPrompts(tower, tower_2, side)
    return Pipeline(
        Denoiser(unet).eval(),
        LatentCodec(vae, checkpointing=checkpointing).eval(),
        prompts.eval(),
        tuple(tokenizer_of(tokenizer) for tokenizer in tokenizers),
        DDPMScheduler.from_pretrained(folder, subfolder="scheduler"),
    )


def load_codec(name: Backbone) -> LatentCodec:
    """Return the autoencoder of a published base model alone, in evaluation mode."""
    vae = AutoencoderKL.from_pretrained(
        pipeline_folder(name), subfolder="vae", torch_dtype=CONDITIONS_IN, use_safetensors=True
    )
    codec: LatentCodec = LatentCodec(vae).eval()
    return codec


def load_unet(name: Backbone, dtype: torch.dtype) -> UNet2DConditionModel:
    """Return the UNet of a published base model."""
    return UNet2DConditionModel.from_pretrained(
        pipeline_folder(name), subfolder="unet", torch_dtype=dtype, use_safetensors=True
    )


def empty_unet(name: Backbone) -> UNet2DConditionModel:
    """Return a network of the form of a published base model's UNet, with random weights."""
    config = UNet2DConditionModel.load_config(pipeline_folder(name), subfolder="unet")
    unet: UNet2DConditionModel = UNet2DConditionModel.from_config(config)
    return unet


def load_features(
    name: FeatureName, dtype: torch.dtype = torch.bfloat16
) -> VisionTransformerFeatures:
    """Return a feature network of the discriminator (Table 1a), tapped as the paper does."""
    network, images = _vision(name, dtype), VISION[name].images
    side = network.config.image_size  # type: ignore[union-attr]
    return VisionTransformerFeatures(
        network,
        VISION[name].blocks,
        ImageInput(side, images.mean, images.std),  # type: ignore[arg-type]
    )


def load_image_condition() -> ClassToken:
    """Return the network of c_img: the class token of DINOv2 ViT-L, at 224 pixels a side."""
    return ClassToken(_vision(IMAGE_CONDITION, CONDITIONS_IN), VISION["dino_vits16"].images)


def load_text_condition() -> tuple[TextEmbedding, Tokenize]:
    """Return the network of c_text, CLIP ViT-g-14, and its tokenizer."""
    folder = local_model(CLIP_G14)
    pair = CLIPConfig.from_pretrained(folder)
    # Files of LAION's models state the width of the joint space for the pair, and not for its text
    # tower, which would take the default of 512.
    pair.text_config.projection_dim = pair.projection_dim
    tower = CLIPTextModelWithProjection.from_pretrained(
        folder, config=pair.text_config, dtype=CONDITIONS_IN, use_safetensors=True
    )
    return TextEmbedding(tower.eval()), tokenizer_of(CLIPTokenizer.from_pretrained(folder))


def _vision(name: FeatureName, dtype: torch.dtype) -> nn.Module:
    vision = VISION[name]
    network: nn.Module = vision.model.from_pretrained(  # type: ignore[attr-defined]
        local_model(name), dtype=dtype, use_safetensors=True, **vision.options
    )
    return network.eval()
