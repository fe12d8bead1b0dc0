"""The one pass over the catalog against dense matrices."""

import math
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.offline_rl import softmax_pass
from okml.offline_rl.softmax_pass import policy_pass
from okml.seqrec.losses import base


def case(rows=7, items=11, width=5, k=3, seed=0, dtype=torch.float64):
    make = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=make, dtype=dtype, requires_grad=True)
    vectors = torch.randn(items + 1, width, generator=make, dtype=dtype, requires_grad=True)
    targets = torch.randint(1, items + 1, (rows,), generator=make)
    table = torch.randn(items + 1, k, generator=make, dtype=dtype)
    weights = torch.rand(rows, generator=make, dtype=dtype)
    return hidden, vectors, targets, table, weights


@given(
    rows=st.integers(1, 9),
    items=st.integers(1, 12),
    chunk_rows=st.integers(1, 10),
    multiple=st.sampled_from([1, 8]),  # 8: the sizes that a card is fast at
    seed=st.integers(0, 99),
)
def test_everything_equals_the_dense_computation_at_any_chunk(
    rows, items, chunk_rows, multiple, seed
):
    hidden, vectors, targets, table, weights = case(rows, items, seed=seed)

    def weigh(chunk):
        assert chunk.mass.shape[1] == items
        return weights[chunk.part]

    with mock.patch.object(base, "fast_multiple", return_value=multiple):
        found = policy_pass(
            hidden, vectors, targets, table=table, weigh=weigh, chunk_bytes=chunk_rows * items * 8
        )
    found.total.backward()
    got = hidden.grad.clone(), vectors.grad.clone()
    hidden.grad = vectors.grad = None

    policy = (hidden @ vectors[1:].T).softmax(1)  # [r, V]
    log_prob = policy.log().gather(1, targets[:, None] - 1)[:, 0]
    total = -(weights * log_prob).sum()
    total.backward()
    torch.testing.assert_close(found.total, total)
    torch.testing.assert_close(found.log_prob, log_prob.detach())
    torch.testing.assert_close(found.expected, (policy @ table[1:]).detach())
    torch.testing.assert_close(found.entropy, -(policy * policy.log()).sum(1).detach())
    torch.testing.assert_close(got[0], hidden.grad)
    torch.testing.assert_close(got[1], vectors.grad)
    assert not got[1][0].any()  # the padding is no action


def test_mean_of_q_is_the_product_with_the_mean_action():
    hidden, vectors, targets, table, _ = case(k=4)
    state = torch.randn(len(targets), 4, dtype=torch.float64)
    found = policy_pass(hidden, vectors, targets, table=table)
    q = state @ table[1:].T  # what is never made in use, [r, V]
    policy = (hidden @ vectors[1:].T).softmax(1)
    torch.testing.assert_close((state * found.expected).sum(1), (policy * q).sum(1).detach())


def test_samples_follow_the_policy():
    hidden, vectors, targets, _, _ = case(rows=2, items=6)
    counts = torch.zeros(2, 7)

    def count(chunk):
        drawn = chunk.sample(40_000)
        counts.scatter_add_(1, drawn, torch.ones(drawn.shape))
        return torch.zeros(len(drawn), dtype=torch.float64)

    torch.manual_seed(0)
    policy_pass(hidden, vectors, targets, weigh=count)
    policy = (hidden @ vectors[1:].T).softmax(1).float().detach()
    # Five standard errors of a share of 40,000 draws.
    error = 5 * (policy * (1 - policy) / 40_000).sqrt()
    assert ((counts[:, 1:] / 40_000 - policy).abs() <= error + 1e-6).all()
    assert counts[:, 0].sum() == 0


def test_huge_logits_neither_overflow_nor_divide_by_zero():
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    vectors = torch.tensor([[0.0], [1.0], [-1.0]], requires_grad=True)
    found = policy_pass(hidden, vectors, torch.tensor([1, 1]))
    found.total.backward()
    assert found.total.item() == pytest.approx(2e4)
    assert torch.isfinite(hidden.grad).all()
    assert torch.isfinite(vectors.grad).all()
    assert found.entropy.abs().max() < 1e-3


def test_under_autocast_the_means_keep_full_precision():
    hidden, vectors, targets, table, _ = case(rows=64, items=300, width=16, dtype=torch.float32)
    exact = policy_pass(hidden, vectors, targets, table=table)
    with torch.autocast("cpu", torch.bfloat16):
        rough = policy_pass(hidden, vectors, targets, table=table)
    # Logits alone are of half precision.
    policy = (hidden.bfloat16() @ vectors[1:].bfloat16().T).float().softmax(1)
    torch.testing.assert_close(rough.expected, (policy @ table[1:]).detach(), rtol=1e-4, atol=1e-5)
    assert rough.total.item() == pytest.approx(exact.total.item(), rel=0.01)


def test_the_padding_is_no_logged_action():
    hidden, vectors, targets, *_ = case()
    targets[2] = 0
    with pytest.raises(RuntimeError, match="padding"):
        policy_pass(hidden, vectors, targets)


def test_uniform_policy_by_hand():
    found = policy_pass(torch.zeros(1, 2), torch.randn(5, 2), torch.tensor([3]),
                        table=torch.arange(5.0)[:, None])  # fmt: skip
    assert found.log_prob.item() == pytest.approx(math.log(1 / 4))
    assert found.entropy.item() == pytest.approx(math.log(4))
    assert found.expected.item() == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_what_is_not_trained_has_no_gradients_made(monkeypatch):
    made = []
    monkeypatch.setattr(softmax_pass, "_add_product", lambda *parts: made.append(parts))
    hidden, vectors, targets, *_ = case()
    policy_pass(hidden, vectors, targets)
    assert made
    made.clear()
    with torch.no_grad():
        policy_pass(hidden, vectors, targets)
    policy_pass(hidden.detach(), vectors.detach(), targets)
    assert not made
