"""Every step of the chapter on small shops, with all that the gpu profile has in it."""

from __future__ import annotations

from typing import get_args
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.lightsage import study
from okml.lightsage.arms import (
    BY_FEATURES,
    CUTS,
    FEATURES,
    HIDDEN,
    NETWORK,
    OWN,
    TREATMENTS,
    TRUTH,
    WITH_IDS,
    Arm,
    Job,
    all_jobs,
    baseline_arm,
    baseline_jobs,
    graph_jobs,
    variant_arm,
)
from okml.lightsage.config import PROFILES
from okml.lightsage.experiment import Experiment
from okml.lightsage.experiments.graphs import GAINS, REACHING
from okml.lightsage.graph import build_graph
from okml.lightsage.graph.ablation import GRAPHS
from okml.lightsage.network.encoder import VARIANTS
from okml.lightsage.settings import BaselineName, TailSettings
from okml.lightsage.study import Study
from okml.training import History
from okml.training.ahead import train_ahead
from tests.lightsage.tiny import SHOP, tiny
from tests.profiles import changed


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    with mock.patch("okml.training.ahead.usable_cores", return_value=1):
        # Real logs are those of the gpu profile in miniature.
        run = Experiment(tiny(real=(), gallery=None), tmp_path_factory.mktemp("lightsage"))
        run.made = run.record()
        yield run


def test_every_step_leaves_finite_numbers(experiment):
    assert set(experiment.steps.results) == set(Experiment.step_names())
    for result in experiment.steps.results.values():
        assert np.isfinite([item.mean for item in result.metrics.values()]).all()


def test_data_are_counted_and_synthetic_data_say_so(experiment):
    row = experiment.data.frames["data"].row(0, named=True)
    assert row["data"] == "shop (synthetic)"
    assert row["items"] == SHOP.items
    assert 0 < row["cold"] <= row["tail"] < 1
    assert any("synthetic" in note for note in experiment.made.notes)


def test_the_graph_ablation_has_every_graph_and_its_differences(experiment):
    frames = experiment.graphs.frames
    assert frames["summary"]["arm"].to_list() == [*GRAPHS, FEATURES, TRUTH]
    hits = {(r["arm"], r["seed"]): r["hr@10"] for r in frames["seeds"].to_dicts()}
    study, jobs = experiment.study, dict(graph_jobs(experiment.profile))
    for gain in GAINS:
        arm, less = (hits[name, 0] for name in gain.graphs)
        assert experiment.graphs.values(gain.metric) == pytest.approx([arm - less])
        if gain.controls:
            chosen = max(gain.controls, key=lambda name: study.validation(jobs[name]))
            control = hits[chosen, 0]
            assert experiment.graphs.values(gain.control) == pytest.approx([control - less])
            difference = experiment.graphs.differences[gain.metric][gain.control]
            assert difference.numbers == pytest.approx([arm - control])
    covered = dict(frames["summary"].select("arm", "items with an edge").iter_rows())
    for metric, name in REACHING.items():
        gain = covered[name] - covered["strong"]
        assert experiment.graphs.values(metric) == pytest.approx([gain])


def test_rivals_of_a_graph_have_as_many_edges(experiment):
    study = experiment.study
    data = study.data(experiment.profile.data, 0)

    def size(name):
        return study.graph(data, name, 0).edges.height

    assert size("weak") > size("strong") + 1
    for name in CUTS:
        assert size("strong") - 1 <= size(name) <= size("strong"), name
    assert size("strong + shuffled search") == size("strong + search")
    assert size("full") - 1 <= size("full, cosine for swing") <= size("full")
    assert size("full, swing of all clicks") <= size("full")
    assert size("full, swing of all clicks") <= size("full, all swing of all clicks")


