"""Off-policy evaluation: its errors in the simulator, and its limits on real logs."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.ledger import estimate_over_seeds
from okml.off_policy import Logged, estimates
from okml.offline_rl.experiments.longterm import serve
from okml.offline_rl.propensities import Judged, judge_sessions
from okml.offline_rl.settings import ArmName, DataSettings
from okml.offline_rl.simulator.policies import shop_numbers, trained
from okml.offline_rl.simulator.sessions import Sessions, logging_policy, simulate
from okml.offline_rl.simulator.world import FunnelSim
from okml.offline_rl.study import Study
from okml.steps import StepResult

LOG_SEED = 2  # differs from the seeds of the training log and of the roll-outs
JUDGED: tuple[ArmName, ...] = ("bc_continue", "crr")
MOST_SESSIONS = 2000  # largest number of sessions of a real log


def evaluate_off_policy(study: Study) -> StepResult:
    """Estimate returns of policies from logs of another policy."""
    result = StepResult()
    seeds = study.profile.seeds
    by_seed = {seed: _on_simulator(study, seed) for seed in seeds}
    result.frames["simulator"] = by_seed[seeds[0]]
    result.frames["logs"] = pl.concat(
        [_on_log(study, settings) for settings in study.profile.datasets]
    )
    _measure_errors(result, study, by_seed)
    return result


def _on_simulator(study: Study, seed: int) -> pl.DataFrame:
    """Return off-policy estimates from a new log with true propensities, and true returns."""
    profile = study.profile
    settings, simulator, ope = profile.funnel, profile.simulator, profile.ope
    data, shop = study.data(settings), FunnelSim(simulator)
    numbers = shop_numbers(data.interactions)
    rng = np.random.default_rng((LOG_SEED, seed))
    log = simulate(shop, logging_policy(shop), ope.sessions, rng)
    # The critic of CRR was trained on the training log, not on this one.
    critics = study.train(settings, study.arm("crr"), seed).critics
    parts = []
    for name in JUDGED:
        arm = study.arm(name)
        encoder = study.train(settings, arm, seed).last
        judged = judge_sessions(
            encoder, _as_items(log, numbers), critics,
            chunk_bytes=profile.chunk_bytes, device=study.device,
        )  # fmt: skip
        logged = _logged(log, judged)
        found = estimates(logged, profile.crr.gamma, ope.horizons, ope.clip, ope.least_effective)
        served = serve(study, trained(encoder, numbers, settings.length, study.device))
        truth = pl.DataFrame(
            [
                {"horizon": horizon, "truth": value, "truth error": error}
                for horizon in ope.horizons
                for value, error in [_truncated(served, horizon, profile.crr.gamma)]
            ]
        )
        label = pl.lit(arm.label).alias("policy")
        parts.append(found.join(truth, on="horizon", maintain_order="left").select(label, pl.all()))
    return pl.concat(parts)


def _as_items(log: Sessions, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sessions with the item numbers of the networks, 0 after their end."""
    table = np.zeros(numbers.max() + 2, dtype=np.int64)
    table[numbers] = np.arange(1, len(numbers) + 1)
    return table[log.items]  # -1, the end, is the last entry of the table, which is 0


def _logged(log: Sessions, judged: Judged) -> Logged:
    real = log.items[:, 1:] >= 0
    propensity = np.log(log.propensity[:, 1:])
    return Logged(
        log_ratio=np.where(real, judged.log_prob - propensity, 0.0),
        rewards=log.rewards[:, 1:],
        real=real,
        values=judged.values,
        state_values=judged.state_values,
    )


def _truncated(sessions: Sessions, horizon: int, gamma: float) -> tuple[float, float]:
    """Return the mean discounted reward of the first actions, and its standard error."""
    gains = sessions.rewards[:, 1 : horizon + 1] @ gamma ** np.arange(
        sessions.rewards[:, 1 : horizon + 1].shape[1]
    )
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def _on_log(study: Study, settings: DataSettings) -> pl.DataFrame:
    """Return estimates on held-out episodes, with stage 1 in place of the unknown propensities.

    They do not measure a recommender, since the log has no impressions. Their purpose is the
    effective sample size.
    """
    profile = study.profile
    data, seed, ope = study.data(settings), profile.seeds[0], profile.ope
    items, rewards = held_out_sessions(study, settings)
    stage1 = study.train(settings, study.arm("transformer_only"), seed).encoder
    options = {"chunk_bytes": profile.chunk_bytes, "device": study.device}
    behavior = judge_sessions(stage1, items, **options)  # type: ignore[arg-type]
    parts = []
    for name in JUDGED:
        trained_arm = study.train(settings, study.arm(name), seed)
        critics = study.train(settings, study.arm("crr"), seed).critics
        judged = judge_sessions(trained_arm.last, items, critics, **options)  # type: ignore[arg-type]
        logged = Logged(
            log_ratio=judged.log_prob - behavior.log_prob, rewards=rewards, real=items[:, 1:] > 0,
            values=judged.values, state_values=judged.state_values,
        )  # fmt: skip
        horizons = tuple(h for h in ope.horizons if h <= rewards.shape[1])
        found = estimates(logged, profile.crr.gamma, horizons, ope.clip, ope.least_effective)
        parts.append(
            found.select(
                pl.lit(data.name).alias("data"),
                pl.lit(study.arm(name).label).alias("policy"),
                pl.lit(len(items)).alias("sessions"),
                pl.all(),
            )
        )
    return pl.concat(parts)


def held_out_sessions(
    study: Study, settings: DataSettings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first events of test episodes, ``[s, n + 1]``, and rewards of actions, ``[s, n]``.

    They are at most as long as a state, so that every network reads them as a whole.
    """
    data = study.data(settings)
    interactions = data.interactions
    users = np.unique(data.test.user)[:MOST_SESSIONS]
    longest = min(settings.length + 1, max(study.profile.ope.horizons) + 1)
    start = interactions.offsets[users]
    lengths = np.minimum(interactions.lengths[users], longest)
    places = start[:, None] + np.arange(longest)
    real = np.arange(longest) < lengths[:, None]
    places = np.where(real, places, 0)
    items = np.where(real, interactions.items[places], 0).astype(np.int64)
    rewards = np.where(real, data.episodes.rewards[places], 0.0)[:, 1:].astype(np.float64)
    return items, rewards


def _measure_errors(result: StepResult, study: Study, by_seed: dict[int, pl.DataFrame]) -> None:
    """Measure the errors of estimates and the effective sample sizes; each seed has its own log."""
    label, sessions = study.arm("crr").label, study.profile.ope.sessions
    found: dict[str, dict[int, float]] = {
        "ope_effective_first_step": {}, "ope_effective_share": {}, "ope_within_two_errors": {},
    }  # fmt: skip
    for seed, frame in by_seed.items():
        rows = frame.filter(policy=label, estimator="doubly robust").sort("horizon")
        effective = rows["effective"].to_list()
        found["ope_effective_first_step"][seed] = effective[0]
        found["ope_effective_share"][seed] = effective[-1] / sessions
        reported = rows.filter("reported")
        off = (reported["value"] - reported["truth"]).abs()
        bound = 2 * (reported["standard_error"] ** 2 + reported["truth error"] ** 2).sqrt()
        within = (off <= bound).mean()
        # Without enough effective sessions nothing is reported, and nothing can be off.
        found["ope_within_two_errors"][seed] = float("nan") if within is None else float(within)  # type: ignore[arg-type]
    for metric, values in found.items():
        estimate = estimate_over_seeds(values, n=sessions * len(values), over="sessions")
        result.measure(metric, estimate)
