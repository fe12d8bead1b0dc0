"""What the digest and the causes say without a number, read from the records."""

from __future__ import annotations

import polars as pl
import pytest

from okml.ledger import RunRecord
from okml.profile import ProfileName
from tests.recorded import Tables, interval, recorded

FACTORS = [
    "0.027",
    "0.09",
    "0.3",
    "1",
    "3.3",
    "11",
]  # of the learning rate, the columns of the searches
STAGE2 = [
    "stage 2, all weights one", "two stages (CRR)", "CRR, binary", "CRR, β = 1",
    "wanted events only", "SQN", "SAC", "top-K REINFORCE", "decision transformer",
]  # fmt: skip


def contains(record: RunRecord, name: str, value: float) -> bool:
    """Tell whether the interval of a metric contains a value."""
    low, high = interval(record, name)
    return low < value < high


def tried(searches: pl.DataFrame, log: str, label: str) -> list[float]:
    """Return the validations of an arm in ascending order of its learning rates."""
    (row,) = searches.filter(data=log, label=label).to_dicts()
    return [row[factor] for factor in FACTORS if row.get(factor) is not None]


def means_at_rates(tables: Tables, arm: str) -> pl.DataFrame:
    """Return validation and return of an arm in the shop by its learning rate, means over seeds."""
    rates = tables["rates"].filter(arm=arm).group_by("factor of the rate")
    return rates.agg(pl.col("validation NDCG@10", "return").mean()).sort("factor of the rate")


def test_at_night_every_method_of_stage_2_validates_the_worse_the_higher_its_rate() -> None:
    _, tables = recorded("offline_rl", "night")
    for label in STAGE2:
        validations = tried(tables["searches"], "ml_1m", label)
        assert validations == sorted(validations, reverse=True)
        assert len(validations) > 1
    for label in ("two stages (CRR)", "CRR, binary"):
        assert len(tried(tables["searches"], "ml_1m", label)) == 4


def test_at_night_other_methods_are_ahead_of_the_control_by_the_means_alone() -> None:
    _, tables = recorded("offline_rl", "night")
    rows = {row["arm"]: row for row in tables["table"].to_dicts()}
    for arm in ("sqn", "sac", "decision_transformer", "topk_reinforce"):
        assert rows[arm]["low"] < 0 < rows[arm]["difference"]


def test_at_night_models_of_the_open_comparisons_could_do_better() -> None:
    _, tables = recorded("offline_rl", "night")
    rows = {row["arm"]: row for row in tables["table"].to_dicts()}
    assert all(rows[arm]["still rising"] for arm in ("sasrec_bce", "caser_bce", "crr_only"))
    assert not rows["crr"]["still rising"]
    assert not rows["sasrec_ce"]["bracketed"]
    assert rows["sasrec_ce"]["rate"] > 1


def test_at_night_the_choice_of_actions_is_seen_to_cost_hits_with_the_binary_filter_alone() -> None:
    record, _ = recorded("offline_rl", "night")
    for name in ("filter_hr10_difference", "dealt_hr10_difference", "filter_hr10_gain_over_dealt"):
        assert contains(record, f"greedy_{name}", 0)
    assert interval(record, "binary_filter_hr10_gain_over_dealt")[1] < 0
    assert contains(record, "binary_dealt_hr10_difference", 0)


@pytest.mark.parametrize("profile", ["cpu", "night"])
def test_right_actions_earn_most_and_validate_the_worse_the_more_they_do(
    profile: ProfileName,
) -> None:
    _, tables = recorded("offline_rl", profile)
    right, found = (means_at_rates(tables, arm) for arm in ("right_bc", "crr_binary"))
    assert right["validation NDCG@10"].is_sorted(descending=True)
    assert right["return"][:3].is_sorted()
    assert right["return"].min() > found["return"].max()
    for label in ("right actions only", "CRR, binary"):  # both have the lowest rate
        validations = tried(tables["searches"], "funnel", label)
        assert max(validations) == validations[0]


def test_at_night_crr_earns_more_than_without_a_future() -> None:
    record, _ = recorded("offline_rl", "night")
    blind, ratio = (interval(record, f"simulated_return_ratio{name}") for name in ("_gamma0", ""))
    assert blind[1] < ratio[0]


