"""The learning rate of an arm: whose validation chooses it, and which arms take another's."""

from __future__ import annotations

import math
from types import SimpleNamespace
from unittest import mock

import polars as pl
import pytest

from okml.offline_rl.arms import Job
from okml.offline_rl.experiments.longterm import at_its_best_rate
from okml.offline_rl.experiments.training import searched_rates
from okml.offline_rl.study import Study
from tests.offline_rl.tiny import tiny


def validated(values, calls=None):
    """Return a replacement of trainings whose best validation is given by arm, rate and seed."""

    def train(study, job):
        if calls is not None:
            calls.append(job)
        return SimpleNamespace(history=SimpleNamespace(best_value=values(job)))

    return mock.patch.object(Study, "train", train)


def test_the_rate_is_the_best_by_the_mean_over_seeds(tmp_path):
    """By hand: the first seed prefers one, 0.30 to 0.29; the means are 0.25 and 0.27."""
    by_seed = {1.0: [0.30, 0.20, 0.25], 0.3: [0.29, 0.28, 0.24]}
    profile = tiny(seeds=[4, 5, 6], learning_rates=[1.0, 0.3])
    study, calls = Study(profile, tmp_path), []
    with validated(lambda job: by_seed[job.rate][job.seed - 4], calls):
        for seed in profile.seeds:
            assert study.rate(Job(profile.main, "sasrec_ce", seed)) == 0.3
        tried = study.tried(Job(profile.main, "sasrec_ce", 5))
    assert tried.values == pytest.approx({1.0: 0.25, 0.3: 0.27})
    assert not tried.bracketed
    # One search of two rates with three seeds serves all of them.
    assert len(calls) == 6


def test_a_further_rate_is_trained_with_every_seed(tmp_path):
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.5], further_rates=1)
    study, calls = Study(profile, tmp_path), []
    with validated(lambda job: 50 - abs(math.log2(job.rate)), calls):
        tried = study.tried(Job(profile.main, "caser_bce", 0))
    assert (tried.best, tried.bracketed) == (1.0, True)
    assert [(job.rate, job.seed) for job in calls] == [
        (1.0, 0), (1.0, 1), (0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1),
    ]  # fmt: skip


def test_stage_1_is_what_an_arm_of_stage_2_is_without_its_training(tmp_path):
    """Its 0.2 at the lower rate is stage 1's, so that no rate below may change it."""
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.3], further_stage2_rates=1)
    study = Study(profile, tmp_path)
    with validated(lambda job: {1.0: 0.1, 0.3: 0.2, None: 0.2}[job.rate]):
        assert study.tried(Job(profile.main, "crr", 1)).bracketed


def test_a_control_that_differs_in_one_thing_has_the_rate_of_what_it_is_compared_with(tmp_path):
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.3])
    main = profile.main
    other_ties = main.model_copy(update={"tie_rule": "item"})
    assert main.tie_rule != "item"
    for job, chooser in (
        (Job(main, "crr_dealt", 1), Job(main, "crr", 0)),
        (Job(main, "crr_binary_dealt", 1), Job(main, "crr_binary", 0)),
        (Job(other_ties, "transformer_only", 1), Job(main, "transformer_only", 0)),
        (Job(profile.funnel, "crr", 1, rate=0.3), Job(profile.funnel, "crr", 0)),
        (Job(main, "crr", 1, stage1_epochs=2), Job(main, "crr", 0, stage1_epochs=2)),
    ):
        assert job.chooser(profile) == chooser
        assert chooser.chooser(profile) == chooser


def test_the_table_has_what_each_arm_tried_and_where_stage_2_begins(tmp_path):
    """By hand: SASRec goes on to 2, and CRR, whose lower rate is stage 1's, tries no other."""
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.5], further_rates=1, further_stage2_rates=1)
    values = {
        "sasrec_ce": {1.0: 0.3, 0.5: 0.2, 2.0: 0.1},
        "transformer_only": {1.0: 0.4, 0.5: 0.3, 2.0: 0.2, None: 0.4},
        "crr": {1.0: 0.2, 0.5: 0.4},
    }
    jobs = [Job(profile.main, arm, seed) for arm in ("sasrec_ce", "crr") for seed in (0, 1)]
    # Seeds lie as far above their mean as below it.
    with validated(lambda job: values[job.arm][job.rate] + 0.02 * (job.seed - 0.5)):
        table = searched_rates(Study(profile, tmp_path), jobs).drop("data")
    assert table.columns == ["label", "start", "0.5", "1", "2"]
    sasrec, crr = (row[1:] for row in table.rows())
    assert sasrec == pytest.approx((None, 0.2, 0.3, 0.1))
    assert crr == pytest.approx((0.4, 0.4, 0.2, None))


@pytest.mark.parametrize(("of_eight", "best"), [(0.2, True), (0.4, False)])
def test_a_rate_that_was_trained_for_its_return_counts_as_tried(tmp_path, of_eight, best):
    """The search ends at 2 and would leave it open; 8 does worse, or shows that 2 is not best."""
    profile = tiny(seeds=[0, 1], learning_rates=[1.0, 0.5], further_stage2_rates=1)
    values = {1.0: 0.2, 0.5: 0.1, 2.0: 0.3, None: 0.05}
    rows = [
        {"arm": arm, "factor of the rate": rate, "seed": seed, "validation NDCG@10": value + shift}
        for arm, of_arm in (("bc_continue", values | {8.0: of_eight}), ("crr_binary", {8.0: 0.9}))
        for rate, value in of_arm.items()
        for seed, shift in ((0, 0.01), (1, -0.01))
        if rate is not None
    ]
    study = Study(profile, tmp_path)
    with validated(lambda job: values[job.rate]):
        assert not study.tried(Job(profile.funnel, "bc_continue", 0)).bracketed
        assert at_its_best_rate(study, "bc_continue", pl.DataFrame(rows)) == best
