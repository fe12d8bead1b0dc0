from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from okml.errors import ParameterError
from okml.seqrec.comparison import RankedArms
from okml.strec.experiments.quality import cost_row, per_seed, summary
from okml.strec.figures import quality

USERS = np.array([0, 0, 1, 2, 2, 2])


def comparison() -> RankedArms:
    found = RankedArms(USERS)
    found.add("a", 0, np.array([1.0, 11, 2, 3, 20, 1]))
    found.add("a", 1, np.array([1.0, 1, 1, 1, 1, 1]))
    found.add("b", 0, np.array([2.0, 11, 2, 3, 20, 1]))
    return found


def test_means_by_hand():
    rows = per_seed(comparison())
    first = rows.row(0, named=True)
    gains = [1, 0, 1 / np.log2(3), 0.5, 0, 1]
    assert first["hr@10"] == pytest.approx(4 / 6)
    assert first["mrr@10"] == pytest.approx((1 + 0.5 + 1 / 3 + 1) / 6)
    assert first["ndcg@10"] == pytest.approx(sum(gains) / 6)
    by_user = np.mean([np.mean(gains[:2]), gains[2], np.mean(gains[3:])])
    assert first["ndcg@10 by user"] == pytest.approx(by_user)


def test_differences_are_over_common_seeds_and_paired():
    found = comparison().difference("b", "a", "ndcg@10")
    # Seed 1 has no b. Only the first of the three users, who have 2, 1 and 3 rows, differs.
    lost = 1 / np.log2(3) - 1
    assert list(found.values) == ["0"]
    assert found.mean == pytest.approx(lost / 6)
    residuals = (np.array([lost, 0, 0]) - lost / 6 * np.array([2, 1, 3])) / 2
    half = 4.302653 * residuals.std(ddof=1) / np.sqrt(3)  # Student's t with 2 degrees of freedom
    assert (found.high - found.low) / 2 == pytest.approx(half)


def test_the_summary_has_a_row_an_arm_and_nothing_for_the_reference():
    found = summary(comparison(), "a")
    assert found["arm"].to_list() == ["a", "b"]
    assert found["seeds"].to_list() == [2, 1]
    assert found["difference"][0] is None
    assert found["sd"][0] == pytest.approx(
        np.std([comparison().metric("a", "ndcg@10", s) for s in (0, 1)], ddof=1)
    )


def test_the_cost_of_a_training_by_hand():
    arm = SimpleNamespace(name="a", training="rows", length=None)
    job = SimpleNamespace(arm=arm, seed=3, data=SimpleNamespace(log="ml_100k", length=16))
    encoder = SimpleNamespace(flops=lambda length: 1_000_000 * length)
    trained = SimpleNamespace(
        rate=1.0,
        seconds=4.0,
        targets=600,
        validation=0.1,
        slope=None,
        start_kept=False,
        encoder=encoder,
    )
    found = cost_row(job, trained)
    assert found["targets/s"] == 150
    assert found["MFLOP"] == 16
    arm.length = 6
    assert cost_row(job, trained)["MFLOP"] == 6


def test_ranks_of_other_rows_are_refused():
    with pytest.raises(ParameterError, match="3 ranks for 6 rows"):
        comparison().add("c", 0, np.ones(3))


def test_the_figure_of_rankings_shows_one_that_has_no_name_of_its_own():
    rows = [("backbone", None), ("strec", 0.1), ("of my own", 0.2), ("newest 5", 0.3)]
    gains = pl.DataFrame(rows, ["arm", "difference"], orient="row").with_columns(
        data=pl.lit("log"), **{f"difference {end}": "difference" for end in ("low", "high")}
    )
    drawn = quality.ablation(gains, "log", ["strec", "of my own"])
    assert "of my own +0.2000, learned from gaps (STRec) +0.1000" in drawn.alt
    assert "newest" not in drawn.alt
