"""Tiny models and data under the names of the published ones, in the formats these have."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from benchmarks.gpu.backbones import backbone_scheduler
from okml.add.images import prompts
from okml.add.images.prompts import SENTENCE_MODEL, SENTENCE_WIDTH
from okml.add.small.efficientnet import EfficientNetLite0
from tests.add import pipelines
from tests.tools.own_data import OwnData

START, END = "<|startoftext|>", "<|endoftext|>"
PICTURES = 3  # of COCO, the fewest of which one can be left out
EMOJI = {"Animals & Nature": "cat", "Food & Drink": "pear", "Objects": "key", "Symbols": "plus"}
EACH = 40  # emoji a category


PIPELINES = {  # whether each is an SDXL, and its seed
    "stable_diffusion_1.5": (False, 1),
    "stable_diffusion_2.1_base": (False, 2),
    "sd_turbo": (False, 3),
    "sdxl_base_1.0": (True, 4),
    "sdxl_turbo": (True, 5),
}


def save(folder: Path) -> None:
    """Save all models that the profile gpu takes from the hub, each under its name."""
    for name, (sdxl, seed) in PIPELINES.items():
        save_pipeline(folder / name, sdxl=sdxl, seed=seed)
    for name, seed in (("clip_vit_g14", 6), ("clip_vitl14", 7)):
        save_clip(folder / name, seed, layers=24 if name == "clip_vitl14" else 3)
    torch.manual_seed(8)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    patches = {"image_size": 28, "patch_size": 7}
    for name, layers in (("dinov2_vits14", 12), ("dinov2_vitl14", 24)):
        config = Dinov2Config(num_hidden_layers=layers, **sizes, **patches)
        Dinov2Model(config).save_pretrained(folder / name)
    config = ViTConfig(num_hidden_layers=12, **sizes, **patches)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "dino_vits16")
    save_sentence_encoder(folder / SENTENCE_MODEL)


def publish(data: OwnData, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all that the profile gpu fetches into a test's cache: saved models, and pictures."""
    for folder in models.iterdir():
        if folder.name != SENTENCE_MODEL:
            data.snapshot(folder.name, folder)
    data.files("coco_val2017", coco())
    publish_emoji(data, models, monkeypatch)


def publish_emoji(data: OwnData, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all that a run on emoji fetches into a test's cache."""
    # A process keeps the encoder that it has loaded: the true one before this test, or after it.
    own = cache(prompts._sentence_model.__wrapped__)
    monkeypatch.setattr(prompts, "_sentence_model", own)
    encoder = models / SENTENCE_MODEL
    data.files(SENTENCE_MODEL, {path.name: path for path in encoder.iterdir()})
    data.files("noto_emoji", emoji())
    network, weights = EfficientNetLite0(), io.BytesIO()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network(torch.randn(8, 3, 64, 64))  # features of the size that a trained network has
    torch.save(network.state_dict(), weights)
    data.files("efficientnet_lite0", {"efficientnet-lite0-57934424.pth": weights.getvalue()})


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Return a tokenizer of letters, read from files as CLIP's are."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(number) for number in (*range(33, 127), *range(161, 173), *range(174, 256))]
    names = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    (folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    made.save_pretrained(folder)
    return made


def numbers_of(tokens: CLIPTokenizer) -> dict[str, int]:
    """Return the settings of a text tower that its tokenizer decides."""
    end = tokens.convert_tokens_to_ids(END)
    return {
        "vocab_size": len(tokens),
        "bos_token_id": tokens.convert_tokens_to_ids(START),
        "eos_token_id": end,
        "pad_token_id": end,
    }


def save_pipeline(folder: Path, *, sdxl: bool, seed: int) -> None:
    """Save a Stable Diffusion or an SDXL of a few channels as diffusers does."""
    torch.manual_seed(seed)
    tokens = tokenizer(folder / "tokenizer")
    config = pipelines.text_config(**numbers_of(tokens))
    unet, vae, tower = pipelines.unet(sdxl), pipelines.vae(0.13 if sdxl else 0.18), CLIPTextModel
    if sdxl:
        made = StableDiffusionXLPipeline(
            vae, tower(config), CLIPTextModelWithProjection(config), tokens, tokens, unet,
            backbone_scheduler(), add_watermarker=False,
        )  # fmt: skip
    else:
        made = StableDiffusionPipeline(
            vae, tower(config), tokens, unet, backbone_scheduler(), None, None,
            requires_safety_checker=False,
        )  # fmt: skip
    made.save_pretrained(folder, safe_serialization=True)


def save_clip(folder: Path, seed: int, layers: int) -> None:
    """Save a CLIP of a few channels with its processor."""
    torch.manual_seed(seed)
    tokens = tokenizer(folder)
    text = pipelines.text_config(**numbers_of(tokens)).to_dict()
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2,
        image_size=28, patch_size=7, projection_dim=pipelines.EMBEDDING,
    ).to_dict()  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=pipelines.EMBEDDING)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28)
    CLIPProcessor(images, tokens).save_pretrained(folder)


