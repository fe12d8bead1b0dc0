"""The gpu profile by ``okml run`` itself, at tiny sizes from tiny files in the true formats."""

from __future__ import annotations

import nbformat
import pytest

from okml.errors import ParameterError
from okml.ledger import load_claims
from okml.periodic_behavior import figures
from okml.periodic_behavior.arms import DRAWN, all_jobs
from okml.periodic_behavior.config import PROFILES
from okml.periodic_behavior.experiment import Experiment
from okml.periodic_behavior.planning import plan, step_flops
from okml.plan import over_budget
from tests.deciding import deciding_estimates
from tests.finished import check_report, options_of, reopened, run_by_command, told
from tests.periodic_behavior.tiny import put_images, tiny
from tests.scales import beyond_scale

# Of networks that learned for three steps nothing need be defined.
MAY_BE_UNDEFINED = {
    "norm_growth", "frequency_exponent", "rate_exponent", "exponent_difference"
}  # fmt: skip


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with run_by_command(tiny(), put_images, tmp_path_factory) as run_dir:
        yield reopened(Experiment, tiny(), run_dir)


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
    for name in ("rates", "decays", "learning_rates", "crossed", "spheres", "last_norm", "jump"):
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
    assert shown["arm"].unique(maintain_order=True).to_list() == [*DRAWN]
    drawn = figures.draw_course(shown, experiment.periods.frames["phases"])
    assert "0 whole periods" in drawn.alt
    assert "no weight decay" in figures.draw_controls(shown).alt
    first = courses.filter(epoch=1, seed=profile.seeds[0], problem=0)
    norms = dict(first.filter(rate=profile.rates.learning_rate).select("arm", "norm").iter_rows())
    assert norms["total_norm"] == pytest.approx(norms["fixed_norm"])
    assert norms["sphere_70"] == pytest.approx(0.7 * norms["fixed_norm"])
    assert norms["smallest_sphere"] == pytest.approx(0.35 * norms["fixed_norm"])
    spheres = experiment.periods.frames["spheres"]
    assert f"factor 0.25: angle {spheres.filter(factor=0.25)['angle'].median():.2g}" in (
        figures.draw_spheres(spheres).alt
    )
    assert "means: " in figures.draw_frequency(experiment.frequency.frames["frequency"]).alt


@pytest.mark.slow
def test_the_notebook_ends_with_every_claim_and_the_report_says_the_same(experiment, tmp_path):
    shown = experiment.folder / "shown" / "periodic_behavior.ipynb"
    *_, last = (cell for cell in nbformat.read(shown, 4).cells if cell.cell_type == "code")
    table = str(last.outputs)
    assert "profile gpu, seeds 0, 1" in table
    assert [c.id for c in load_claims("periodic_behavior") if f"<td>{c.id}</td>" not in table] == []
    check_report(experiment.made, tmp_path)


@pytest.mark.slow
def test_an_export_says_that_there_are_no_networks(experiment, tmp_path):
    words = ("periodic_behavior", "--profile", "gpu", *options_of(experiment.profile))
    with pytest.raises(ParameterError, match="periodic_behavior offers no networks"):
        told("export", *words, "--run-dir", experiment.folder, "--to", tmp_path)


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
