"""Every step of the chapter on a few digits, with every arm and alternative."""

from __future__ import annotations

import copy
import gc
import weakref
from dataclasses import replace
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch

from okml.add import workbench
from okml.add.arms import (
    ARMS,
    TUNING_SEED,
    Job,
    all_jobs,
    arm_jobs,
    distillations,
    foundations,
    method_jobs,
    seeds_of,
)
from okml.add.comparison import Jackknife
from okml.add.config import PROFILES
from okml.add.experiment import Experiment
from okml.add.experiments.controls import TOLD, _tellings
from okml.add.experiments.pictures import spherical
from okml.add.experiments.quality import front, summary, wide
from okml.add.figures import images, quality, slider
from okml.add.images import load_images
from okml.add.quality import nearest
from okml.add.small import efficientnet
from okml.add.small.unet import CONDITION
from okml.add.study import Study
from okml.add.workbench import Workbench
from okml.errors import ParameterError
from okml.ledger import judge, load_claims
from okml.training import ahead
from tests.add.chapter.tiny import OTHERS, tiny, with_fashion
from tests.add.rounds import in_few_rounds

pytestmark = pytest.mark.slow  # the run of the profile, which most tests read

SOLVED = (("teacher, DDIM", 1), ("teacher, DPM-Solver++", 4))  # of a teacher without guidance


def load(name, size, most):
    """Stand digits in for any image set."""
    return replace(load_images("digits", size, most), name=name)


def random_efficientnet(pretrained=True):
    """Stand a network without weights in for the published one."""
    return efficientnet.EfficientNetLite0().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with (
        mock.patch.object(ahead, "usable_cores", return_value=1),
        mock.patch.object(workbench, "load_images", load),
        mock.patch.object(efficientnet, "load_efficientnet", random_efficientnet),
        in_few_rounds(),
    ):
        run = Experiment(with_fashion(tiny()), tmp_path_factory.mktemp("add"))
        run.made = run.record()
        yield run


def main(frame):
    return frame.filter(set="digits")


def test_every_step_leaves_finite_numbers_and_every_claim_has_its_metric(experiment):
    assert set(experiment.steps.results) == set(Experiment.step_names())
    for result in experiment.steps.results.values():
        assert np.isfinite([item.mean for item in result.metrics.values()]).all()
    small = [claim for claim in load_claims("add") if claim.bar("cpu")]
    assert len(small) == 11
    for claim in small:
        verdict = judge(claim, experiment.made)
        assert verdict.measured.interval is not None, claim.id
        assert claim.control or claim.no_control, claim.id
        if claim.control:
            assert verdict.difference.interval is not None, claim.id


def test_controls_are_what_they_say(experiment):
    bench = experiment.study.main
    asked = bench.requests(0)
    images = bench.sample("training images", 1, 0)
    _, nearest_row = nearest(images, bench.images.train.pixels)
    assert bench.images.train.labels[nearest_row].tolist() == asked.labels.tolist()
    told = _tellings(asked)
    assert set(told) == set(TOLD)
    right = told["the prompt"].prompts
    other = told["another class"].prompts
    assert not (other == right).all(1).any()
    assert not torch.equal(other, other[:1].expand_as(other))
    assert torch.equal(told["another class"].noise, asked.noise)
    anchors = main(experiment.networks.frames["anchors"])
    drawn = bench.sample("class Gaussians", 1, 0)
    own = bench.judge(drawn, asked.labels, asked.prompts).quality.fd
    assert anchors.filter(images="one Gaussian a class, in pixels")["FD"][0] == pytest.approx(own)


