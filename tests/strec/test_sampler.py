import math
from typing import get_args

import numpy as np
import pytest
import torch

from okml.strec.experiments.sampling import released_scores
from okml.strec.sampler import (
    LAST,
    PADDED,
    Ranking,
    Sampler,
    SamplerSettings,
    draw_noise,
    gap_input,
    gaps,
    keep_order,
    standardize,
)

NOW = 1_200_000_000


def sampler(**options) -> Sampler:
    torch.manual_seed(0)
    return Sampler(SamplerSettings(**options), width=4).eval()


def test_gaps_of_one_second_survive_at_todays_clock():
    times = NOW + torch.arange(5)[None]
    assert gaps(times).tolist() == [[4, 3, 2, 1, 0]]
    # What subtracting after a cast to float32 gives, and why it is refused.
    assert (times.float()[:, -1:] - times.float()).unique().numel() < 5
    with pytest.raises(TypeError, match="int64"):
        gaps(times.float())


def test_log_input_by_hand():
    got = gap_input(torch.tensor([0, 3600, -5]), "log")
    expected = [(math.log(1 + s) - 6) / 4 for s in (0, 3600, 0)]
    torch.testing.assert_close(got, torch.tensor(expected))
    assert gap_input(torch.tensor([7]), "raw").item() == -7


def test_standardized_scores_against_numpy_and_padding_takes_no_part():
    scores = torch.tensor([[5.0, 1.0, 2.0, 4.0]])
    real = torch.tensor([[False, True, True, True]])
    kept = scores[0, 1:].double().numpy()
    expected = (kept - kept.mean()) / kept.std()
    got = standardize(scores, real)
    assert got[0, 1:].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert got[0, 0] == 0


def test_equal_gaps_give_zero_scores_and_finite_gradients():
    scores = torch.full((1, 4), 3.0, requires_grad=True)
    result = standardize(scores, torch.ones(1, 4, dtype=torch.bool))
    result.square().sum().backward()
    assert result.abs().max() == 0
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("ranking", get_args(Ranking))
@pytest.mark.parametrize("training", [True, False])
def test_the_newest_item_is_first_and_padding_last(ranking, training):
    model = sampler(ranking=ranking).train(training)
    tokens = torch.randn(6, 5, 4)
    times = NOW - torch.randint(0, 1_000_000, (6, 5)).sort(descending=True).values
    padding = torch.zeros(6, 5, dtype=torch.bool)
    padding[0, :3] = True
    scores = model(tokens, times, padding)
    assert (scores[:, -1] == LAST).all()
    assert (scores[0, :3] == PADDED).all()
    order = keep_order(scores, 5)
    assert (order[:, 0] == 4).all()
    assert set(order[0, :2].tolist()) == {3, 4}
    assert all(sorted(row) == list(range(5)) for row in order.tolist())


def test_recency_and_ties_rank_the_newer_item_higher():
    assert keep_order(sampler(ranking="recency")(torch.zeros(1, 6, 4), None, None), 4).tolist() == [
        [5, 4, 3, 2]
    ]
    same_second = torch.full((1, 6), NOW)
    scores = sampler(ranking="gap")(torch.zeros(1, 6, 4), same_second, None)
    assert keep_order(scores, 6).tolist() == [[5, 4, 3, 2, 1, 0]]


@pytest.mark.parametrize("seed", range(10))
def test_items_of_one_second_have_one_score_whatever_the_weights(seed):
    torch.manual_seed(seed)
    model = Sampler(SamplerSettings(ranking="gap"), width=4).eval()
    times = NOW - torch.tensor([[900] * 6 + [60] * 5 + [0] * 3, [5] * 13 + [0], [0] * 14])
    scores = model(torch.zeros(3, 14, 4), times, None)[:, :-1]  # the newest has one of its own
    for row, time in zip(scores, times[:, :-1], strict=True):
        assert row.unique().numel() == time.unique().numel()


@pytest.mark.parametrize("n", [16, 50, 200])
def test_a_uniform_sample_leaves_no_hole_in_the_history(n):
    scores = sampler(ranking="uniform")(torch.zeros(1, n, 4), None, None)
    for count in (2, 5, 12):
        kept = sorted(keep_order(scores, count)[0].tolist())
        holes = np.diff([-1, *kept])
        assert holes.max() <= 2 * n / count
        assert kept[-1] == n - 1


def test_noise_is_drawn_in_training_and_on_request_at_evaluation():
    tokens, times = torch.zeros(1, 8, 4), NOW - torch.arange(8, 0, -1)[None] ** 5
    quiet, loud = sampler(), sampler(noise_at_evaluation=True)
    assert torch.equal(quiet(tokens, times, None), quiet(tokens, times, None))
    assert not torch.equal(loud(tokens, times, None), loud(tokens, times, None))
    quiet.train()
    assert not torch.equal(quiet(tokens, times, None), quiet(tokens, times, None))


@pytest.mark.parametrize(
    ("kind", "mean", "variance"),
    [
        ("normal", 0.0, 1.0),
        ("uniform", 0.5, 1 / 12),
        ("none", 0.0, 0.0),
    ],
)
def test_noise_has_the_moments_of_its_distribution(kind, mean, variance):
    torch.manual_seed(3)
    drawn = draw_noise(kind, torch.zeros(200_000))
    assert drawn.mean().item() == pytest.approx(mean, abs=0.012)
    assert drawn.var().item() == pytest.approx(variance, abs=0.03)


def test_the_released_steps():
    gap = np.array([0, 69, 70, 149, 399, 999, 1000, 10**8])
    expected = [0.037, 0.037, -0.163, -0.163, -0.553, -0.7674, -0.7824, -0.7824]
    assert released_scores(gap).tolist() == expected


def test_a_mirrored_sampler_ranks_the_other_way_round():
    times = NOW + torch.tensor([[0, 5, 60, 4_000, 90_000, 90_000]])
    tokens = torch.zeros(1, 6, 4)
    plain, mirrored = (sampler(mirrored=turned)(tokens, times, None) for turned in (False, True))
    torch.testing.assert_close(mirrored[:, :-1], -plain[:, :-1])
    assert mirrored[0, -1] == plain[0, -1] == LAST


def test_shuffled_scores_are_those_of_other_items_of_the_history():
    times = NOW + torch.tensor([1, 1, 5, 60, 4_000, 90_000, 90_001]).cumsum(0).expand(2000, 7)
    padding = torch.zeros(2000, 7, dtype=torch.bool)
    padding[:, :2] = True
    tokens = torch.zeros(2000, 7, 4)
    plain, shuffled = (sampler(shuffled=turned)(tokens, times, padding) for turned in (False, True))
    assert (shuffled[:, :2] == PADDED).all()
    assert (shuffled[:, -1] == LAST).all()
    torch.testing.assert_close(shuffled.sort(1).values, plain.sort(1).values)
    # Each place has each score equally often: a mean over 2,000 histories is within five
    # standard errors of the mean of the scores.
    real = plain[0, 2:-1]
    error = 5 * real.std(correction=0) / 2000**0.5
    assert (shuffled[:, 2:-1].mean(0) - real.mean()).abs().max() < error
