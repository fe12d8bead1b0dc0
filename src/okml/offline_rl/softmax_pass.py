"""One pass over the catalog for all quantities of a policy that CRR needs.

At every position, CRR needs the likelihood of the logged action, a weight for it, and the mean of Q
over the policy's actions. The mean needs no positions × items matrix of Q: Q is a product
``Q(s, a) = g(s) · u(a)``, so

    sum over a of π(a | s) Q(s, a) = g(s) · (sum over a of π(a | s) u(a)),

and the sum on the right is a product of the probabilities with a table, like the product in the
gradient of the cross-entropy. So each chunk of logits is computed once, and used for the
likelihood, the mean vectors, samples of actions, the weight, and the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from okml.seqrec.losses.base import aligned, enlarged


@dataclass(frozen=True)
class PolicyChunk:
    """The policy at a chunk of positions.

    Attributes:
        part: The slice of rows.
        log_prob: The log probabilities of the logged actions, ``[c]``.
        expected: The means of the table's rows under the policy, ``[c, k]``.
        mass: The unnormalized probabilities of the items 1 to V, ``[c, V]``.
        norm: The sums of ``mass``, ``[c, 1]``.
    """

    part: slice
    log_prob: Tensor
    expected: Tensor
    mass: Tensor
    norm: Tensor

    def sample(self, count: int) -> Tensor:
        """Draw ``count`` actions at each position, with replacement, ``[c, count]``, from 1.

        Inverse transform sampling needs no noise of the size of the catalog, and one cumulative
        sum for all samples.
        """
        points = torch.rand(len(self.norm), count, device=self.norm.device) * self.norm
        drawn = torch.searchsorted(self.mass.cumsum(1), points)
        return drawn.clamp_max(self.mass.shape[1] - 1) + 1


# A function from a chunk to the weights of its logged actions, [c]; it may have side effects.
Weigh = Callable[[PolicyChunk], Tensor]


def equal_weights(chunk: PolicyChunk) -> Tensor:
    """Return a weight of one for each action of a chunk, ``[c]``, for the plain cross-entropy."""
    return torch.ones_like(chunk.log_prob)


@dataclass(frozen=True)
class PassResult:
    """The result of one pass; only ``total`` has a gradient.

    Attributes:
        total: The sum of weighted negative log-likelihoods.
        log_prob: The log probabilities of the logged actions, ``[r]``.
        expected: The means of the table's rows under the policy, ``[r, k]``.
        entropy: The entropies of the policy in nats, ``[r]``.
        weights: The weights of the logged actions, ``[r]``.
    """

    total: Tensor
    log_prob: Tensor
    expected: Tensor
    entropy: Tensor
    weights: Tensor


# torch.compile would unroll the loop again for every number of rows.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def policy_pass(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    table: Tensor | None = None,
    weigh: Weigh = equal_weights,
    chunk_bytes: int = 2**24,
) -> PassResult:
    """Return the weighted cross-entropy of logged actions and statistics of the policy.

    Args:
        hidden: Vectors of states, ``[r, d]``.
        items: Vectors of actions, ``[V + 1, d]``; row 0 is padding and no action.
        targets: Logged actions, 1 to V, ``[r]``.
        table: Vectors whose means under the policy are computed, ``[V + 1, k]``; None for none.
        weigh: A function from a chunk to its weights, which get no gradient.
        chunk_bytes: The largest memory of logits; a chunk has at least one row.

    Raises:
        RuntimeError: If a target is the padding.
    """
    # A check in Python would wait for the device.
    torch._assert_async((targets > 0).all(), "A logged action is 0, which is the padding.")
    if table is None:
        table = items.new_zeros(len(items), 0)
    device = hidden.device.type
    dtype = torch.promote_types(hidden.dtype, items.dtype)  # type of matrix products
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    trains = torch.is_grad_enabled() and (hidden.requires_grad or items.requires_grad)
    fields = PolicyPass.apply(  # type: ignore[no-untyped-call]
        hidden, items, targets - 1, table.detach(), weigh, chunk_bytes, dtype, trains
    )
    return PassResult(*fields)


class PolicyPass(torch.autograd.Function):
    """The pass with item products in ``dtype``, and other operations in at least float32."""

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
        """Return the fields of :class:`PassResult`; keep the gradient if it ``trains``.

        The other arguments are those of :func:`policy_pass`, but the targets start at 0.
        """
        wide = torch.promote_types(dtype, torch.float32)
        rows = len(hidden)
        log_prob, entropy, weights = (hidden.new_zeros(rows, dtype=wide) for _ in range(3))
        expected = hidden.new_zeros(rows, table.shape[1], dtype=wide)
        count, width = len(items) - 1, items.shape[1]
        with torch.autocast(hidden.device.type, enabled=False):
            # Added rows are no actions: their probability is 0. Added columns are zero.
            vectors = aligned(items[1:].to(dtype))  # [V', d']
            h = enlarged(hidden.to(dtype), rows, vectors.shape[1])  # [r, d']
            u = enlarged(table[1:].to(wide), len(vectors), table.shape[1])  # [V', k]
            grad_hidden = torch.zeros_like(h, dtype=wide) if trains else None
            # [1 + V', d'], of which row 0, the padding, has no gradient
            grad_items = h.new_zeros(1 + len(vectors), h.shape[1], dtype=wide) if trains else None
            step = max(chunk_bytes // (wide.itemsize * len(vectors)), 1)
            for start in range(0, rows, step):
                part = slice(start, start + step)
                mass, norm, largest, of_target = _exponentials(
                    h[part], vectors, targets[part], count
                )
                log_prob[part] = (of_target - largest - norm.log())[:, 0]
                expected[part] = (mass @ u) / norm
                narrow = mass.to(dtype)
                mean = (narrow @ vectors) / norm  # [c, d'], the policy's mean action
                entropy[part] = (norm.log() + largest)[:, 0] - (h[part] * mean).sum(1)
                chunk = PolicyChunk(part, log_prob[part], expected[part], mass[:, :count], norm)
                w = weights[part] = weigh(chunk).to(wide)
                if grad_hidden is not None and grad_items is not None:
                    # The gradient of the logits is w (π - 1 at the target).
                    grad_hidden[part] = w[:, None] * mean
                    scaled = (h[part] * (w[:, None] / norm)).to(dtype)
                    _add_product(grad_items[1:], narrow.T, scaled)
        if grad_hidden is not None and grad_items is not None:
            w = weights[:, None]
            grad_hidden, grad_items = grad_hidden[:, :width], grad_items[: 1 + count, :width]
            grad_hidden -= w * items[1:][targets]
            grad_items[1:].index_add_(0, targets, w * hidden.to(wide), alpha=-1)
            ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_items.to(items.dtype))
        total = -(weights * log_prob).sum()
        ctx.mark_non_differentiable(log_prob, expected, entropy, weights)
        return total, log_prob, expected, entropy, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the kept gradients, ``[r, d]`` and ``[V + 1, d]``; only the total has one."""
        grad_hidden, grad_items = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_items, *[None] * 6


def _exponentials(
    h: Tensor, vectors: Tensor, targets: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return shifted exponentials of logits ``[c, V']``, their sum, shift and target's logit.

    They are 0 beyond the first ``count``.
    """
    wide = torch.promote_types(h.dtype, torch.float32)
    logits = (h @ vectors.T).to(wide)
    logits[:, count:] = -torch.inf
    of_target = logits.gather(1, targets[:, None])  # [c, 1]
    largest = logits.amax(1, keepdim=True)
    mass = logits.sub_(largest).exp_()
    return mass, mass.sum(1, keepdim=True), largest, of_target


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, which may have a higher precision."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
