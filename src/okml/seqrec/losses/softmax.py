"""Cross-entropy over the whole catalog, at once or in chunks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from okml.seqrec.losses.base import ItemEmbeddings, ItemLoss, aligned, enlarged, matrix, wide


class Softmax(ItemLoss):
    """Full softmax cross-entropy, which holds the logits of all targets and items."""

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        logits = hidden @ matrix(items)[1:].T  # [r, V]
        return functional.cross_entropy(wide(logits), targets - 1, reduction="sum")


class ChunkedSoftmax(ItemLoss):
    """The loss and gradients of :class:`Softmax`, computed a few targets at a time.

    The gradient of a chunk is computed while its logits exist, so nothing is computed twice, and
    the backward pass keeps arrays of the size of the vectors, not of the logits. On a CPU it is
    also faster, since the logits of a chunk stay in the cache. A GPU needs larger chunks.

    Args:
        chunk_bytes: The largest memory of logits; a chunk has at least one target.
    """

    def __init__(self, chunk_bytes: int = 2**24) -> None:
        super().__init__()
        self.chunk_bytes = chunk_bytes

    def total(
        self, hidden: Tensor, items: ItemEmbeddings, targets: Tensor, negatives: Tensor | None
    ) -> Tensor:
        """Return the summed loss; see :class:`ItemLoss`."""
        return _cross_entropy(hidden, matrix(items)[1:], targets - 1, self.chunk_bytes)  # type: ignore[no-any-return]


# torch.compile would unroll the loop again for every number of targets.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _cross_entropy(hidden: Tensor, items: Tensor, targets: Tensor, chunk_bytes: int) -> Tensor:
    device = hidden.device.type
    dtype = torch.promote_types(hidden.dtype, items.dtype)
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    arguments = (hidden, items, targets, chunk_bytes, dtype, torch.is_grad_enabled())
    return _CrossEntropy.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy with products in ``dtype``, and exponentials and sums in at least float32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        items: Tensor,
        targets: Tensor,
        chunk_bytes: int,
        dtype: torch.dtype,
        differentiate: bool,
    ) -> Tensor:
        precise = torch.promote_types(dtype, torch.float32)
        total = torch.zeros((), dtype=precise, device=hidden.device)
        count, width = items.shape
        with torch.autocast(hidden.device.type, enabled=False):
            # Added rows are no items: their logits are -inf. Added columns are zero.
            vectors = aligned(items.to(dtype))  # [V', d']
            h = enlarged(hidden.to(dtype), len(hidden), vectors.shape[1])  # [r, d']
            grad_hidden = torch.empty_like(h, dtype=precise) if differentiate else None
            grad_items = torch.zeros_like(vectors, dtype=precise) if differentiate else None
            rows = max(chunk_bytes // (precise.itemsize * len(vectors)), 1)
            for start in range(0, len(h), rows):
                part = slice(start, start + rows)
                logits = (h[part] @ vectors.T).to(precise)  # [c, V']
                logits[:, count:] = -torch.inf
                of_target = logits.gather(1, targets[part, None])  # [c, 1]
                largest = logits.amax(1, keepdim=True)
                e = logits.sub_(largest).exp_()  # [c, V']
                norm = e.sum(1, keepdim=True)
                total += (norm.log() + largest - of_target).sum()
                if grad_hidden is not None and grad_items is not None:
                    # The gradient of the logits is e / norm, less 1 at the target. The division
                    # is applied to the smaller factor; the target is subtracted after the loop.
                    e = e.to(dtype)
                    grad_hidden[part] = (e @ vectors) / norm
                    _add_product(grad_items, e.T, (h[part] / norm).to(dtype))
        if grad_hidden is not None and grad_items is not None:
            grad_hidden, grad_items = grad_hidden[:, :width], grad_items[:count, :width]
            grad_hidden -= items[targets]
            grad_items.index_add_(0, targets, hidden.to(precise), alpha=-1)
            ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_items.to(items.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_items = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_items, None, None, None, None


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, which may have a higher precision."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
