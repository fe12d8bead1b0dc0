import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch.nn import functional

from okml.lightsage.training.losses import Encoded, LossSettings, pair_loss


def encoded(queries, targets, negatives, *, ids=None, log_q=None, hard=None, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def unit(*shape):
        return functional.normalize(torch.randn(*shape, width, generator=generator), dim=-1)

    query_ids, target_ids, negative_ids = ids or (
        torch.arange(queries), 100 + torch.arange(targets), 200 + torch.arange(negatives)
    )  # fmt: skip
    return Encoded(
        unit(queries), unit(targets), unit(negatives), query_ids, target_ids, negative_ids,
        *(log_q or (torch.zeros(targets), torch.zeros(negatives))),
        hard=None if hard is None else unit(queries, hard),
    )  # fmt: skip


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


def _gradient(batch):
    weight = torch.eye(8).requires_grad_()
    moved = {n: functional.normalize(getattr(batch, n) @ weight, dim=-1)
             for n in ("query", "target", "negative")}  # fmt: skip
    loss = pair_loss(LossSettings(), Encoded(**{**vars(batch), **moved}))
    (gradient,) = torch.autograd.grad(loss, weight)
    return loss.detach(), gradient


def _half(batch, rank):
    rows = slice(2 * rank, 2 * rank + 2)
    names = ("query", "target", "query_ids", "target_ids", "target_log_q")
    return Encoded(**{**vars(batch), **{n: getattr(batch, n)[rows] for n in names}})


def _process(rank, port, batch, out):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    loss, gradient = _gradient(_half(batch, rank))
    torch.distributed.all_reduce(gradient)  # what a parallel module does
    torch.distributed.all_reduce(loss)
    if rank == 0:
        out.put((loss.item() / 2, (gradient / 2).numpy()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_share_their_targets(unused_port):
    batch = encoded(4, 4, 3, log_q=(torch.rand(4), torch.rand(3)))
    context = mp.get_context("spawn")
    out = context.Queue()
    processes = [
        context.Process(target=_process, args=(rank, unused_port, batch, out)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    loss, gradient = out.get(timeout=120)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    expected_loss, expected = _gradient(batch)
    assert loss == pytest.approx(float(expected_loss), rel=1e-5)
    assert np.allclose(gradient, expected.numpy(), atol=1e-5)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
