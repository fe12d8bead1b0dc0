"""The profile gpu itself, from tiny models and data in the published formats on disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch_fidelity import FeatureExtractorInceptionV3

from okml.add.denoiser import Denoiser
from okml.add.experiments import released
from okml.add.exports import student_pipeline
from okml.add.full_scale import run
from okml.add.full_scale.assemble import encode_prompts
from okml.add.full_scale.models import load_pipeline, load_unet
from okml.add.full_scale.prepare import prepare
from okml.add.full_scale.scores import InceptionFeatures
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.full_scale.shards import index_shard
from okml.add.sampling import student_sampler
from okml.add.schedule import NoiseSchedule
from okml.add.study import Study
from okml.chapters import chapter
from okml.errors import DataError
from okml.ledger import RunRecord, load_claims
from okml.profile import Profile
from okml.steps import StepResult
from tests.add import pipelines, published_models, tiny
from tests.add.pipelines import SIDE
from tests.add.rounds import in_few_rounds
from tests.finished import check_report, export_by_command, run_notebooks
from tests.tools.own_data import OwnData

# A row of each family of students and teachers, and of each form of feature network.
ROWS = ["default", "a.dino_v1", "a.clip_large", "e.teacher_sdxl", "e.both_sdxl"]
FEW = {"steps": 2, "batch": 8}
HEADS = {"kernel": 3, "virtual_batch": 2}
TRAINING = {
    "batch_size": 4, "max_steps": 2, "gradient_accumulation": 2, "gradient_clip": 1.0,
    "ema_decay": 0.9, "mixed_precision": "bf16", "device": "cpu", "workers": 0,
}  # fmt: skip


def sizes() -> dict[str, Any]:
    """Return what the profile's numbers become; every other setting stays."""
    stated = chapter("add").profile("gpu").model_dump()
    emoji = stated["sets"][0] | {
        "size": 16, "channels": [16, 32], "efficientnet_side": 32, "most_images": 100,
        "teacher": FEW | {"learning_rate": 1e-3}, "metric": FEW | {"learning_rate": 1e-3},
        "distillation": FEW, "samples": 20, "watch": 1, "teacher_steps": [1, 25],
        "solver_steps": [4], "progressive": {"from_steps": 2}, "arms": ["image_kept_at_noise"],
        "arms_once": ["nfsd"], "rates": [0.25, 1.0], "more_rates": 1,
    }  # fmt: skip
    base = stated["published"]["base"]
    base |= {"side": SIDE, "training": TRAINING, "evaluation_batch": 4}
    base["add"]["heads"] |= HEADS
    return {
        "device": "cpu",
        "seeds": [0],
        "sets": [emoji],
        "speed.repeats": 3,
        "speed.batch": 2,
        "speed.teacher_steps": [50],
        "published.base": base,
        "published.rows": ROWS,
        "published.released.repeats": 8,
        "published.released.guidance": [3.0, 7.5],
        "published.released.teacher_steps": [25],
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    published_models.save(folder)
    return folder


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which torch-fidelity finds the weights of its Inception."""
    folder = tmp_path_factory.mktemp("torch")
    published_models.save_inception(folder / "hub")
    return folder


@pytest.fixture
def gpu(
    own_data: OwnData, models: Path, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Profile:
    """The profile in miniature, with all that it fetches in the cache."""
    published_models.publish(own_data, models, monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    return chapter("add").profile("gpu", sizes())


def settings_of(gpu: Profile, student: str) -> FullScaleSettings:
    return gpu.published.base.changed({"student": student, "teacher": student})


@pytest.mark.parametrize("student", ["sd21", "sdxl"])
def test_an_exported_student_draws_in_diffusers_as_in_okml(
    gpu: Profile, student: str, tmp_path: Path
) -> None:
    settings, caption = settings_of(gpu, student), "a pear beside a key"
    prepare(settings, str(pipelines.raw_shard(tmp_path / "raw")), 6, device_name="cpu")
    run.train(settings, tmp_path / "run")
    student_pipeline(settings, tmp_path / "run").save_pretrained(tmp_path / "exported")
    peer = DiffusionPipeline.from_pretrained(tmp_path / "exported")
    trained = run.load_student(settings, tmp_path / "run")
    untrained = load_unet(settings.student, torch.float32)
    assert not torch.equal(trained.network.conv_out.weight, untrained.conv_out.weight)

    own = load_pipeline(settings.student, torch.float32, side=SIDE)
    schedule = NoiseSchedule.from_scheduler(own.scheduler, settings.add.terminal_snr)
    noise = torch.randn(1, *own.codec.latent_shape(SIDE), generator=tiny.generator(1))
    for steps in (1, 2, 4):
        drawn = peer(
            caption, num_inference_steps=steps, guidance_scale=0.0, latents=noise.clone(),
            generator=tiny.generator(2), output_type="pt",
        ).images  # fmt: skip
        with torch.no_grad():
            told = encode_prompts(own, [caption], torch.device("cpu"))
            sample = student_sampler(trained, schedule, steps)(noise, told, tiny.generator(2))
            expected = ((own.codec.decode(sample) + 1) / 2).clamp(0, 1)
        assert drawn.shape == (1, 3, SIDE, SIDE)
        torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


def keys_of(shard: Path) -> list[str]:
    with tarfile.open(shard) as archive:
        return [name.partition(".")[0] for name in archive.getnames() if name.endswith("jpg")]


def test_preparing_reads_the_autoencoder_alone(
    gpu: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes prepare on one machine, and the whole of SDXL takes 7 GB of it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Shards hold nothing of this network.")

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", refuse)
    raw = str(pipelines.raw_shard(tmp_path / "raw"))
    (shard,) = prepare(settings_of(gpu, "sdxl"), raw, 2, device_name="cpu")
    assert len(keys_of(shard)) == 2


def test_preparing_goes_on_at_the_next_shard_and_is_shared_out(
    gpu: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, one after the other; the second starts again after a broken raw shard."""
    settings = settings_of(gpu, "sd21")
    for number in range(4):
        pipelines.raw_shard(tmp_path / "raw", 4).rename(tmp_path / "raw" / f"{number}.tar")
    urls = str(tmp_path / "raw" / "{0..3}.tar")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    first = prepare(settings, urls, 8, device_name="cpu")
    assert [shard.name for shard in first] == ["000000.tar", "000002.tar"]
    stamps = [shard.stat().st_mtime_ns for shard in first]
    assert prepare(settings, urls, 8, device_name="cpu") == first
    assert [shard.stat().st_mtime_ns for shard in first] == stamps

    whole = (tmp_path / "raw" / "3.tar").read_bytes()
    (tmp_path / "raw" / "3.tar").write_bytes(whole[:3000])
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(DataError, match=r"1 raw shards could not be read.*3\.tar"):
        prepare(settings, urls, 8, device_name="cpu")
    (tmp_path / "raw" / "3.tar").write_bytes(whole)
    second = prepare(settings, urls, 8, device_name="cpu")
    assert [shard.name for shard in second] == ["000001.tar", "000003.tar"]
    # Two of four in each raw shard are of use, and every example has a key of its own.
    keys = [key for shard in (*first, *second) for key in keys_of(shard)]
    assert len(keys) == len(set(keys)) == 8
    with pytest.raises(DataError, match="holds shards of"):
        prepare(settings, str(tmp_path / "raw" / "0.tar"), 8, device_name="cpu")


def test_scores_are_drawn_in_a_precision_that_pure_noise_can_bear(gpu: Profile) -> None:
    """An error of the predicted noise reaches the sample 14.6 times as large at the last step."""
    own = load_pipeline("sd21", torch.float64, side=SIDE)
    schedule = NoiseSchedule.from_scheduler(own.scheduler, "noise_only")
    noise = torch.randn(4, *own.codec.latent_shape(SIDE), generator=tiny.generator(0))

    def drawn(dtype: torch.dtype) -> torch.Tensor:
        pipeline = load_pipeline("sd21", dtype, side=SIDE)
        told = encode_prompts(pipeline, ["a pear"] * 4, torch.device("cpu"))
        sampler = student_sampler(pipeline.denoiser, schedule, 1)
        return sampler(noise, told, tiny.generator(0))

    exact = drawn(torch.float64)
    errors = {
        dtype: float((drawn(dtype) - exact).square().mean().sqrt() / exact.std())
        for dtype in (run.EVALUATED_IN, torch.bfloat16)
    }
    assert errors[run.EVALUATED_IN] < 1e-4
    assert errors[torch.bfloat16] > 100 * errors[run.EVALUATED_IN]


def test_features_for_fid_are_those_of_torchmetrics(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchmetrics.image.fid import NoTrainInceptionV3

    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    (weights,) = (torch_home / "hub" / "checkpoints").iterdir()
    peer = NoTrainInceptionV3(
        "inception-v3-compat",
        ["2048"],
        str(weights),
        antialias=False,  # as TensorFlow 1 did
    )
    pixels = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8, generator=tiny.generator(0))
    with torch.no_grad():
        found = InceptionFeatures()(pixels)
        assert torch.equal(found, peer(pixels))
    assert found.shape == (1, 2048)
    assert found.std() > 0


@pytest.fixture
def small_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network of FID read images at the least side it can, and load it once.

    At its own side it takes most of the time of a whole profile; a test above compares that.
    """
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)
    monkeypatch.setattr(run, "InceptionFeatures", cache(run.InceptionFeatures))


@pytest.mark.usefixtures("small_inception", "few_rounds")
def test_each_model_draws_at_the_side_that_it_was_trained_for(
    gpu: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SDXL at twice the side of all others, a quarter of the images at a time; Turbo with them."""
    seen: set[tuple[int, int, tuple[float, ...]]] = set()
    forward = Denoiser.forward

    def look(
        self: Denoiser, noisy: torch.Tensor, at: torch.Tensor, told: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        sizes = {tuple(row.tolist()) for row in told.get("time_ids", torch.empty(1, 0))}
        seen.update((len(noisy), 2 * noisy.shape[-1], size) for size in sizes)
        return forward(self, noisy, at, told)

    monkeypatch.setattr(Denoiser, "forward", look)
    study, large = Study(gpu, tmp_path), 2 * SIDE
    small = (SIDE, SIDE, 0.0, 0.0, SIDE, SIDE)

    def drawn(measure: Callable[..., StepResult], *given: Any) -> StepResult:
        seen.clear()
        return measure(study, *given)

    found = drawn(released.score_teacher, "sdxl", 25, 3.0)
    # With guidance, one image is two for the network.
    assert seen == {(2, large, (large, large, 0.0, 0.0, large, large))}
    assert np.isfinite(found.frames["scores"]["FID"].to_numpy()).all()
    drawn(released.time_teacher, "sdxl")
    assert seen == {(2, large, (large, large, 0.0, 0.0, large, large))}
    drawn(released.score_teacher, "sd21", 1, 1.0)
    assert seen == {(published_models.PICTURES, SIDE, ())}
    drawn(released.score_student, "sdxl", 2)
    assert seen == {(published_models.PICTURES, SIDE, small)}
    drawn(released.time_student, "sdxl")
    assert seen == {(1, SIDE, small)}


@pytest.mark.usefixtures("small_inception", "few_rounds")
def test_a_killed_table_2_goes_on_at_the_images_that_it_was_drawing(
    gpu: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each number of steps and scale of guidance takes hours, and is kept by itself."""
    score, drawn, stop_at = released.score_drawings, [], 2

    @wraps(score)
    def count(*given: Any) -> dict[str, list[float]]:
        if len(drawn) == stop_at:
            raise DataError("the machine was taken away")
        drawn.append(given)
        return score(*given)

    monkeypatch.setattr(released, "score_drawings", count)
    few = {"students": [], "teachers": ["sd21"]}
    profile = gpu.override({f"published.released.{name}": few[name] for name in few})
    study = Study(profile.override({"published.rows": []}), tmp_path)
    with pytest.raises(DataError, match="taken away"):
        released.measure_released(study)
    stop_at = 9
    table = released.measure_released(study).frames["table_2"]
    # One step, 25 steps at two scales, and a Gaussian; none was drawn twice.
    assert len(drawn) == len(table) == 4


@pytest.fixture
def few_rounds() -> Iterator[None]:
    with in_few_rounds():
        yield


def run_whole(gpu: Profile, folder: Path) -> RunRecord:
    """Prepare, train, score, time and record: each step runs on what is on disk."""
    raw = str(pipelines.raw_shard(folder / "raw", count=10))
    for student in ("sd21", "sdxl"):
        settings = gpu.published.base.changed({"student": student})
        (shard,) = prepare(settings, raw, 8, device_name="cpu")
        assert len(index_shard(shard)) == 8
    return chapter("add").run(gpu, folder / "run")


@pytest.mark.nightly
@pytest.mark.usefixtures("small_inception", "few_rounds")
def test_commands_take_the_finished_run(gpu: Profile, tmp_path: Path) -> None:
    record = run_whole(gpu, tmp_path)
    run_notebooks(gpu, tmp_path / "run", tmp_path / "shown")
    check_report(record, tmp_path)
    export_by_command(gpu, tmp_path / "run", tmp_path / "networks")


@pytest.mark.slow
@pytest.mark.usefixtures("small_inception", "few_rounds")
def test_the_whole_profile(gpu: Profile, tmp_path: Path) -> None:
    record = run_whole(gpu, tmp_path)
    table_1, table_2 = (
        pl.DataFrame(record.tables[name].columns) for name in ("table_1", "table_2")
    )
    drawn = set(table_1.select("row", "steps").iter_rows())
    assert drawn == {
        *((row, steps) for row in ROWS for steps in (1, 2, 4)),
        ("one Gaussian, no network", 0), ("teacher", 1), ("teacher", 25),
    }  # fmt: skip
    assert np.isfinite(table_1.select("FID", "CLIP score", "CLIP score, ViT-L/14").to_numpy()).all()
    students = table_2.filter(pl.col("row").str.ends_with("turbo"))
    assert set(students.drop_nulls("FID").select("row", "steps").iter_rows()) == {
        (name, steps) for name in ("sd_turbo", "sdxl_turbo") for steps in (1, 2, 4)
    }
    guided = table_2.filter(pl.col("guidance") > 1)
    assert len(guided) == 3 * 2  # teachers, scales
    assert guided["ms"].min() > 0
    sides = dict(table_2.select("row", "pixels a side").iter_rows())
    assert sides.pop("sdxl_base_1.0") == 2 * SIDE
    assert set(sides.values()) == {SIDE}
    assert guided["FID"].is_finite().all()
    # The scale of the lower FID is the one that students are compared with.
    best = guided.filter(row="stable_diffusion_2.1_base")["FID"].min()
    assert table_1.filter(row="teacher", steps=25)["FID"].item() == best
    turbo = students.filter(row="sd_turbo", steps=1)["FID"].item()
    assert record.metrics["released_fid_ratio_to_25_steps"].mean == pytest.approx(
        turbo / best,
        rel=1e-4,  # tables are rounded
    )
    measured = {claim.metric for claim in load_claims("add")} & record.metrics.keys()
    assert {"fid_one_step", "fd_ratio_to_25_steps", "fd_ratio_more_steps", "dinov2_fid_gain",
            "latency_over_digest", "peak_gpu_memory_gb"} <= measured  # fmt: skip
