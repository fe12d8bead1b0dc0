"""Trials of single changes of the recipe, from the networks of a kept run of a few steps."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
import torch

from benchmarks.trials.add import (
    TIMES,
    AddTrials,
    Trial,
    WatchedDistillation,
    distance,
    measure,
    train_networks,
    trials_of,
)
from okml.add.arms import Arm
from okml.add.config import PROFILES
from okml.add.student import make_student
from okml.add.workbench import Workbench
from okml.errors import ParameterError
from okml.paths import results_dir
from tests.add.chapter.tiny import tiny

NAMES = ("recipe", "weight_0", "distillation_alone", "heads_twice", "longer")
UPDATES, SEEDS = 4, (0, 1)


@pytest.fixture(scope="module")
def profile():
    return tiny(seeds=list(SEEDS))


@pytest.fixture(scope="module")
def run(profile, tmp_path_factory):
    """The folder of a run that has trained what students start from."""
    folder = tmp_path_factory.mktemp("run")
    train_networks(profile, profile.main, folder, SEEDS)
    return folder


def contents(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def measured(profile, run, tmp_path_factory):
    work, before = tmp_path_factory.mktemp("work"), contents(run)
    out = work / "record.json"
    record = measure(
        profile, profile.main, run, work, out,
        seeds=SEEDS, names=NAMES, updates=UPDATES, points=2,
    )  # fmt: skip
    assert contents(run) == before
    return record, work


@pytest.fixture(scope="module")
def bench(profile, measured):
    return Workbench(profile, profile.main, measured[1])


def test_each_trial_has_a_curve_of_each_seed(measured, profile):
    record, work = measured
    assert AddTrials.read(work / "record.json") == record
    assert [trial.name for trial in record.trials] == [*NAMES]
    assert set(record.teacher) == set(profile.main.teacher_steps)
    assert {len(values) for values in (*record.teacher.values(), record.start)} == {len(SEEDS)}
    for trial in record.trials:
        assert [run.seed for run in trial.runs] == [*SEEDS]
        for run in trial.runs:
            last = UPDATES * trial.changes.get("times", 1)
            assert [point.updates for point in run.curve] == [*range(2, last + 1, 2)]
            assert all(point.fd > 0 and point.fd_unaveraged > 0 for point in run.curve)
        assert trial.title in str(record)


def test_gradients_and_accuracy_are_measured_where_there_are_any(measured):
    by_name = {trial.name: trial for trial in measured[0].trials}
    for name, trial in by_name.items():
        last = trial.runs[0].curve[-1]
        assert (last.gradient_ratio is None) == (name in ("weight_0", "distillation_alone"))
        shares = {"real_seen", "real_unseen", "drawn_seen", "drawn_unseen"}
        assert {*last.accuracy} == (set() if name == "distillation_alone" else shares)
        assert all(0 <= share <= 1 for share in last.accuracy.values())


def test_the_recipe_is_the_students_own_training(measured, bench, profile):
    steps = profile.main.distillation.steps  # of the two points, the first
    for run in measured[0].trials[0].runs:
        student = bench.distil("default", run.seed).denoiser
        assert run.curve[0].updates == steps
        own = distance(bench, student, bench.requests(run.seed))
        assert run.curve[0].fd == pytest.approx(own, rel=1e-6)


def test_the_longer_training_begins_with_the_recipe(measured):
    by_name = {trial.name: trial for trial in measured[0].trials}
    for recipe, longer in zip(by_name["recipe"].runs, by_name["longer"].runs, strict=True):
        assert len(longer.curve) == TIMES * len(recipe.curve)
        for point, same in zip(recipe.curve, longer.curve, strict=False):
            assert same.fd == pytest.approx(point.fd, rel=1e-6)


def test_a_second_call_trains_nothing(measured, profile, run, monkeypatch):
    record, work = measured
    monkeypatch.setattr(WatchedDistillation, "student_loss", lambda *_: pytest.fail("it trains"))
    again = measure(
        profile, profile.main, run, work, work / "again.json",
        seeds=SEEDS, names=NAMES, updates=UPDATES, points=2,
    )  # fmt: skip
    assert again.trials == record.trials


@pytest.mark.parametrize(
    ("changes", "updates"), [({}, [1, 1, 1, 1]), ({"heads_every": 4}, [0, 0, 0, 1]),
                             ({"heads_times": 2}, [2, 2, 2, 2])]
)  # fmt: skip
def test_heads_learn_as_often_as_the_trial_says(bench, changes, updates):
    trial, arm, recipe = Trial("one", "one", **changes), Arm("one", "one"), bench.settings.add
    task = WatchedDistillation(
        bench, make_student(bench.teacher(0)), arm, recipe, trial, bench.requests(0), {}
    )
    taken = [Counter(phase.name for phase in task.phases(step)) for step in (1, 2, 3, 4)]
    assert [names["heads"] for names in taken] == updates
    assert [names["student"] for names in taken] == [1, 1, 1, 1]


def test_a_training_that_goes_on_goes_on_with_its_slower_average(bench):
    def new():
        arm, recipe = Arm("one", "one"), bench.settings.add
        return WatchedDistillation(
            bench, make_student(bench.teacher(0)), arm, recipe, Trial("one", "one"),
            bench.requests(0), {},
        )  # fmt: skip

    def step(task, count):
        with torch.no_grad():
            for weight in task.modules["student"].parameters():
                weight.fill_(count)
        task.after_step(count)

    whole, stopped, resumed = new(), new(), new()
    for count in (1, 2, 3):
        step(whole, count)
    for count in (1, 2):
        step(stopped, count)
    resumed.load_state(stopped.state())
    step(resumed, 3)
    kept, expected = (task.state()["slow"] for task in (resumed, whole))
    assert kept["updates"] == expected["updates"] == 3
    torch.testing.assert_close(dict(kept["weights"]), dict(expected["weights"]), rtol=0, atol=0)


@pytest.mark.parametrize("name", PROFILES)
def test_each_trial_but_the_recipe_is_one_valid_change(name):
    for recipe in (each.add for each in PROFILES[name].sets):
        for trial in trials_of(recipe).values():
            settings = Arm(trial.name, trial.title, changes=trial.changes).settings(recipe)
            fields = {field for field, value in recipe if getattr(settings, field) != value}
            assert fields == set(trial.changes)
            assert len(trial.differs) == (trial.name != "recipe")
            assert json.loads(json.dumps(trial.differs)) == trial.differs  # as it is recorded
        assert ("unguided" in trials_of(recipe)) == (recipe.guidance != 1)


def test_a_run_without_finished_networks_is_refused_before_anything_is_trained(
    profile, run, tmp_path
):
    missing = tmp_path / "none"
    with pytest.raises(ParameterError, match="holds no finished digits8/metric"):
        measure(profile, profile.main, missing, tmp_path / "work", tmp_path / "out.json")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (found,) = unfinished.glob("training/Workbench.vit-*/*/embedder1/checkpoints")
    shutil.rmtree(found)
    with pytest.raises(ParameterError, match="holds no finished digits8/embedder1"):
        measure(profile, profile.main, unfinished, tmp_path / "work", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_trial_is_refused(profile, run, tmp_path):
    with pytest.raises(ParameterError, match="No trial 'weight_7'"):
        measure(profile, profile.main, run, tmp_path, tmp_path / "out.json", names=["weight_7"])


def recorded(name):
    return AddTrials.read(results_dir() / "benchmarks" / f"{name}.json")


def test_the_long_training_on_emoji_ends_as_the_pages_say():
    record = recorded("add_trials_long")
    recipe, weighted = record.trials
    one_step = record.teacher[1]
    for run, before, teacher in zip(recipe.runs, record.start, one_step, strict=True):
        distances = {point.updates: point.fd for point in run.curve}
        nearest = min(distances, key=distances.__getitem__)
        assert 300 <= nearest <= 600
        assert 0.6 * teacher < distances[nearest] < teacher  # 0.6 is the bar of add.one_step
        assert min(run.curve[-1].fd, run.curve[-1].fd_slow) > before
        late = [point.accuracy for point in run.curve if point.updates >= 500]
        assert min(share for shares in late for share in shares.values()) > 0.98
    for run, teacher in zip(weighted.runs, one_step, strict=True):
        settled = [point.fd for point in run.curve if point.updates >= 500]
        assert 0.9 * teacher < min(settled) < 1.1 * teacher


def test_the_long_training_on_digits_ends_as_the_pages_say():
    record = recorded("add_trials_digits")
    for run, four, many in zip(
        record.trials[0].runs, record.teacher[4], record.teacher[25], strict=True
    ):
        assert all(point.fd < four for point in run.curve if point.updates >= 360)
        level = [point.fd_slow / many for point in run.curve if point.updates >= 600]
        assert min(level) > 1.8
        assert max(level) < 2.5
    assert (
        record.trials[0].gradient_ratio()
        < 100
        < recorded("add_trials_long").trials[0].gradient_ratio()
    )
