"""The gpu profile by ``okml run`` itself, at tiny sizes from tiny files in the true formats."""

from __future__ import annotations

import itertools
from dataclasses import replace
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch

from okml.ledger import Estimate
from okml.offline_rl import figures
from okml.offline_rl.arms import CriticJob, Job, all_jobs, quality_jobs
from okml.offline_rl.comparison import CELLS
from okml.offline_rl.config import PROFILES
from okml.offline_rl.experiment import Experiment
from okml.offline_rl.experiments.cells import COLUMNS, PAPER_RIVALS, judge_ratio, measure_cells
from okml.offline_rl.experiments.training import train_everything
from okml.offline_rl.study import Study
from tests.deciding import check_intervals
from tests.finished import check_report, exported, reopened, run_by_command
from tests.offline_rl.tiny import EVENTS, ITEMS, USERS, put_logs, tiny
from tests.profiles import changed

pytestmark = pytest.mark.slow  # the run of the profile, which most tests read


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with run_by_command(tiny(), put_logs, tmp_path_factory) as run_dir:
        yield reopened(Experiment, tiny(), run_dir)


@pytest.fixture
def study(own_data, tmp_path):
    put_logs(own_data)
    return lambda **values: Study(tiny(**values), tmp_path / "run")


def test_every_step_leaves_numbers_and_every_claim_has_its_metric(experiment):
    assert set(experiment.steps.results) == set(Experiment.step_names())
    check_intervals(experiment.made)


def test_sizes_and_the_device_are_all_that_differs_from_the_profile(experiment):
    ours, theirs = (p.model_dump() for p in (experiment.profile, PROFILES["gpu"]))
    for name in ("arms", "main_arms", "funnel_arms", "crr", "mixed_precision"):
        assert ours[name] == theirs[name]
    assert set(experiment.made.provenance.data) == {
        "ml_25m/ml-25m.zip", "yoochoose/yoochoose-clicks.dat", "yoochoose/yoochoose-buys.dat",
    }  # fmt: skip
    for name in ("log", "reward", "split", "hide_seen", "tie_rule", "least_item_events", "users"):
        for number in (0, 1):
            assert ours["datasets"][number][name] == theirs["datasets"][number][name]


def test_data_is_counted_as_episodes(experiment):
    movies, shop, _ = experiment.data.frames["data"].to_dicts()
    assert (movies["episodes"], movies["items"]) == (USERS, ITEMS)
    assert movies["events"] == USERS * EVENTS
    assert 0 < movies["wanted"] < 1
    assert movies["most recent NDCG@10"] >= 0
    prepared = experiment.study.data(experiment.profile.main)
    ids = prepared.interactions.item_ids
    assert prepared.names([2, 1]) == [f"Film, The {ids[1]} (1999)", f"Film, The {ids[0]} (1999)"]
    # Items of even numbers are bought after the click.
    bought = prepared.log.frame.filter(pl.col("value") > 3).height
    assert (shop["episodes"], shop["items"]) == (USERS, ITEMS)
    assert shop["events"] > USERS * EVENTS
    assert bought > 0


def test_the_table_has_every_arm_and_the_cells_the_papers_columns(experiment):
    profile, table = experiment.profile, experiment.cells.frames["table"]
    main = table.filter(data=profile.main.log)
    assert set(main["arm"]) == {job.arm for job in quality_jobs(profile, profile.main)}
    inside = main.drop_nulls("difference")
    assert (inside["low"] <= inside["difference"] + 1e-12).all()
    assert (inside["difference"] <= inside["high"] + 1e-12).all()
    cells = experiment.cells.frames["cells"]
    assert len(cells) == 12
    for arm, column in COLUMNS.items():
        by_table = main.filter(arm=arm)["hr@10"][0]
        by_cell = cells.filter(data=profile.main.log, metric="hr@10")[column][0]
        assert by_cell == pytest.approx(by_table)


