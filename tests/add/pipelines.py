"""Latent diffusion models of the published forms at a few thousand weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Dinov2Config,
    Dinov2Model,
)

from benchmarks.gpu.backbones import backbone_scheduler
from okml.add.denoiser import Denoiser
from okml.add.features import IMAGENET, ClassToken, ImageInput, VisionTransformerFeatures
from okml.add.full_scale.architectures import TOKENS
from okml.add.full_scale.codec import LatentCodec
from okml.add.full_scale.models import Pipeline
from okml.add.full_scale.prepare import Encoders
from okml.add.full_scale.prompts import SdPrompts, SdxlPrompts, TextEmbedding

SIDE = 16  # of images; latents are half as wide
WIDTH = 8  # of each text tower
WORDS = 100
EMBEDDING = 6  # c_text
IMAGE_WIDTH = 16  # c_img


def tokenize(captions: Sequence[str]) -> Tensor:
    """Number letters; 99 ends a caption and pads it, as CLIP's last number does."""
    rows = [[ord(letter) % 90 for letter in caption][: TOKENS - 1] for caption in captions]
    return torch.tensor([row + [WORDS - 1] * (TOKENS - len(row)) for row in rows])


def text_config(**changes: int) -> CLIPTextConfig:
    sizes = {
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "projection_dim": EMBEDDING,
        "bos_token_id": 0,
        "eos_token_id": WORDS - 1,
        "pad_token_id": WORDS - 1,
    }
    return CLIPTextConfig(**(sizes | changes))


def unet(sdxl: bool) -> UNet2DConditionModel:
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": EMBEDDING + 6 * 4,
    }
    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH * (1 + sdxl),
        attention_head_dim=4,
        norm_num_groups=4,
        use_linear_projection=True,
        **(added if sdxl else {}),
    )


def vae(scale: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=scale,
    )


def pipeline(sdxl: bool = False, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pipeline:
    torch.manual_seed(seed)
    tower = CLIPTextModel(text_config())
    prompts: nn.Module = SdPrompts(tower)
    tokenizers = (tokenize,)
    if sdxl:
        prompts = SdxlPrompts(tower, CLIPTextModelWithProjection(text_config()), SIDE)
        tokenizers = (tokenize, tokenize)
    return Pipeline(
        Denoiser(unet(sdxl).to(dtype)).eval(),
        LatentCodec(vae(0.13 if sdxl else 0.18).to(dtype)).eval(),
        prompts.to(dtype).eval(),
        tokenizers,
        backbone_scheduler(),
    )


def vision() -> Dinov2Model:
    torch.manual_seed(4)
    return Dinov2Model(
        Dinov2Config(
            hidden_size=IMAGE_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=28,
            patch_size=7,
        )
    ).eval()


def features() -> VisionTransformerFeatures:
    images = ImageInput(28, IMAGENET.mean, IMAGENET.std)
    return VisionTransformerFeatures(vision(), (0, 2), images)


def encoders(own: Pipeline) -> Encoders:
    torch.manual_seed(5)
    text = TextEmbedding(CLIPTextModelWithProjection(text_config())).eval()
    return Encoders(
        codec=own.codec,
        text=text,
        text_tokenize=tokenize,
        image=ClassToken(vision(), ImageInput(28, IMAGENET.mean, IMAGENET.std)),
    )


def raw_shard(folder: Path, count: int = 9) -> Path:
    """Write images and captions as webdataset ships them: two of them unusable."""
    import numpy as np
    import webdataset
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "raw.tar"
    rng = np.random.default_rng(0)
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(count):
            size = (10, 40) if number == 1 else (24, 40)  # one is too narrow
            pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
            caption = "too short" if number == 2 else f"a picture of number {number}"
            image = Image.fromarray(pixels)
            writer.write({"__key__": f"{number:04d}", "png": image, "txt": caption})
    return path
