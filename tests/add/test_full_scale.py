"""The published networks, and full-scale distillation on networks of the same forms."""

from __future__ import annotations

import copy
import gc
import io
import json
import re
import tarfile
import tracemalloc
import weakref
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typer.testing import CliRunner

from benchmarks.gpu import backbones
from okml.add.config import PROFILES
from okml.add.denoiser import Denoiser
from okml.add.frechet import frechet_distance, moments
from okml.add.full_scale import architectures, coco, models, planning, run, scores
from okml.add.full_scale import prepare as prepare_module
from okml.add.full_scale.assemble import assemble, encode_prompts, fixed_conditions
from okml.add.full_scale.codec import LatentCodec, sample_latents
from okml.add.full_scale.prepare import encode_pairs
from okml.add.full_scale.prompts import time_ids
from okml.add.full_scale.settings import TABLE_1, FullScaleSettings, table_1
from okml.add.full_scale.shards import (
    ShardBatches,
    find_shards,
    index_shard,
    square,
    stream_pairs,
    write_shard,
)
from okml.add.planning import plan
from okml.add.sampling import draw_noise, student_sampler
from okml.add.schedule import NoiseSchedule
from okml.add.task import AdversarialDistillation
from okml.data import catalog
from okml.errors import DataError
from okml.plan import CARD_PROCESS_GIB, sum_of
from okml.training import TrainingSettings, fit, load_weights
from tests.add import pipelines, published_models
from tests.add.pipelines import SIDE, pipeline

RUN = TrainingSettings(
    batch_size=4, max_steps=2, gradient_accumulation=2, log_every=1, device="cpu", ema_decay=0.9
)
SETTINGS = FullScaleSettings(training=RUN, side=SIDE, frozen_dtype="float32")


# ---------------------------------------------------------------- the published networks