def test_a_gain_is_measured_beside_the_edges_that_differ(experiment):
    study, found = experiment.study, experiment.graphs
    data, jobs = study.data(experiment.profile.data, 0), dict(graph_jobs(experiment.profile))
    for gain in GAINS:
        name = f"{gain.metric}_beside_other_edges"
        assert gain.few or name not in found.metrics
        if not gain.few:
            continue
        rows = [
            {i: set(row) for i, row in graph.group_by("item").agg("neighbor").iter_rows()}
            for graph in (study.graph(data, graph, 0).edges for graph in gain.graphs)
        ]
        changed = {i for i in range(data.items) if rows[0].get(i) != rows[1].get(i)}
        ends = zip(data.test.item, data.test.target, strict=True)
        beside = np.array([bool(changed & {*pair}) for pair in ends])
        assert found.values(f"{gain.metric}_share_beside_other_edges") == [beside.mean()]
        assert (name in found.metrics) == beside.any()
        if not beside.any():
            continue
        one, other = (study.outcome(jobs[graph]).hits[beside] for graph in gain.graphs)
        assert found.values(name) == pytest.approx([(one - other).mean()])


def test_shuffled_edges_that_are_true_are_counted(experiment):
    study = experiment.study
    data = study.data(experiment.profile.data, 0)
    true, shuffled = (
        {
            tuple(row)
            for row in study.graph(data, name, 0)
            .edges.filter(part="search")
            .select("item", "neighbor")
            .iter_rows()
        }
        for name in ("strong + search", "strong + shuffled search")
    )
    share = len(true & shuffled) / len(true)
    assert experiment.graphs.values("true_edges_among_shuffled") == pytest.approx([share])


def test_arms_on_other_graphs_learn_from_the_same_pairs(experiment):
    study = experiment.study
    data = study.data(experiment.profile.data, 0)
    main = build_graph(data.shop.train, data.items, data.settings.graph)
    for name in GRAPHS:
        nodes = study._nodes(data, Arm(graph=name), 0)
        drawn = np.column_stack([nodes.positives.item, nodes.positives.neighbor])
        assert (drawn == main.directed.select("item", "neighbor").to_numpy()).all(), name
        read = study.graph(data, name, 0).edges.select("item", "neighbor")
        assert nodes.adjacency.degrees.sum() == read.height, name


def test_new_items_are_held_out_of_the_training(tmp_path):
    study = Study(long_tailed(), tmp_path)
    data = study.data(study.profile.data, 0)
    opened = data.shop.train.filter(pl.col("action").is_in(["view", "click"]))["item"].unique()
    new = set(range(data.items)) - set(opened)
    assert new
    alone = study._nodes(data, Arm(), 0)
    assert set(alone.candidates) == set(opened)
    for kind in ("similar", "random"):
        pooled, groups = study._nodes(data, Arm(pooled=kind), 0), study.groups(data, 0, kind)
        members = {g: np.flatnonzero(groups.group == g) for g in range(groups.count)}
        known = {g: [i for i in items if i not in new] for g, items in members.items()}
        ungrouped = {i for i in opened if groups.group[i] < 0}
        assert set(pooled.candidates) == ungrouped | {data.items + g for g in known if known[g]}
        for g, items in known.items():
            mean = (
                data.shop.features[items].mean(0) if items else np.zeros(pooled.features.shape[1])
            )
            found = pooled.features[data.items + g].numpy()
            np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-5)


def test_intervals_hold_their_means(experiment):
    for frame in (experiment.graphs, experiment.networks, experiment.baselines):
        rows = frame.frames["summary"]
        assert ((rows["low"] <= rows["hr@10"]) & (rows["hr@10"] <= rows["high"])).all()
    gaps = experiment.networks.frames["summary"].filter(pl.col("arm") != "V0")
    own = experiment.networks.frames["summary"].filter(arm="V0")["hr@10"][0]
    assert set(experiment.networks.frames["seeds"]["arm"]) == set(VARIANTS)
    assert np.allclose(gaps["difference"], gaps["hr@10"] - own)


