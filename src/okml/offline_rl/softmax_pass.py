"""One pass over the catalog for all that CRR asks of a policy.

CRR needs, at every position, the likelihood of the logged action, a weight for it, and the mean
of Q over the policy's actions. The last looks as if it took a matrix of positions × items for Q.
It does not: Q is a product ``Q(s, a) = g(s) · u(a)``, so

    sum over a of π(a | s) Q(s, a) = g(s) · (sum over a of π(a | s) u(a)),

and the sum on the right is a product of the probabilities with a table, like the one that the
gradient of the cross-entropy needs anyway. So a chunk of logits is made once, and while it exists
it gives the likelihood, the mean vectors, samples of actions, the weight, and the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from okml.errors import ParameterError


@dataclass(frozen=True)
class PolicyChunk:
    """What is known of the policy at some positions while their probabilities exist.

    Attributes:
        part: Which of the rows.
        log_prob: Of the logged actions, ``[c]``.
        expected: Means of the table's rows under the policy, ``[c, k]``.
        mass: Probabilities of the items 1 to V times ``norm``, ``[c, V]``.
        norm: Their sums, ``[c, 1]``.
    """

    part: slice
    log_prob: Tensor
    expected: Tensor
    mass: Tensor
    norm: Tensor

    def sample(self, count: int) -> Tensor:
        """Draw ``count`` actions at each position, with replacement, ``[c, count]``, from 1.

        By inverting the distribution function, so that no noise of the size of the catalog is
        drawn and one sum serves all samples.
        """
        points = torch.rand(len(self.norm), count, device=self.norm.device) * self.norm
        drawn = torch.searchsorted(self.mass.cumsum(1), points)
        return drawn.clamp_max(self.mass.shape[1] - 1) + 1


# Returns the weights [c] of the logged actions; it may keep what it sees.
Weigh = Callable[[PolicyChunk], Tensor]


def equal_weights(chunk: PolicyChunk) -> Tensor:
    """Weigh all actions by one: plain cross-entropy."""
    return torch.ones_like(chunk.log_prob)


@dataclass(frozen=True)
class PassResult:
    """What one pass found, for each row; only ``total`` has a gradient.

    Attributes:
        total: Sum of weighted negative log-likelihoods.
        log_prob: Of the logged actions, ``[r]``.
        expected: Means of the table's rows under the policy, ``[r, k]``.
        entropy: Of the policy in nats, ``[r]``.
        weights: ``[r]``.
    """

    total: Tensor
    log_prob: Tensor
    expected: Tensor
    entropy: Tensor
    weights: Tensor


def policy_pass(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    table: Tensor | None = None,
    weigh: Weigh = equal_weights,
    chunk_bytes: int = 2**24,
) -> PassResult:
    """Return the weighted cross-entropy of logged actions and what the weights rest on.

    Args:
        hidden: Vectors of states, ``[r, d]``.
        items: Vectors of actions, ``[V + 1, d]``; row 0 is padding and no action.
        targets: Logged actions, 1 to V, ``[r]``.
        table: Rows to take the mean of under the policy, ``[V + 1, k]``.
        weigh: Gives the weights; they carry no gradient.
        chunk_bytes: Most memory for logits; a chunk has at least one row.

    Raises:
        ParameterError: If a target is the padding.
    """
    if len(targets) and int(targets.min()) < 1:
        raise ParameterError("A logged action is 0, which is the padding.")
    if table is None:
        table = items.new_zeros(len(items), 0)
    return PassResult(*_run(hidden, items, targets, table.detach(), weigh, chunk_bytes))


# A compiled loop would be unrolled anew for every number of rows.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _run(
    hidden: Tensor, items: Tensor, targets: Tensor, table: Tensor, weigh: Weigh, chunk_bytes: int
) -> tuple[Tensor, ...]:
    dtype = _product_type(hidden, items)
    trains = torch.is_grad_enabled() and (hidden.requires_grad or items.requires_grad)
    arguments = (hidden, items, targets - 1, table, weigh, chunk_bytes, dtype, trains)
    return _PolicyPass.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


def _product_type(hidden: Tensor, items: Tensor) -> torch.dtype:
    """Return the type in which autocast multiplies."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.promote_types(hidden.dtype, items.dtype)


