"""The gpu profile by ``okml run`` itself, at tiny sizes from tiny files in the true formats."""

from __future__ import annotations

from unittest import mock

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
import torch

from okml.errors import ParameterError
from okml.experiment import MOST_ROWS
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import MIXERS
from okml.strec import figures
from okml.strec.arms import (
    BACKBONE,
    Job,
    all_jobs,
    build,
    literature_job,
    mixer_arms,
    quality_arms,
    sampled,
    stage_jobs,
)
from okml.strec.config import PROFILES
from okml.strec.experiment import Experiment
from okml.strec.experiments.candidates import FULL, LAST
from okml.strec.experiments.quality import mean_of_rows
from okml.strec.experiments.sweep import BAND
from okml.strec.figures import attention, costs, quality, sampling
from okml.strec.relaxation import RelaxationSettings
from okml.strec.schedule import RELEASED
from okml.strec.study import Study
from tests.deciding import check_intervals
from tests.finished import check_report, exported, reopened, run_by_command
from tests.profiles import changed
from tests.strec.tiny import EVENTS, ITEMS, USERS, events_of, put_logs, tiny

pytestmark = pytest.mark.slow  # the run of the profile, which most tests read


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with run_by_command(tiny(), put_logs, tmp_path_factory) as run_dir:
        yield reopened(Experiment, tiny(), run_dir)


def test_every_step_leaves_finite_numbers_and_every_claim_has_its_metric(experiment):
    assert set(experiment.steps.results) == set(Experiment.step_names())
    for result in experiment.steps.results.values():
        assert np.isfinite([item.mean for item in result.metrics.values()]).all()
    check_intervals(experiment.made)


def test_sizes_and_the_device_are_all_that_differs_from_the_profile(experiment):
    ours, theirs = (p.model_dump() for p in (experiment.profile, PROFILES["gpu"]))
    for name in ("datasets", "mixers", "references", "extra_rankings", "mixed_precision"):
        assert ours[name] == theirs[name]
    summary, mixers = experiment.quality.frames["summary"], experiment.mixers.frames["mixers"]
    assert set(experiment.made.provenance.data) == {
        "ml_20m/ml-20m.zip",
        "gowalla/loc-gowalla_totalCheckins.txt.gz",
        "amazon_electronics/ratings_Electronics.csv",
    }
    assert set(summary["data"]) == {"ml_20m", "gowalla_merged", "amazon_electronics"}
    assert set(mixers["arm"]) == {"backbone", *(arm.name for arm in mixer_arms(PROFILES["gpu"]))}