def test_the_table_says_what_each_arm_has_seen_and_how_it_does_with_the_other_rule(experiment):
    profile, study = experiment.profile, experiment.study
    table = experiment.cells.frames["table"].filter(data=profile.main.log)
    targets = dict(table.select("arm", "targets").iter_rows())
    epoch = len(study.data(profile.main).split.train)  # each event is a target once
    assert targets["transformer_only"] == epoch
    assert targets["crr"] == targets["bc_continue"] == targets["sasrec_ce"] == 2 * epoch
    assert max(targets.values()) == 2 * epoch
    # A single validation cannot tell that it is flat, on either log.
    rising = {name: experiment.made.metrics[f"rising_{name}"].mean for name in PAPER_RIVALS}
    assert rising["transformer_only"] == len(profile.datasets)
    other = experiment.cells.frames["other_rule"]
    hidden = dict(other.select("data", "seen items").unique().iter_rows())
    assert hidden == {"ml_25m": "kept", "yoochoose": "hidden"}
    # Without the items of the history, no target falls in rank, and one that is new may rise.
    both = table.join(other.filter(data="ml_25m"), on="arm")
    assert (both["hr@10"] >= both["hr@10_right"]).all()
    assert (both["hr@10"] > both["hr@10_right"]).any()


def test_what_dealt_weights_cost_is_measured_with_the_weights_that_validation_chose(experiment):
    main = experiment.cells.frames["table"].filter(data=experiment.profile.main.log)
    of = {row["arm"]: row for row in main.to_dicts()}
    made = experiment.made.metrics
    for metric, name in (("dealt_ndcg_difference", "crr_dealt"), ("crr_ndcg_difference", "crr")):
        for end in ("low", "high"):
            assert getattr(made[metric], end) == pytest.approx(of[name][end])
    gain = of["crr"]["ndcg@10"] - of["crr_dealt"]["ndcg@10"]
    assert made["crr_ndcg_gain_over_dealt"].mean == pytest.approx(gain)


def test_a_single_learning_rate_is_not_known_to_be_the_best(experiment):
    made = experiment.made.metrics
    assert made["unbracketed_crr"].mean == len(experiment.profile.datasets)
    assert made["unbracketed_early_start"].mean == 2
    # Of cloning, the arm of the claim and that without a future; by the return, of the first two.
    assert made["simulated_unbracketed"].mean == 3
    assert made["simulated_return_unbracketed"].mean == 2


def test_wins_are_counted_from_the_cells(experiment):
    profile = experiment.profile
    won = 0
    for settings in profile.datasets:
        table = experiment.cells.frames["table"].filter(data=settings.log)
        of = {row["arm"]: row for row in table.to_dicts()}
        won += sum(of["crr"][cell] > max(of[name][cell] for name in PAPER_RIVALS) for cell in CELLS)
    made = experiment.made.metrics["experiments_won_share"]
    assert made.mean == pytest.approx(won / 12)
    assert made.low <= made.mean <= made.high


def test_ratios_come_from_the_same_rankings_as_the_table(experiment):
    ratio = experiment.cells.frames["verdict"].filter(metric="ndcg@10", ratio="CRR over stage 1")[
        "value"
    ][0]
    main = experiment.cells.frames["table"].filter(data=experiment.profile.main.log)
    crr, stage1 = (main.filter(arm=arm)["ndcg@10"][0] for arm in ("crr", "transformer_only"))
    assert ratio == pytest.approx(crr / stage1)


def test_curves_have_both_stages_and_the_second_goes_on_where_the_first_ended(experiment):
    curves = experiment.training.frames["curves"]
    stage1 = curves.filter(arm="transformer_only", seed=0)
    stage2 = curves.filter(arm="crr", seed=0)
    assert stage1["stage"].unique().to_list() == [1]
    assert stage2["stage"].unique().to_list() == [2]
    assert stage2["step"].min() > stage1["step"].max()


def test_cloning_keeps_all_actions_and_stage_1_has_no_distance_from_itself(experiment):
    rows = experiment.filters.frames["filters"]
    itself = rows.filter(arm="transformer_only")
    # The best and the last step of stage 1 may differ, but a policy is near itself.
    assert itself["KL from stage 1"].max() < rows["KL from stage 1"].max()
    binary = rows.filter(arm="crr_binary")
    assert (binary["let_through"] <= 1).all()
    assert rows.filter(arm="bc_continue")["weight_wanted"].is_null().all()