def test_the_tail_has_every_row_and_own_vectors_are_the_reference(experiment):
    summary = experiment.tail.frames["summary"]
    assert summary["arm"].to_list() == [*(row.name for row in TREATMENTS), BY_FEATURES]
    assert summary.filter(arm=OWN.name)["difference"].is_nan().all()
    buckets = experiment.tail.frames["buckets"].filter(arm=OWN.name)
    data = experiment.study.data(experiment.profile.data, 0)
    assert buckets["pairs"].sum() == len(data.test)


def test_hidden_neighborhoods_and_popularity_have_their_own_gains(experiment):
    seeds = experiment.tail.frames["seeds"]
    hits = {row["arm"]: row for row in seeds.to_dicts()}
    columns = {"hr10": "hr@10", "tail_target": "tail target", "cold_hr10": "cold"}
    for name, column in columns.items():
        gain = hits[HIDDEN.name][column] - hits[OWN.name][column]
        found = experiment.tail.values(f"hidden_neighborhoods_{name}_gain")
        assert found == pytest.approx([gain])
    hits = {row["arm"]: row for row in experiment.baselines.frames["seeds"].to_dicts()}
    for suffix, column in (
        ("", "hr@10"),
        ("_on_tail", "tail"),
        ("_on_tail_targets", "tail target"),
    ):
        gain = hits["popularity"][column] - hits[NETWORK][column]
        found = experiment.baselines.values(f"main_popularity_hr10_gain_over_network{suffix}")
        assert found == pytest.approx([gain])


def test_the_exact_index_loses_nothing(experiment):
    indices = experiment.serving.frames["indices"]
    assert indices.filter(index="flat")["recall"].to_list() == [1, 1]  # of the shop, and large
    assert indices["recall"].is_between(0, 1).all()


def test_a_second_run_finds_everything_trained(experiment):
    again = Study(experiment.profile, experiment.folder)
    job = Job(again.profile.data, 0, variant_arm(again.profile, "V0"))
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        found = again.encoder(job).encoder.state_dict()
    expected = experiment.study.encoder(job).encoder.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def long_tailed():
    """Return the profile with half of the items in the tail, and groups of two at most."""
    profile = tiny(tail=TailSettings(group_size=2))
    return changed(profile, data=changed(profile.data, tail_clicks=40))


def test_groups_are_of_the_tail_and_of_one_category_and_type(tmp_path):
    study = Study(long_tailed(), tmp_path)
    shop = study.data(study.profile.data, 0)
    for kind in ("similar", "random", "key"):
        groups = study.groups(shop, 0, kind)
        assert (groups.members == shop.tail).all()
        keys = []
        for number in range(groups.count):
            (inside,) = np.nonzero(groups.group == number)
            assert 0 < len(inside) <= (shop.items if kind == "key" else 2)
            keys += {*zip(shop.category[inside], shop.kind[inside], strict=True)}
        assert len(keys) == groups.count
        assert (len(set(keys)) == len(keys)) == (kind == "key")


def test_new_items_join_a_group_of_their_category_and_type_that_stood_without_them(tmp_path):
    study = Study(long_tailed(), tmp_path)
    shop = study.data(study.profile.data, 0)
    groups = study.groups(shop, 0, "joined")
    new = groups.members & shop.cold
    assert new.any()
    assert (groups.members[shop.tail & ~shop.cold]).all()
    known = {(groups.group[i], shop.key[i]) for i in np.flatnonzero(shop.tail & ~shop.cold)}
    assert {(groups.group[i], shop.key[i]) for i in np.flatnonzero(new)} <= known