def test_each_network_is_described_once_and_the_accuracy_is_of_the_one_that_judges(experiment):
    rows, bench = main(experiment.networks.frames["networks"]), experiment.study.main
    assert rows["network"].to_list() == [
        "metric network", "F of the discriminator", "c_img", "teacher, and each student",
    ]  # fmt: skip
    judged, kept = bench.judge.network, bench.images.test
    with torch.no_grad():
        right = judged(kept.pixels.to(bench.device)).argmax(1).cpu() == kept.labels
    (parameters, accuracy) = rows.select("parameters", "test accuracy").row(0)
    assert parameters == sum(weight.numel() for weight in judged.parameters())
    assert accuracy == pytest.approx(float(right.double().mean()))
    assert experiment.made.metrics["metric_network_accuracy"].mean == pytest.approx(accuracy)


def test_a_block_is_an_image_of_each_class(experiment):
    bench = experiment.study.main
    labels = bench.requests(0).labels.numpy()
    for block in np.unique(bench.blocks):
        assert sorted(labels[bench.blocks == block]) == list(range(10))


def test_a_distance_without_a_group_is_that_of_the_others(experiment):
    bench, compare = experiment.study.main, Jackknife(experiment.study.main)
    found = compare.ratio(("default", 1), ("teacher, DDIM", 25))(0)
    assert len(found) == 1 + len(np.unique(bench.blocks))
    kept, asked = compare.kept[2], bench.requests(0)
    fds = []
    for method, steps in (("default", 1), ("teacher, DDIM", 25)):
        samples = bench.sample(method, steps, 0)[kept]
        fds.append(bench.judge(samples, asked.labels[kept], asked.prompts[kept]).quality.fd)
    assert found[2] == pytest.approx(fds[0] / fds[1], rel=1e-4)


def test_the_table_has_every_arm_at_every_number_of_steps(experiment):
    arms = main(experiment.arms.frames["arms"])
    assert set(arms["method"]) == set(ARMS)
    assert arms.group_by("method").agg(pl.col("steps").sort())["steps"].to_list() == [[1, 2, 4]] * (
        1 + len(OTHERS)
    )
    table = wide(arms)
    assert len(table) == len(ARMS)
    assert table.filter(arm=ARMS["nfsd"].title)["Table 1"].to_list() == ["d"]
    row = summary(arms).filter(method="default", steps=1).row(0, named=True)
    own = arms.filter(method="default", steps=1)
    assert row["fd"] == pytest.approx(own["fd"].mean())


def test_ratios_are_those_of_the_table(experiment):
    frame = pl.concat([experiment.methods.frames["methods"], experiment.arms.frames["arms"]])
    frame = frame.unique(maintain_order=True)

    def fd(method, steps):
        return main(frame).filter(method=method, steps=steps)["fd"][0]

    metrics = experiment.made.metrics
    expected = fd("default", 1) / fd("teacher, DDIM", 1)
    assert metrics["fd_ratio_one_step"].mean == pytest.approx(expected)
    expected = fd("default", 1) / fd("teacher, DDIM", 25)
    assert metrics["fd_ratio_to_25_steps"].mean == pytest.approx(expected)
    expected = max(fd("default", 2) / fd("default", 1), fd("default", 4) / fd("default", 2))
    assert metrics["fd_ratio_more_steps"].mean == pytest.approx(expected)
    best = min(fd("consistency", 1), fd("progressive", 1)) / fd("default", 1)
    assert metrics["best_alternative_fd_ratio"].mean == pytest.approx(best)
    best = min(fd("distillation_only", 1), fd("teacher, DDIM", 1)) / fd("default", 1)
    assert metrics["distillation_alone_fd_ratio"].mean == pytest.approx(best)
    difference = experiment.made.differences["random_init_fd_ratio"]["teacher_fd_ratio"]
    expected = (fd("random_student", 1) - fd("teacher, DDIM", 1)) / fd("default", 1)
    assert difference.mean == pytest.approx(expected)
    gain = fd("image_kept_at_noise", 1) - fd("default", 1)
    assert metrics["hidden_image_fd_gain"].mean == pytest.approx(gain)
    fashion = {
        (row["method"], row["steps"]): row["fd"] for row in frame.filter(set="fashion").to_dicts()
    }
    worst = min(fashion["random_features", n] / fashion["default", n] for n in (1, 2, 4))
    assert metrics["fashion_random_features_fd_ratio"].mean == pytest.approx(worst)
    assert metrics["published_features_fd_ratio"].mean == pytest.approx(worst)
    rivals = ("consistency", "progressive", "adversarial_only", "distillation_only")
    for calls in (1, 2, 4):
        near = min(
            [fd(name, calls) for name in rivals]
            + [fd(name, calls) for name, steps in SOLVED if steps == calls]
        )
        ratio = metrics[f"front_fd_ratio_{calls}"].mean
        assert ratio == pytest.approx(near / fd("default", calls))
        methods = main(experiment.methods.frames["methods"]).filter(calls=calls)
        row = main(front(experiment.methods.frames["methods"])).filter(calls=calls)
        assert row["fd"].item() == methods["fd"].min()
        assert row["ADD's fd"].item() == fd("default", calls)
    fronts = [metrics[f"front_fd_ratio_{calls}"].mean for calls in (1, 2, 4)]
    assert metrics["front_fd_ratio"].mean == pytest.approx(min(fronts))


