"""The published networks: their names, sizes, and the feature networks with their taps.

With weights from the hub they are what the paper distils (see :mod:`okml.add.full_scale.models`).
Configurations are those of the files ``config.json`` of each repository.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from okml.add.features import CLIP, IMAGENET, ImageInput

Backbone = Literal["sd15", "sd21", "sdxl"]
FeatureName = Literal["dino_vits16", "dinov2_vits14", "dinov2_vitl14", "clip_vitl14"]
# sd_clip_l, sd_clip_h, sdxl_clip_l and sdxl_clip_g prompt the UNets; clip_g14 is c_text.
TextName = Literal["sd_clip_l", "sd_clip_h", "sdxl_clip_l", "sdxl_clip_g", "clip_g14"]

TOKENS = 77  # context length of every CLIP text tower
LATENT_SHAPE = (4, 64, 64)  # latents of an image of 512 by 512 pixels
STUDENT_SIDE = 512  # pixels a side of the images of all students, those of SDXL too
# Pixels a side of the images that each base model was trained for: `sample_size` of its UNet, in
# latents of 8 pixels. At 512 SDXL draws what it was never trained to end with.
NATIVE_SIDES: dict[Backbone, int] = {"sd15": 512, "sd21": 512, "sdxl": 1024}
TEXT_WIDTH, IMAGE_WIDTH = 1024, 1024  # c_text of CLIP ViT-g-14, c_img of DINOv2 ViT-L


def _tower(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": heads, **{"hidden_act": "gelu", **more},
    }  # fmt: skip


TEXT_TOWERS: dict[TextName, tuple[type[nn.Module], dict[str, Any]]] = {
    "sd_clip_l": (CLIPTextModel, _tower(768, 12, 12, hidden_act="quick_gelu")),
    # The 23 layers of OpenCLIP's ViT-H/14 up to the last but one.
    "sd_clip_h": (CLIPTextModel, _tower(1024, 23, 16)),
    "sdxl_clip_g": (CLIPTextModelWithProjection, _tower(1280, 32, 20, projection_dim=1280)),
    "clip_g14": (CLIPTextModelWithProjection, _tower(1024, 24, 16, projection_dim=1024)),
}
TEXT_TOWERS["sdxl_clip_l"] = TEXT_TOWERS["sd_clip_l"]
TOWERS: dict[Backbone, tuple[TextName, ...]] = {
    "sd15": ("sd_clip_l",),
    "sd21": ("sd_clip_h",),
    "sdxl": ("sdxl_clip_l", "sdxl_clip_g"),
}


class Vision(NamedTuple):
    """A published feature network of Table 1a and how it is tapped."""

    model: type[nn.Module]
    config: type
    settings: dict[str, Any]
    blocks: tuple[int, ...]  # tapped blocks: StyleGAN-T's of 12, the same depths of 24
    images: ImageInput

    @property
    def options(self) -> dict[str, bool]:
        """Options of the model's class: the pooler of transformers' ViT is not part of DINO."""
        return {"add_pooling_layer": False} if self.model is ViTModel else {}


def _vit(width: int, layers: int, heads: int, side: int, patch: int) -> dict[str, Any]:
    return {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 4 * width, "image_size": side, "patch_size": patch,
    }  # fmt: skip


_SMALL, _LARGE = (384, 12, 6), (1024, 24, 16)
_IMAGENET_518 = ImageInput(518, IMAGENET.mean, IMAGENET.std)
_IMAGENET_224 = ImageInput(224, IMAGENET.mean, IMAGENET.std)
_SMALL_BLOCKS, _LARGE_BLOCKS = (2, 5, 8, 11), (5, 11, 17, 23)
VISION: dict[FeatureName, Vision] = {
    "dino_vits16": Vision(
        ViTModel, ViTConfig, _vit(*_SMALL, 224, 16), _SMALL_BLOCKS, _IMAGENET_224
    ),
    "dinov2_vits14": Vision(
        Dinov2Model, Dinov2Config, _vit(*_SMALL, 518, 14), _SMALL_BLOCKS, _IMAGENET_518
    ),
    "dinov2_vitl14": Vision(
        Dinov2Model, Dinov2Config, _vit(*_LARGE, 518, 14), _LARGE_BLOCKS, _IMAGENET_518
    ),
    "clip_vitl14": Vision(
        CLIPVisionModel,
        CLIPVisionConfig,
        _vit(*_LARGE, 224, 14) | {"hidden_act": "quick_gelu"},
        _LARGE_BLOCKS,
        CLIP,
    ),
}

# Counted from the published configurations and weights; section 9.1 of the chapter's notes.
PUBLISHED_PARAMETERS = {
    "unet.sd15": 859_520_964,
    "unet.sd21": 865_910_724,
    "unet.sdxl": 2_567_463_684,
    "vae": 83_653_863,
    "text.sd_clip_l": 123_060_480,
    "text.sd_clip_h": 340_387_840,
    "text.sdxl_clip_l": 123_060_480,
    "text.sdxl_clip_g": 694_659_840,
}
