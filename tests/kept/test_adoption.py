"""What other code has kept is shown, taken over if asked to, and recorded."""

import importlib
import os
import textwrap
from pathlib import Path

import pytest
import torch

from okml.errors import ParameterError
from okml.kept import offer, remove_superseded, trainings_folder, trainings_in_use
from okml.steps import Steps
from tests.training.tasks import all_weights

SCALED, SHIFTED = "tiny.maths.scaled", "tiny.maths.shifted"


def test_nothing_is_said_where_nothing_is_stale(run, profile, run_dir, capsys):
    offer(profile, run_dir, adopt=True)
    run()
    offer(profile, run_dir, adopt=True)
    assert capsys.readouterr().out == ""


def test_a_run_says_what_it_will_compute_again_and_since_which_function(
    package, run, profile, run_dir, capsys
):
    run()
    package.edit("maths.py", "2 * x", "3 * x")
    offer(profile, run_dir, adopt=False)
    printed = capsys.readouterr().out
    assert "results of other code (2) are not used; --adopt would take them over" in printed
    assert f"Study.train, quality: other code in {SCALED}" in printed
    assert run()[1] == ["quality", "train"]


def test_steps_with_many_changes_share_a_line_until_they_are_adopted(
    package, run, profile, run_dir, capsys, monkeypatch
):
    run()
    monkeypatch.setattr("okml.kept.adoption.SHOWN", 0)
    package.edit("maths.py", "2 * x", "3 * x")
    package.edit("maths.py", "x + 1", "x + 2")
    offer(profile, run_dir, adopt=False)
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "Study.train, quality, serving: other code in more than" in lines[0]
    offer(profile, run_dir, adopt=True)
    assert f"serving: other code in {SHIFTED}\n" in capsys.readouterr().out


def test_what_is_adopted_is_shown_used_and_recorded(package, run, profile, run_dir, capsys):
    before = run()[0]
    package.edit("maths.py", "2 * x", "3 * x")
    package.edit("maths.py", "x + 1", "x + 2")
    offer(profile, run_dir, adopt=True)
    printed = capsys.readouterr().out
    assert "results of other code (3) are adopted" in printed
    assert f"Study.train, quality: other code in {SCALED}\n" in printed
    assert f"serving: other code in {SHIFTED}\n" in printed
    steps, computed = run()
    assert computed == []
    for name in ("quality", "serving"):
        one, other = before.results[name], steps.results[name]
        assert all(frame.equals(one.frames[key]) for key, frame in other.frames.items())
    record = steps.record({})
    assert record.provenance.adopted == {
        "Study.train": (SCALED,), "quality": (SCALED,), "serving": (SHIFTED,),
    }  # fmt: skip
    assert record.notes[-1] == (
        f"3 results are adopted from runs of other code, which differs in {SCALED}, {SHIFTED}."
    )
    offer(profile, run_dir, adopt=True)
    assert capsys.readouterr().out == ""  # nothing is left


def test_what_is_adopted_twice_differs_in_both(package, run, profile, run_dir):
    run()
    package.edit("maths.py", "2 * x", "3 * x")
    offer(profile, run_dir, adopt=True)
    package.edit("steps.py", "/ 8", "/ 9")
    offer(profile, run_dir, adopt=True)
    steps, computed = run()
    assert computed == []
    found = steps.record({}).provenance.adopted
    assert found == {"Study.train": (SCALED,), "quality": (SCALED, "tiny.steps.quality")}


def test_the_code_before_still_finds_its_own_steps(package, run, profile, run_dir):
    run()
    package.edit("maths.py", "x + 1", "x + 2")
    offer(profile, run_dir, adopt=True)
    package.edit("maths.py", "x + 2", "x + 1")
    steps, computed = run()
    assert computed == []
    assert steps.record({}).provenance.adopted == {}


def test_a_library_that_differs_is_named_with_its_versions(package, run, profile, run_dir, capsys):
    run()
    package.edit("steps.py", "import numpy as np", "import scipy as np")
    offer(profile, run_dir, adopt=True)
    printed = capsys.readouterr().out
    assert "numpy " in printed
    assert " → unused" in printed
    assert "scipy unused → " in printed


@pytest.mark.parametrize("change", ["settings", "function gone"])
def test_only_the_same_settings_and_functions_are_adopted(
    package, run, profile, run_dir, capsys, change
):
    run()
    if change == "settings":
        profile = profile.override({"width": 99})
        package.edit("maths.py", "2 * x", "3 * x")
    else:
        for file in ("steps.py", "study.py"):
            package.edit(file, "def ", "def new_")
    offer(profile, run_dir, adopt=True)
    assert capsys.readouterr().out == ""


def test_results_of_other_data_are_not_adopted(package, run, profile, run_dir, capsys, monkeypatch):
    package.edit("maths.py", "2 * x", "len('data') * x")
    monkeypatch.setattr("okml.kept.needs._data", lambda code, profile: {"data": "one"})
    run()
    package.edit("maths.py", "x + 1", "x + 2")
    package.edit("maths.py", "len('data')", "2")
    monkeypatch.setattr("okml.kept.needs._data", lambda code, profile: {"data": "two"})
    offer(profile, run_dir, adopt=True)
    assert capsys.readouterr().out == ""


