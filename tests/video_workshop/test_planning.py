import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from okml.errors import ParameterError
from okml.plan import ACTIVATIONS, over_budget
from okml.video_workshop.config import PROFILES
from okml.video_workshop.goals import actor_critics
from okml.video_workshop.planning import (
    SIZES,
    events_before,
    item_bound,
    parameters,
    plan,
)
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream.arms import (
    freshness_jobs,
    new_item_jobs,
    shard_jobs,
    shock_jobs,
)
from okml.video_workshop.stream.distillation import chunk_bytes
from tests.scales import beyond_scale


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_fits_its_budget(name):
    profile = PROFILES[name]
    made = plan(profile)
    assert over_budget(made, profile) == []
    assert beyond_scale(profile) == []


def test_the_gpu_profile_reads_the_data_of_the_spec():
    made = plan(PROFILES["gpu"])
    assert made.data == (
        "kuairand_1k", "microlens_100k", "ml_100k", "kuairand_pure", "ader_diginetica",
        "ader_yoochoose", "minilm_l6",
    )  # fmt: skip
    # MicroLens is no entry of the catalog, which has no size of it.
    (stored,) = (item for item in made.items if item.what == "data on disk")
    assert "microlens_100k" not in stored.follows_from
    assert made.gpu_memory_gib <= 80


def test_a_training_by_hand():
    # The base, its twin without actions and seven ablations with three seeds: 24 d^2 operations a
    # layer and position, attention over half of the window, the sampled classes of three softmaxes;
    # three passes.
    profile = PROFILES["gpu"]
    model, how = profile.users.base, profile.users.pretraining
    classes = 8_192 + 1
    flops = model.layers * (24 * model.width**2 + 2 * model.length * model.width)
    flops += 3 * 2 * model.width * classes
    step = 3 * how.batch * model.length * flops / 150e12 + 0.04
    item = next(
        item
        for item in plan(profile).items
        if item.what == "pre-training, d = 512" and item.follows_from.startswith("27 trainings")
    )
    assert item.value == pytest.approx(27 * how.steps * step / 3600, rel=1e-3)


@pytest.mark.parametrize("name", PROFILES)
def test_the_plan_counts_the_runs_over_the_stream(name):
    profile = PROFILES[name]
    groups = (freshness_jobs, new_item_jobs, shock_jobs, shard_jobs)
    jobs = {job for group in groups for job in group(profile)}
    updates = [job for job in jobs if job.arm.strategy not in ("stale", "retrain")]
    longer = [job for job in updates if job.arm.strategy in ("replay", "distillation")]
    planned = {
        item.what: int(item.follows_from.split()[0])
        for item in plan(profile).items
        if item.what.startswith("stream: ")
    }
    assert planned["stream: bases"] == len({(job.arm.table, job.seed) for job in jobs})
    # Each rate of each arm with updates, which are those of the first seed but for the shock. Early
    # periods choose where there is one update a period, the served ones elsewhere.
    rates, first = len(profile.stream.weekly.choice.rates), profile.seeds[0]
    calm = [[job for job in part if job.seed == first and not job.arm.shock]
            for part in (updates, longer)]  # fmt: skip
    early = [sum(job.arm.shards == 1 for job in part) for part in calm]
    late = [sum(job.arm.shards != 1 for job in part) for part in calm]
    assert early[0] > 0 < late[0]
    served = len(updates) + len(longer) + rates * sum(late)
    assert planned["stream: updates of all periods"] == served
    found = {item.what: item for item in plan(profile).items}
    tried = found["choice of rates: updates of all periods"].follows_from
    assert int(tried.split()[0]) == rates * sum(early)


def test_the_plan_counts_the_runs_over_sessions():
    """By hand: four periods of 500 sessions, 12 epochs, 32 sessions a step, three seeds.

    In the three served ones 600 clicks are ranked.
    """
    found = {
        item.what.removeprefix("ader_diginetica: "): item.follows_from.split(" · (")[0]
        for item in plan(PROFILES["cpu"]).items
        if item.what.startswith("ader_diginetica: ")
    }
    # Updates with distillation count twice. With each of five rates the first seed makes one more
    # run of both. Three further runs of it: each new session and six others, twice, and
    # distillation on all old ones, which counts thrice. Retrained after periods 1 to 3 on 2.5 on
    # average.
    assert found == {
        "bases": "3 trainings · 188 steps",
        "updates of all periods": "41 trainings · 563 steps",
        "retrainings": "9 trainings · 469 steps",
        "rankings": "22 rankings · 1,800 rows",
    }


