import itertools

import numpy as np
import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.losses import (
    Binary,
    GeneralizedBinary,
    InBatchSoftmax,
    InBatchSoftmaxSettings,
    SampledSoftmax,
    SampledSoftmaxSettings,
    Softmax,
    build_loss,
    build_sampler,
)
from tests.seqrec.losses import naive

ITEMS = 11
Q = torch.tensor([0.0, *range(1, ITEMS + 1)], dtype=torch.float64) / (ITEMS * (ITEMS + 1) / 2)


def draws(rows: int, amount: int) -> torch.Tensor:
    return torch.randint(1, ITEMS + 1, (rows, amount), generator=torch.Generator().manual_seed(3))


def test_all_items_as_negatives_give_the_full_softmax():
    hidden, items, targets = naive.problem()
    loss = SampledSoftmax(naive.uniform_log_q(ITEMS))
    everything = torch.arange(1, ITEMS + 1)
    sampled = loss(hidden, items, targets, everything)
    full = Softmax()(hidden, items, targets)
    torch.testing.assert_close(sampled, full)
    for a, b in zip(
        torch.autograd.grad(sampled, (hidden, items)),
        torch.autograd.grad(full, (hidden, items)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_partition_function_is_unbiased():
    """Over all pairs of draws, weighed by their probability, its mean is the true one."""
    hidden, items, _ = naive.problem(rows=1, count=5)
    target = torch.tensor([2])
    q = torch.tensor([0.0, 0.1, 0.3, 0.05, 0.35, 0.2], dtype=torch.float64)
    loss, expected = SampledSoftmax(q.log()), 0.0
    for pair in itertools.product(range(1, 6), repeat=2):
        value = loss(hidden, items, target, torch.tensor(pair))
        partition = value.exp() * (hidden[0] @ items[2]).exp()
        expected += float(q[list(pair)].prod() * partition.detach())
    assert expected == pytest.approx((items[1:] @ hidden[0]).exp().sum().item())


@pytest.mark.parametrize("shared", [True, False])
def test_sampled_softmax_is_its_definition(shared):
    hidden, items, targets = naive.problem()
    negatives = draws(1, 4)[0] if shared else draws(7, 4)
    each = negatives.expand(7, 4)
    found = SampledSoftmax(Q.log())(hidden, items, targets, negatives)
    expected = naive.sampled_softmax(hidden, items, targets, each, Q)
    torch.testing.assert_close(found, expected)


def test_in_batch_negatives_are_the_other_targets():
    hidden, items, targets = naive.problem()
    targets[3] = targets[5]  # an accidental hit
    found = InBatchSoftmax(Q.log())(hidden, items, targets)
    others = torch.stack([targets[torch.arange(7) != row] for row in range(7)])
    torch.testing.assert_close(found, naive.sampled_softmax(hidden, items, targets, others, Q))


@pytest.mark.parametrize("t", [0.0, 0.75, 1.0])
def test_gbce_is_its_definition(t):
    hidden, items, targets = naive.problem()
    negatives = draws(7, 4)
    found = GeneralizedBinary(ITEMS, 4, t)(hidden, items, targets, negatives)
    expected = naive.generalized_binary(hidden, items, targets, negatives, t)
    torch.testing.assert_close(found, expected)


def test_gbce_without_calibration_is_bce():
    hidden, items, targets = naive.problem()
    negatives = draws(7, 3)
    bce, gbce = Binary(), GeneralizedBinary(ITEMS, 3, t=0.0)
    assert bce(hidden, items, targets, negatives) == gbce(hidden, items, targets, negatives)
    logits = torch.einsum("rd,rkd->rk", hidden, items[torch.cat([targets[:, None], negatives], 1)])
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    weight = torch.ones_like(logits)
    weight[:, 1:][negatives == targets[:, None]] = 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, weight)
    torch.testing.assert_close(bce(hidden, items, targets, negatives), expected)


def test_the_power_of_full_calibration_is_the_sampling_rate():
    assert GeneralizedBinary(1001, 256, 1.0).power == pytest.approx(0.256)
    assert GeneralizedBinary(1001, 256, 0.0).power == pytest.approx(1.0)


def test_gbce_is_the_transformed_logit_of_the_authors():
    """BCE of log(1 / (σ(s)^-β - 1)), which needs float64 where ours does not."""
    loss = GeneralizedBinary(ITEMS, 1, 0.75)
    for score in (-30.0, -3.0, 0.0, 4.0):
        hidden = torch.tensor([[score, 0.0]])
        items = torch.zeros(ITEMS + 1, 2)
        items[1] = torch.tensor([1.0, 0.0])
        found = 2 * loss(hidden, items, torch.tensor([1]), torch.tensor([2])) - np.log(2)
        power = torch.sigmoid(torch.tensor(score, dtype=torch.float64)) ** loss.power
        transformed = (1 / (1 / power - 1)).log()
        expected = torch.nn.functional.softplus(-transformed)
        assert float(found) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "loss",
    [SampledSoftmax(Q.log()), InBatchSoftmax(Q.log()), Binary(), GeneralizedBinary(11, 4, 0.75)],
)
@pytest.mark.parametrize("shared", [True, False])
def test_gradients(loss, shared):
    hidden, items, targets = naive.problem()
    targets[1] = 0
    negatives = draws(1, 4)[0] if shared else draws(7, 4)
    inputs = (hidden, items)
    assert torch.autograd.gradcheck(lambda h, v: loss(h, v, targets, negatives), inputs)


