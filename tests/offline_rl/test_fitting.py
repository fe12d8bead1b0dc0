"""Fits of critics: whom they see, what they are held against, and which one is taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from okml.offline_rl.arms import CriticJob, Job
from okml.offline_rl.config import PROFILES
from okml.offline_rl.fitting import returns_of, split_users, values_of
from okml.offline_rl.networks import build_critics
from okml.offline_rl.study import Study
from tests.offline_rl.tiny import EVENTS, ITEMS, NETWORKS, USERS
from tests.tools.own_data import OwnData
from tests.tools.own_logs import atomic, walks


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    films = walks(USERS, EVENTS, ITEMS, start=1_000_000_000, gaps=(0, 30, 4_000))
    profile = PROFILES["smoke"].override(
        {
            "device": "cpu",
            "datasets.0": {**NETWORKS, "length": 6, "validation_rows": 20, "fit_epochs": 30},
            "fit": {"rates": [1e-4, 3e-2], "copies": [1, 50]},
            "further_rates": 0,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        own = OwnData(tmp_path_factory.mktemp("data"), patch)
        own.files("ml_100k", atomic("ml-100k")(films))
        yield Study(profile, tmp_path_factory.mktemp("fits"))


def test_no_user_is_on_two_sides_of_a_fit(study):
    logged = study.data(study.profile.main)
    parts = split_users(logged)
    sides = [set(part.user.tolist()) for part in (parts.windows, parts.choice, parts.judged)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(set(logged.windows().user))
    # Arms see the newest window of a user alone, fits all of them: each training action is in one.
    assert logged.settings.windows_per_user == 1
    first, stop = parts.windows.bounds(logged.interactions, np.arange(len(parts.windows)))
    users = np.unique(parts.windows.user)
    actions = (logged.split.train_end - logged.interactions.offsets[:-1])[users] - 1
    assert (stop - first - 1).sum() == actions.sum()
    # The rows end where training ends: no event of validation or test is an action.
    for rows in (parts.choice, parts.judged):
        assert (rows.end < logged.split.train_end[rows.user]).all()


def test_a_simulated_log_is_drawn_anew_for_each_seed_and_a_real_one_is_not(study):
    shop, films = study.profile.funnel, study.profile.main
    drawn = {seed: study.data(shop, seed).interactions.items for seed in (0, 1)}
    assert not np.array_equal(drawn[0][:500], drawn[1][:500])
    assert study.data(shop) is study.data(shop, 0)
    assert study.data(films, 1) is study.data(films)


def test_values_are_those_of_each_history_alone(study):
    logged = study.data(study.profile.main)
    torch.manual_seed(0)
    critics = build_critics(logged)
    for critic in critics.each:
        torch.nn.init.normal_(critic.action)
    rows = split_users(logged).judged
    found = values_of(critics, logged, rows, batch_size=3)
    items, offsets = logged.interactions.items, logged.interactions.offsets
    for value, user, end in zip(found, rows.user, rows.end, strict=True):
        start = max(offsets[user], end - logged.settings.length)
        history = torch.tensor(items[start:end].astype(np.int64))[None]
        action = torch.zeros_like(history)
        action[0, -1] = int(items[end])
        with torch.no_grad():
            alone = critics(history, action)[0][0, -1].mean()
        assert value == pytest.approx(float(alone), abs=1e-5)


def test_the_fit_with_the_least_error_is_taken_and_its_seed_is_the_jobs(study):
    job = CriticJob(study.profile.main, seed=0)
    tried = [replace(job, rate=r, copies=c) for r in (1e-4, 3e-2) for c in (1, 50)]
    assert set(study.needs(job)) == {job.stage1, *tried}
    errors = {fit: study.train(fit).error for fit in tried}
    best = min(errors, key=errors.get)
    assert study.tried_fits(job)[best.copies].values == {
        fit.rate: pytest.approx(-errors[fit]) for fit in tried if fit.copies == best.copies
    }
    taken = study.train(job)
    assert (taken.rate, taken.copies, taken.error) == (best.rate, best.copies, errors[best])
    other = study.train(CriticJob(study.profile.main, seed=5))
    assert (other.rate, other.copies) == (best.rate, best.copies)
    assert other.error != taken.error
    logged = study.data(study.profile.main)
    returns = logged.episodes.returns[split_users(logged).choice.end]
    assert taken.error < 0.5 * (returns**2).mean()  # a fresh critic says zero everywhere


def test_crr_starts_from_the_critics_of_its_own_discount(study):
    jobs = [Job(study.profile.main, name, 0) for name in ("crr", "crr_binary", "crr_gamma0")]
    crr, binary, blind = (job.critics for job in jobs)
    assert crr == binary != blind
    assert study.needs(replace(jobs[2], rate=1.0)) == [jobs[2].stage1, blind]
    # A discount of its own has a search of its own; with another start the log's fits choose.
    assert set(study.needs(blind)) == {
        jobs[2].stage1,
        *(replace(blind, rate=rate, copies=copies) for rate in (1e-4, 3e-2) for copies in (1, 50)),
    }
    early = replace(crr, stage1_epochs=1)
    assert study.needs(early) == [early.stage1, crr]
    # Without a future the value is the next reward alone. Over seven seeds the other is 2.3 to 3.0
    # times as large.
    logged = study.data(study.profile.main)
    assert np.array_equal(returns_of(blind, logged), logged.episodes.rewards)
    assert np.array_equal(returns_of(crr, logged), logged.episodes.returns)
    rows = split_users(logged).judged
    near, far = (
        values_of(study.train(job).critics, logged, rows, 64).mean() for job in (blind, crr)
    )
    assert 1.5 * near < far