def test_a_second_experiment_finds_everything_done(experiment):
    with mock.patch.object(Workbench, "distil", side_effect=AssertionError("trained again")):
        again = Experiment(experiment.profile, experiment.folder)
        assert again.record().metrics == experiment.made.metrics


def test_figures_draw_the_steps(experiment):
    same = experiment.pictures.frames["same_noise"]
    methods = main(experiment.methods.frames["methods"])
    teacher = (
        methods.filter(pl.col("steps").is_in((1, 25)), method="teacher, DDIM")
        .group_by("steps").agg(pl.col("fd").mean())
    )  # fmt: skip
    curves = main(experiment.training.frames["curves"]).filter(training="default")
    named = methods.with_columns(pl.col("method").replace({"default": "student"}).alias("network"))
    drawn = [
        images.sheet(same, "Samples from the same noise in rows."),
        images.sheet(experiment.pictures.frames["failures"], "Samples read as another class."),
        images.sheet(experiment.memory.frames["pairs"], "Samples above their neighbours."),
        quality.methods(methods, main(experiment.networks.frames["anchors"])),
        quality.arms(main(experiment.arms.frames["arms"])),
        quality.training(curves, teacher, quality.heads_of(experiment.profile.main)),
        quality.distances(experiment.memory.frames["distances"]),
        quality.speed(
            experiment.speed.frames["speed"].filter(batch=4),
            named.group_by("network", "steps").agg(pl.col("fd").mean()),
        ),
    ]
    assert all("svg" in picture.svg for picture in drawn)


def test_the_slider_works_without_scripts_and_names_every_row(experiment):
    same = main(experiment.pictures.frames["same_noise"])
    text = slider.StepSlider(same, "The same samples")._repr_html_()
    rows = same["row"].unique(maintain_order=True).to_list()
    assert "<script" not in text
    assert text.count('type="radio"') == len(rows) == text.count("<img")
    assert text.count(" checked>") == 1
    for row in rows:
        assert f'alt="The same samples: {row}, seed 0"' in text
    both = pl.concat([same, same.with_columns(pl.lit(1).cast(same["seed"].dtype).alias("seed"))])
    text = slider.StepSlider(both, "The same samples")._repr_html_()
    assert text.count('type="radio"') == len(rows) + 2
    assert text.count("<img") == 2 * len(rows)
    assert text.count(" checked>") == 2
    with pytest.raises(ParameterError, match="no samples"):
        slider.StepSlider(same.head(0), "nothing")