def test_simulated_returns_are_below_the_exact_best(experiment):
    best = experiment.shop.values("exact_best_return")[0]
    rows = experiment.returns.frames["returns"]
    assert (rows["return"] - 5 * rows["standard error"] < best).all()
    assert {"the log's policy", "myopic, knows the interest"} <= set(rows["label"])


def test_off_policy_rows_stand_beside_their_truth(experiment):
    frame = experiment.evaluation.frames["simulator"]
    assert frame["truth"].null_count() == 0
    for row in frame.to_dicts():
        error = np.hypot(row["standard_error"], row["truth error"])
        off = abs(row["value"] - row["truth"]) > 2 * error
        assert row["miss"] == (off if row["reported"] else None)
    assert (frame["effective"] <= experiment.profile.ope_sessions + 1e-6).all()
    logs = experiment.evaluation.frames["logs"]
    assert set(logs["data"]) == {settings.log for settings in experiment.profile.datasets}


def test_figures_draw_what_the_steps_found(experiment):
    e = experiment
    exact = [e.shop.values(f"exact_{name}_return")[0] for name in ("stationary", "myopic")]
    drawn = [
        figures.draw_curves(e.training.frames["curves"]),
        figures.draw_ratios("gpu", e.cells.frames["verdict"]),
        figures.draw_long_term("gpu", e.returns),
        figures.draw_cells(e.cells.frames["cells"]),
        figures.draw_gains(e.cells.frames["table"], e.profile.main.log),
        figures.draw_filters(e.filters),
        figures.draw_trade(e.filters.frames["filters"]),
        figures.draw_returns(e.returns.frames["returns"], *exact),
        figures.draw_estimates(e.evaluation.frames["simulator"]),
    ]
    assert all("<svg" in picture.svg and len(picture.alt) > 40 for picture in drawn)


@pytest.mark.parametrize("name", list(PROFILES))
def test_jobs_are_each_listed_once_and_belong_to_the_profile(name):
    profile = PROFILES[name]
    jobs = all_jobs(profile)
    assert len(jobs) == len(set(jobs))
    crr = [job for job in jobs if job.name == "crr" and job.rate is None]
    logs = (*profile.datasets, profile.funnel)
    assert len(crr) == len(profile.seeds) * len(logs)
    fits = {job for job in jobs if isinstance(job, CriticJob)}
    for data, seed in itertools.product(logs, profile.seeds):
        assert {CriticJob(data, seed, on_returns=told) for told in (False, True)} <= fits


def test_a_second_run_finds_everything_trained(experiment):
    again = Study(experiment.profile, experiment.folder)
    taken = "okml.training.loop._Run._take"
    with mock.patch(taken, side_effect=AssertionError("trained again")):
        trained = again.train(Job(experiment.profile.main, "crr", 0))
    expected = experiment.study.train(Job(experiment.profile.main, "crr", 0))
    for kind in ("encoder", "last"):
        ours, theirs = (getattr(side, kind).state_dict() for side in (trained, expected))
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_the_last_weights_are_those_of_the_last_step(experiment):
    trained = experiment.study.train(Job(experiment.profile.main, "crr", 0))
    history = trained.history
    same = all(
        torch.equal(value, trained.last.state_dict()[key])
        for key, value in trained.encoder.state_dict().items()
    )
    assert same == (history.best_step == history.steps)


def test_exported_policies_read_histories_as_the_trained_ones(experiment, tmp_path):
    profile = experiment.profile
    policies = exported(profile, experiment.folder, tmp_path)
    assert policies.keys() == {f"offline_rl_{data.log}" for data in profile.datasets}
    for data in profile.datasets:
        trained = experiment.study.train(Job(data, "crr", 0)).encoder
        found, items = policies[f"offline_rl_{data.log}"], torch.tensor([[1, 3, 2, 7, 0, 0]])
        with torch.no_grad():
            assert torch.equal(found.last(items), trained.last(items))
            assert torch.equal(found.item_matrix(), trained.item_matrix())


@pytest.mark.parametrize("changes", [{}, {"curve_evaluations": 1000}], ids=["default", "often"])
def test_validations_end_an_epoch_and_are_no_more_than_its_steps(study, changes):
    made = study(**{"datasets.0.validation_rows": 4, "patience": 1000, **changes})
    history = made.train(Job(made.profile.main, "sasrec_ce", 0)).history
    evaluated = history.frame.drop_nulls("hr@10")["step"].to_list()
    epoch = history.steps // 2
    assert evaluated == ([*range(1, history.steps + 1)] if changes else [epoch, 2 * epoch])
    assert epoch > 1