@pytest.mark.parametrize("loss", [SampledSoftmax(Q.log()), Binary()])
def test_targets_of_0_and_their_negatives_do_not_count(loss):
    hidden, items, targets = naive.problem(rows=6)
    negatives = draws(6, 3)
    window = [x.reshape(2, 3, -1) for x in (hidden, negatives)]
    grid = targets.reshape(2, 3).clone()
    grid[0, 2] = grid[1, 0] = 0
    kept = torch.tensor([0, 1, 4, 5])
    found = loss(window[0], items, grid, window[1])
    expected = loss(hidden[kept], items, targets[kept], negatives[kept])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("loss", [SampledSoftmax(Q.log()), Binary(), GeneralizedBinary(11, 1, 0.5)])
def test_logits_of_a_thousand_are_no_infinity(loss):
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    items = torch.zeros(ITEMS + 1, 1)
    items[1], items[2] = 1.0, -1.0
    value = loss(hidden, items, torch.tensor([2]), torch.tensor([[1]]))
    value.backward()
    assert value.isfinite()
    assert hidden.grad.isfinite().all()


def test_negatives_are_asked_for():
    hidden, items, targets = naive.problem()
    with pytest.raises(ParameterError, match="needs negatives"):
        Binary()(hidden, items, targets)


def test_the_correction_is_that_of_the_sampler():
    """What build_loss corrects by is how often build_sampler's draws are each item."""
    counts = np.array([99, 1, 0, 4, 5])
    settings = SampledSoftmaxSettings(negatives=40_000, alpha=0.5)
    sampler, loss = build_sampler(settings, counts), build_loss(settings, counts)
    drawn = sampler.for_targets(torch.tensor([1]), torch.tensor([0]), np.random.default_rng(0))
    share = np.bincount(drawn.numpy(), minlength=5)[1:] / 40_000
    np.testing.assert_allclose(share, np.exp(loss.log_q.numpy())[1:], atol=0.01)
    in_batch = build_loss(InBatchSoftmaxSettings(), counts)
    np.testing.assert_allclose(np.exp(in_batch.log_q.numpy())[1:], [0.1, 0, 0.4, 0.5], atol=1e-6)
    assert build_sampler(InBatchSoftmaxSettings(), counts) is None