def test_pictures_of_one_column_share_noise_and_prompt(experiment):
    bench = experiment.study.main
    requests = bench.requests(0)
    teacher = bench.draw_with_teacher(requests, 1)[3].clamp(-1, 1).flatten()
    kept = main(experiment.pictures.frames["same_noise"]).filter(row="teacher, 1", column=3)
    shown = 2 * images.as_picture(kept["png"][0])[..., 0].flatten() - 1
    np.testing.assert_allclose(shown, teacher.numpy(), atol=1.01 / 255)
    # One step of the student from the teacher's weights starts at the same place.
    untrained = bench.draw(bench.teacher(0), requests, 1)
    torch.testing.assert_close(
        untrained, bench.draw_with_teacher(requests, 1), atol=1e-4, rtol=1e-4
    )


def test_a_rate_of_zero_leaves_one_step_of_the_teacher(experiment):
    bench = experiment.study.main
    expected = bench.judged("teacher, DDIM", 1, TUNING_SEED).quality.fd
    for method in ("default", "consistency"):
        assert bench.untrained_fd(method) == pytest.approx(expected, rel=1e-3)


def test_each_seed_has_a_teacher_features_and_noise_between_steps_of_its_own(experiment):
    bench = experiment.study.main
    for network in (bench.teacher, bench.eye, bench.embedder):
        one, other = (
            torch.nn.utils.parameters_to_vector(network(seed).parameters()) for seed in (0, 1)
        )
        assert not torch.allclose(one, other, atol=1e-3)
    first = bench.requests(0)
    student = bench.student("default", 0).denoiser
    other = replace(first, seed=1)  # the noise at the start stays
    assert torch.equal(bench.draw(student, first, 1), bench.draw(student, other, 1))
    assert not torch.equal(bench.draw(student, first, 2), bench.draw(student, other, 2))


def test_the_blind_arm_is_told_nothing(experiment):
    bench = experiment.study.main
    assert float(bench.examples(0, ARMS["blind"]).condition[CONDITION].abs().sum()) == 0
    assert float(bench.examples(0, ARMS["default"]).condition[CONDITION].abs().sum()) > 0
    asked = bench.requests(0)
    student = bench.student("blind", 0).denoiser
    untold = replace(asked, prompts=torch.zeros_like(asked.prompts))
    assert torch.equal(bench.sample("blind", 1, 0), bench.draw(student, untold, 1))
    assert not torch.equal(bench.draw(student, asked, 1), bench.draw(student, untold, 1))


def test_networks_that_were_let_go_come_back_from_disk(experiment):
    before = copy.deepcopy(experiment.study.main.teacher(0).state_dict())
    gone = weakref.ref(experiment.study.main.teacher(0))
    experiment.study.let_go()
    gc.collect()
    assert gone() is None
    after = experiment.study.main.teacher(0).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_each_training_is_one_job_and_starts_from_the_networks_of_its_images(experiment):
    profile, study = experiment.profile, experiment.study
    jobs = all_jobs(profile)
    assert len(set(jobs)) == len(jobs)
    assert {*arm_jobs(profile), *method_jobs(profile)} == set(distillations(profile))
    needs = ahead.with_needs(study, jobs)
    assert list(needs) == [*foundations(profile), *distillations(profile)]
    assert not any(needs[job] for job in foundations(profile))
    job = Job(profile.sets[1], "random_features", profile.seeds[0])
    assert {need.settings.images for need in study.needs(job)} == {"fashion"}
    bench = study.main
    assert study.train(Job(profile.main, "eye")) is bench.vit(workbench.EYE, 0)
    assert study.train(Job(profile.main, "teacher")) is bench.train_teacher(0)
    assert study.train(Job(profile.main, "nfsd")) is bench.student("nfsd", 0)
    assert study.train(Job(profile.main, "progressive")) is bench.student("progressive", 0)


def test_methods_run_with_all_seeds_of_a_set_but_those_listed_once():
    profile = PROFILES["night"].override({"sets.0.arms_once": ["sds"]})
    digits, emoji = profile.sets
    assert seeds_of(profile, digits, "default") == (0, 1, 2, 3, 4)
    assert seeds_of(profile, digits, "consistency") == (0, 1, 2, 3, 4)
    assert seeds_of(profile, digits, "sds") == (0,)
    assert seeds_of(profile, digits, "nfsd") == ()
    assert seeds_of(profile, emoji, "teacher, DDIM") == (0,)
    assert seeds_of(profile, emoji, "consistency") == ()


