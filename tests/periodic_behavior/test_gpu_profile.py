"""The gpu profile itself, every step of it, at tiny sizes from tiny files in the true formats."""

from __future__ import annotations

import pytest

from okml.periodic_behavior import figures
from okml.periodic_behavior.arms import ARMS, all_jobs
from okml.periodic_behavior.config import PROFILES
from okml.periodic_behavior.experiment import Experiment
from okml.periodic_behavior.planning import plan, step_flops
from okml.plan import over_budget
from tests.deciding import deciding_estimates
from tests.finished import check_commands
from tests.periodic_behavior.tiny import put_images, tiny
from tests.scales import beyond_scale
from tests.tools.own_data import recorded

# Of networks that learned for three steps nothing need be defined.
MAY_BE_UNDEFINED = {"norm_growth", "frequency_exponent", "rate_exponent"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with recorded(Experiment, tiny(), put_images, tmp_path_factory) as run:
        yield run


@pytest.mark.slow
def test_every_step_leaves_numbers_and_every_claim_has_its_metric(experiment):
    assert set(experiment.steps.results) == set(Experiment.step_names())
    for claim, estimate in deciding_estimates(experiment.made):
        assert estimate.interval is not None or claim.metric in MAY_BE_UNDEFINED, claim.id
    assert set(experiment.made.provenance.data) == {
        "cifar10/cifar-10-binary.tar.gz", "cifar100/cifar-100-binary.tar.gz",
    }  # fmt: skip


@pytest.mark.slow
def test_sizes_are_all_that_differs_from_the_profile(experiment):
    ours, theirs = experiment.profile, PROFILES["gpu"]
    for name in ("rates", "decays", "learning_rates", "last_norm", "jump"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert [(p.images, p.network) for p in ours.problems] == [
        (p.images, p.network) for p in theirs.problems
    ]
    assert experiment.training.values("trainings") == [len(all_jobs(ours))]


@pytest.mark.slow
def test_courses_have_an_epoch_a_row_and_figures_say_what_they_show(experiment):
    courses, profile = experiment.training.frames["courses"], experiment.profile
    assert len(courses) == len(all_jobs(profile)) * profile.main.epochs
    assert courses.null_count().sum_horizontal()[0] == 0
    shown = experiment.training.frames["shown"]
    assert shown["arm"].unique(maintain_order=True).to_list() == [*ARMS]
    drawn = figures.draw_course(shown, experiment.periods.frames["phases"])
    assert "0 whole periods" in drawn.alt
    assert "no weight decay" in figures.draw_controls(shown).alt
    assert "means: " in figures.draw_frequency(experiment.frequency.frames["frequency"]).alt


@pytest.mark.nightly
def test_commands_take_the_finished_run(experiment, tmp_path):
    check_commands(experiment.profile, experiment.folder, tmp_path)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_fits_its_budget(name):
    assert over_budget(plan(PROFILES[name]), PROFILES[name]) == []
    assert beyond_scale(PROFILES[name]) == []


def test_the_operations_of_a_step_are_those_of_its_products():
    """Of a multiplication and an addition, forward and backward to the input and to the weights."""
    profile = PROFILES["gpu"]
    first, last = 9 * 3 * 32 * 32**2, 256 * 10  # no gradient of the images is needed
    others = 9 * (32 * 64 * 32**2 + 64 * 128 * 16**2 + 128 * 256 * 8**2)
    assert step_flops(profile, profile.main) == 2 * 128 * (2 * first + 3 * (others + last))
    others = 4 * 9 * 32**2 * 32**2  # stage 1
    for width, side in ((64, 16), (128, 8), (256, 4)):
        others += (9 * (width // 2 * width + 3 * width**2) + width // 2 * width) * side**2
    assert step_flops(profile, profile.problems[2]) == 2 * 128 * (2 * first + 3 * (others + last))