def test_trainings_that_have_begun_are_not_pushed_aside(package, run, profile, run_dir):
    study = package.study(profile, run_dir)
    older = trainings_folder(study, package.study.train)
    for name in ("one", "two"):
        (older / name).write_text("")
    package.edit("maths.py", "2 * x", "3 * x")
    newer = trainings_folder(study, package.study.train)
    (newer / "one").write_text("begun")
    with pytest.raises(ParameterError, match="have begun") as raised:
        offer(profile, run_dir, adopt=True)
    assert str(newer) in raised.value.message
    assert str(older) in raised.value.hint
    (newer / "two").write_text("")  # it has as many now
    offer(profile, run_dir, adopt=True)
    assert (newer / "one").read_text() == "begun"


def test_trainings_of_other_code_or_settings_lie_elsewhere(package, profile, run_dir):
    def folder(profile=profile):
        return trainings_folder(package.study(profile, run_dir), package.study.train)

    first = folder()
    assert first == folder()
    assert first.name.startswith("Study.train-")
    assert folder(profile.override({"width": 99})) != first
    package.edit("maths.py", "x + 1", "x + 2")  # what no training reaches
    package.edit("maths.py", '"""Return x, scaled."""', '"""Scale."""')
    assert folder() == first
    package.edit("maths.py", "2 * x", "3 * x")
    assert folder() != first
    assert trainings_in_use(profile, run_dir) == [folder()]


def test_once_a_run_is_whole_only_the_code_before_keeps_its_trainings(
    package, profile, run_dir, capsys
):
    study, folders = package.study(profile, run_dir), []
    for factor in range(2, 6):
        folders.append(trainings_folder(study, package.study.train))
        os.utime(folders[-1], (factor, factor))
        package.edit("maths.py", f"{factor} * x", f"{factor + 1} * x")
    other = trainings_folder(
        package.study(profile.override({"width": 99}), run_dir), package.study.train
    )
    folders.append(trainings_folder(study, package.study.train))
    remove_superseded(profile, run_dir)
    assert [folder.exists() for folder in folders] == [False, False, False, True, True]
    assert other.exists()
    assert capsys.readouterr().out.count("kept: trainings by code before last are removed") == 3


def test_a_list_of_code_that_is_damaged_belongs_to_nobody(package, run, profile, run_dir, capsys):
    study = package.study(profile, run_dir)
    folder = trainings_folder(study, package.study.train)
    (folder / "code.json").write_text("[{")
    package.edit("maths.py", "2 * x", "3 * x")
    offer(profile, run_dir, adopt=True)
    remove_superseded(profile, run_dir)
    assert folder.exists()
    assert capsys.readouterr().out == ""


def test_a_kill_between_the_two_writes_of_an_adoption_loses_nothing(
    package, profile, run_dir, monkeypatch
):
    study = package.study(profile, run_dir)
    older = trainings_folder(study, package.study.train)
    (older / "weights").write_text("2")
    package.edit("maths.py", "2 * x", "3 * x")

    real = Path.replace

    def replace(path, target):
        if path.is_dir():
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            offer(profile, run_dir, adopt=True)
    assert (older / "weights").read_text() == "2"
    offer(profile, run_dir, adopt=True)
    newer = trainings_folder(study, package.study.train)
    assert (newer / "weights").read_text() == "2"
    assert not older.exists()
    steps = Steps(profile, run_dir, "cpu")
    assert steps.record({}).provenance.adopted == {"Study.train": (SCALED,)}


TRAINING = """
    from okml.kept import trainings_folder
    from okml.training import fit
    from tests.training.tasks import BASE, ActorCritic, Noisy
    from tiny.maths import scaled


    class Task(ActorCritic):
        def critic_loss(self, batch):
            x, y = batch
            return super().critic_loss((x, scaled(y) / 2))


    class TrainingStudy:
        def __init__(self, profile, run_dir):
            self.profile, self.run_dir = profile, run_dir

        def train(self, kill_at_step=None):
            import signal

            task = Task()
            task.kill_at_step, task.signal = kill_at_step, signal.SIGINT
            settings = BASE.model_copy(update={"device": "cpu"})
            fit(task, Noisy(), settings, trainings_folder(self, TrainingStudy.train))
            return task
"""


@pytest.fixture
def training(package):
    """Write a package with a training."""
    package.write("training.py", textwrap.dedent(TRAINING))
    return importlib.import_module("tiny.training").TrainingStudy


def test_an_adopted_training_goes_on_where_it_was_interrupted(
    package, training, profile, run_dir, tmp_path, capsys
):
    whole = training(profile, tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        training(profile, run_dir).train(kill_at_step=13)
    package.edit("maths.py", "2 * x", "x + x")  # the same number by other code
    offer(profile, run_dir, adopt=True)
    assert "TrainingStudy.train: other code in tiny.maths.scaled" in capsys.readouterr().out
    rest = training(profile, run_dir).train()
    assert len(rest.seen) == len(whole.seen) - 13
    assert all(map(torch.equal, rest.seen, whole.seen[13:]))
    weights = all_weights(rest)
    assert all(torch.equal(weights[name], value) for name, value in all_weights(whole).items())
    steps = Steps(profile, run_dir, "cpu")
    assert steps.record({}).provenance.adopted == {"TrainingStudy.train": (SCALED,)}


def test_a_training_by_other_code_starts_anew_unless_it_is_adopted(
    package, training, profile, run_dir
):
    with pytest.raises(KeyboardInterrupt):
        training(profile, run_dir).train(kill_at_step=13)
    package.edit("maths.py", "2 * x", "x + x")
    offer(profile, run_dir, adopt=False)
    assert len(training(profile, run_dir).train().seen) == 23