class _PolicyPass(torch.autograd.Function):
    """Products with the items in ``dtype``; exponentials, sums and means in at least float32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        items: Tensor,
        targets: Tensor,
        table: Tensor,
        weigh: Weigh,
        chunk_bytes: int,
        dtype: torch.dtype,
        trains: bool,
    ) -> tuple[Tensor, ...]:
        wide = torch.promote_types(dtype, torch.float32)
        rows = len(hidden)
        log_prob, entropy, weights = (hidden.new_zeros(rows, dtype=wide) for _ in range(3))
        expected = hidden.new_zeros(rows, table.shape[1], dtype=wide)
        grad_hidden = torch.zeros_like(hidden, dtype=wide) if trains else None
        grad_items = torch.zeros_like(items, dtype=wide) if trains else None
        with torch.autocast(hidden.device.type, enabled=False):
            h, vectors, u = hidden.to(dtype), items[1:].to(dtype), table[1:].to(wide)
            for part in _chunks(rows, len(vectors), wide.itemsize, chunk_bytes):
                mass, norm, largest, of_target = _exponentials(h[part], vectors, targets[part])
                log_prob[part] = (of_target - largest - norm.log())[:, 0]
                expected[part] = (mass @ u) / norm
                narrow = mass.to(dtype)
                mean = (narrow @ vectors) / norm  # [c, d], the policy's mean action
                entropy[part] = (norm.log() + largest)[:, 0] - (h[part] * mean).sum(1)
                chunk = PolicyChunk(part, log_prob[part], expected[part], mass, norm)
                w = weights[part] = weigh(chunk).to(wide)
                if grad_hidden is not None and grad_items is not None:
                    # The gradient of the logits is w (π - 1 at the target).
                    grad_hidden[part] = w[:, None] * mean
                    scaled = (h[part] * (w[:, None] / norm)).to(dtype)
                    _add_product(grad_items[1:], narrow.T, scaled)
        if grad_hidden is not None and grad_items is not None:
            w = weights[:, None]
            grad_hidden -= w * items[1:][targets]
            grad_items[1:].index_add_(0, targets, w * hidden.to(wide), alpha=-1)
            ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_items.to(items.dtype))
        total = -(weights * log_prob).sum()
        ctx.mark_non_differentiable(log_prob, expected, entropy, weights)
        return total, log_prob, expected, entropy, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_items = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_items, *[None] * 6


@torch.no_grad()
def expectations(hidden: Tensor, items: Tensor, table: Tensor, chunk_bytes: int) -> Tensor:
    """Return the means of the table's rows under a policy, ``[r, k]``, and nothing else.

    Arguments are those of :func:`policy_pass`.
    """
    dtype = _product_type(hidden, items)
    found = hidden.new_zeros(len(hidden), table.shape[1], dtype=torch.float32)
    with torch.autocast(hidden.device.type, enabled=False):
        h, vectors, u = hidden.to(dtype), items[1:].to(dtype), table[1:].float()
        for part in _chunks(len(h), len(vectors), 4, chunk_bytes):
            logits = (h[part] @ vectors.T).float()
            mass = logits.sub_(logits.amax(1, keepdim=True)).exp_()
            found[part] = (mass @ u) / mass.sum(1, keepdim=True)
    return found


@torch.no_grad()
def best_actions(hidden: Tensor, table: Tensor, chunk_bytes: int) -> Tensor:
    """Return the action of the largest product with each row, ``[r]``, from 1.

    Args:
        hidden: ``[r, k]``.
        table: ``[V + 1, k]``.
        chunk_bytes: Most memory for the products.
    """
    found = torch.empty(len(hidden), dtype=torch.long, device=hidden.device)
    for part in _chunks(len(hidden), len(table) - 1, 4, chunk_bytes):
        found[part] = (hidden[part] @ table[1:].T).argmax(1) + 1
    return found


def _chunks(rows: int, items: int, itemsize: int, chunk_bytes: int) -> Iterator[slice]:
    step = max(chunk_bytes // (itemsize * items), 1)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _exponentials(
    h: Tensor, vectors: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return shifted exponentials of the logits ``[c, V]``; their sum, shift and target's logit."""
    wide = torch.promote_types(h.dtype, torch.float32)
    logits = (h @ vectors.T).to(wide)
    of_target = logits.gather(1, targets[:, None])  # [c, 1]
    largest = logits.amax(1, keepdim=True)
    mass = logits.sub_(largest).exp_()
    return mass, mass.sum(1, keepdim=True), largest, of_target


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, whose type may be wider."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
