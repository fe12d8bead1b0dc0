"""The night profile itself, every step, from tiny files in the formats of its three logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

from okml.chapters import chapter
from okml.ledger import judge, load_claims
from okml.lightsage.arms import FEW_TREATMENTS, NETWORK, all_jobs, baseline_jobs, tries
from okml.lightsage.experiment import Experiment
from okml.paths import repository_root
from okml.site.replay import replay
from tests.lightsage.datasets.test_complete_journey import parquet, tables
from tests.lightsage.test_gpu_profile import SMALLER, diginetica_files, movielens_files
from tests.tools.own_data import OwnData

pytestmark = pytest.mark.slow

STEPS = 3  # each with a validation: a line at the end needs three
# Sizes alone; two rates as at night.
SIZES: dict[str, Any] = {
    name: SMALLER[name]
    for name in (
        "device", "in_view.shop", "recipe.batch", "negatives.count",
        "lightgcn.recipe.batch", "pinsage.neighbors", "pinsage.walks", "pinsage.hard_first",
        "pinsage.hard_last", "walks", "index_results", "index_items",
    )
} | {
    "seeds": [0, 1],  # an interval on one log needs the same pairs of each
    "recipe.steps": STEPS,
    "recipe.evaluate_every": 1,
    "lightgcn.recipe.steps": STEPS,
    "lightgcn.recipe.evaluate_every": 1,
    "item2vec.epochs": STEPS,
}  # fmt: skip
# What a log of purchases alone cannot say.
UNSAID = {"graph_quality", "search_edges", "coverage", "swing_coverage", "swing_input"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("night")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # trainings run in this process
        data = OwnData(folder, patch)
        baskets = {name: parquet(frame) for name, frame in tables().items()}
        data.files("complete_journey", baskets)
        data.files("ml_100k", movielens_files())
        data.files("ader_diginetica", diginetica_files())
        run = Experiment(chapter("lightsage").profile("night", SIZES), folder / "run")
        run.made = run.record()  # type: ignore[attr-defined]
        yield run


def test_every_claim_but_those_of_clicks_and_searches_has_its_interval(experiment: Any) -> None:
    for claim in load_claims("lightsage"):
        if claim.untestable is not None:
            continue
        verdict = judge(claim, experiment.made)
        said = claim.id.removeprefix("lightsage.") not in UNSAID
        assert (verdict.measured is not None) == said, claim.id
        if verdict.measured is not None:
            assert verdict.measured.interval is not None, claim.id
        if said and claim.control is not None:
            assert verdict.difference is not None, claim.id
        for condition in claim.conditions if said else ():
            assert experiment.made.metrics[condition.metric].exact


def test_every_trained_arm_chose_among_the_same_rates_and_took_the_same_steps(
    experiment: Any,
) -> None:
    profile, study = experiment.profile, experiment.study
    for job in all_jobs(profile):
        tried = tries(profile, job)
        assert {trial.rate for trial in tried} == {0.3, 1.0}
        assert study.tuned(job).rate == max(tried, key=study.validation).rate
        history = study.train(job).history
        assert history.steps == STEPS
        assert history.frame["ndcg@10"].drop_nulls().len() == STEPS


def test_the_rival_is_the_best_on_validation_and_the_gain_is_over_it(experiment: Any) -> None:
    study, profile = experiment.study, experiment.profile
    jobs = {name: job for name, job in baseline_jobs(profile) if job.seed == 0}
    rivals = [name for name in jobs if name != NETWORK]
    rival = max(rivals, key=lambda name: study.validation(jobs[name]))
    note = f"the best rival on complete_journey, by validation: {rival}"
    assert note in experiment.made.notes
    hits = dict(experiment.baselines.frames["summary"].select("arm", "hr@10").iter_rows())
    gain = experiment.baselines.metrics["main_hr10_gain_over_best_rival"]
    assert gain.mean == pytest.approx(hits[NETWORK] - hits[rival])


def test_tables_have_every_row_and_the_data_say_what_they_lack(experiment: Any) -> None:
    tail = experiment.tail.frames["summary"]["arm"].to_list()
    assert set(tail) == {*(row.name for row in FEW_TREATMENTS), "no graph, own vectors"}
    data = {row["data"]: row for row in experiment.data.frames["data"].to_dicts()}
    assert data["complete_journey"]["strong and weak alike"] == 0  # it has no weak edges
    assert data["ader_diginetica"]["strong and weak alike"] == 1  # and here all are strong
    indices = experiment.serving.frames["indices"]
    assert indices["data"].n_unique() == 3
    assert indices["recall"].is_between(0, 1).all()


def test_the_page_shows_every_figure_and_table_of_a_record_of_the_night(experiment: Any) -> None:
    notebook = nbformat.read(repository_root() / "notebooks/lightsage.ipynb", as_version=4)
    cells = replay(notebook, experiment.made)
    left_out = {shown.reason for outputs in cells.values() for shown in outputs if shown.reason}
    assert left_out == {"The record does not hold the rows scarce_search.summary."}
    alts = [str(shown.output) for outputs in cells.values() for shown in outputs if shown.output]
    assert sum("complete_journey" in alt for alt in alts) >= 8