@pytest.mark.parametrize("name", ["night", "gpu"])
def test_the_larger_scales_serve_all_periods_of_ader(name):
    """The base is of the first of DIGINETICA's 17 periods, each later one is served."""
    assert [shop.periods for shop in PROFILES[name].stream.sessions] == [17] * (1 + (name == "gpu"))
    item = next(
        item for item in plan(PROFILES[name]).items if item.what == "ader_diginetica: retrainings"
    )
    jobs = int(item.follows_from.split()[0])
    assert jobs == 16 * len(PROFILES[name].seeds)


def test_a_filter_bounds_the_catalog_and_with_it_the_table():
    everything = WatchLogSettings(log="kuairand_1k")
    assert item_bound(everything) == SIZES["kuairand_1k"].items
    filtered = WatchLogSettings(log="kuairand_1k", least_item_events=10)
    # Each of the 4,369,953 videos has an impression, and each that is kept ten.
    assert item_bound(filtered) == (11_756_073 - 4_369_953) // 9
    stored = {name: next(i for i in plan(PROFILES[name]).items if i.what == "checkpoints on disk")
              for name in ("cpu", "gpu")}  # fmt: skip
    assert [stored[name].at_most for name in ("cpu", "gpu")] == [False, True]
    model = UserModelSettings(length=50, width=64, layers=2)
    assert parameters(model, 1_682) == 1_682 * 64 + 12 * 2 * 64**2 + 50 * 64


@pytest.mark.parametrize("log", ["ml_1m", "ml_20m", "ml_25m"])
def test_larger_logs_of_movies_have_a_plan(log):
    small, large = (plan(PROFILES["cpu"].override({"data.log": name})) for name in ("ml_100k", log))
    assert large.memory_gib > small.memory_gib
    assert log in large.data


def test_a_log_without_titles_is_refused():
    with pytest.raises(ParameterError, match="no log with titles 'gowalla'"):
        PROFILES["cpu"].override({"data.log": "gowalla"})


def test_more_seeds_take_more_hours_and_the_same_memory():
    profile = PROFILES["gpu"]
    one, three = plan(profile.override({"seeds": [0]})), plan(profile)
    assert one.hours < three.hours
    assert one.gpu_memory_gib == three.gpu_memory_gib


def lab_of(profile, monkeypatch):
    """Return the methods that actor-critics of a profile compare, and the trainings they ask for.

    Nothing is trained: a training is only noted.
    """
    trained = []
    monkeypatch.setattr(actor_critics, "train", lambda *args, **how: trained.append("critics"))
    monkeypatch.setattr(actor_critics, "advantages", lambda *args: None)
    log = SimpleNamespace(each=lambda function: None)
    monkeypatch.setattr(actor_critics, "ImpressionBatches", lambda *args: log)
    study = SimpleNamespace(
        profile=profile, settings=profile.goals, device="cpu",
        policy=lambda *args: trained.append("policy"),
    )  # fmt: skip
    lab = actor_critics.ActorCritics(study, SimpleNamespace(users=1, items=1), log, 0, Path())
    compared = actor_critics.methods(lab)
    for method in compared:
        lab.policy(method.label, method.weigh)
    return compared, trained


@pytest.mark.parametrize("name", PROFILES)
def test_the_plan_counts_the_actor_critics_and_their_roll_outs(name, monkeypatch):
    profile = PROFILES[name]
    compared, trained = lab_of(profile, monkeypatch)
    days = profile.goals.constrained.network.days
    longer = profile.override({"goals.constrained.network.days": days + 1})
    found = {item.what: item.follows_from.split(" ") for item in plan(profile).items}
    more = {item.what: item.follows_from.split(" ") for item in plan(longer).items}
    worlds = len(profile.worlds)
    runs = worlds if profile.traffic_data is None else len(profile.seeds)
    assert int(found["actor-critics"][0]) == worlds * len(trained)
    assert int(found["actor-critics on usual traffic"][0]) == runs * len(trained)
    # Each method is rolled out for a number of days in each world, two of them once more.
    served = [int(each["roll-outs of the simulator"][0].replace(",", "")) for each in (found, more)]
    assert served[1] - served[0] == worlds * (len(compared) + 2)


def test_usual_traffic_by_hand():
    # 14 of 31 days, all of whose impressions count as usual; three seeds of seven rankers, and of
    # 20 methods, a policy of likes and 2 trainings of critics over 7,583 items.
    profile = PROFILES["gpu"]
    requests = 14 * (1_436_609 + 1_186_059) / 31
    found = {item.what: item for item in plan(profile).items}
    rankers, policies = (found[f"{who} on usual traffic"] for who in ("rankers", "actor-critics"))
    assert rankers.follows_from.startswith(f"21 trainings · {math.ceil(5 * requests / 4096):,}")
    assert policies.follows_from.startswith(f"69 trainings · {math.ceil(5 * requests / 2048):,}")
    step = 3 * 2048 * 2 * 64 * 7_583 / 150e12 + 0.04
    assert policies.value == pytest.approx(69 * math.ceil(5 * requests / 2048) * step / 3600)