def test_the_rate_of_an_arm_is_the_one_with_the_best_validation_of_the_first_seed(tmp_path):
    profile = tiny(seeds=(3, 4), rate_factors=(0.5, 1.0, 2.0))
    opened = Study(profile, tmp_path)
    job = Job(profile.data, 4, Arm())
    best = {0.5: 0.1, 1.0: 0.3, 2.0: 0.2}
    with mock.patch.object(Study, "validation", lambda self, trial: best[trial.rate]):
        assert opened.tuned(job).rate == 1
    assert opened.tuned(job).seed == 4
    tried = [(trial.seed, trial.rate) for trial in opened.needs(job)]
    assert tried == [(3, 0.5), (3, 1.0), (3, 2.0)]
    assert list(opened.needs(opened.tuned(job))) == []
    assert list(Study(tiny(), tmp_path).needs(job)) == []


def test_an_arm_without_a_curve_may_still_rise_and_one_without_a_training_does_not(experiment):
    study, data = experiment.study, experiment.profile.data
    assert study.rising([Job(data, 0, "popularity")]) is False
    with mock.patch.dict(study._histories, {Job(data, 0, "item2vec"): None}):
        assert study.rising([Job(data, 0, "item2vec")]) is None
    job = Job(data, 0, variant_arm(experiment.profile, "V0"))
    assert study.rising([job])  # two validations make no line
    values = {"step": range(1, 10), "ndcg@10": [0.3] * 9}
    flat = History(pl.DataFrame(values), 9, "max_steps")
    rising = History(pl.DataFrame(values | {"ndcg@10": np.arange(9) / 10}), 9, "max_steps")
    for history, expected in ((flat, False), (rising, True)):
        with mock.patch.dict(study._histories, {job: history, Job(data, 0, "item2vec"): None}):
            assert study.rising([job]) is expected
            others = [Job(data, 0, "popularity"), Job(data, 0, "item2vec")]
            rows = [("network", job), *((str(other.arm), other) for other in others)]
            assert study.not_flat(rows, ("network", "popularity", "item2vec")) == expected + 1
            assert study.not_flat(rows, ("popularity", "item2vec")) == 1


def test_lightgcn_learns_from_users_or_from_the_item_graph_as_its_name_says(tmp_path):
    opened = Study(tiny(), tmp_path)
    shop = opened.data(opened.profile.data, 0)
    taken = {}

    def lightgcn(graph, settings, width, folder, **how):
        taken[folder.parent.name] = graph
        return torch.ones(shop.items, width), None

    with mock.patch.object(study, "lightgcn", lightgcn):
        for name in ("lightgcn users", "lightgcn items"):
            opened.train(Job(opened.profile.data, 0, name))
    users, items = taken["lightgcn_users"], taken["lightgcn_items"]
    assert users.items == items.items == items.nodes == shop.items < users.nodes
    # Between users and items in the one graph, between items alone in the other.
    assert (users.edges.max(0) >= shop.items).all()
    assert items.edges.max() < shop.items


def test_item2vec_reads_what_was_meant_in_a_session_and_lightgcn_what_a_person_meant(tmp_path):
    opened = Study(tiny(), tmp_path)
    shop, data = opened.data(opened.profile.data, 0), opened.profile.data
    log = shop.shop.train
    meant = log.filter(
        pl.col("source").is_in(data.graph.swing.sources) | pl.col("action").is_in(["cart", "buy"])
    )
    read = {}

    def item2vec(pairs, items, settings, *how):
        read["session"] = pairs
        return np.ones((items, 8), np.float32), None

    def of_users(pairs, items):
        read["user"] = pairs
        raise InterruptedError

    with mock.patch.object(study, "item2vec", item2vec):
        opened.train(Job(data, 0, "item2vec"))
    with mock.patch.object(study.IdGraph, "of_users", of_users), pytest.raises(InterruptedError):
        opened.train(Job(data, 0, "lightgcn users"))
    for unit, pairs in read.items():
        assert set(pairs.iter_rows()) == set(meant.select(unit, "item").iter_rows())
        assert pairs["user"].n_unique() == meant[unit].n_unique()