def test_data_is_counted_under_the_protocol(experiment):
    movies, places, shop = experiment.data.frames["data"].to_dicts()
    for row in (movies, shop):
        assert (row["users"], row["items"], row["events"]) == (USERS, ITEMS, USERS * EVENTS)
    # Gowalla has one event for each user and place.
    visited = events_of("gowalla").group_by("user").agg(pl.col("item").n_unique())["item"].to_list()
    assert (places["users"], places["items"], places["events"]) == (USERS, ITEMS, sum(visited))
    # All but the first event of a user can be a target. A target has a full history before it.
    every = [EVENTS] * USERS
    for row, counts, length in ((movies, every, 50), (places, visited, 8), (shop, every, 8)):
        test = [(count - 1) // 11 for count in counts]
        valid = [2 * (count - 1) // 11 for count in counts]
        assert row["test rows"] == sum(test)
        assert row["validation rows"] == sum(valid)
        assert row["training rows"] == sum(counts) - USERS * length - sum(test) - sum(valid)


def test_no_history_of_the_test_spans_more_times_than_the_one_taken_apart(experiment):
    prepared = experiment.study.data(experiment.profile.main)
    length, times = prepared.settings.length, prepared.interactions.times.tolist()
    spans = [len(set(times[end - length : end])) for end in prepared.test.end.tolist()]
    assert spans[prepared.varied_row()] == max(spans) > min(spans)
    assert prepared.names([1, 2]) == [
        f"Film, The {item} (1999)" for item in prepared.interactions.item_ids[:2]
    ]


def test_quality_has_every_arm_on_every_data_set(experiment):
    profile = experiment.profile
    summary = experiment.quality.frames["summary"]
    for settings in profile.datasets:
        names = set(summary.filter(data=settings.log)["arm"])
        expected = {arm.name for arm in quality_arms(profile, settings)} | set(profile.references)
        assert expected | {"causal SASRec", "causal SASRec, 8 layers"} == names
    backbone = summary.filter(arm="backbone")
    assert backbone["difference"].is_null().all()
    inside = (summary["low"] <= summary["ndcg@10"]) & (summary["ndcg@10"] <= summary["high"])
    assert inside.all()


def test_what_is_gained_over_recency_is_what_it_lacks_of_the_gain_over_random(experiment):
    metrics, differences = experiment.made.metrics, experiment.made.differences
    over_random, control = "ndcg_gain_over_random", "recency_ndcg_gain_over_random"
    beyond = differences[over_random][control]
    assert beyond.mean == pytest.approx(metrics[over_random].mean - metrics[control].mean)
    assert beyond.mean == pytest.approx(metrics["ndcg_gain_over_recency"].mean)


def test_every_length_of_stage_1_is_ranked(experiment):
    rows = experiment.stages.frames["stages"].filter(kind="C = 0")
    assert rows["seed"].to_list() == list(experiment.profile.seeds)
    for row in rows.to_dicts():
        ranks = experiment.study.ranks(stage_jobs(experiment.profile, row["seed"])["C = 0"])
        assert row["ndcg@10"] == mean_of_rows(ranks)["ndcg@10"]


def test_cells_won_are_counted_from_the_table(experiment):
    """A cell is won against the best of the backbone and the recommenders that are not ours."""
    rows = experiment.quality.frames["seeds"]
    won = 0
    for settings in experiment.profile.datasets:
        ours = {arm.name for arm in quality_arms(experiment.profile, settings)} - {"backbone"}
        table = rows.filter(data=settings.log)
        for metric in ("hr@10", "mrr@10", "ndcg@10"):
            # An opponent of one seed is compared on that seed.
            gains = []
            for _, other in table.filter(~pl.col("arm").is_in(list(ours))).group_by("arm"):
                both = table.filter(arm="strec").join(other, on="seed")
                gains.append((both[metric] - both[f"{metric}_right"]).mean())
            won += min(gains) > 0
    made = experiment.quality.metrics["cells_won"]
    assert made.mean == won
    assert made.low <= made.mean <= made.high


def test_rules_only_change_what_they_say(experiment):
    rules = experiment.rules.frames["rules"].group_by("arm", "rule").agg(pl.col("hr@10").mean())
    found = {(row["arm"], row["rule"]): row["hr@10"] for row in rules.to_dicts()}
    for arm in ("backbone", "strec"):
        plain = found[arm, "as in the main table"]
        assert found[arm, "short rows as misses"] == pytest.approx(plain)  # none is short here
    assert ("backbone", "noise on") not in found
    # Nor does padding matter to the anchor, so it has the numbers of the main table.
    for rule, table in (
        ("every test row", "summary"),
        ("every test row, seen hidden", "seen_hidden"),
    ):
        main = experiment.quality.frames[table].filter(data="ml_20m", arm="causal SASRec")
        assert found["causal SASRec", rule] == pytest.approx(main["hr@10"].item())


def test_the_literatures_protocol_has_the_order_of_the_file(experiment):
    """Its numbers are those of a training of its own, and no other row has that order."""
    job = literature_job(experiment.profile)
    rules = experiment.rules.frames["rules"].filter(arm="causal SASRec, order of the file")
    assert rules["rule"].to_list() == ["every test row", "every test row, seen hidden"]
    assert rules["seed"].unique().to_list() == [job.seed]
    hidden = experiment.study.ranks(job, hide_seen=True, every_row=True)
    metrics = experiment.made.metrics
    measured = metrics["literature_ndcg"].mean
    assert measured == rules["ndcg@10"].to_list()[-1] == mean_of_rows(hidden)["ndcg@10"]
    gain = measured - metrics["literature_ndcg_drawn"].mean  # there is one seed here
    assert metrics["file_order_ndcg_gain"].mean == pytest.approx(gain)
    others = [other for other in all_jobs(experiment.profile) if other != job]
    assert {other.data.tie_rule for other in others} == {"random"}
    assert job.data.tie_rule == "file"


def test_each_seed_has_its_own_order_of_ties(experiment):
    """Two orders have the same rows, and differ where events share a time alone."""
    study, main = experiment.study, experiment.profile.main
    first, second = (study.data(main, seed) for seed in (2020, 2021))
    assert study.data(main, 2020) is study.data(main)
    for part in ("train", "valid", "test"):
        assert np.array_equal(getattr(first, part).end, getattr(second, part).end)
    events, others = first.interactions, second.interactions
    assert np.array_equal(events.times, others.times)
    moved = events.items != others.items
    times, users = events.times, events.users()
    before = (np.diff(times, prepend=-1) == 0) & (np.diff(users, prepend=-1) == 0)
    tied = before | np.append(before[1:], False)
    assert moved.any()
    assert not (moved & ~tied).any()
    as_in_file = main.model_copy(update={"tie_rule": "file"})
    assert study.data(as_in_file, 2021) is study.data(as_in_file, 2020)


def test_hidden_items_can_only_raise_a_target(experiment):
    kept, hidden = (experiment.quality.frames[name] for name in ("summary", "seen_hidden"))
    assert hidden["arm"].to_list() == kept["arm"].to_list()
    assert (hidden["hr@10"] >= kept["hr@10"]).all()


def test_the_table_of_quality_says_what_each_arm_could_spend_and_did(experiment):
    summary = experiment.quality.frames["summary"].filter(data="ml_20m")
    costs = experiment.quality.frames["costs"].filter(data="ml_20m")
    start = costs.filter(arm="warm start of all arms")
    for row in summary.to_dicts():
        [own] = costs.filter(arm=row["arm"]).to_dicts()
        rows = own["budget"] == "the targets of STRec"
        assert row["targets"] == own["targets"] + rows * start["targets"].item()
        assert row["seconds"] == pytest.approx(own["seconds"] + rows * start["seconds"].item())
        gain = own["validation"] - start["validation"].item() if rows else None
        assert row["over the start"] == (gain if gain is None else pytest.approx(gain))
        assert row["still rising"]  # one validation cannot tell that it is flat
    same = summary.filter(budget="the targets of STRec")
    assert same["targets"].n_unique() == 1  # none stopped early in one epoch
    metrics = experiment.made.metrics
    assert (
        metrics["rising_in_cells"].mean
        == experiment.quality.frames["summary"]["still rising"].sum()
    )


def test_curves_end_where_the_table_of_costs_says(experiment):
    curves = experiment.training.frames["curves"]
    costs = experiment.quality.frames["costs"].filter(data="ml_20m")
    for row in costs.to_dicts():
        values = curves.filter(encoder=row["arm"], seed=row["seed"])["ndcg@10"]
        assert values[-1] == pytest.approx(row["validation"])  # one epoch of the last stage


def test_stated_curves_are_compared_on_the_same_histories(experiment):
    masks, metrics = experiment.sampling.frames["masks"], experiment.sampling.metrics
    assert len(masks) == 4 * len(experiment.profile.seeds)
    for gaps in ("learned", "shuffled"):
        losses = masks.filter(gaps=gaps).group_by("curve").agg(pl.col("loss").mean())
        mean = dict(losses.iter_rows())
        gain = metrics[f"rising_mask_gain_{gaps}"].mean
        assert gain == pytest.approx(mean["falls"] - mean["rises"], abs=1e-5)
    kept = [name for name in masks.columns if name.startswith("keys left of ")]
    assert len(kept) > 1
    # Fewer keys are left by the masks of deeper layers.
    assert (masks[kept[-1]] < masks[kept[0]]).all()


def test_validation_picks_the_schedule_and_the_length(experiment):
    frames, metrics = experiment.sweep.frames, experiment.sweep.metrics
    mean = pl.col("validation").mean()
    validated = frames["costs"].group_by("arm", maintain_order=True).agg(mean)
    inside = frames["sweep"].filter(
        pl.col("sparsity").is_between(*BAND), pl.col("sample") == "learned"
    )
    ranked = inside.join(validated, on="arm", maintain_order="left")
    worst = ranked.row(ranked["validation"].arg_min(), named=True)  # the first of equal ones
    assert metrics["worst_ndcg_gain_in_band"].mean == pytest.approx(worst["difference"])
    summary = experiment.quality.frames["summary"].filter(data="ml_20m")
    costs = experiment.quality.frames["costs"].filter(
        pl.col("data") == "ml_20m", pl.col("arm").str.starts_with("newest")
    )
    lengths = costs.group_by("arm", maintain_order=True).agg(mean)
    newest = lengths["arm"][lengths["validation"].arg_max()]
    ndcg = {arm: summary.filter(arm=arm)["ndcg@10"].item() for arm in ("strec", newest)}
    gain = experiment.quality.metrics["ndcg_gain_over_newest"].mean
    assert gain == pytest.approx(ndcg["strec"] - ndcg[newest])


def test_attention_of_an_untrained_network_has_rank_one(experiment):
    assert min(experiment.attention.values("untrained_first_singular_energy")) > 0.99
    maps = experiment.attention.frames["maps"]
    assert len(maps) <= MOST_ROWS  # a record keeps them all
    weights = maps.select(cs.starts_with("key ")).to_numpy()  # [networks · layers · n, n]
    assert weights.sum(1) == pytest.approx(1, abs=1e-4)
    causal = maps.filter(network="causal").sort("layer", "query")
    for _, layer in causal.group_by("layer"):
        assert np.triu(layer.select(cs.starts_with("key ")).to_numpy(), 1).max() == 0
    # The authors' recipe, which alone trains from scratch, gives a network of its own.
    trained = experiment.attention.frames["statistics"].filter(network="from scratch")
    mass = experiment.attention.metrics["top5_column_mass_from_scratch"].mean
    assert mass == pytest.approx(trained["top5_mass"].mean(), abs=1e-6)
    assert mass != experiment.attention.metrics["top5_column_mass"].mean


def test_inclusion_adds_up_to_the_schedule(experiment):
    kept = experiment.sampling.frames["kept"].filter(recipe="modern", seed=2020)
    histories = len(experiment.study.data(experiment.profile.main).test)
    for (count,), rows in kept.group_by("count"):
        # All but the newest item, which is always kept.
        assert (rows["kept"] * rows["items"]).sum() == pytest.approx(histories * (count - 1))


def test_the_case_names_films_and_follows_the_schedule(experiment):
    case = experiment.case.frames["case"]
    schedule = experiment.profile.main.schedule
    assert case["title"].str.starts_with("Film").all()
    assert case["attention"].sum() == pytest.approx(1, abs=1e-4)
    for layer, count in enumerate(schedule, 1):
        assert (case["layers"] >= layer).sum() == count
    assert case["layers"][-1] == len(schedule)


def test_efficiency_compares_the_same_encoders_everywhere(experiment):
    frames = experiment.efficiency.frames
    names = frames["published"]["encoder"].to_list()
    assert names[:3] == [FULL, LAST, "STRec"]
    assert frames["inference"]["encoder"].to_list() == names
    mixers = [arm.name for arm in mixer_arms(experiment.profile)]
    assert names[-len(mixers) :] == mixers
    saved = dict(frames["published"].select("encoder", "saved MiB").iter_rows())
    assert saved["STRec"] < saved[LAST] < saved[FULL]
    # Only the ranking differs, and it keeps next to nothing.
    assert saved["STRec, recency"] == pytest.approx(saved["STRec, random"], rel=0.01)


@pytest.mark.parametrize("name", PROFILES)
def test_jobs_are_each_listed_once_and_belong_to_the_profile(name):
    profile = PROFILES[name]
    jobs = all_jobs(profile)
    assert len(jobs) == len(set(jobs))
    backbones = [job for job in jobs if job.arm == BACKBONE and job.recipe == profile.recipe]
    assert len(backbones) == len(profile.seeds) * len(profile.datasets)


def test_every_mixer_is_in_use_at_gpu():
    profile = PROFILES["gpu"]
    wanted = {job.arm.name: job for job in all_jobs(profile)}  # of all seeds, data and recipes
    built = [build(job.arm, 3, profile, job.data, job.recipe) for job in wanted.values()]
    used = {type(encoder.blocks[0].mixer) for encoder in built if isinstance(encoder, Backbone)}
    assert used == set(MIXERS.values())


def test_gpu_has_the_mixers_of_the_papers_table_of_efficiency():
    efficient = {"linformer", "bigbird", "informer", "reformer", "flash", "autoformer"}
    assert efficient <= set(PROFILES["gpu"].mixers)


def test_gated_units_have_about_the_parameters_of_the_backbone_and_their_own_names():
    profile = PROFILES["gpu"]
    sizes = {}
    for arm in (BACKBONE, *mixer_arms(profile)):
        encoder = build(arm, 3, profile, profile.main, profile.recipe)
        sizes[arm.name] = sum(part.numel() for part in encoder.layers.parameters())
    for unit in ("flash", "hstu, bidirectional"):
        assert sizes[unit] == pytest.approx(sizes[BACKBONE.name], rel=0.2)
    assert not set(sizes) & set(profile.references)


def test_figures_draw_what_the_steps_found(experiment):
    e, main = experiment, experiment.profile.main
    drawn = [
        attention.heatmaps(e.attention.frames["maps"], e.attention.frames["statistics"]),
        attention.spectrum(
            *(e.attention.frames[name] for name in ("spectra", "histogram", "statistics"))
        ),
        sampling.sampling_curve(*(e.sampling.frames[n] for n in ("curves", "kept", "released"))),
        sampling.case_study(e.case.frames["case"], main.schedule),
        quality.arms(e.quality.frames["summary"], main.log),
        quality.ablation(e.quality.frames["summary"], main.log, ["strec", "recency"]),
        quality.sweep_quality(e.sweep.frames["sweep"], e.sweep.frames["backbone"]),
        quality.sweep_cost(e.efficiency.frames["schedules"]),
        quality.pareto(e.pareto()),
        quality.stages(e.stages.frames["stages"]),
        quality.learning_curves(e.training.frames["curves"]),
        costs.breakdown(e.operations.frames["breakdown"]),
        costs.measured(e.efficiency.frames["published"], e.efficiency.frames["inference"]),
        costs.length_curve(e.lengths.frames["lengths"]),
        costs.funnel(main.schedule, main.length),
    ]
    assert all("<svg" in picture.svg and len(picture.alt) > 40 for picture in drawn)
    assert figures.__doc__


def test_a_second_run_finds_everything_trained(experiment):
    again = Study(experiment.profile, experiment.folder)
    taken = "okml.training.loop._Run._take"
    with mock.patch(taken, side_effect=AssertionError("trained again")):
        trained = again.train(stage_jobs(experiment.profile, 2020)["both stages"])
    expected = experiment.study.train(stage_jobs(experiment.profile, 2020)["both stages"])
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(value, expected.encoder.state_dict()[name])


def test_exported_networks_read_histories_as_the_trained_ones(experiment, tmp_path):
    profile = experiment.profile
    networks = exported(profile, experiment.folder, tmp_path)
    assert networks.keys() == {f"strec_{data.log}" for data in profile.datasets}
    for data in profile.datasets:
        job = Job(data, sampled("strec", data, profile.recipe), profile.seeds[0], profile.recipe)
        trained, found = experiment.study.train(job).encoder.eval(), networks[f"strec_{data.log}"]
        trained.stage = "hard"  # at inference; a training leaves the stage that it ended in
        items = torch.arange(data.length)[None] % ITEMS + 1
        histories = (items, 60 * torch.arange(data.length)[None])
        with torch.no_grad():
            assert torch.equal(found.last(*histories), trained.last(*histories))
            assert torch.equal(found.item_matrix(), trained.item_matrix())


def test_the_report_tells_what_the_run_decides(experiment, tmp_path):
    check_report(experiment.made, tmp_path)


def test_misfit_profiles_are_refused():
    with pytest.raises(ValueError, match="not in sweep"):
        changed(PROFILES["cpu"], sweep_learned=((40, 20, 5, 1),))
    with pytest.raises(ValueError, match="3 entries for 4 layers"):
        changed(PROFILES["cpu"], sweep=((50, 20, 1),), sweep_learned=())
    shifts = RelaxationSettings(shifts=(0.1, 0.2, 0.3))
    recipe = changed(PROFILES["cpu"].recipe, relaxation=shifts)
    with pytest.raises(ValueError, match="3 shifts are stated for 4 layers"):
        changed(PROFILES["cpu"], recipes=(recipe,))
    recipe = changed(PROFILES["cpu"].recipe, from_scratch=True)
    with pytest.raises(ValueError, match="warm start"):
        changed(PROFILES["cpu"], recipes=(recipe,))
    with pytest.raises(ParameterError, match="no ranking 'newest'"):
        sampled("newest", PROFILES["cpu"].main, PROFILES["cpu"].recipe)
    assert PROFILES["gpu"].main.schedule == RELEASED[50]
