"""Off-policy estimators against enumerated truths."""

import itertools

import numpy as np
import pytest

from okml.errors import ParameterError
from okml.off_policy import (
    Logged,
    cumulative_weights,
    doubly_robust,
    effective_sample,
    estimates,
    fewest_effective,
    importance_sampling,
    self_normalized,
    step_estimate,
)

GAMMA, STEPS = 0.8, 3
MU = np.array([[0.7, 0.3], [0.5, 0.5]])  # by state, which is the last action (0 at the start)
PI = np.array([[0.2, 0.8], [0.6, 0.4]])
REWARD = np.array([[0.1, 0.9], [1.0, 0.0]])
Q = np.array([[0.4, 1.1], [1.3, 0.6]])  # some model, not the truth


def truth():
    value = np.zeros(2)
    for _ in range(STEPS):
        value = (PI * (REWARD + GAMMA * value[None, :])).sum(1)
    return value[0]


def every_session():
    """Return all sessions and the chance of each under the log's policy."""
    rows, chances = [], []
    for actions in itertools.product((0, 1), repeat=STEPS):
        state, chance, row = 0, 1.0, []
        for action in actions:
            row.append((state, action))
            chance *= MU[state, action]
            state = action
        rows.append(row)
        chances.append(chance)
    return np.array(rows), np.array(chances)


def logged(rows):
    state, action = rows[..., 0], rows[..., 1]
    return Logged(
        log_ratio=np.log(PI[state, action] / MU[state, action]),
        rewards=REWARD[state, action],
        real=np.ones(state.shape, dtype=bool),
        values=Q[state, action],
        state_values=(PI * Q).sum(1)[state],
    )


def drawn(count, seed=0):
    rows, chances = every_session()
    picked = np.random.default_rng(seed).choice(len(rows), count, p=chances)
    return logged(rows[picked])


def exactly(estimator):
    """Return the expectation of a mean estimator: each session with its chance."""
    rows, chances = every_session()
    total = 0.0
    for row, chance in zip(rows, chances, strict=True):
        pair = logged(np.stack([row, row]))
        total += chance * estimator(pair, GAMMA).mean
    return total


@pytest.mark.parametrize("estimator", [importance_sampling, doubly_robust])
def test_unbiased_estimators_have_the_true_mean(estimator):
    assert exactly(estimator) == pytest.approx(truth())


@pytest.mark.parametrize("estimator", [importance_sampling, self_normalized, doubly_robust])
def test_estimates_lie_within_their_errors(estimator):
    found = estimator(drawn(20_000), GAMMA)
    assert abs(found.mean - truth()) < 4 * found.standard_error
    assert 0 < found.standard_error < 0.05


@pytest.mark.parametrize("estimator", [importance_sampling, self_normalized, doubly_robust])
def test_standard_errors_are_the_spread_of_repeated_estimates(estimator):
    repeated = [estimator(drawn(400, seed), GAMMA) for seed in range(300)]
    spread = np.std([value.mean for value in repeated])
    stated = np.mean([value.standard_error for value in repeated])
    assert stated == pytest.approx(spread, rel=0.15)


def test_with_the_true_q_the_doubly_robust_estimate_has_less_variance():
    value, true_q = np.zeros(2), None
    for _ in range(STEPS):
        true_q = REWARD + GAMMA * value[None, :]
        value = (PI * true_q).sum(1)
    rough = drawn(4000)
    # The last Q of the recursion is that of the first step; good enough to cut the variance.
    rows, chances = every_session()
    picked = np.random.default_rng(0).choice(len(rows), 4000, p=chances)
    state, action = rows[picked][..., 0], rows[picked][..., 1]
    better = Logged(rough.log_ratio, rough.rewards, rough.real, true_q[state, action],
                    (PI * true_q).sum(1)[state])  # fmt: skip
    error = doubly_robust(better, GAMMA).standard_error
    assert error < importance_sampling(better, GAMMA).standard_error


def test_the_same_policy_needs_no_weights():
    same = drawn(50)
    same = Logged(np.zeros_like(same.log_ratio), same.rewards, same.real, same.values,
                  same.state_values)  # fmt: skip
    plain = (same.rewards @ GAMMA ** np.arange(STEPS)).mean()
    assert importance_sampling(same, GAMMA).mean == pytest.approx(plain)
    assert self_normalized(same, GAMMA).mean == pytest.approx(plain)
    assert effective_sample(cumulative_weights(same)[:, -1]) == pytest.approx(50)