def test_rates_are_chosen_by_validation_with_all_seeds(study):
    made = study(seeds=[0, 1], learning_rates=[1.0, 1e-6])
    jobs = [Job(made.profile.main, "sasrec_ce", seed) for seed in (0, 1)]
    found = {
        rate: sum(made.train(replace(job, rate=rate)).history.best_value for job in jobs) / 2
        for rate in made.profile.learning_rates
    }
    assert made.tried(jobs[1]).values == pytest.approx(found)
    assert made.rate(jobs[1]) == max(found, key=found.get)
    assert made.needs(jobs[1]) == [jobs[0]]
    assert made.needs(jobs[0]) == [replace(job, rate=rate) for rate in (1.0, 1e-6) for job in jobs]


def test_two_seeds_give_the_cells_a_spread(study):
    names = ["transformer_only", "bc_continue", "crr", "crr_only", "sasrec_bce", "sasrec_ce"]
    made = study(seeds=[0, 1], arms=names, main_arms=[])
    result = measure_cells(made, train_everything(made).frames["seen"])
    cells = result.frames["cells"]
    assert len(cells) == 12
    assert cells["CRR-Transformer sd"].null_count() == 0
    assert cells["CRR-Transformer sd"].max() > 0
    assert cells["Caser"].is_null().all()
    assert 0 <= result.metrics["experiments_won_share"].mean <= 1


def test_a_job_with_a_rate_is_trained_at_it(study):
    made = study(seeds=[0, 1], learning_rates=[1.0, 1e-6])
    chosen = Job(made.profile.main, "sasrec_ce", 1)
    slow = replace(chosen, rate=1e-6)
    assert made.needs(slow) == []
    # At a rate that no search starts with it waits for the search, which may train there.
    assert made.needs(replace(chosen, rate=3.0)) == [replace(chosen, seed=0)]
    assert (made.rate(chosen), made.rate(slow)) == (1.0, 1e-6)
    weights = [made.train(job).encoder.item_matrix() for job in (chosen, slow)]
    assert not torch.equal(*weights)
    assert torch.equal(made.train(replace(chosen, rate=1.0)).encoder.item_matrix(), weights[0])


@pytest.mark.nightly
def test_compiled_networks_are_trained_as_the_others(study):
    found = []
    for compiled in (False, True):
        made = study(compile=compiled)
        history = made.train(Job(made.profile.main, "crr", 0)).history
        found.append(history.frame.row(-1, named=True))
    plain, compiled = found
    for name in ("crr/loss", "crr/actor", "crr/temporal_difference", "crr/value_mean"):
        assert compiled[name] == pytest.approx(plain[name], rel=0.05, abs=0.01)  # bfloat16


def test_verdicts_on_the_ratio():
    def ratio(low, high):
        values = {"all": (low + high) / 2}
        return Estimate(values=values, low=low, high=high, estimator="by hand")

    assert judge_ratio(ratio(1.4, 1.8), ratio(1.1, 1.3)) == "reproduced"
    assert "not due to" in judge_ratio(ratio(1.4, 1.8), ratio(0.9, 1.1))
    assert judge_ratio(ratio(1.2, 1.8), ratio(1.1, 1.3)) == "undecided"
    assert judge_ratio(ratio(1.0, 1.2), ratio(1.05, 1.2)) == "not reproduced"


def test_the_report_tells_what_the_run_decides(experiment, tmp_path):
    check_report(experiment.made, tmp_path)


def test_misfit_profiles_are_refused():
    with pytest.raises(ValueError, match="lacks bc_continue"):
        changed(PROFILES["cpu"], arms=("transformer_only", "crr"))
    with pytest.raises(ValueError, match="Did you mean 'crr_gamma0'"):
        changed(PROFILES["cpu"], main_arms=("crr_gama0",))
    with pytest.raises(ValueError, match="funnel"):
        changed(PROFILES["cpu"], funnel=PROFILES["cpu"].main)
