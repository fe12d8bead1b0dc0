"""Logs of impressions as requests: hand-worked cases, and a naive loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.video_workshop.common.data import of_impressions
from okml.video_workshop.goals.impressions import (
    NOBODY,
    ImpressionBatches,
    clicked_before,
    of_watched,
    places_in_session,
)
from okml.video_workshop.goals.policies import SoftmaxPolicy
from okml.video_workshop.goals.simulator import logging_policy, roll_out
from okml.video_workshop.settings.data import WatchLogSettings
from tests.video_workshop.goals_tiny import SETTINGS, world
from tests.video_workshop.test_data import impression, shown

CPU = torch.device("cpu")
# 8 April 2022 begins in Beijing at 16:00 UTC of the day before.
MIDNIGHT = 1_649_347_200_000
MINUTE = 60_000


def hand_made():
    rows = [
        impression(7, 9, MIDNIGHT - MINUTE, 8_000, 9_000, click=True),
        impression(7, 10, MIDNIGHT + MINUTE, 0, 9_000, random=True),
        impression(
            7, 9, MIDNIGHT + 40 * MINUTE, 9_000, 9_000, click=True, long_view=True, like=True
        ),
        impression(8, 10, MIDNIGHT + 2 * MINUTE, 0, 9_000, hate=True),
    ]
    return of_watched(of_impressions(shown(rows), WatchLogSettings()), recent=2)


def test_impressions_of_kuairand_by_hand():
    log = hand_made()
    assert log.users.tolist() == [0, 0, 0, 1]
    assert log.items.tolist() == [[0], [1], [0], [1]]
    assert log.days.tolist() == [0, 1, 1, 1]
    # 39 minutes without an impression end a session, 2 do not, though midnight is among them.
    assert log.turns.tolist() == [0, 1, 0, 0]
    assert log.sessions.tolist() == [1, 1, 2, 3]
    assert log.responses()[:, 0].tolist() == [
        [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1],
    ]  # fmt: skip
    assert log.recent.tolist() == [[NOBODY, NOBODY], [NOBODY, 0], [NOBODY, 0], [NOBODY, NOBODY]]
    assert log.random.tolist() == [False, True, False, False]
    assert log.propensity[1, 0] == pytest.approx(1 / 2)
    assert np.isnan(log.propensity[[0, 2, 3]]).all()
    assert log.candidates is None


def test_what_follows_in_a_session_ends_with_it_and_not_with_the_day():
    log = hand_made()
    every = replace(log, clicked=np.ones_like(log.clicked))
    assert ImpressionBatches(every, CPU, 0.5).later[:, 0].tolist() == [0.5, 0, 0, 0]
    # The rest of a session that a part of the log leaves out joins no other session.
    part = every.where(np.array([True, False, True, True]))
    assert ImpressionBatches(part, CPU, 0.5).later[:, 0].tolist() == [0, 0, 0]


def test_a_part_of_a_log_knows_what_came_before():
    part = hand_made().where(np.array([False, False, True, True]))
    assert len(part) == 2
    assert part.recent.tolist() == [[NOBODY, 0], [NOBODY, NOBODY]]
    assert part.candidates is None


def test_a_part_of_a_roll_out_keeps_who_came():
    tiny = world()
    log = roll_out(
        tiny, logging_policy(tiny, SETTINGS), SETTINGS, np.random.default_rng(0), 3, True
    )
    part = log.where(log.random)
    assert 0 < len(part) < len(log)
    assert part.active is log.active
    assert (part.satiation == log.satiation[log.random]).all()
    first = log.until(1)
    assert first.active.shape[0] == 1
    assert set(first.days) == {0}


def test_random_requests_are_as_many_as_the_log_says():
    tiny = world()
    many = SETTINGS.model_copy(update={"exploration": 0.4})
    log = roll_out(tiny, logging_policy(tiny, many), many, np.random.default_rng(0), 12)
    error = (0.4 * 0.6 / len(log)) ** 0.5
    assert log.random.mean() == pytest.approx(0.4, abs=4 * error)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans(), st.integers(0, 4_000)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_sessions_and_clicks_against_a_loop(events, count):
    events.sort(key=lambda event: event[0])
    users, items, clicked, gaps = (np.array(part) for part in zip(*events, strict=True))
    times = np.cumsum(gaps)
    turns, recent = [], []
    for number, user in enumerate(users):
        new = number == 0 or users[number - 1] != user or gaps[number] > 1_800
        turns.append(0 if new else turns[-1] + 1)
        before = [items[j] for j in range(number) if users[j] == user and clicked[j]][-count:]
        recent.append([NOBODY] * (count - len(before)) + before)
    assert places_in_session(users, times).tolist() == turns
    assert clicked_before(users, items, clicked, count).tolist() == recent


def test_no_candidates_are_all_items_in_their_order():
    log = hand_made()
    listed = np.tile(np.arange(2, dtype=np.int32), (len(log), 1))
    torch.manual_seed(0)
    policy = SoftmaxPolicy(2, torch.randn(3, 5), 4).eval()
    found = []
    for candidates in (None, listed):
        whole = {**vars(log), "candidates": candidates}
        batch = ImpressionBatches(type(log)(**whole), CPU).batch(
            np.arange(4), np.random.default_rng(0)
        )
        found.append(policy.of_shown(batch))
    for every, some in zip(*found, strict=True):
        assert torch.equal(every, some)
    both = policy(batch.users, None, batch.recent)[0].exp()
    assert both.sum(1).tolist() == pytest.approx([1] * 4)