def test_effective_sample_by_hand():
    assert effective_sample(np.array([1.0, 1.0, 1.0, 1.0])) == 4
    assert effective_sample(np.array([5.0, 0.0, 0.0])) == 1
    assert effective_sample(np.array([2.0, 1.0])) == pytest.approx(9 / 5)


def test_a_session_that_is_over_earns_nothing_and_keeps_its_weight():
    real = np.array([[True, False], [True, True]])
    some = Logged(np.log([[2.0, 9.0], [0.5, 2.0]]), np.ones((2, 2)), real, np.zeros((2, 2)),
                  np.zeros((2, 2)))  # fmt: skip
    assert cumulative_weights(some) == pytest.approx(np.array([[2, 2], [0.5, 1]]))
    assert importance_sampling(some, 1.0).mean == pytest.approx((2 + 0.5 + 1) / 2)


def test_the_step_with_the_fewest_effective_sessions_decides_for_the_sum():
    """Steps rest on 4, 1 and 4 sessions: the last one recovers, the sum over steps does not."""
    weights = np.array([[1.0, 8.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert fewest_effective(weights) == 1


def test_an_estimate_on_too_few_effective_sample_is_not_reported():
    frame = estimates(drawn(200), GAMMA, (1, 3), clip=20.0, least=150.0)
    short, long = (
        frame.filter(horizon=h, estimator="importance").row(0, named=True) for h in (1, 3)
    )
    assert short["effective"] > long["effective"]
    assert not long["reported"]
    assert np.isnan(long["value"])


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(ParameterError, match="differ in shape"):
        Logged(np.zeros((2, 3)), np.zeros((2, 2)), np.ones((2, 2), bool), *[np.zeros((2, 2))] * 2)


def bandit(count, seed=0):
    """One action in one of two states, with known propensities: ratios, rewards, truth."""
    rng = np.random.default_rng(seed)
    state = rng.integers(2, size=count)
    action = (rng.random(count) > MU[state, 0]).astype(int)
    rewards = REWARD[state, action] + rng.normal(0, 0.1, count)
    return state, action, PI[state, action] / MU[state, action], rewards


TRUE_STEP = (PI * REWARD).sum(1).mean()


def test_importance_sampling_of_a_bandit_is_within_three_errors():
    _, _, ratio, rewards = bandit(4000)
    gains = ratio * rewards
    assert abs(gains.mean() - TRUE_STEP) < 3 * gains.std(ddof=1) / len(gains) ** 0.5
    assert step_estimate(ratio, rewards, np.inf, 50).value == pytest.approx(TRUE_STEP, abs=0.03)


def test_a_self_normalized_estimate_moves_with_its_rewards():
    _, _, ratio, rewards = bandit(300)
    for cap in (1.2, np.inf):
        plain = step_estimate(ratio, rewards, cap, 1)
        moved = step_estimate(ratio, rewards + 7, cap, 1)
        assert moved.value == pytest.approx(plain.value + 7)


def test_a_step_estimate_by_hand_and_its_gate():
    ratio, rewards = np.array([9.0, 1.0, 2.0]), np.array([1.0, 0.0, 0.5])
    found = step_estimate(ratio, rewards, cap=3, least=2)
    assert found.value == pytest.approx((3 + 1) / 6)
    assert found.effective == pytest.approx(36 / 14)
    assert np.isnan(step_estimate(ratio, rewards, cap=3, least=2.6).value)


def test_a_perfect_model_needs_no_weights():
    state, action, ratio, _ = bandit(500)
    column = (slice(None), None)
    perfect = Logged(np.log(ratio)[column], REWARD[state, action][column],
                     np.ones((500, 1), dtype=bool), REWARD[state, action][column],
                     (PI * REWARD).sum(1)[state][column])  # fmt: skip
    by_model = (PI * REWARD).sum(1)[state]
    robust = doubly_robust(perfect, 1.0)
    assert robust.mean == pytest.approx(by_model.mean())
    assert robust.standard_error == pytest.approx(by_model.std(ddof=1) / 500**0.5)
