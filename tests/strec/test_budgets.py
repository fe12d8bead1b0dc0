"""What validation chooses, and what a training took."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import nn

from okml.seqrec.convergence import MONITOR, validations
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.ranking import rank_rows
from okml.seqrec.scorers import encoder_scorer
from okml.seqrec.tasks import LastTarget
from okml.strec.arms import (
    BACKBONE,
    WARM_START,
    Arm,
    Job,
    jobs_of,
    same_rate_jobs,
    sampled,
    stage_jobs,
    tries,
    warm_start,
)
from okml.strec.config import PROFILES
from okml.strec.experiments.quality import rising
from okml.strec.study import Study
from okml.strec.trainer import SPENT, TrainedEncoder, stage_optimizer
from tests.profiles import changed
from tests.seqrec.curves import history


def test_seconds_of_a_resumed_training_are_the_sum_of_its_parts():
    # The counter starts anew in the process that went on after the second validation.
    parts = history([0.1, 0.2, 0.3, 0.3], **{SPENT: [5.0, 9.0, 2.0, 6.0]})
    assert TrainedEncoder(mock.sentinel.encoder, (parts,), 1, 1.0).seconds == 15


def test_the_rate_with_the_best_validation_of_the_first_seed_is_for_all_seeds(tmp_path):
    recipe = changed(PROFILES["smoke"].recipe, learning_rates=(1e-3, 4e-3, 2e-3))
    profile = changed(PROFILES["smoke"], recipes=(recipe,), seeds=(3, 5))
    study = Study(profile, tmp_path)
    job = Job(profile.main, sampled("strec", profile.main, profile.recipe), 5, profile.recipe)
    found = {1e-3: 0.1, 4e-3: 0.3, 2e-3: 0.2}
    start = warm_start(profile, job)
    assert study.needs(job) == [*tries(profile, job), start]
    # What may be the first stage of the same training waits for it.
    first = replace(job, epochs=(profile.recipe.relaxed_epochs, 0))
    assert study.needs(first) == [*tries(profile, first), start, job]
    assert {trial.seed for trial in tries(profile, job)} == {3}
    with mock.patch.object(
        study, "train", lambda trial: SimpleNamespace(validation=found[trial.rate])
    ):
        assert study.tuned(job) == replace(job, rate=4e-3)
    # A trial needs its own stage 1, which starts from the best of the warm starts.
    [stage] = study.needs(replace(job, rate=4e-3))
    assert (stage.epochs, stage.rate) == ((profile.recipe.relaxed_epochs, 0), 4e-3)
    [start] = study.needs(stage)
    assert (start.seed, start.rate) == (5, None)


def test_a_start_with_an_average_is_the_average_of_its_best_validation(tmp_path):
    small = PROFILES["smoke"].override(
        {"datasets.0.k_core": (5, 200), "network.width": 8, "network.hidden": 8}
    )
    warm = changed(
        small.warm_start, epochs=3, batch=256, warmup_steps=0, ema_decay=0.9, evaluate_every=1,
        patience=3,
    )  # fmt: skip
    profile = changed(small, warm_start=warm)
    start = warm_start(profile, Job(profile.main, BACKBONE, 0, profile.recipe))

    def curve_of(trained: TrainedEncoder) -> list[float]:
        return validations(trained.history[0])[1].tolist()

    study = Study(profile, tmp_path)
    trained, data = study.train(start), study.data(profile.main)
    rows = study.rows_source(data, data.valid, profile.main.length, trained.encoder.padding_side)
    ranks = rank_rows(encoder_scorer(trained.encoder.eval()), rows)
    assert (
        trained.validation == max(curve_of(trained)) == pytest.approx(mean_metrics(ranks)[MONITOR])
    )
    plain = changed(profile, warm_start=changed(warm, ema_decay=None))
    other = Study(plain, tmp_path).train(start)
    assert curve_of(other) != curve_of(trained)
    assert other.history[0].frame.columns == trained.history[0].frame.columns
    # One that is finished is read, not trained anew, and is the same.
    again = Study(profile, tmp_path).train(start)
    assert curve_of(again) == curve_of(trained)
    for name, weight in trained.encoder.state_dict().items():
        torch.testing.assert_close(again.encoder.state_dict()[name], weight, rtol=0, atol=0)


def test_an_arm_at_the_rate_of_another_has_its_choice_and_waits_for_its_own_training(tmp_path):
    recipe = changed(PROFILES["smoke"].recipe, learning_rates=(1e-3, 4e-3))
    profile = changed(PROFILES["smoke"], recipes=(recipe, *PROFILES["smoke"].recipes[1:]))
    study = Study(profile, tmp_path)
    ours, random, _ = same_rate_jobs(profile)
    assert (ours.rate_of, random.rate_of) == (None, ours.arm)
    assert tries(profile, random) == tries(profile, ours)
    assert random.whole in study.needs(random)
    validated = {("strec", 1e-3): 0.2, ("strec", 4e-3): 0.1}  # the random sample has no say
    with mock.patch.object(
        study, "train",
        lambda trial: SimpleNamespace(validation=validated[trial.arm.name, trial.rate]),
    ):  # fmt: skip
        assert study.tuned(random) == replace(random.whole, rate=1e-3)


def test_a_stage_1_that_goes_on_is_chosen_as_stage_2_is(tmp_path):
    """Both go on from the same first stage, and keep it where validation only falls."""
    small = PROFILES["smoke"].override(
        {"datasets.0.k_core": (5, 200), "network.width": 8, "network.hidden": 8}
    )
    recipe = changed(
        small.recipe, learning_rates=(10.0,), sampler_learning_rate=1e-2, hard_epochs=2,
        evaluate_every=1, patience=2,
    )  # fmt: skip
    profile = changed(small, recipes=(recipe, *small.recipes[1:]))
    study, jobs = Study(profile, tmp_path), stage_jobs(profile, 0)
    first = study.train(jobs["after stage 1"])
    data = study.data(profile.main)
    rows = study.rows_source(data, data.valid, profile.main.length)
    first.encoder.eval().stage = "hard"
    hard = mean_metrics(rank_rows(encoder_scorer(first.encoder), rows))[MONITOR]
    for name in ("both stages", "stage 1 for all epochs"):
        trained = study.train(jobs[name])
        assert len(trained.history) == 2
        if trained.start_kept:
            assert trained.validation == pytest.approx(hard, rel=1e-6)
            for key, weight in first.encoder.state_dict().items():
                torch.testing.assert_close(trained.encoder.state_dict()[key], weight)
        else:
            assert trained.validation > hard
        # Whatever is trained, validation reads the hard sample.
        assert validations(trained.history[0])[1][-1] == pytest.approx(hard, rel=1e-6)


one_target = LastTarget.forward


def test_fine_tuning_that_only_spoils_returns_its_start(tmp_path):
    small = PROFILES["smoke"].override(
        {"datasets.0.k_core": (5, 200), "network.width": 8, "network.hidden": 8}
    )
    kept, modes = {}, []

    def forward(self: LastTarget, *batch: object) -> torch.Tensor:
        modes.append({module.training for module in self.modules()})
        return one_target(self, *batch)

    for rate in (10.0, 1e-12):  # one that spoils all, and one that changes no weight
        recipe = changed(
            small.recipe, learning_rates=(rate,), hard_epochs=2, evaluate_every=1, patience=2
        )
        profile = changed(small, recipes=(recipe, *small.recipes[1:]))
        study = Study(profile, tmp_path)
        job = Job(profile.main, BACKBONE, 0, recipe)
        start = study.train(warm_start(profile, job))
        with mock.patch.object(LastTarget, "forward", forward):
            trained = study.train(job)
        kept[rate] = trained.start_kept
        assert trained.validation == pytest.approx(start.validation, rel=1e-6)
        before, after = start.encoder.state_dict(), trained.encoder.state_dict()
        for name in after:
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
        # One that is finished is read, and what its start validated with, too.
        with mock.patch("okml.strec.trainer.evaluating", side_effect=AssertionError("again")):
            again = Study(profile, tmp_path).train(job)
        assert again.start_kept == trained.start_kept
        assert again.validation == trained.validation
    assert kept[10.0]
    assert modes
    assert all(mode == {True} for mode in modes)  # with dropout and noise


def test_an_arm_is_still_rising_where_it_or_its_warm_start_is():
    profile = PROFILES["smoke"]
    curves = {"flat": history([0.3] * 6), "rises": history([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])}
    jobs = jobs_of(profile.main, [BACKBONE, Arm("newest 6", length=6)], (0, 1), profile.recipe)

    def count(*, start: str, backbone: str, arms: list[str] | None = None) -> int:
        ended = {WARM_START.name: start, BACKBONE.name: backbone, "newest 6": "flat"}
        study = SimpleNamespace(
            profile=profile,
            train=lambda job: SimpleNamespace(history=(curves[ended[job.arm.name]],)),
        )
        return rising(study, jobs, arms)

    assert count(start="flat", backbone="flat") == 0
    assert count(start="flat", backbone="rises") == 1
    assert count(start="rises", backbone="rises") == 2  # the start of both arms counts once
    assert count(start="flat", backbone="rises", arms=["newest 6"]) == 0
    assert count(start="rises", backbone="flat", arms=["newest 6"]) == 1


def test_the_sampler_keeps_its_rate_at_every_rate_of_the_others():
    ours, theirs = PROFILES["smoke"].recipes
    network = nn.ModuleDict({"sampler": nn.Linear(1, 1), "layers": nn.Linear(1, 1)})
    for recipe, sampler in ((ours, 1e-2), (theirs, 3e-4)):
        groups = stage_optimizer(network, recipe, 3e-4).param_groups
        assert [group["lr"] for group in groups] == [3e-4, sampler]


def test_arms_of_one_table_may_take_the_same_number_of_targets():
    for profile in PROFILES.values():
        for recipe in profile.recipes:
            jobs = [
                Job(profile.main, arm, 0, recipe)
                for arm in (
                    BACKBONE,
                    *(sampled(n, profile.main, recipe) for n in ("strec", "random")),
                )
            ]
            assert len({sum(job.stages) for job in jobs}) == 1
