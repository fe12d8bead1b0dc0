"""Off-policy evaluation: its errors in the simulator, and its limits on real logs."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.ledger import estimate_over_seeds, estimate_positive_over_seeds
from okml.off_policy import Logged, estimates
from okml.offline_rl.arms import ARMS, CONTROL, STAGE1, Job
from okml.offline_rl.critic import Critics
from okml.offline_rl.data import MDPDataset
from okml.offline_rl.experiments.longterm import serve_actor
from okml.offline_rl.settings import LogSettings
from okml.offline_rl.simulator import log_items, logging_policy, simulate
from okml.offline_rl.softmax_pass import policy_pass
from okml.offline_rl.study import Study
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Ints
from okml.seqrec.metrics import Floats
from okml.steps import StepResult

LOG_SEED = 2  # differs from the seeds of the training log and of the roll-outs
EVALUATED = (CONTROL, "crr")
HORIZONS = (1, 2, 3, 5, 10, 20)
CLIP = 20.0  # largest cumulative weight
LEAST_EFFECTIVE = 100.0  # least effective sessions of a reported estimate
MOST_SESSIONS = 2000  # sessions of a real log that are evaluated
BATCH = 256  # sessions


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
    interactions, gamma = study.data(profile.funnel, seed).interactions, profile.crr.gamma
    rng = np.random.default_rng((LOG_SEED, seed))
    log = simulate(logging_policy, profile.ope_sessions, rng)
    items = log_items(log.items, interactions)
    rewards, propensity = log.rewards[:, 1:], np.log(log.propensity[:, 1:])
    # The critic of CRR was trained on the training log, not on this one.
    critics = study.train(Job(profile.funnel, "crr", seed)).critics
    assert critics is not None
    parts = []
    for name in EVALUATED:
        encoder = study.train(Job(profile.funnel, name, seed)).last
        found = _estimates(study, encoder, critics, items, rewards, propensity, HORIZONS)
        served, truths = serve_actor(study, encoder, seed), []
        for horizon in HORIZONS:
            returns = served.returns(gamma, horizon)
            error = returns.std(ddof=1) / np.sqrt(len(returns))
            truths.append({"horizon": horizon, "truth": returns.mean(), "truth error": error})
        found = found.join(pl.DataFrame(truths), on="horizon", maintain_order="left")
        # A miss is more than two standard errors from the truth; null where nothing is reported.
        error = (pl.col("standard_error") ** 2 + pl.col("truth error") ** 2).sqrt()
        off = (pl.col("value") - pl.col("truth")).abs() > 2 * error
        found = found.with_columns(miss=pl.when("reported").then(off))
        parts.append(found.select(pl.lit(ARMS[name].label).alias("policy"), pl.all()))
    return pl.concat(parts)


def _on_log(study: Study, settings: LogSettings) -> pl.DataFrame:
    """Return estimates on held-out episodes, with stage 1 in place of the unknown propensities.

    They do not measure a recommender, since the log has no impressions. Their purpose is the
    effective sample size.
    """
    seed = study.profile.seeds[0]
    items, rewards = held_out_sessions(study.data(settings))
    critics = study.train(Job(settings, "crr", seed)).critics
    assert critics is not None
    stage1 = study.train(Job(settings, STAGE1, seed)).encoder
    behavior, _, _ = evaluate_actions(study, stage1, critics, items)
    horizons = tuple(horizon for horizon in HORIZONS if horizon <= rewards.shape[1])
    parts = []
    for name in EVALUATED:
        encoder = study.train(Job(settings, name, seed)).last
        parts.append(
            _estimates(study, encoder, critics, items, rewards, behavior, horizons).select(
                pl.lit(settings.log).alias("data"),
                pl.lit(ARMS[name].label).alias("policy"),
                pl.lit(len(items)).alias("sessions"),
                pl.all(),
            )
        )
    return pl.concat(parts)


def _estimates(
    study: Study,
    encoder: Encoder,
    critics: Critics,
    items: Ints,
    rewards: Floats,
    log_behavior: Floats,
    horizons: tuple[int, ...],
) -> pl.DataFrame:
    """Return estimates of a policy's return; see :func:`okml.off_policy.estimates`.

    The items of sessions, ``[s, n + 1]``, are 0 after their end. Their actions have rewards and log
    probabilities under the log's policy, both ``[s, n]``.
    """
    log_prob, values, state_values = evaluate_actions(study, encoder, critics, items)
    real = items[:, 1:] > 0
    logged = Logged(
        np.where(real, log_prob - log_behavior, 0.0), rewards, real, values, state_values
    )
    return estimates(logged, study.profile.crr.gamma, horizons, CLIP, LEAST_EFFECTIVE)


@torch.inference_mode()
def evaluate_actions(
    study: Study, actor: Encoder, critics: Critics, items: Ints
) -> tuple[Floats, Floats, Floats]:
    """Return log π(a|s), Q(s, a) and V(s) of the actions of sessions, each ``[s, n]``.

    Q and V, the mean of Q over the policy's actions, are means over critics. The items of sessions,
    ``[s, n + 1]``, are 0 after their end.
    """
    actor.eval()
    table, parts = critics.action_vectors().flatten(1), []
    for start in range(0, len(items), BATCH):
        batch = torch.from_numpy(items[start : start + BATCH]).to(study.device)
        inputs, targets = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
        kept = targets.flatten().nonzero()[:, 0]
        found = policy_pass(
            actor(inputs).flatten(0, 1)[kept],
            actor.item_matrix(),
            targets.flatten()[kept],
            table=table,
            chunk_bytes=study.profile.chunk_bytes,
        )
        q, vectors = (x.flatten(0, 1)[kept] for x in critics(inputs, targets))
        state_values = (vectors * found.expected.view_as(vectors)).sum(-1).mean(1)
        padded = torch.zeros(3, targets.numel(), device=batch.device)
        padded[:, kept] = torch.stack([found.log_prob, q.mean(1), state_values]).float()
        parts.append(padded.view(3, *targets.shape))
    log_prob, values, state_values = torch.cat(parts, 1).cpu().numpy().astype(np.float64)
    return log_prob, values, state_values


def held_out_sessions(data: MDPDataset) -> tuple[Ints, Floats]:
    """Return the first events of test episodes, ``[s, n + 1]``, and rewards of actions, ``[s, n]``.

    They are at most as long as a state, so that every network reads them as a whole.
    """
    interactions = data.interactions
    users = np.unique(data.test.user)[:MOST_SESSIONS]
    longest = min(data.settings.length, HORIZONS[-1]) + 1
    lengths = np.minimum(interactions.lengths[users], longest)
    real: NDArray[np.bool_] = np.arange(longest) < lengths[:, None]
    places = np.where(real, interactions.offsets[users][:, None] + np.arange(longest), 0)
    items = np.where(real, interactions.items[places], 0).astype(np.int64)
    rewards = np.where(real, data.episodes.rewards[places], 0.0)[:, 1:].astype(np.float64)
    return items, rewards


def _measure_errors(result: StepResult, study: Study, by_seed: dict[int, pl.DataFrame]) -> None:
    """Measure the errors of estimates and the effective sample sizes; each seed has its own log."""
    sessions = study.profile.ope_sessions
    first, share, within = {}, {}, {}
    for seed, frame in by_seed.items():
        rows = frame.filter(policy=ARMS["crr"].label, estimator="doubly robust").sort("horizon")
        first[seed] = float(rows["effective"][0])
        share[seed] = float(rows["effective"][-1]) / sessions
        # Without enough effective sessions nothing is reported, and nothing can be off.
        missed = rows["miss"].drop_nulls().to_list()
        within[seed] = 1 - sum(missed) / len(missed) if missed else float("nan")
    for metric, values, estimate in (
        # Effective numbers differ by factors between logs, and are never negative.
        ("ope_effective_first_step", first, estimate_positive_over_seeds),
        ("ope_effective_share", share, estimate_positive_over_seeds),
        ("ope_within_two_errors", within, estimate_over_seeds),
    ):
        result.measure(metric, estimate(values, n=sessions * len(values), over="sessions"))
