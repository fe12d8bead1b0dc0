"""Judging on random impressions: selections, weights and intervals, and a planted world."""

from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import DataError
from okml.off_policy import step_estimate
from okml.video_workshop.common import study as study_module
from okml.video_workshop.config import CPU
from okml.video_workshop.goals import figures
from okml.video_workshop.goals.actor_critics import ActorCritics, methods
from okml.video_workshop.goals.experiments.traffic import (
    CONTROLS,
    cut_traffic,
    measure_traffic,
    traffic_jobs,
)
from okml.video_workshop.goals.gains import (
    estimate_gain,
    first_of_each_user,
    uniform_ratios,
    user_sums,
)
from okml.video_workshop.goals.impressions import ImpressionBatches, of_watched
from okml.video_workshop.goals.policies import SoftmaxPolicy
from okml.video_workshop.goals.study import GoalsStudy
from okml.video_workshop.settings.data import WatchLogSettings
from okml.video_workshop.settings.goals import TrafficSettings
from tests.video_workshop.traffic_tiny import DAYS, ITEMS, USERS, planted

HOST = torch.device("cpu")
SETTINGS = TrafficSettings(
    train_days=4,
    test_from=5,
    click_models=("two_tower", "mlp"),
    several_goals=("mmoe",),
    best_share=0.25,
)


@pytest.fixture(scope="module")
def log():
    return of_watched(planted(), recent=5)


def profile(epochs, batch):
    goals = CPU.goals
    few = {"batch": batch, "epochs": epochs}
    network = goals.constrained.network.model_copy(update=few)
    critics = {"multipliers": (0.3,), "critic_epochs": epochs}
    constrained = goals.constrained.model_copy(update={"network": network, **critics})
    ranker = goals.ranker.model_copy(update=few)
    changes = {"traffic": SETTINGS, "constrained": constrained, "ranker": ranker}
    return CPU.model_copy(
        update={
            "traffic_data": WatchLogSettings(log="kuairand_pure", text="tfidf"),
            "goals": goals.model_copy(update=changes),
            "seeds": (0, 1),
            "device": "cpu",
        }
    )