def save_sentence_encoder(folder: Path) -> None:
    """Save a BERT of one layer, of the true width, with a tokenizer of letters."""
    torch.manual_seed(10)
    letters = [chr(number) for number in range(ord("0"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=SENTENCE_WIDTH, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def picture(seed: int, side: tuple[int, int] = (40, 30)) -> Image.Image:
    """Return a smooth picture of two colors."""
    rng = np.random.default_rng(seed)
    across = np.linspace(0, 1, side[0])[None, :, None]
    colours = rng.integers(0, 255, (2, 3))
    pixels = (1 - across) * colours[0] + across * colours[1] + np.zeros((side[1], 1, 1))
    return Image.fromarray(pixels.astype(np.uint8))


def coco() -> dict[str, bytes]:
    """Return the archives of COCO 2017 with a few pictures."""
    numbers = range(1, PICTURES + 1)
    listed = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in numbers],
        "annotations": [
            {"id": 10 * n + k, "image_id": n, "caption": f"picture {n} told in words {k}"}
            for n in numbers
            for k in range(2)
        ],
    }
    captions, images = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(captions, "w") as archive:
        archive.writestr("annotations/captions_val2017.json", json.dumps(listed))
    with zipfile.ZipFile(images, "w") as archive:
        for n in numbers:
            buffer = io.BytesIO()
            picture(n).save(buffer, "JPEG")
            archive.writestr(f"val2017/{n:012d}.jpg", buffer.getvalue())
    return {
        "annotations_trainval2017.zip": captions.getvalue(),
        "val2017.zip": images.getvalue(),
    }


def emoji() -> dict[str, bytes]:
    """Return a sheet of emoji and the list of what is on it."""
    names = [(category, name) for category, name in EMOJI.items() for _ in range(EACH)]
    wide = 16
    sheet = Image.new("RGBA", (66 * wide, 66 * -(-len(names) // wide)))
    listed = []
    for number, (category, name) in enumerate(names):
        column, row = number % wide, number // wide
        drawn = picture(1000 * list(EMOJI).index(category) + number % 7, (64, 64))
        sheet.paste(drawn, (66 * column + 1, 66 * row + 1))
        listed.append(
            {
                "name": f"{name} {number}",
                "category": category,
                "has_img_google": True,
                "sheet_x": column,
                "sheet_y": row,
            }
        )
    drawn = io.BytesIO()
    sheet.save(drawn, "PNG")
    return {"emoji.json": json.dumps(listed).encode(), "img/google/sheets/64.png": drawn.getvalue()}


def save_inception(hub: Path) -> Path:
    """Save random weights where torch-fidelity keeps those of its Inception, and return where."""
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    torch.manual_seed(9)
    network = fidelity.FeatureExtractorInceptionV3
    with (  # its constructor loads the weights that are being made
        mock.patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        mock.patch.object(network, "load_state_dict"),
    ):
        made = network("inception-v3-compat", ["2048"])
    place = hub / "checkpoints" / Path(fidelity.URL_INCEPTION_V3).name
    place.parent.mkdir(parents=True)
    torch.save(made.state_dict(), place)
    return place