def test_each_baseline_is_built_as_its_name_says(tmp_path):
    opened, called = Study(tiny(), tmp_path), []
    data, kinds = opened.profile.data, ("item2vec", "lightgcn", "pinsage")

    def training(kind):
        def train(self, job):
            called.append(kind)
            return study.TrainedVectors(torch.ones(SHOP.items, 8), None)

        return train

    with mock.patch.multiple(Study, **{f"_train_{kind}": training(kind) for kind in kinds}):
        for name in get_args(BaselineName):
            if isinstance(baseline_arm(opened.profile, data, name), Arm):
                continue  # an encoder, built from its configuration
            called.clear()
            opened.scorer(Job(data, 0, name, rate=1.0))
            expected = [kind for kind in kinds if name.startswith(kind)]
            assert called == expected, f"Study.scorer needs a case for {name!r}"
    with pytest.raises(ParameterError, match="Nothing is trained for the competitor 'popularity'"):
        opened.train(Job(data, 0, "popularity", rate=1.0))


def test_jobs_are_each_listed_once_and_all_that_the_run_trains(experiment):
    jobs = all_jobs(experiment.profile)
    assert len(jobs) == len(set(jobs))
    assert experiment.training.values("trainings") == [len(jobs)]
    assert experiment.training.frames["trainings"]["trainings"].sum() == len(jobs)
    root = experiment.folder / "training"
    folders = {path.parent.parent for path in root.rglob("checkpoints")}
    vectors = {path.parent for path in root.rglob("vectors.npy")}  # of item2vec
    assert len(vectors) == sum(job.arm == "item2vec" for job in jobs)
    assert all((path / "validation.parquet").exists() for path in vectors)
    assert len(folders | vectors) == len(jobs)


def test_item_vectors_are_learned_where_the_data_ask_for_them():
    profile = PROFILES["cpu"]
    data = profile.real[-1]
    assert not data.item_vectors
    assert WITH_IDS not in dict(baseline_jobs(profile, data))
    assert WITH_IDS in dict(baseline_jobs(profile))
    assert changed(data, item_vectors=True).key == data.key  # the trainings of others stay


def test_an_arm_of_several_tables_is_ranked_once(experiment):
    job = Job(experiment.profile.data, 0, variant_arm(experiment.profile, "V0"))
    with mock.patch.object(study, "evaluate", side_effect=AssertionError("ranked again")):
        found = experiment.study.compare([("V0", job)], "V0").outcomes["V0", 0]
    hits = experiment.networks.frames["summary"].filter(arm="V0")["hr@10"].item()
    assert found.metrics["hr@10"] == pytest.approx(hits)


def test_two_workers_leave_what_the_run_finds(tmp_path):
    data = changed(tiny().data, baselines=())
    profile = tiny(data=data, graphs=("full",), variants=("V0", "V5"), losses={}, real=(),
                   gallery=None, tail_rows="few", in_view=None)  # fmt: skip
    opened, jobs = Study(profile, tmp_path), all_jobs(profile)
    with mock.patch("okml.training.ahead.usable_cores", return_value=2):
        train_ahead(opened, jobs)
    # Alone, edge left in, pooled in two ways, without a graph, with item vectors; two where search
    # is scarce.
    assert len(jobs) == 8
    with mock.patch("okml.training.loop._Run._take", side_effect=AssertionError("trained again")):
        for job in jobs:
            opened.train(job)


def test_jobs_that_train_alike_are_one_training():
    data = tiny().data
    one = Job(data, 0, Arm())
    assert one == Job(changed(data, baselines=()), 0, Arm(encoder=VARIANTS["V0"]))
    assert len({one, Job(data, 1, Arm()), Job(data, 0, Arm(encoder=VARIANTS["V2"]))}) == 3


def test_misfit_profiles_are_refused():
    cpu = PROFILES["cpu"]
    with pytest.raises(ValueError, match="no variant of the network 'V9'"):
        changed(cpu, variants=("V0", "V9"))
    with pytest.raises(ValueError, match="held to"):
        changed(cpu, graphs=("weak",))
    with pytest.raises(ValueError, match="shows films"):
        changed(cpu, real=())
