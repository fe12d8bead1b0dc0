import math

import pytest
import torch
from torch.nn import functional

from okml.lightsage.training.losses import Encoded, LossSettings, pair_loss
from tests.lightsage import shared_targets
from tests.lightsage.shared_targets import encoded
from tests.processes import run_two


def test_softmax_is_cross_entropy_over_targets_and_negatives():
    batch = encoded(4, 4, 3)
    logits = batch.query @ torch.cat([batch.target, batch.negative]).T / 0.1
    expected = functional.cross_entropy(logits, torch.arange(4))
    loss = pair_loss(LossSettings(log_q="none"), batch)
    torch.testing.assert_close(loss, expected)


def test_log_q_makes_a_sampled_softmax_unbiased():
    # Two items beside the target; the popular one stands in the pool nine times as often. With
    # the correction the pool's sum estimates the sum over distinct items.
    batch = encoded(1, 1, 2, log_q=(torch.zeros(1), torch.log(torch.tensor([9.0, 1.0]))))
    s = (batch.query @ torch.cat([batch.target, batch.negative]).T / 0.1).squeeze(0)
    expected = -s[0] + torch.logsumexp(torch.stack([s[0], s[1] - math.log(9), s[2]]), 0)
    torch.testing.assert_close(pair_loss(LossSettings(), batch), expected)


def test_repeated_targets_and_the_own_item_are_hidden():
    ids = (torch.tensor([0, 1, 2]), torch.tensor([5, 5, 0]), torch.tensor([5, 2]))
    batch = encoded(3, 3, 2, ids=ids)
    s = batch.query @ torch.cat([batch.target, batch.negative]).T / 0.1
    kept = [[0, 4], [1, 2, 4], [2, 0, 1, 3]]  # own target first, then what may push
    expected = [torch.logsumexp(s[r, c], 0) - s[r, r] for r, c in enumerate(kept)]
    loss = pair_loss(LossSettings(log_q="none"), batch)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_refined_correction_has_the_gradient_of_the_full_softmax():
    # Every other item stands in the pool exactly as often as expected.
    items = functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)))
    query = functional.normalize(torch.randn(1, 8, generator=torch.Generator().manual_seed(2)))
    gradients = []
    for refined in (True, False):
        leaf = query.clone().requires_grad_()
        if refined:
            batch = Encoded(
                leaf, items[:1], items[1:], torch.tensor([99]), torch.tensor([0]),
                torch.arange(1, 6), torch.tensor([3.0]), torch.zeros(5),
            )  # fmt: skip
            loss = pair_loss(LossSettings(log_q="refined"), batch)
        else:
            loss = functional.cross_entropy(leaf @ items.T / 0.1, torch.tensor([0]))
        loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_pair_losses_are_their_formulas():
    batch = encoded(3, 3, 4, hard=2)
    positive = (batch.query * batch.target).sum(1, keepdim=True)
    negative = torch.cat(
        [batch.query @ batch.negative.T, torch.einsum("bd,bhd->bh", batch.query, batch.hard)], 1
    )
    hinge = (negative - positive + 0.1).clamp(min=0).mean()
    bpr = -torch.log(torch.sigmoid((positive - negative) / 0.5)).mean()
    sage = -functional.logsigmoid(positive).mean() - 20 * functional.logsigmoid(-negative).mean()
    torch.testing.assert_close(pair_loss(LossSettings(name="hinge"), batch), hinge)
    torch.testing.assert_close(pair_loss(LossSettings(name="bpr", temperature=0.5), batch), bpr)
    logistic = LossSettings(name="logistic", temperature=1)
    torch.testing.assert_close(pair_loss(logistic, batch), sage)


@pytest.mark.parametrize("name", ["hinge", "bpr", "logistic"])
def test_a_negative_that_is_the_target_pushes_nothing(name):
    ids = (torch.tensor([0]), torch.tensor([7]), torch.tensor([7, 0, 3]))
    batch = encoded(1, 1, 3, ids=ids)
    alone = Encoded(**{**vars(batch), "negative": batch.negative[2:], "negative_ids": ids[2][2:]})
    settings = LossSettings(name=name)
    torch.testing.assert_close(pair_loss(settings, batch), pair_loss(settings, alone))


def test_two_processes_share_their_targets(tmp_path):
    two = run_two("tests.lightsage.shared_targets", tmp_path)
    expected = shared_targets.one_process()
    for found in two:
        torch.testing.assert_close(found["loss"], expected["loss"])
        torch.testing.assert_close(found["gradient"], expected["gradient"])
        assert found["threads left"] == 0