@pytest.fixture(scope="module")
def study_of(tmp_path_factory):
    """Return a function that opens a study of the planted log, given epochs and batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "load_watched", lambda settings: planted())
        yield lambda *sizes: GoalsStudy(profile(*sizes), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def study(study_of):
    return study_of(4, 128)


def test_the_first_of_each_user_against_a_loop():
    rng = np.random.default_rng(0)
    users, scores = np.sort(rng.integers(0, 9, 200)), rng.standard_normal(200)
    found = first_of_each_user(users, scores, 0.1)
    expected = []
    for user in np.unique(users):
        own = np.flatnonzero(users == user)
        best = own[np.argsort(-scores[own])]
        expected += best[: -(-len(own) // 10)].tolist()
    assert found.tolist() == expected


def test_selections_belong_together_and_equal_scores_are_fair():
    users = np.repeat([4, 2], [30, 10])
    found = first_of_each_user(users, np.zeros(40), 0.1)
    assert users[found].tolist() == [2, 4, 4, 4]
    drawn = [first_of_each_user(users, np.zeros(40), 0.1, seed)[0] for seed in range(400)]
    assert np.bincount(np.array(drawn) - 30, minlength=10) == pytest.approx(40, abs=25)


def test_ratios_are_chances_over_a_uniform_draw(log):
    torch.manual_seed(0)
    policy = SoftmaxPolicy(USERS, torch.randn(ITEMS + 1, 4), 4).eval()
    with torch.no_grad():
        policy.bias.weight[1:, 0] = torch.linspace(-1, 1, ITEMS)
    part = log.where(log.random)
    found = uniform_ratios(policy, ImpressionBatches(part, HOST))
    given = (torch.from_numpy(values.astype(np.int64)) for values in (part.users, part.recent + 1))
    users, recent = given
    every = torch.arange(1, ITEMS + 1).repeat(len(part), 1)
    with torch.no_grad():
        chance = policy(users, every, recent)[0].exp().numpy()
    assert found[:, 0] == pytest.approx(
        ITEMS * chance[np.arange(len(part)), part.items[:, 0]], rel=1e-5
    )
    # Under uniform draws the mean of such a ratio is one.
    assert found.mean() == pytest.approx(1, abs=4 * found.std() / len(found) ** 0.5)


def test_the_error_of_a_self_normalized_estimate_against_resampling():
    rng = np.random.default_rng(0)
    ratio, rewards = rng.gamma(1, 1, 3000), rng.random(3000)
    estimate = step_estimate(ratio, rewards, float("inf"), 50)
    values = []
    for _ in range(1000):
        rows = rng.integers(3000, size=3000)
        values.append(ratio[rows] @ rewards[rows] / ratio[rows].sum())
    assert estimate.value == pytest.approx(ratio @ rewards / ratio.sum())
    assert estimate.standard_error == pytest.approx(np.std(values), rel=0.1)
    assert np.isnan(step_estimate(ratio[:10], rewards[:10], 10, 50).standard_error)


def sums_of(new, old, rewards, users):
    return user_sums(users, np.stack([new * rewards, new, old * rewards, old], axis=1))[1]


def test_the_interval_of_a_gain():
    rng = np.random.default_rng(0)
    users, rewards = np.arange(2000) % 100, (rng.random(2000) < 0.3).astype(float)
    same = np.ones(2000)
    none = {0: sums_of(2 * same, same, rewards, users)}
    for relative in (False, True):
        assert estimate_gain(none, relative).interval == pytest.approx((0, 0))
    better = 1 + rewards  # rewarded actions twice as often: 2 p / (1 + p) instead of p
    sums = {0: sums_of(better, same, rewards, users)}
    share = rewards.mean()
    percent = estimate_gain(sums, relative=True)
    assert percent.mean == pytest.approx(100 * (2 / (1 + share) - 1))
    assert percent.high - percent.low < 20
    assert estimate_gain(sums).mean == pytest.approx(2 * share / (1 + share) - share)
    beyond = estimate_gain(sums, relative=True, less=none)
    assert beyond.mean == pytest.approx(percent.mean)
    assert estimate_gain(sums, less=sums).interval == pytest.approx((0, 0))


def test_sums_of_users_by_hand():
    known, sums = user_sums(np.array([4, 2, 4]), np.array([[1.0, 2], [3, 4], [5, 6]]))
    assert known.tolist() == [2, 4]
    assert sums.tolist() == [[3, 4], [6, 8]]


def test_a_log_is_cut_by_days_and_by_who_chose(log):
    parts = cut_traffic(log, 4, 5)
    assert parts.usual.days.max() == 3
    assert not parts.usual.random.any()
    assert set(parts.between.days) == {4}
    assert parts.between.random.all()
    assert parts.judging.random.all()
    assert parts.judging.days.min() == parts.usual_later.days.min() == 5
    with pytest.raises(DataError, match="no impressions in its part 'between'"):
        cut_traffic(log, 5, 5)
    with pytest.raises(DataError, match="of 9 days"):
        cut_traffic(log, 4, 20)


def test_bait_wins_the_clicks_and_loses_the_watching(study):
    """The planted world in KuaiRand's form: no slate, no candidates, no propensity of the rest."""
    result = study.train(traffic_jobs(study.profile)[0])
    rankers = result.frames["traffic_rankers"]
    assert rankers["objective"].to_list() == [
        "all of them", "most watched, whoever asks", "clicks", "clicks", "several goals",
    ]  # fmt: skip
    judging = result.frames["traffic"].row(3, named=True)
    assert judging["click"] == pytest.approx(0.55, abs=0.05)
    assert judging["watch"] == pytest.approx(0.2, abs=0.05)
    clicks, several = (rankers.filter(objective=name).row(0, named=True)
                       for name in ("clicks", "several goals"))  # fmt: skip
    # Bait on top: 0.7 clicks, no long view, a tenth hated. The rest on top: 0.4, watched and liked.
    assert clicks["click"] == pytest.approx(0.7, abs=0.1)
    assert clicks["watch"] < 0.1
    assert several["watch"] == pytest.approx(0.4, abs=0.06)
    assert several["hate"] < 0.02
    # The gain is over the click model that the usual traffic would have chosen.
    best = rankers.filter(objective="clicks").sort("AUC, usual").row(-1, named=True)
    popular = rankers.filter(objective="most watched, whoever asks").row(0, named=True)
    assert popular["watch"] == pytest.approx(0.4, abs=0.06)  # bait is never watched
    policies = {
        row["label"]: row for row in result.frames["traffic_policies"].iter_rows(named=True)
    }
    # Cloning repeats the log: three quarters of what it shows is bait.
    assert policies["cloning"]["watch"] == pytest.approx(0.4 / 4, abs=0.03)
    assert policies["actor-critic watch"]["watch"] > 0.2  # twice as much as cloning
    assert policies["TSCAC 0.3"]["watch"] > policies["cloning"]["watch"]
    assert policies["cloning"]["truth"] is None
    rivals = [policies["actor-critic watch"], policies["AWR 0.3"]]
    rival = max(rivals, key=lambda row: row["chosen by"])
    expected = {
        "traffic_goals_watch_gain": several["watch"] - best["watch"],
        "traffic_most_watched_gain": popular["watch"] - best["watch"],
        "traffic_constrained_watch_gain_pct": 100
        * (policies["TSCAC 0.3"]["watch"] / policies["cloning"]["watch"] - 1),
        "traffic_actor_critic_watch_gain_pct": 100
        * (policies["actor-critic watch"]["watch"] / policies["cloning"]["watch"] - 1),
        "traffic_unconstrained_watch_gain_pct": 100
        * (rival["watch"] / policies["cloning"]["watch"] - 1),
    }
    gains = result.frames["traffic_gains"].group_by("metric").agg(pl.col("^(new|old).*$").sum())
    for row in gains.iter_rows(named=True):
        new, old = (row[name] / row[f"{name} weight"] for name in ("new", "old"))
        gain = 100 * (new / old - 1) if row["metric"].endswith("pct") else new - old
        if row["metric"] in expected:
            assert gain == pytest.approx(expected.pop(row["metric"]), rel=1e-4)
    assert not expected
    for picture in (
        figures.random_selections(rankers),
        figures.random_estimates(result.frames["traffic_policies"]),
    ):
        assert picture.alt


