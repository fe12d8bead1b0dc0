"""Captions as prompts: encoders, their reader, the latent space of patches, and the pipeline."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from okml.add.alternatives.progressive import rounds_of
from okml.add.arms import (
    ALTERNATIVES,
    TUNING_SEED,
    Job,
    distillations,
    drawn_steps,
    searches,
    tuned,
    tunings,
)
from okml.add.config import PROFILES
from okml.add.experiments.pictures import columns
from okml.add.exports import small_pipeline
from okml.add.figures import images
from okml.add.images.base import as_bytes
from okml.add.images.prompts import caption_vectors
from okml.add.quality import Captioner
from okml.add.small.patches import PatchCodec
from okml.add.small.pipeline import CaptionPipeline
from okml.add.small.unet import CONDITION, prompt_width, small_unet
from okml.add.study import Study
from okml.add.target import Guided
from okml.add.workbench import Requests, TrainedDenoiser, Workbench
from okml.chapters import chapter
from okml.ledger import load_claims
from okml.plotting import EMPTY
from tests.add import published_models
from tests.add.chapter.tiny import tiny


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_image_that_is_its_caption_fits_no_other_better():
    features = normal(300, 6)
    captioner = Captioner(features, features @ normal(6, 12, seed=1))
    captions = normal(40, 6, seed=2) @ normal(6, 12, seed=1)
    own = normal(40, 6, seed=2)
    assert captioner.alignment(own, captions, torch.arange(40)).min() == 1
    # An image of another caption fits half of them less.
    other = captioner.alignment(own, captions, torch.arange(40).roll(1))
    assert float(other.mean()) == pytest.approx(0.5, abs=0.12)


def test_alignment_of_images_that_say_nothing_is_chance():
    captioner = Captioner(normal(300, 6), normal(300, 12, seed=1))
    found = captioner.alignment(
        normal(2000, 6, seed=2), normal(50, 12, seed=3), torch.arange(2000) % 50
    )
    assert float(found.mean()) == pytest.approx(0.5, abs=0.03)


def test_patches_are_squares_of_pixels_in_channels():
    images = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    latents = PatchCodec(2).encode(images)
    assert latents.shape == (2, 12, 2, 2)
    assert latents[0, :4, 0, 1].tolist() == images[0, 0, :2, 2:].flatten().tolist()
    assert torch.equal(PatchCodec(2).decode(latents), images)
    assert torch.equal(PatchCodec(1).encode(images), images)


def test_long_captions_touch_neither_each_other_nor_the_pictures_nor_the_edge():
    told = ("smiling cat face with heart-shaped eyes", "high-speed train with bullet nose", "elf")
    rows = {name: normal(3, 3, 8, 8).clamp(-1, 1) for name in ("student, 1", "teacher, 25")}
    figure = images.sheet(images.frame(rows, told), "Two rows of three pictures.")._figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = {" ".join(text.get_text().split()): text.get_window_extent() for text in axes.texts}
    captions, names = [boxes.pop(one) for one in told], [boxes.pop(name) for name in rows]
    pictures = [image.get_window_extent() for image in axes.images]
    assert not boxes
    assert len(pictures) == 6
    assert all(one.x1 <= other.x0 for one, other in pairwise(captions))
    for box in [*captions, *names]:
        assert not any(box.overlaps(picture) for picture in pictures)
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    # A row's name is beside its pictures.
    for name, row in zip(names, (pictures[:3], pictures[3:]), strict=True):
        assert all(picture.y0 <= name.y0 <= name.y1 <= picture.y1 for picture in row)


def test_a_sheet_without_pictures_says_so():
    some = images.frame({"student, 1": normal(1, 1, 4, 4)}, ["sandal"])
    none = images.sheet(some.clear(), "A second image set.")
    assert f">{none.alt}</text>" in none.svg  # what is read aloud is what is seen
    assert EMPTY in none.svg
    assert EMPTY not in images.sheet(some, "A second image set.").svg


def test_pictures_are_of_captions_from_all_over_the_file():
    held_out, drawn = SimpleNamespace(test=range(163)), SimpleNamespace(samples=500)
    bench = SimpleNamespace(free_captions=True, images=held_out, settings=drawn)
    assert columns(bench).tolist() == list(range(0, 160, 16))
    held_out.test = range(7)
    assert columns(bench).tolist() == list(range(7))
    bench.free_captions = False  # requests take the classes in turn
    assert columns(bench).tolist() == list(range(10))


def test_guidance_goes_on_from_the_empty_prompt_through_the_told_one():
    network = small_unet(8, 1, (8, 16)).eval()
    noisy, at = normal(3, 1, 8, 8), torch.tensor([10, 500, 999])
    told, empty = {CONDITION: normal(3, 32, seed=1)}, {CONDITION: torch.zeros(3, 32)}
    with torch.no_grad():
        one, other = network(noisy, at, told), network(noisy, at, empty)
        found = Guided(network, 3.0, {CONDITION: torch.zeros(1, 32)})(noisy, at, told)
        plain = Guided(network, 1.0, {CONDITION: torch.zeros(1, 32)})(noisy, at, told)
    torch.testing.assert_close(found, other + 3 * (one - other), rtol=1e-4, atol=1e-5)
    assert torch.equal(plain, one)


@pytest.mark.parametrize("name", ["cpu", "night", "gpu"])
def test_all_that_claims_compare_tries_as_many_rates_before_its_own_trainings(name):
    profile = PROFILES[name]
    for settings in profile.sets:
        tried = [job for job in tunings(profile) if job.settings == settings]
        if not tried:  # the emoji of night, where nothing is compared
            assert tuned(settings) == ("default",)
            continue
        methods = {*settings.arms, *settings.alternatives, "default"}
        assert {(job.what, job.rate) for job in tried} == {
            (method, rate) for method in methods for rate in settings.rates
        }
        assert {job.seed for job in tried} == {TUNING_SEED}
        assert len(settings.rates) >= 3
        assert settings.more_rates > 0
    assert TUNING_SEED not in profile.seeds
    assert all(job.rate is None for job in [*distillations(profile), *searches(profile)])


def test_trainings_that_are_compared_take_as_many_updates():
    """Progressive distillation has a student for each number of steps, each with all updates."""
    profile = PROFILES["night"]
    jobs = [job for job in distillations(profile) if job.settings == profile.main]
    assert all(drawn_steps(profile, job) == (1, 2, 4) for job in jobs if job.what == "default")
    own = [job for job in jobs if job.what == "progressive" and job.seed == 0]
    assert [drawn_steps(profile, job) for job in own] == [(1,), (2,), (4,)]
    assert {*ALTERNATIVES, "default", *profile.main.arms} == {job.what for job in jobs}
    budget = profile.main.distillation.steps
    for job in own:
        rounds = rounds_of(profile.main.progressive.from_steps, job.steps, budget)
        assert sum(updates for _, updates in rounds) == budget
        assert rounds[-1][0] == job.steps


def test_what_claims_of_night_compare_runs_with_all_seeds_of_its_images():
    night = PROFILES["night"]
    # No claim is about the second set: the interval of one training covers its images alone.
    assert [len(night.seeds_of(settings)) for settings in night.sets] == [5, 1]
    assert not any(settings.arms_once for settings in night.sets)


def test_a_training_waits_for_those_that_choose_its_rate(tmp_path):
    profile = PROFILES["night"]
    study, main = Study(profile, tmp_path), profile.main

    def waits(what, seed=0):
        needs = study.needs(Job(main, what, seed))
        networks = {"teacher", "eye", "embedder"}
        chosen = [job for job in needs if job.seed == TUNING_SEED and job.what not in networks]
        return {(job.what, job.rate) for job in chosen}

    for what in ("consistency", "image_kept_at_noise"):
        assert waits(what) == {(what, None)}
        assert waits(what, TUNING_SEED) == {(what, rate) for rate in main.rates}
    # An arm that is a row of a table alone keeps the rate of the default one.
    assert waits("sds") == {("default", None)}
    first = study.needs(Job(main, "consistency", TUNING_SEED, main.rates[0]))
    assert [job.what for job in first] == ["teacher", "eye", "embedder", "metric"]


REACHED = {  # distances by method and rate
    "default": {0.5: 3, 1: 1, 2: 2},
    "consistency": {0.25: 3, 0.5: 1, 1: 2, 2: 3},
    "progressive": {0.5: 4, 1: 3, 2: 2, 4: 1},
}


class Bench(Workbench):
    """A workbench whose trainings leave a distance that is known."""

    def judged(self, method, steps, seed, rate=None):
        assert (steps, seed) == (1, TUNING_SEED)
        return SimpleNamespace(quality=SimpleNamespace(fd=REACHED[method][rate]))

    def untrained_fd(self, method):
        return 9.0


def test_the_rate_of_the_lowest_distance_is_chosen_and_bracketed(tmp_path):
    profile = tiny(**{"sets.0.rates": [0.5, 1, 2], "sets.0.more_rates": 1})
    bench = Bench(profile, profile.main, tmp_path)
    assert [bench.rate(method) for method in REACHED] == [1, 0.5, 4]
    assert [bench.bracketed(method) for method in REACHED] == [True, True, False]
    # Rows of a table take the rate of the default one, which nothing says is the best for them.
    assert bench.rate("random_features") == 1
    assert not bench.bracketed("random_features")
    alone = tiny()
    assert not Bench(alone, alone.main, tmp_path).bracketed("default")


@pytest.mark.parametrize("patch", [1, 2])
def test_a_saved_student_draws_for_a_caption_as_it_did(tmp_path, monkeypatch, patch):
    profile = tiny(**{"sets.0.patch": patch, "sets.0.vit.patch": 2})
    bench = Workbench(profile, profile.main, tmp_path)
    torch.manual_seed(0)
    _, depth, side, _ = bench.latents.shape
    student = small_unet(side, depth, profile.main.channels).eval()
    trained = TrainedDenoiser(student, ())
    monkeypatch.setattr(Workbench, "student", lambda *_, **__: trained)
    small_pipeline(bench).save_pretrained(tmp_path / "saved")
    pipeline = CaptionPipeline.from_pretrained(tmp_path / "saved")
    captions = ["seven", "two"]
    drawn = pipeline.draw(captions, steps=1, seed=3)
    noise = normal(2, depth, side, side, seed=3)
    asked = Requests(noise, torch.tensor([7, 2]), bench.embed(captions), tuple(captions), seed=3)
    expected = bench.draw(student, asked, 1).clamp(-1, 1)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)
    picture = pipeline("seven", steps=2)
    assert picture.size == (8, 8)
    assert np.array_equal(
        np.asarray(pipeline("seven", seed=5)), as_bytes(pipeline.draw(["seven"], seed=5)[0])
    )


@pytest.mark.realdata
def test_sentences_of_one_meaning_are_near_though_they_share_no_word():
    told = ["automobile", "rabbit", "soda", "physician", "infant", "melon", "boat", "clock"]
    again = ["sport utility vehicle", "bunny", "fizzy drink", "doctor", "baby", "cantaloupe"]
    again += ["ship", "wristwatch"]
    width, own = prompt_width(PROFILES["night"].sets[1].channels), np.eye(len(told), dtype=bool)

    def nearer(encoder):
        """Return by how much the cosine of one meaning exceeds that of two, on average."""
        one, other = (caption_vectors(captions, width, encoder) for captions in (told, again))
        cosines = (one @ other.T / width).numpy()
        return cosines[own].mean() - cosines[~own].mean()

    assert nearer("sentences") > 0.25
    assert abs(nearer("words")) < 0.1
    single, nothing = caption_vectors(["automobile", ""], width, "sentences")
    assert float(single.norm()) == pytest.approx(width**0.5, rel=1e-5)
    assert float(nothing.abs().sum()) == 0


@pytest.mark.nightly
def test_the_whole_profile_night_measures_every_claim_with_a_bar_there(
    own_data, tmp_path, monkeypatch
):
    published_models.save_sentence_encoder(tmp_path / "models" / "minilm_l6")
    published_models.publish_emoji(own_data, tmp_path / "models", monkeypatch)
    sets = [each.model_dump() for each in PROFILES["night"].sets]
    for stated in sets:
        trained = ("teacher", "metric", "distillation", "vit_training")
        for name in trained:
            if stated[name]:
                stated[name] |= {"steps": 2, "batch": 16}
        stated |= {"channels": [16, 32], "samples": 20, "watch": 1}
    digits, emoji = sets
    digits |= {"rates": [0.5, 2.0], "more_rates": 1}
    emoji |= {"size": 16, "efficientnet_side": 32}
    emoji["add"]["heads"]["kernel"] = 3
    changes = {"sets": sets, "seeds": [0], "speed.batch": 2}
    profile = PROFILES["night"].override(changes | {"speed.teacher_steps": [50]})
    record = chapter("add").run(profile, tmp_path / "run")
    barred = [claim for claim in load_claims("add") if {"night", "any"} & claim.expect.keys()]
    assert {"add.front", "add.four_steps", "add.pure_noise"} < {claim.id for claim in barred}
    assert not [claim.id for claim in barred if claim.metric not in record.metrics]
    measured = [claim for claim in load_claims("add") if claim.metric in record.metrics]
    assert not [claim.id for claim in measured if claim not in barred]
    # Several images of a caption are no independent sample.
    over = {name: record.metrics[name].over for name in record.metrics}
    assert over["student_accuracy"] == "images"
    assert over["emoji_student_accuracy"] == "captions"
    rates = pl.DataFrame(record.tables["rates"].columns)
    assert rates["method"].unique(maintain_order=True).to_list() == list(tuned(profile.main))
    for _, tried in rates.filter(pl.col("rate") > 0).group_by("method"):
        assert tried.filter("chosen")["FD"].to_list() == [tried["FD"].min()]