def test_the_trainings_on_last_items_by_hand():
    # A window a user: 943 users are 30 steps of 32, 4 epochs; ids, both and noise with three
    # seeds, content with one.
    found = {item.what: item for item in plan(PROFILES["cpu"]).items}["everybody's last item"]
    assert found.follows_from.startswith("10 trainings · 120 steps · (3 · 640 positions")
    profile = PROFILES["gpu"]
    found = {item.what: item for item in plan(profile).items}["everybody's last item"]
    flops = 2 * (24 * 1024**2 + 2 * 10 * 1024) + 2 * 1024 * 19_738
    step = 3 * 512 * 10 * flops / 150e12 + 0.04
    assert found.value == pytest.approx(12 * 50 * math.ceil(100_000 / 512) * step / 3600)


@pytest.mark.parametrize("name", PROFILES)
def test_the_largest_training_in_memory_is_not_one_on_last_items(name):
    profile = PROFILES[name]
    last, base = profile.items.leave_one_out, profile.users.base
    asked, watched = (
        item_bound(data) for data in (profile.cold_data or profile.data, profile.data)
    )
    assert parameters(last.model, asked) <= parameters(base, watched)
    tokens = (last.batch * last.model.length, profile.users.pretraining.batch * base.length)
    assert tokens[0] * last.model.layers * last.model.width <= (
        tokens[1] * base.layers * base.width
    )


def test_rankings_by_hand():
    # All of the 17 served days have 20,000 drawn requests. Of launched items come besides 15 % of
    # the later events: a thirteenth of them on the first day, all from the thirteenth day on.
    profile = PROFILES["gpu"]
    found = {item.what: item for item in plan(profile).items}["stream: rankings"]
    rows = math.ceil(17 * 20_000 + 0.15 * 11_756_073 / 31 * (13 * 14 / 2 / 13 + 4))
    model, items = profile.stream.weekly.training.model, (11_756_073 - 4_369_953) // 9
    history = 200 * 6 * (24 * model.width**2 + 2 * 200 * model.width) / 30e12
    score = 2 * model.width / 30e12 + 4e-11
    jobs = int(found.follows_from.split()[0])
    assert found.value == pytest.approx(jobs * rows * (history + items * score) / 3600)
    # Both tasks are validated after 28 parts of 125 steps from random weights, and retrieval on
    # liked rows alone: 10 rows of a tenth of 1,000 users.
    first, second = (
        next(item.follows_from for item in plan(profile).items
             if item.what == f"validations of {task}, d = 512")
        for task in ("retrieval", "ranking")
    )  # fmt: skip
    assert " · 570 rows · " in first
    assert " · 1,000 rows · " in second
    assert " 0 scores" in second


def test_most_events_of_movielens_1m_are_early():
    early = WatchLogSettings(log="ml_1m")
    assert events_before(early, 224) == pytest.approx(0.81 * 1_000_209)
    assert events_before(early, 112) == pytest.approx(0.405 * 1_000_209)
    assert events_before(early, 2_000) == 1_000_209
    assert events_before(WatchLogSettings(), 43) == pytest.approx(100_000 / 5)


def test_the_largest_step_in_memory_is_not_one_with_distillation():
    # Beside its own step it holds a part of the exemplars with six matrices of logits, a teacher,
    # and four arrays like the item rows: student's, teacher's, a part's gradient, their sum.
    profile = PROFILES["gpu"]
    training, items = profile.stream.weekly.training, item_bound(profile.data)
    model, part = training.model, chunk_bytes(training.loss)
    rows = training.update_batch + part // (4 * items)
    activations = 2 * ACTIVATIONS * rows * model.length * model.layers * model.width
    sampled = 3 * 4 * training.update_batch * model.length * (training.loss.negatives + 1)
    rows_of_items = (4 + 1) * 4 * items * model.width  # the teacher besides
    weights = 16 * parameters(model, items)
    held = weights + rows_of_items + activations + sampled + 6 * part
    planned = sum(
        item.value
        for item in plan(profile).items
        if item.what.endswith(" of a step") or item.what.endswith(" of the largest training")
    )
    assert held / 2**30 < planned  # 18 and 31 GiB