def test_every_seed_is_given_the_interval_of_their_mean(study_of):
    study = study_of(1, 512)  # no trained number is asserted
    result = measure_traffic(study)
    for name in ("traffic_goals_watch_gain", "traffic_constrained_watch_gain_pct"):
        low, high = result.metrics[name].interval
        assert low < np.mean(result.values(name)) < high
        assert len(result.values(name)) == len(study.profile.seeds)
    for name, control in CONTROLS.items():
        own, other = result.metrics[name], result.metrics[control]
        beyond = result.differences[name][control]
        assert beyond.mean == pytest.approx(own.mean - other.mean)
        assert beyond.seeds == own.seeds == len(study.profile.seeds)


def test_who_saw_random_impressions_is_in_their_log_or_in_the_world(study_of):
    audience = study_of(1, 512).traffic_audience(0)
    assert (audience.users, audience.items) == (USERS, ITEMS)
    simulated = study_of(1, 512)
    simulated.profile = simulated.profile.model_copy(update={"traffic_data": None})
    with mock.patch.object(GoalsStudy, "audience", return_value=audience) as world:
        assert simulated.traffic_audience(1) is audience
    world.assert_called_once_with(1)


def test_a_policy_that_few_actions_support_is_not_reported(study, log):
    lab = ActorCritics(
        study,
        study.traffic_audience(0),
        log.where(log.random),
        0,
        study.run_dir / "none",
        estimated=True,
    )
    (cloning, *_) = methods(lab)
    policy = lab.policy(cloning.label, cloning.weigh)
    last = log.where(log.random & (log.days == DAYS - 1))

    def estimate():
        ratio = uniform_ratios(policy, ImpressionBatches(last, HOST)).ravel()
        return step_estimate(ratio, last.watched.ravel().astype(float), float("inf"), 50)

    supported = estimate()
    assert supported.effective > 100
    # What is shown at random, it shows too: a fifth is watched.
    assert supported.value == pytest.approx(0.2, abs=0.1)
    with torch.no_grad():
        policy.bias.weight[1] = 100.0  # shows the first video to everybody
    shown_first = (last.items[:, 0] == 0).sum()
    few = estimate()
    assert few.effective == pytest.approx(shown_first)
    assert few.effective < 50
    assert np.isnan(few.value)