def test_noises_between_two_noises_have_the_size_of_noise():
    draws = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 1, 3, 32, 32, generator=draws)
    share = torch.linspace(0, 1, 5).reshape(-1, 1, 1, 1)
    between = spherical(one, other, share)
    torch.testing.assert_close(between[0], one[0])
    torch.testing.assert_close(between[4], other[0])
    assert between.std((1, 2, 3)).numpy() == pytest.approx(np.ones(5), abs=0.05)


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_one_model_whose_arms_exist(name):
    profile = PROFILES[name]
    for settings in profile.sets:
        for arm in (*settings.arms, *settings.arms_once):
            ARMS[arm].settings(settings.add)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ParameterError, match="listed twice"):
        tiny(**{"sets.0.arms": ["sds"], "sets.0.arms_once": ["sds"]})
    with pytest.raises(ParameterError, match="the same images"):
        tiny(**{"sets": [PROFILES["cpu"].sets[0].model_dump()] * 2})
    with pytest.raises(ParameterError, match="needs 1 and 25"):
        tiny(**{"sets.0.teacher_steps": [1, 4]})
    with pytest.raises(ParameterError, match="1, 2 and 4"):
        tiny(student_steps=[1, 2])
    with pytest.raises(ParameterError, match=r"no row of Table 1 'z\.unknown'"):
        tiny(**{"published.rows": ["z.unknown"]})
    with pytest.raises(ParameterError, match="power of two"):
        tiny(**{"sets.0.progressive.from_steps": 6})


def test_a_training_waits_for_the_networks_of_its_seed_and_the_search_of_its_rate(tmp_path):
    profile = PROFILES["night"]
    study, (digits, emoji) = Study(profile, tmp_path), profile.sets

    def needed(settings, what, seed, rate=None):
        return {
            (job.what, job.seed, job.rate) for job in study.needs(Job(settings, what, seed, rate))
        }

    trained = {("metric", 0, None)}
    own = {(what, 1, None) for what in ("teacher", "eye", "embedder")}
    assert needed(digits, "sds", 1, 4.0) == trained | own
    assert needed(digits, "decayed", 1) == trained | own | {("decayed", TUNING_SEED, None)}
    tuning = {(what, TUNING_SEED, None) for what in ("teacher", "eye", "embedder")}
    tried = {("decayed", TUNING_SEED, rate) for rate in digits.rates}
    assert needed(digits, "decayed", TUNING_SEED) == trained | tuning | tried
    assert needed(emoji, "default", 0) == trained | {("teacher", 0, None)}


def test_rivals_start_from_the_teacher_of_their_seed(experiment):
    bench = experiment.study.main
    requests = bench.requests(1)
    theirs = bench.draw_with_teacher(requests, 2, denoiser=bench.guided(1))
    assert torch.equal(bench.sample("teacher, DDIM", 2, 1), theirs)
    assert not torch.equal(bench.draw_with_teacher(requests, 2, denoiser=bench.guided(0)), theirs)
    for method in ("consistency", "progressive"):  # two updates leave a student near where it began
        student, teachers = bench.student(method, 1).denoiser, [bench.teacher(s) for s in (0, 1)]
        apart = [distance_of_weights(student, teacher) for teacher in teachers]
        assert apart[1] < 0.5 * apart[0]


def distance_of_weights(one, other):
    vectors = (torch.nn.utils.parameters_to_vector(each.parameters()) for each in (one, other))
    return torch.sub(*vectors).norm().item()


def test_real_images_are_not_told_from_themselves(experiment):
    anchors = main(experiment.networks.frames["anchors"])
    told = dict(zip(anchors["images"], anchors["told apart"], strict=True))
    assert 0.2 < told["unseen real images"] < 0.8
    assert told["noise"] > 0.9
