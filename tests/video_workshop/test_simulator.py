"""VideoSim: its rules by hand, its chances by counting, and that clicks and the long term part."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from okml.errors import DataError
from okml.video_workshop.goals import world as world_module
from okml.video_workshop.goals.impressions import NOBODY
from okml.video_workshop.goals.simulator import (
    best_of,
    by_table,
    draw_candidates,
    logging_policy,
    looked_at,
    mixed_softmax,
    oracle,
    push_recent,
    roll_out,
)
from okml.video_workshop.goals.world import (
    WATCH_NOISE,
    _components,
    _taste,
    build_world,
    clipped_mean,
)
from okml.video_workshop.settings.goals import VideoSimSettings, WorthSettings
from tests.video_workshop.goals_tiny import ITEMS, SETTINGS, USERS, WIDTH, watched, world


@pytest.fixture(scope="module")
def tiny():
    return world()


def run(tiny, policy, seed=1, **options):
    return roll_out(tiny, policy, SETTINGS, np.random.default_rng(seed), **options)


def test_a_world_is_standard_and_bait_goes_against_quality(tiny):
    assert tiny.affinity.shape == (USERS, ITEMS)
    for values in (tiny.quality, tiny.bait):
        assert values.mean() == pytest.approx(0, abs=1e-9)
        assert values.std() == pytest.approx(1)
    assert np.corrcoef(tiny.quality, tiny.bait)[0, 1] == pytest.approx(-0.44, abs=0.15)
    assert tiny.features.T @ tiny.features == pytest.approx(ITEMS * np.eye(SETTINGS.components))


def test_a_taste_is_the_direction_in_which_ratings_rise(tiny):
    log = watched()[0].interactions
    mine = log.items[log.users() == 3] - 1
    stars = log.values[log.users() == 3]
    direction = (stars - stars.mean()) @ tiny.features[mine]
    score = tiny.features @ direction
    assert np.corrcoef(score, tiny.affinity[3])[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("turn", [-np.eye(WIDTH), ortho_group.rvs(WIDTH, random_state=1)])
def test_other_axes_of_the_content_leave_every_affinity(tiny, turn):
    """An SVD picks signs and a basis by rounding, so components may turn and affinities may not."""
    log, content = watched()
    turned = build_world(log, content @ turn, SETTINGS, 2)
    np.testing.assert_allclose(turned.affinity, tiny.affinity, atol=1e-9)
    # The components themselves are free, in their signs and in a rotation of all of them.
    rotation = ortho_group.rvs(SETTINGS.components, random_state=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world_module, "_components", lambda *given: _components(*given) @ rotation)
        again = build_world(log, content, SETTINGS, 2)
    assert np.abs(again.features - tiny.features).max() > 0.1
    np.testing.assert_allclose(again.affinity, tiny.affinity, atol=1e-9)


def test_a_taste_has_length_one_however_close_the_ratings_are():
    users, ratings = np.array([0, 0, 1, 1]), np.array([3.1, 3.0, 4.0, 4.0])
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    # The second user likes both alike, and so has no direction.
    assert _taste(users, ratings, features) == pytest.approx(
        np.array([[0.5**0.5, -(0.5**0.5)], [0, 0]])
    )


def test_the_logit_of_a_click_by_hand(tiny):
    users, items = np.array([2]), np.array([[7, 9]])
    satiation = np.array([[4.0, 0.0, 0.0, -8.0]])
    for place, item in enumerate(items[0]):
        full = min(max(tiny.features[item] @ satiation[0] / 4, 0), 3)
        by_hand = (
            -1 + 0.8 * tiny.affinity[2, item] + 0.9 * tiny.susceptibility[2] * tiny.bait[item]
        ) - SETTINGS.weariness * full
        assert tiny.click_logit(users, items, satiation)[0, place] == pytest.approx(by_hand)


def test_satiation_follows_the_clicks_from_day_to_day(tiny):
    """By hand: a request keeps four fifths of it and adds a fifth of the clicked content."""
    log = run(tiny, logging_policy(tiny, SETTINGS), days=3, keep_states=True)
    mine, state = np.flatnonzero(log.users == 5), np.zeros(SETTINGS.components)
    assert len(np.unique(log.days[mine])) > 1
    for row in mine:
        assert log.satiation[row] == pytest.approx(state, abs=1e-5)
        state = 0.8 * state + 0.2 * tiny.features[log.items[row][log.clicked[row]]].sum(0)


def test_a_rollout_depends_on_its_seed_alone(tiny):
    policy = logging_policy(tiny, SETTINGS)
    one, again, other = (run(tiny, policy, seed, days=2) for seed in (1, 1, 2))
    assert np.array_equal(one.items, again.items)
    assert np.array_equal(one.watched, again.watched)
    assert not np.array_equal(one.items[:50], other.items[:50])


def test_what_follows_a_click_needs_one_and_sessions_end(tiny):
    log = run(tiny, logging_policy(tiny, SETTINGS), days=3, keep_states=True)
    assert not log.watched[~log.clicked].any()
    assert not log.liked[~log.clicked].any()
    assert log.turns.max() < SETTINGS.longest
    assert (np.diff(log.days) >= 0).all()
    assert log.active[0].all()
    # A user's temper: 3, plus what each request adds, until it is used up.
    mine = (log.users == 5) & (log.days == 0)
    temper = 3 + np.cumsum((log.watched[mine].sum(1) - 1.2).clip(-1, 0.3))
    assert (temper[:-1] > 0).all()
    assert temper[-1] <= 0 or mine.sum() == SETTINGS.longest
    assert log.value.mean() == pytest.approx(log.summary()["value"])
    first = [log.clicked[(log.users == user) & (log.days == 0)][0].mean() for user in range(USERS)]
    assert log.summary()["ctr, first request"] == pytest.approx(np.mean(first))
    own = [log.clicked[(log.users == user) & (log.days == 0)].mean() for user in range(USERS)]
    assert log.summary()["ctr, day 1, by user"] == pytest.approx(np.mean(own))
    assert (log.sessions == log.days).all()


def test_the_mean_of_clipped_watching_against_draws_and_at_its_limits():
    rng, means = np.random.default_rng(0), np.array([-0.05, 0.02, 0.5, 0.9, 0.99])
    drawn = (means + WATCH_NOISE * rng.standard_normal((200_000, 5))).clip(0, 1)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert (np.abs(drawn.mean(0) - clipped_mean(means, WATCH_NOISE)) < 4 * error).all()
    assert clipped_mean(np.array([0.0, 1.0]), 0.1) == pytest.approx(
        [0.1 / (2 * np.pi) ** 0.5, 1 - 0.1 / (2 * np.pi) ** 0.5]
    )
    assert clipped_mean(means, 1e-9) == pytest.approx(means.clip(0, 1))


def test_watching_agrees_with_its_expectation(tiny):
    log = run(tiny, oracle(tiny, "watch", SETTINGS), days=12)
    pairs = log.users[:, None], log.items
    off = (log.watched - tiny.expected_watch[pairs])[log.clicked].astype(np.float64)
    error = off.std() / len(off) ** 0.5
    assert abs(off.mean()) < 4 * error
    # Near one the noise that is cut off is missed.
    near = log.clicked & (tiny.watch[pairs] > 0.9)
    missed = (log.watched - tiny.watch[pairs])[near].astype(np.float64)
    assert missed.mean() < -4 * missed.std() / len(missed) ** 0.5


def test_counts_agree_with_the_stated_chances(tiny):
    log = run(tiny, logging_policy(tiny, SETTINGS), days=12, keep_states=True)
    chance = tiny.click(log.users, log.items.astype(np.int64), log.satiation.astype(np.float64))
    error = (chance * (1 - chance)).sum() ** 0.5 / chance.size
    looked = looked_at(SETTINGS)
    assert looked == pytest.approx([1, 0.85, 0.85**2, 0.85**3, 0.85**4])
    chance = looked * chance
    assert abs(log.clicked.mean() - chance.mean()) < 4 * error
    # The bias is one of places: each of them is clicked as often as it is looked at and wanted.
    each = (chance * (1 - chance)).sum(0) ** 0.5 / len(chance)
    assert (np.abs(log.clicked.mean(0) - chance.mean(0)) < 4 * each).all()
    hate = looked * tiny.hate[log.users[:, None], log.items]
    assert abs(log.hated.mean() - hate.mean()) < 4 * (hate.mean() / hate.size) ** 0.5


def test_the_log_shows_an_item_first_as_often_as_it_says(tiny):
    log = run(tiny, logging_policy(tiny, SETTINGS), days=12, keep_states=True)
    ratio = 1 / SETTINGS.candidates / log.propensity[:, 0].astype(np.float64)
    # A uniform policy's weights have mean one if the propensities are right.
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5
    assert (log.propensity >= SETTINGS.exploration / SETTINGS.candidates * 0.999).all()
    shown = (log.candidates[:, :, None] == log.items[:, None, :]).sum((1, 2))
    assert (shown == SETTINGS.slate).all()


def test_candidates_are_different_and_all_equally_likely():
    rng = np.random.default_rng(0)
    drawn = draw_candidates(rng, 4000, 12, 8)
    assert all(len(set(row)) == 8 for row in drawn)
    share = np.bincount(drawn.ravel(), minlength=12) / drawn.size
    assert np.abs(share - 1 / 12).max() < 0.003
    assert np.abs(np.bincount(drawn[:, 7], minlength=12) / 4000 - 1 / 12).max() < 0.02


def test_recent_clicks_are_the_last_ones_in_their_order():
    recent = np.array([[NOBODY, NOBODY, 4], [1, 2, 3]])
    clicked = np.array([[True, False], [True, True]])
    assert push_recent(recent, np.array([[8, 9], [6, 7]]), clicked).tolist() == [
        [NOBODY, 4, 8],
        [3, 6, 7],
    ]


def test_the_mixed_softmax_by_hand():
    chance = mixed_softmax(np.log([[1.0, 3.0]]), 0.2)
    assert chance[0] == pytest.approx([0.1 + 0.8 * 0.25, 0.1 + 0.8 * 0.75])


def test_clicks_and_the_long_term_part(tiny):
    found = {name: run(tiny, oracle(tiny, name, SETTINGS)).summary()
             for name in ("random", "clicks", "value")}  # fmt: skip
    assert found["value"]["dau"] > max(found["random"]["dau"], found["clicks"]["dau"])
    # Good will decides who returns; 80 users are too few to tell the lower two by their days.
    assert found["value"]["value"] > found["random"]["value"] > found["clicks"]["value"]
    assert found["clicks"]["ctr"] > found["value"]["ctr"] > found["random"]["ctr"]
    assert found["clicks"]["hate"] > found["random"]["hate"] > found["value"]["hate"]


def test_a_world_is_drawn_with_its_seed_and_watching_can_lose():
    """With watching worth nothing and clicks worth something, who ranks by clicks keeps users."""
    drawn = SETTINGS.model_copy(update={"worth": WorthSettings()})
    worths = np.array([world(drawn, seed).worth for seed in range(200)])
    low, high = np.array([[-0.25, -0.25, 0, -2], [0.75, 0.75, 0.5, 0]])
    assert ((low <= worths) & (worths <= high)).all()
    assert worths.mean(0) == pytest.approx((low + high) / 2, abs=0.4)
    assert world(drawn, 3).worth == world(drawn, 3).worth != world(drawn, 4).worth
    for_clicks = WorthSettings(watch=(0, 0), click=(0.5, 0.5), like=(0, 0), hate=(0, 0))
    clicky = world(SETTINGS.model_copy(update={"worth": for_clicks}))
    kept = {name: [run(clicky, oracle(clicky, name, SETTINGS), seed).summary()["dau"]
                   for seed in range(15)]
            for name in ("clicks", "watch")}  # fmt: skip
    # Of 60 differences the mean was 0.048 and the standard deviation 0.030.
    assert np.mean(kept["clicks"]) > np.mean(kept["watch"])


def test_the_oracle_of_value_is_the_best_expected_value(tiny):
    policy = oracle(tiny, "value", SETTINGS)
    expected = tiny.watch - 0.45 + 0.5 * tiny.like
    fresh = tiny.click(np.arange(USERS), np.tile(np.arange(ITEMS), (USERS, 1)),
                       np.zeros((USERS, SETTINGS.components)))  # fmt: skip
    table = fresh * expected - 2 * tiny.hate
    first = run(tiny, policy, days=1, keep_states=True)
    same = run(tiny, best_of(by_table(table), SETTINGS.slate), days=1, keep_states=True)
    assert np.array_equal(first.items[:USERS], same.items[:USERS])


def test_content_that_does_not_fit_the_log_is_refused():
    with pytest.raises(DataError, match="vectors of content"):
        build_world(watched()[0], np.zeros((ITEMS + 1, 3)), VideoSimSettings(), 0)