def test_at_night_weights_of_both_kinds_favor_liked_targets() -> None:
    _, tables = recorded("offline_rl", "night")
    rows = {row["arm"]: row for row in tables["wanted"].to_dicts()}
    arms = ("crr", "crr_binary", "crr_beta1", "filter_bc")
    assert min(rows[arm]["low"] for arm in arms) > 0
    assert max(rows[arm]["low"] for arm in arms) < min(rows[arm]["high"] for arm in arms)
    assert rows["crr_binary"]["hr@10"] > rows["bc_continue"]["hr@10"]


@pytest.mark.parametrize("profile", ["cpu", "night"])
def test_validation_chooses_the_rate_with_the_lowest_return(profile: ProfileName) -> None:
    record, tables = recorded("offline_rl", profile)
    of_crr = means_at_rates(tables, "crr_binary")
    assert len(of_crr) == 4
    assert of_crr["validation NDCG@10"].is_sorted(descending=True)
    assert of_crr["return"].arg_min() == 0
    assert of_crr["return"][:3].is_sorted()
    assert record.metrics["simulated_return_unbracketed"].mean == 0


def test_at_night_validation_chose_a_higher_rate_for_the_exponential_filter() -> None:
    _, tables = recorded("offline_rl", "night")
    of_exp, of_binary = (
        tried(tables["searches"], "funnel", label) for label in ("two stages (CRR)", "CRR, binary")
    )
    assert max(of_exp) == of_exp[1]
    assert max(of_binary) == of_binary[0]


@pytest.mark.parametrize("profile", ["cpu", "night"])
def test_updates_on_wanted_events_keep_visitors_and_sell_less(profile: ProfileName) -> None:
    record, tables = recorded("offline_rl", profile)
    assert contains(record, "simulated_return_ratio_filtered", 1)
    means = tables["returns"].group_by("arm").agg(pl.col("length", "purchases").mean())
    found = {row["arm"]: row for row in means.to_dicts()}
    assert found["filter_bc"]["length"] > found["bc_continue"]["length"]
    assert found["filter_bc"]["purchases"] < found["bc_continue"]["purchases"]


@pytest.mark.parametrize(("profile", "ahead"), [("cpu", 5), ("night", 2)])
def test_in_how_many_cells_of_six_stage_1_is_ahead(profile: ProfileName, ahead: int) -> None:
    _, tables = recorded("offline_rl", profile)
    cells = tables["cells"]
    assert (cells["Transformer-only"] > cells["CRR-Transformer"]).sum() == ahead
    assert len(cells) == 6


@pytest.mark.parametrize("profile", ["cpu", "night"])
def test_the_critic_passes_its_check_on_both_logs(profile: ProfileName) -> None:
    record, _ = recorded("offline_rl", profile)
    for prefix in ("critic", "simulator_critic"):
        assert interval(record, f"{prefix}_correlation_share")[0] > 0.8
        low, high = interval(record, f"{prefix}_scale")
        assert 0.75 < low < high < 1.33
        assert record.metrics[f"{prefix}_unfinished"].mean == 0


def test_at_cpu_the_choice_of_actions_costs_hits() -> None:
    record, _ = recorded("offline_rl", "cpu")
    assert interval(record, "greedy_filter_hr10_gain_over_dealt")[1] < 0


def test_at_night_an_early_start_is_open() -> None:
    record, _ = recorded("offline_rl", "night")
    assert contains(record, "early_ratio_supervised", 1.05)
    assert record.metrics["unbracketed_early_start"].mean > 0
    supervised, crr = (record.metrics[f"early_ratio_{way}"].mean for way in ("supervised", "crr"))
    assert crr < 2 < supervised


def test_what_is_not_seen_to_gain_or_to_cost() -> None:
    record, _ = recorded("offline_rl", "night")
    for name in ("finetuning_ratio", "finetuning_ratio_supervised"):
        assert contains(record, name, 1)
    for name in ("dealt_ndcg_difference", "crr_ndcg_gain_over_dealt"):
        assert contains(record, name, 0)
    assert contains(record, "simulated_return_ratio_best_rates", 1.3)


def test_at_night_critics_misjudge_introductions() -> None:
    _, tables = recorded("offline_rl", "night")
    rows = tables["preferences"].filter(policy="stage 1").sort("introductions seen").to_dicts()
    names = ("gain of an introduction", "gain by the critics")
    first, second, third = (tuple(row[name] for name in names) for row in rows)
    assert first[0] < first[1]
    assert second[0] > second[1]
    assert third[0] < third[1] < 0