@pytest.fixture(scope="module")
def published() -> dict[str, nn.Module]:
    """Every published network on the ``meta`` device, by the names of the sizes."""
    built: dict[str, nn.Module] = {"vae": backbones.build_vae()}
    built |= {f"unet.{name}": backbones.build_unet(name) for name in backbones.UNETS}
    towers = architectures.TEXT_TOWERS
    built |= {f"text.{name}": backbones.build_text_tower(name) for name in towers}
    with torch.device("meta"):
        for name, vision in architectures.VISION.items():
            network = vision.model(vision.config(**vision.settings), **vision.options)
            built[f"vision.{name}"] = network
    return built


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights, the mask token of DINOv2 left out: inference has none."""
    return sum(p.numel() for name, p in network.named_parameters() if "mask_token" not in name)


# Those of the networks that planning does not count, beside the others.
PUBLISHED_PARAMETERS = architectures.PUBLISHED_PARAMETERS | {
    "text.clip_g14": 354_032_640,
    "vision.dinov2_vits14": 22_056_192,
    "vision.dinov2_vitl14": 304_367_616,
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_parameters_are_the_published_ones(published: dict[str, nn.Module], name: str) -> None:
    assert count_parameters(published[name]) == PUBLISHED_PARAMETERS[name]


def test_feature_networks_give_what_heads_take(published: dict[str, nn.Module]) -> None:
    from okml.add.features import VisionTransformerFeatures

    patches = {"dino_vits16": 14**2, "dinov2_vits14": 37**2, "dinov2_vitl14": 37**2}
    for name, count in patches.items():
        chosen = architectures.VISION[name]
        network = published[f"vision.{name}"]
        tapped = VisionTransformerFeatures(network, chosen.blocks, chosen.images)
        width = network.config.hidden_size
        assert tapped.channels == (width,) * 5
        if name == "dinov2_vits14":  # interpolating positions needs numbers at other sizes
            with torch.device("meta"):
                taps = tapped(torch.empty(1, 3, 512, 512))
            assert [tuple(tap.shape) for tap in taps] == [(1, width, count)] * 5


def test_every_network_has_its_entry_in_the_catalog() -> None:
    from okml.add.full_scale.models import CLIP_G14, PIPELINES, TURBO

    names = {*PIPELINES.values(), *TURBO.values(), CLIP_G14, *architectures.VISION, "coco_val2017"}
    assert names <= catalog().keys()


@pytest.mark.nightly
def test_real_size_unet_runs_in_bfloat16() -> None:
    """SD 2.1's 866 M weights, random, one forward pass of an image as small as it takes.

    The weights are what is real-size here: many a CPU computes bfloat16 convolutions by emulation.
    """
    unet = backbones.build_unet("sd21").to_empty(device="cpu").to(torch.bfloat16)
    with torch.no_grad():
        for parameter in unet.parameters():
            nn.init.normal_(parameter, std=0.02)
        noisy = torch.randn(1, architectures.LATENT_SHAPE[0], 8, 8)
        told = {"encoder_hidden_states": torch.randn(1, 77, 1024)}
        out = Denoiser(unet)(noisy, torch.tensor([999]), told)
    assert out.shape == noisy.shape
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert out.std() > 0


@pytest.mark.parametrize("name", architectures.NATIVE_SIDES)
def test_native_sides_are_those_that_diffusers_draws_at(name: Any) -> None:
    """By the published configuration: latents of the UNet, times the pixels of a latent."""
    assert backbones.UNETS[name]["sample_size"] * 8 == architectures.NATIVE_SIDES[name]
    assert FullScaleSettings().teacher_side(name) == architectures.NATIVE_SIDES[name]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("sd21", 512),
        ("sd21", 1024),
        *(pytest.param("sdxl", side, marks=pytest.mark.nightly) for side in (512, 1024)),
    ],
)
def test_unets_take_what_the_denoiser_gives_in_the_operations_of_the_plan(
    published: dict[str, nn.Module], name: Any, side: int
) -> None:
    """Shapes alone, on the meta device; the count of operations is torch's own."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        width = backbones.UNETS[name]["cross_attention_dim"]
        told = {"encoder_hidden_states": torch.empty(1, 77, width)}
        if name == "sdxl":
            told |= {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}
        noisy = torch.empty(1, architectures.LATENT_SHAPE[0], side // 8, side // 8)
        found = Denoiser(published[f"unet.{name}"])(noisy, torch.zeros(1, dtype=torch.long), told)
    assert found.shape == noisy.shape
    expected = planning.drawing_tera(name, side, calls=1, images=0)
    assert counter.get_total_flops() / 1e12 == pytest.approx(expected, rel=0.02)


@pytest.mark.nightly
@pytest.mark.parametrize("name", architectures.VISION)
def test_operations_of_feature_networks(published: dict[str, nn.Module], name: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        side = architectures.VISION[name].images.resolution
        published[f"vision.{name}"](torch.empty(1, 3, side, side))
    found = counter.get_total_flops() / 1e12
    assert found == pytest.approx(planning.FEATURE_TERA[name], rel=0.1)


@pytest.mark.nightly
@pytest.mark.parametrize("side", [512, 1024])
def test_operations_of_the_decoder(published: dict[str, nn.Module], side: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        published["vae"].decode(torch.empty(1, architectures.LATENT_SHAPE[0], side // 8, side // 8))
    found = counter.get_total_flops() / 1e12
    expected = planning.drawing_tera("sdxl", side, calls=0, images=1)
    assert found == pytest.approx(expected, rel=0.02)


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made in its block hold at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.live:
                    self.live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, storage._cdata)
        self.most = max(self.most, sum(self.live.values()))
        return made


def test_a_decoded_image_takes_what_the_plan_says(published: dict[str, nn.Module]) -> None:
    with torch.device("meta"), torch.no_grad(), LiveBytes() as bytes_:
        published["vae"].decode(torch.empty(1, *architectures.LATENT_SHAPE))
    assert bytes_.most / 512**2 == pytest.approx(planning.DECODED_BYTES, rel=0.02)


# ---------------------------------------------------------------- prompts and latents


class Letters:
    """A tokenizer as the pipelines of diffusers call it."""

    model_max_length = 77
    added_tokens_encoder: dict[str, int] = {}  # noqa: RUF012

    def tokenize(self, caption: str) -> list[str]:
        return list(caption)

    def __call__(self, captions: Any, **options: Any) -> Any:
        class Out:
            input_ids = pipelines.tokenize([captions] if isinstance(captions, str) else captions)
            attention_mask = torch.ones_like(input_ids)

        return Out()


def test_sd_prompts_are_those_of_diffusers() -> None:
    own = pipeline()
    peer = StableDiffusionPipeline(
        own.codec.vae, own.prompts.tower, None, own.denoiser.network, own.scheduler,
        None, None, requires_safety_checker=False,
    )  # fmt: skip
    peer.tokenizer = Letters()
    expected, _ = peer.encode_prompt("a cat", "cpu", 1, False)
    found = encode_prompts(own, ["a cat"], torch.device("cpu"))
    torch.testing.assert_close(found["encoder_hidden_states"], expected)


def test_sdxl_prompts_and_sizes_are_those_of_diffusers() -> None:
    own = pipeline(sdxl=True)
    peer = StableDiffusionXLPipeline(
        own.codec.vae, own.prompts.tower, own.prompts.tower_2, None, None,
        own.denoiser.network, own.scheduler, add_watermarker=False,
    )  # fmt: skip
    peer.tokenizer = peer.tokenizer_2 = Letters()
    expected, null, pooled, null_pooled = peer.encode_prompt(
        "a cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    found = encode_prompts(own, ["a cat"], torch.device("cpu"))
    torch.testing.assert_close(found["encoder_hidden_states"], expected)
    torch.testing.assert_close(found["text_embeds"], pooled)
    times = peer._get_add_time_ids(
        (SIDE, SIDE), (0, 0), (SIDE, SIDE), torch.float32, pipelines.EMBEDDING
    )
    torch.testing.assert_close(found["time_ids"], times)
    empty, _ = fixed_conditions(own)
    torch.testing.assert_close(empty["encoder_hidden_states"], null)
    torch.testing.assert_close(empty["text_embeds"], null_pooled)
    assert torch.equal(empty["time_ids"], time_ids(1, SIDE, torch.device("cpu")))


def test_codec_scales_and_passes_gradients() -> None:
    codec = pipeline().codec
    images = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    with torch.no_grad():
        latents = codec.encode(images)
        posterior = codec.vae.encode(images).latent_dist
        torch.testing.assert_close(latents, 0.18 * posterior.mean)
        torch.testing.assert_close(codec.decode(latents), codec.vae.decode(posterior.mean).sample)
    latents.requires_grad_()
    (gradient,) = torch.autograd.grad(codec.decode(latents).square().sum(), latents)
    assert (gradient != 0).all()


def test_checkpointed_decoder_has_the_same_gradient() -> None:
    plain = pipeline().codec
    again = LatentCodec(plain.vae)
    latents = torch.randn(1, 4, SIDE // 2, SIDE // 2, requires_grad=True)
    (expected,) = torch.autograd.grad(plain.decode(latents).square().sum(), latents)
    checkpointed = LatentCodec(again.vae, checkpointing=True).requires_grad_(False)
    (found,) = torch.autograd.grad(checkpointed.decode(latents).square().sum(), latents)
    torch.testing.assert_close(found, expected)


def test_checkpointed_decoder_takes_one_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the forward pass and where a block is recomputed; the gradient is the same for all."""
    plain = pipeline().codec
    latents = torch.randn(3, 4, SIDE // 2, SIDE // 2, requires_grad=True)
    (expected,) = torch.autograd.grad(plain.decode(latents).square().sum(), latents)
    checkpointed = LatentCodec(pipeline().codec.vae, checkpointing=True).requires_grad_(False)
    seen = []
    for block in checkpointed.vae.decoder.up_blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    (found,) = torch.autograd.grad(checkpointed.decode(latents).square().sum(), latents)
    torch.testing.assert_close(found, expected)
    assert seen == [1] * 2 * 2 * 3  # blocks, passes, images


def test_stored_moments_are_drawn_as_diffusers_draws() -> None:
    codec = pipeline().codec
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        posterior = codec.vae.encode(images).latent_dist
    expected = 0.18 * posterior.sample(torch.Generator().manual_seed(1))
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sample_latents(codec.moments(images), 0.18, noise), expected)


# ---------------------------------------------------------------- shards


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    raw = pipelines.raw_shard(folder / "raw")
    encoders = pipelines.encoders(pipeline())
    encoded = encode_pairs(stream_pairs(str(raw)), encoders, torch.device("cpu"), SIDE, batch=3)
    for name, count in (("000000.tar", 4), ("000001.tar", None)):
        write_shard(islice(encoded, count), folder / "shards" / name)
    return folder / "shards"


def test_shards_hold_the_usable_pairs(prepared: Path) -> None:
    shards = find_shards(prepared)
    assert [path.name for path in shards] == ["000000.tar", "000001.tar"]
    assert [len(index_shard(path)) for path in shards] == [4, 3]  # of nine, two unusable
    assert sorted(path.name for path in prepared.iterdir()) == ["000000.tar", "000001.tar"]


def test_a_shard_whose_source_fails_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"__key__": "0", "txt": "a caption"}
        assert len([*(tmp_path / "shards").iterdir()]) == 1  # the shard is being written
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_shard(broken(), tmp_path / "shards" / "000000.tar")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_batches_hold_what_was_encoded(prepared: Path) -> None:
    own = pipeline()
    source = ShardBatches(find_shards(prepared), own.codec.scale, own.tokenize)
    assert len(source) == 7
    batch = source.batch(np.array([6, 0]), np.random.default_rng(0))
    captions = ["a picture of number 8", "a picture of number 0"]
    assert batch.images.shape == (2, 3, SIDE, SIDE)
    assert batch.images.abs().max() <= 1
    encoders = pipelines.encoders(own)
    with torch.no_grad():
        text = encoders.text(pipelines.tokenize(captions))
    torch.testing.assert_close(batch.text, text, atol=1e-3, rtol=1e-3)
    assert torch.equal(batch.condition["input_ids"], pipelines.tokenize(captions))
    # JPEG changes pixels, so embeddings of what was read are near those of what was encoded.
    with torch.no_grad():
        image = encoders.image(batch.images)
    assert torch.cosine_similarity(batch.image, image).min() > 0.95


def test_latents_are_drawn_anew_for_each_place(prepared: Path) -> None:
    own = pipeline()
    source = ShardBatches(find_shards(prepared), own.codec.scale, own.tokenize)
    one, again, other = (
        source.batch(np.array([0]), np.random.default_rng(seed)).latents for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_shards_stream_with_webdataset(prepared: Path) -> None:
    import webdataset

    source = webdataset.WebDataset(str(prepared / "000000.tar"), shardshuffle=False).decode("pil")
    rows = list(source)
    assert len(rows) == 4
    assert rows[0]["jpg"].size == (SIDE, SIDE)
    assert rows[0]["latents.npy"].shape == (2, 4, SIDE // 2, SIDE // 2)
    assert rows[0]["json"]["caption"] == "a picture of number 0"


def test_processes_that_prepare_may_share_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device that a process picks is its own card, and more of them than cards share these."""
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(prepare_module, "pick_device", torch.device)
    taken = []

    def load(_: FullScaleSettings, device: torch.device) -> None:
        taken.append(device)
        raise OSError("Nothing more is looked at.")

    monkeypatch.setattr(prepare_module, "_load_encoders", load)
    settings = SETTINGS.changed({"shards": tmp_path})
    with pytest.raises(DataError, match="could not be read"):
        prepare_module.prepare(settings, "000000.tar", device_name="cuda")
    assert taken == [torch.device("cuda")]


def test_missing_and_damaged_shards_are_named(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no shards"):
        find_shards(tmp_path)
    whole = (prepared / "000000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"cut\.tar"):
        index_shard(tmp_path / "cut.tar")
    with tarfile.open(tmp_path / "poor.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("1.jpg"))
    with pytest.raises(DataError, match=r"lacks .*text\.npy"):
        index_shard(tmp_path / "poor.tar")


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


MEMBERS = {
    "jpg": b"", "json": b'{"caption": "a"}', "latents.npy": saved(np.zeros((2, 4, 2, 2))),
    "text.npy": saved(np.zeros(3)), "image.npy": saved(np.zeros(3)),
}  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"[]", b"{}", b"\x93NUMPY\1\0v\0{'de"])
@pytest.mark.parametrize("damaged", MEMBERS)
def test_a_damaged_member_of_a_shard_is_named(damaged: str, content: bytes, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for extension, whole in {**MEMBERS, "jpg": picture.getvalue(), damaged: content}.items():
            member = tarfile.TarInfo(f"1.{extension}")
            member.size = len(whole)
            archive.addfile(member, io.BytesIO(whole))
    tokens = (lambda captions: torch.zeros(len(captions), 3),)
    source = ShardBatches([tmp_path / "a.tar"], 1.0, tokens)
    with pytest.raises(DataError, match=rf"a\.tar has a damaged {re.escape(damaged)} at byte"):
        source.batch(np.array([0]), np.random.default_rng(0))


def test_square_crops_the_centre() -> None:
    image = Image.new("RGB", (60, 20), "black")
    image.paste((255, 255, 255), (20, 0, 40, 20))
    pixels = np.asarray(square(image, 10))
    assert pixels.shape == (10, 10, 3)
    assert pixels[:, 1:-1].min() > 200


# ---------------------------------------------------------------- the distillation


def build(settings: FullScaleSettings, own: Any, teacher: Any) -> AdversarialDistillation:
    weights = Denoiser(copy.deepcopy(own.denoiser.network))
    return assemble(
        settings, weights, own, teacher, pipelines.features(),
        text_width=pipelines.EMBEDDING, image_width=pipelines.IMAGE_WIDTH,
    )  # fmt: skip


def in_place(prepared: Path, changes: dict[str, Any]) -> FullScaleSettings:
    """Return settings that find the prepared shards."""
    place = prepared.with_name("sd21")  # the default student's
    if not place.exists():
        place.symlink_to(prepared)
    return SETTINGS.changed({"shards": prepared.parent, **changes})


# The others change a switch, which tests of the task train, or a feature network, which is the same
# for all rows here.
QUICK_ROWS = {"default", "d.nfsd", "e.teacher_sdxl", "e.both_sdxl"}


@pytest.mark.parametrize(
    "row",
    [row if row in QUICK_ROWS else pytest.param(row, marks=pytest.mark.nightly) for row in TABLE_1],
)
def test_every_row_of_table_1_trains(prepared: Path, row: str) -> None:
    """On networks of the same forms, for a step; only feature networks are all the same here."""
    few = RUN.model_copy(update={"batch_size": 2, "max_steps": 1, "gradient_accumulation": 1})
    settings = table_1(SETTINGS.changed({"training": few.model_dump()}))[row]
    settings = settings.changed({"add.heads": {"kernel": 3, "virtual_batch": 2}})
    own = pipeline(settings.student == "sdxl")
    mixed = settings.teacher != settings.student
    teacher = pipeline(settings.teacher == "sdxl", seed=1) if mixed else own
    task = build(settings, own, teacher)
    tokenizers = (own.tokenize, teacher.tokenize if mixed else ())
    source = ShardBatches(find_shards(prepared), own.codec.scale, *tokenizers)
    frame = fit(task, source, settings.training).frame
    assert frame["student/gradient_norm"].min() > 0


def test_a_run_is_continued_and_its_student_loaded(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipeline()
    settings = in_place(prepared, {"add.heads": {"kernel": 3, "virtual_batch": 2}})
    monkeypatch.setattr(run, "load_pipeline", lambda *a, **k: own)
    monkeypatch.setattr(run, "load_unet", lambda *a: pipeline().denoiser.network)
    monkeypatch.setattr(run, "load_features", lambda *a: pipelines.features())
    monkeypatch.setattr(run, "empty_unet", lambda *a: pipelines.unet(False))
    assert run.train(settings, tmp_path).steps == 2
    assert run.train(settings, tmp_path).steps == 2
    student = run.load_student(settings, tmp_path)
    saved = load_weights(tmp_path)["ema.student"]
    assert all(torch.equal(v, saved[k]) for k, v in student.state_dict().items())
    assert not student.training


def test_shards_are_looked_for_before_models_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("loaded gigabytes for nothing")

    monkeypatch.setattr(run, "load_pipeline", refuse)
    with pytest.raises(DataError, match="no shards"):
        run.train(SETTINGS.changed({"shards": tmp_path}), tmp_path)


# ---------------------------------------------------------------- scores


def test_captions_are_the_first_of_each_image() -> None:
    content = {
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "a.jpg"}],
        "annotations": [
            {"id": 12, "image_id": 7, "caption": "second"},
            {"id": 11, "image_id": 7, "caption": " first \n"},
            {"id": 20, "image_id": 3, "caption": "only"},
        ],
    }
    assert coco.read_captions(content) == [(3, "a.jpg", "only"), (7, "b.jpg", "first")]


class Corners(nn.Module):
    """Four pixels of images as features."""

    num_features = 4

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = pixels.double() / 255
        return torch.stack([x[:, 0, 0, 0], x[:, 1, 0, -1], x[:, 2, -1, 0], x[:, 0, -1, -1]], 1)


def test_fid_is_that_of_torchmetrics_for_all_images_and_without_each_group() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    def expected(real: torch.Tensor, drawn: torch.Tensor) -> float:
        peer = FrechetInceptionDistance(feature=Corners()).set_dtype(torch.float64)
        for images, which in ((real, True), (drawn, False)):
            peer.update(((images + 1) / 2 * 255).round().byte(), real=which)
        return float(peer.compute())

    rng = torch.Generator().manual_seed(0)
    real, drawn = torch.rand(2, 200, 3, 4, 4, generator=rng) * 2 - 1
    drawn = 0.5 * drawn + 0.2
    found = scores.GenerationScores(torch.device("cpu"), Corners())
    for part in real.split(50):
        found.add_real(part)
    for part in drawn.split(30):
        found.add_generated(part, ["x"] * len(part))
    whole, *without = found.compute()["fid"]
    assert whole == pytest.approx(expected(real, drawn), rel=1e-4)
    assert len(without) == scores.GROUPS
    left = drawn[torch.arange(len(drawn)) % scores.GROUPS != 3]
    assert without[3] == pytest.approx(expected(real, left), rel=1e-4)
    # Real images stay for the next set, generated ones are forgotten.
    found.add_generated(real, ["x"] * 200)
    assert found.compute()["fid"][0] == pytest.approx(0, abs=1e-9)


def test_larger_drawings_are_shown_to_the_scores_as_real_images_are() -> None:
    """At the side of the real images, by the filter that Pillow resized these with."""

    class Seen(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.flatten(1).double()

    picture = published_models.picture(0, (64, 64))
    speckled = np.random.default_rng(0).integers(0, 255, (64, 64, 3)) // 2
    picture = Image.fromarray((np.asarray(picture) // 2 + speckled).astype(np.uint8))
    drawn = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    found = scores.GenerationScores(torch.device("cpu"), Seen(), side=32)
    found.add_generated(drawn, ["a cat"])
    (pixels,) = found.drawn
    expected = np.asarray(square(picture, 32)).transpose(2, 0, 1).ravel()
    assert np.abs(pixels[0].numpy() - expected).max() <= 1
    # What a picture cannot show is cut off before it is mixed with its neighbours.
    found.add_generated(drawn.where(drawn < 0.9, 5.0), ["a cat"])
    found.add_generated(drawn.where(drawn < 0.9, 1.0), ["a cat"])
    assert torch.equal(found.drawn[1], found.drawn[2])


def test_fid_of_fewer_images_than_features_is_that_of_their_covariances() -> None:
    """The usual way: eigenvalues of a product of two covariances, singular here."""
    rng = np.random.default_rng(0)
    real, drawn = rng.standard_normal((7, 12)), rng.standard_normal((5, 12)) + 0.5
    (ca, cb), apart = (np.cov(x.T) for x in (real, drawn)), real.mean(0) - drawn.mean(0)
    root = np.sqrt(np.linalg.eigvals(ca @ cb).astype(complex)).real.sum()
    expected = apart @ apart + np.trace(ca) + np.trace(cb) - 2 * root
    found = frechet_distance(*(moments(torch.from_numpy(values)) for values in (real, drawn)))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("side", "error"), [(28, 1e-5), (64, 0.02)])
def test_clip_similarity_is_that_of_the_model_and_its_processor(
    tmp_path: Path, side: int, error: float
) -> None:
    """A caption longer than the model reads is cut; PIL rounds the pixels that it resizes."""
    from transformers import CLIPModel, CLIPProcessor

    published_models.save_clip(tmp_path, seed=0, layers=2)
    model = CLIPModel.from_pretrained(tmp_path).eval()
    processor = CLIPProcessor.from_pretrained(tmp_path)
    pictures = [published_models.picture(n, (side, side)) for n in range(3)]
    prompts = ["a cat", "two pears", "a key " * 40]
    pixels = torch.stack([torch.from_numpy(np.asarray(each).copy()) for each in pictures])
    with torch.no_grad():
        inputs = processor(
            text=prompts, images=pictures, return_tensors="pt", padding="max_length",
            truncation=True, max_length=77,
        )  # fmt: skip
        expected = model(**inputs).logits_per_image.diagonal() / model.logit_scale.exp()
        found = scores.ClipSimilarity.load(str(tmp_path))(pixels.permute(0, 3, 1, 2), prompts)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=error)
    assert np.ptp(expected.tolist()) > 0.2


def test_the_text_condition_is_as_wide_as_the_pair_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of LAION's models state it for the pair alone, and transformers' default is 512."""
    from transformers import CLIPModel

    published_models.save_clip(tmp_path, seed=0, layers=2)
    stated = json.loads((tmp_path / "config.json").read_text())
    del stated["text_config"]["projection_dim"]
    (tmp_path / "config.json").write_text(json.dumps(stated))
    monkeypatch.setattr(models, "local_model", {models.CLIP_G14: tmp_path}.get)
    network, tokenize = models.load_text_condition()
    ids = tokenize(["a cat", "two pears"])
    with torch.no_grad():
        pooled = CLIPModel.from_pretrained(tmp_path).get_text_features(ids).pooler_output
        found = network(ids)
    expected = torch.nn.functional.normalize(pooled, dim=1)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)  # weights in bfloat16


def test_coco_is_read_from_its_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2, 3)],
        "annotations": [{"id": n, "image_id": n, "caption": f"c{n}"} for n in (1, 2, 3)],
    }
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(coco.CAPTIONS, json.dumps(content))
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        for n in (1, 2, 3):
            Image.new("RGB", (30, 20), (n, n, n)).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"val2017/{n}.jpg")
    paths = {"annotations_trainval2017.zip": tmp_path / "a.zip", "val2017.zip": tmp_path / "v.zip"}
    monkeypatch.setattr(coco, "fetch", lambda name: paths)
    loaded = coco.Coco.load()
    assert [caption.text for caption in loaded.captions] == ["c1", "c2", "c3"]
    batches = list(loaded.images(8, 2))
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 8, 8), (1, 3, 8, 8)]
    values = torch.cat(batches)[:, 0, 0, 0]
    torch.testing.assert_close(values, torch.tensor([1.0, 2.0, 3.0]) / 127.5 - 1)


def test_one_gaussian_of_all_images_is_drawn_in_their_size() -> None:
    class Pictures(coco.Coco):
        def images(self, side: int, batch: int) -> Iterator[torch.Tensor]:
            draws = torch.Generator().manual_seed(0)
            yield 0.5 + 0.1 * torch.randn(40, 3, side, side, generator=draws)

    rows = tuple(coco.Caption(n, "", f"caption {n}") for n in range(40))
    draw = coco.gaussian_drawer(Pictures(rows, Path()), SIDE, own_side=4)
    drawn = torch.cat([draw(rows[:20]), draw(rows[20:])])
    assert drawn.shape == (40, 3, SIDE, SIDE)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(drawn[:20], drawn[20:])


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_drawings_depend_on_the_image_alone(steps: int) -> None:
    own = pipeline()
    known = NoiseSchedule.from_scheduler(backbones.backbone_scheduler(), "noise_only")
    sample = student_sampler(own.denoiser, known, steps)
    draw = run.drawer(own, sample, torch.device("cpu"), SIDE)
    rows = [coco.Caption(n, "", f"caption {n}") for n in (1, 2, 3)]
    together = draw(rows)
    assert together.shape == (3, 3, SIDE, SIDE)
    alone = torch.cat([draw([row]) for row in rows])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)


def test_noise_between_steps_goes_on_from_the_first() -> None:
    """The noises of an image are those that a generator with its number draws in turn."""
    own = pipeline()
    drawn: list[Tensor] = []

    def sample(noise: Tensor, _: Any, generators: Any) -> Tensor:
        drawn.extend([noise, draw_noise(noise.shape, generators, noise.device)])
        return noise

    rows = [coco.Caption(n, "", "a caption") for n in (5, 9)]
    run.drawer(own, sample, torch.device("cpu"), SIDE)(rows)
    for place, row in enumerate(rows):
        known = torch.Generator().manual_seed(row.image_id)
        for noise in drawn:
            assert torch.equal(noise[place], torch.randn(noise[place].shape, generator=known))


# ---------------------------------------------------------------- plans


def test_memory_of_the_sdxl_student() -> None:
    """Sums of the chapter's notes: 16 bytes of 2.567 G weights, and 4 more with an average."""
    settings = FullScaleSettings(student="sdxl", teacher="sdxl")
    items = {item.what: item.value for item in planning.card_memory(settings)}
    assert items["student: weights, gradient, both moments, average"] == pytest.approx(
        47.8, abs=0.1
    )
    assert items["teacher"] == pytest.approx(4.78, abs=0.01)
    assert items["text towers"] == pytest.approx(1.52, abs=0.01)
    assert items["autoencoder, feature network, heads"] == pytest.approx(0.32, abs=0.03)
    assert planning.micro_batch(settings) == 8
    passing = items["passing: half-precision copies that autocast holds, activations"]
    assert passing == pytest.approx(4.78 + 8 * (0.14 + 0.40 + 0.65) + 1.31, abs=0.01)


def test_processes_hold_shares_or_one_more_copy_of_the_gradients() -> None:
    settings = FullScaleSettings(student="sdxl", teacher="sdxl")
    weights = 2_567_463_684 / 2**30
    one, each = (sum_of(planning.card_memory(settings, count)) for count in (1, 8))
    assert each - one == pytest.approx(4 * weights)
    sharded = settings.model_copy(update={"shard_student": True})
    shares = [sum_of(planning.card_memory(sharded, count)) for count in (1, 8)]
    assert shares[0] == one
    assert shares[0] - shares[1] == pytest.approx(20 * weights * 7 / 8)


@pytest.mark.parametrize("row", TABLE_1)
def test_every_row_fits_one_h100(row: str) -> None:
    """Of 80 GB, about 78 GiB can be had."""
    settings = table_1()[row]
    assert sum_of(planning.card_memory(settings)) <= 76
    # One micro-batch is one group of the heads' normalization.
    assert planning.micro_batch(settings) == settings.add.heads.virtual_batch


def test_scores_of_sdxl_fit_one_h100_at_its_own_side() -> None:
    """Four times the pixels, a quarter of the images; the plan counts them without any training."""
    settings = FullScaleSettings()
    assert (settings.drawn_at_once(512), settings.drawn_at_once(1024)) == (16, 4)
    assert settings.changed({"evaluation_batch": 2}).drawn_at_once(1024) == 1
    items = planning.drawing_memory("sdxl", settings)
    assert items[0].value * 2**30 == pytest.approx(4 * (2.567e9 + 0.818e9 + 0.084e9), rel=1e-3)
    decoded = next(item for item in items if "decoded" in item.what)
    assert decoded.value == pytest.approx(4 * 1024**2 * planning.DECODED_BYTES / 2**30)
    table_2 = plan(PROFILES["gpu"].override({"published.rows": []}))
    assert table_2.gpu_memory_gib == pytest.approx(sum_of(items))
    assert table_2.gpu_memory_gib < 60
    assert table_2.memory_gib == pytest.approx(CARD_PROCESS_GIB + items[0].value)


def test_hours_of_table_2_are_those_of_the_side_of_each_teacher() -> None:
    """By hand for SDXL: 2 (8 + 25) 3 + 1 calls of 6.76 and 7 images of 10.47 TFLOP at 1024."""

    def hours(**changes: Any) -> float:
        released = {"students": [], "teachers": []} | changes
        named = {f"published.released.{name}": value for name, value in released.items()}
        planned = plan(PROFILES["gpu"].override(named))
        return sum_of(item for item in planned.items if item.what.startswith("Table 2"))

    tera = {"sdxl": 199 * 6.76 + 7 * 10.47, "sd15": 199 * 0.804 + 7 * 2.51}
    for name, each in tera.items():
        seconds = 5000 * each * 1e12 / planning.SUSTAINED_TF32
        assert hours(teachers=[name]) == pytest.approx(seconds / 3600, rel=0.01)
    student = 5000 * (7 * 1.59 + 3 * 2.51) * 1e12 / planning.SUSTAINED_TF32
    assert hours(students=["sdxl"]) == pytest.approx(student / 3600, rel=0.01)
    assert hours() == 0


def test_mixed_pairs_keep_towers_and_autoencoders_of_both_families() -> None:
    def gib(student: str, teacher: str, what: str) -> float:
        settings = FullScaleSettings(student=student, teacher=teacher)
        return next(item.value for item in planning.card_memory(settings) if item.what == what)

    both = gib("sd21", "sdxl", "text towers")
    assert both == pytest.approx(
        gib("sd21", "sd21", "text towers") + gib("sdxl", "sdxl", "text towers")
    )
    small = "autoencoder, feature network, heads"
    more = gib("sd21", "sdxl", small) - gib("sd21", "sd21", small)
    assert more == pytest.approx(83_653_863 * 2 / 2**30)


def test_adamw_may_take_more_than_a_small_micro_batch() -> None:
    training = FullScaleSettings().training.model_dump() | {"gradient_accumulation": 128}
    settings = FullScaleSettings(student="sdxl", teacher="sdxl").changed({"training": training})
    items = {item.what: item.value for item in planning.card_memory(settings)}
    assert items["passing: roots of AdamW's second moments"] == pytest.approx(9.56, abs=0.01)


@pytest.mark.parametrize("row", ["a.dino_v2_large", "b.unconditional", "default"])
def test_sizes_of_features_and_heads_are_those_of_the_networks(
    published: dict[str, nn.Module], row: str
) -> None:
    """Norms, biases and positions are left out of the plan: they are a few per cent."""
    from okml.add.discriminator import Heads

    settings = table_1()[row]
    network = published[f"vision.{settings.features}"]
    own = count_parameters(network)
    assert planning._feature_parameters(settings.features) == pytest.approx(own, rel=0.05)
    told = 1024 * (settings.add.condition_text + settings.add.condition_image)
    with torch.device("meta"):
        heads = Heads((network.config.hidden_size,) * 5, told, settings.add.heads)
    expected = count_parameters(heads)
    assert planning._head_parameters(settings) == pytest.approx(expected, rel=0.02)


def test_memory_outside_the_card() -> None:
    """Sums by hand for SDXL: 10.27 GB in float32 and 5.13 in half precision, 1.64 of towers."""
    settings = FullScaleSettings(student="sdxl", teacher="sdxl")
    items = planning.host_memory(settings, examples=0)
    loading, reading, writing, evaluation = (item.value * 2**30 / 1e9 for item in items)
    assert loading == pytest.approx(5.13 + 1.64 + 0.17 + 10.27, abs=0.05)
    assert reading == pytest.approx(5.13 + 1.64 + 0.17 + 4 * 10.27, abs=0.05)
    waiting = 8 * 2 * 128 * 3 * 512 * 512 * 4 / 1e9
    assert writing == pytest.approx(2 * 10.27 + waiting, abs=0.05)
    assert evaluation == pytest.approx(3 * 10.27, abs=0.05)


def test_shared_memory_is_that_of_the_images_that_wait() -> None:
    """Eight workers hold two steps of 128 images of 512 by 512 each; a container has 64 MB."""
    assert plan(PROFILES["gpu"]).shared_gib == 8 * 2 * 128 * 3 * 512 * 512 * 4 / 2**30
    assert plan(PROFILES["night"]).shared_gib == 0


def test_shards_are_asked_for_before_a_run() -> None:
    """Its step of Table 2 takes hours, and the trainings that need them come after it."""
    folders = plan(PROFILES["gpu"]).filled_first
    assert {Path(folder).name: command for folder, command in folders.items()} == {
        "sd21": "python -m okml.add.full_scale prepare URLS --row default",
        "sdxl": "python -m okml.add.full_scale prepare URLS --row e.student_sdxl",
    }
    table_2 = PROFILES["gpu"].override({"published.rows": []})
    assert plan(table_2).filled_first == {}


def test_index_of_shards_takes_what_the_plan_says(tmp_path: Path) -> None:
    members = ["jpg", "json", "latents.npy", "text.npy", "image.npy"]
    count = 500
    with tarfile.open(tmp_path / "000000.tar", "w") as archive:
        for number in range(count):
            for extension in members:
                member = tarfile.TarInfo(f"{number:09d}.{extension}")
                member.size = 1000
                archive.addfile(member, io.BytesIO(bytes(1000)))
    tracemalloc.start()
    samples = index_shard(tmp_path / "000000.tar")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == count
    assert taken / count == pytest.approx(planning.INDEX_BYTES, rel=0.15)


def test_networks_that_training_does_not_use_are_let_go(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student of another family than its teacher brings a half-precision network of its own."""
    own, teacher = pipeline(), pipeline(sdxl=True, seed=1)
    unused, student = weakref.ref(own.denoiser.network), pipeline().denoiser.network
    loaded = {"sd21": own, "sdxl": teacher}
    monkeypatch.setattr(run, "load_pipeline", lambda name, *a, **k: loaded.pop(name))
    monkeypatch.setattr(run, "load_unet", lambda *a: student)
    monkeypatch.setattr(run, "load_features", lambda *a: pipelines.features())
    del own

    def look(task: AdversarialDistillation, *arguments: Any) -> None:
        gc.collect()
        assert unused() is None
        assert task.modules["student"].network is student

    monkeypatch.setattr(run, "fit", look)
    run.train(in_place(prepared, {"teacher": "sdxl"}), tmp_path)


def test_nothing_of_a_training_stays_for_the_next_one(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the card there is no room for the student of one row beside that of another."""
    made: list[Any] = [pipeline(), pipeline().denoiser.network]
    ends = [weakref.ref(made[0].denoiser.network), weakref.ref(made[1])]
    monkeypatch.setattr(run, "load_unet", lambda *a: made.pop())
    monkeypatch.setattr(run, "load_features", lambda *a: pipelines.features())
    monkeypatch.setattr(run, "load_pipeline", lambda *a, **k: made.pop(0))

    def averaged() -> int:
        return sum(isinstance(each, AveragedModel) for each in gc.get_objects())

    run.free_memory()
    before = averaged()
    run.train(in_place(prepared, {"add.heads": {"kernel": 3, "virtual_batch": 2}}), tmp_path)
    run.free_memory()
    assert [end() for end in ends] == [None, None]
    assert averaged() == before


def test_operations_of_a_step() -> None:
    """22.5 and 17.7 times 10^12 for an example of SDXL and SD 2.1; 9 hours of one H100."""
    sdxl, sd21 = FullScaleSettings(student="sdxl", teacher="sdxl"), FullScaleSettings()
    assert planning.step_operations(sdxl) / 1e12 == pytest.approx(22.5, rel=0.01)
    assert planning.step_operations(sd21) / 1e12 == pytest.approx(17.7, rel=0.02)
    assert planning.training_hours(sdxl).value == pytest.approx(9.2, abs=0.3)
    shared = sdxl.changed({"add.shared_fakes": True})
    saved = planning.step_operations(sdxl) - planning.step_operations(shared)
    assert saved / 1e12 == pytest.approx(1.59 + 2.51 + 0.093, rel=0.01)


def test_an_example_takes_what_the_plan_says(tmp_path: Path) -> None:
    """Two photographs of scikit-learn, with latents and embeddings of the published shapes."""
    from sklearn.datasets import load_sample_images

    def example(number: int, pixels: np.ndarray) -> dict[str, Any]:
        image = square(Image.fromarray(pixels), 512)
        return {
            "__key__": f"{number:06d}", "jpg": prepare_module._jpeg(image),
            "json": {"caption": "a photograph of a temple and of a flower"},
            "latents.npy": np.zeros((2, *architectures.LATENT_SHAPE), np.float16),
            "text.npy": np.zeros(architectures.TEXT_WIDTH, np.float16),
            "image.npy": np.zeros(architectures.IMAGE_WIDTH, np.float16),
        }  # fmt: skip

    photographs = load_sample_images().images
    write_shard((example(*each) for each in enumerate(photographs)), tmp_path / "0.tar")
    taken = (tmp_path / "0.tar").stat().st_size / len(photographs)
    assert taken == pytest.approx(planning.EXAMPLE_BYTES, rel=0.1)


def test_disk_of_shards() -> None:
    gib = 600_000 * planning.EXAMPLE_BYTES / 2**30
    assert gib == pytest.approx(106, rel=0.05)


# ---------------------------------------------------------------- the command line


def test_settings_of_a_row_over_those_of_a_file(tmp_path: Path) -> None:
    from okml.add.full_scale.__main__ import settings_of

    file = tmp_path / "settings.yml"
    file.write_text("shards: /data/shards\nadd: {r1_every: 4}\n")
    settings = settings_of("d.sds", file)
    assert settings.shards == Path("/data/shards")
    assert settings.add.r1_every == 4
    assert settings.add.distillation == "sds"
    assert settings_of("default", None) == FullScaleSettings()


@pytest.mark.parametrize(
    ("row", "content", "word"),
    [("z", "{}", "no row"), ("default", "sharts: 1", "sharts"), ("default", "a: [", "settings")],
)
def test_wrong_settings_are_one_message(tmp_path: Path, row: str, content: str, word: str) -> None:
    from okml.add.full_scale.__main__ import settings_of
    from okml.errors import ParameterError

    file = tmp_path / "settings.yml"
    file.write_text(content)
    with pytest.raises(ParameterError, match=word):
        settings_of(row, file)


@pytest.mark.parametrize("processes", ["3", "32"])
def test_processes_that_cannot_share_a_batch_are_refused_before_a_model_loads(
    processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from okml.add.full_scale.__main__ import shared
    from okml.errors import ParameterError

    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(ParameterError, match=f"{processes} processes cannot share the 16 micro"):
        shared(FullScaleSettings())


def test_scores_are_printed_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from okml.add.full_scale.__main__ import app

    found = {"fid@1": [20.04, 19.0, 22.0], "fid@4": [21.0, 20.0, 23.0]}  # with resamples behind
    monkeypatch.setattr(run, "evaluate", lambda settings, folder: found)
    said = CliRunner().invoke(app, ["evaluate", "--run-dir", "x"])
    assert said.output.split() == ["fid@1", "20.0400", "fid@4", "21.0000"], said.output
