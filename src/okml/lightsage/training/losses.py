"""Losses of pairs of unit vectors: softmax over the batch, and those of the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributed import all_gather, get_rank, get_world_size, is_initialized

# Imported before any process group exists: otherwise its default arguments would keep a group,
# whose threads could abort the process at its end.
from torch.distributed.nn.functional import all_gather as all_gather_with_gradient
from torch.nn import functional

from okml.settings import Positive, Settings


class LossSettings(Settings):
    """The contrastive loss of pairs.

    ``softmax``   over the targets of the batch and the extra negatives (retrieval's standard)
    ``hinge``     max(0, s(i, n) - s(i, j) + margin), PinSage
    ``logistic``  of the pair, and of negatives with ``negative_weight``, GraphSAGE
    ``bpr``       -log sigmoid of the difference, LightGCN
    """

    name: Literal["softmax", "hinge", "logistic", "bpr"] = "softmax"
    temperature: Positive = 0.1  # all losses but hinge divide scores by it
    # In-batch negatives are drawn in proportion to their frequency q as targets. ``standard``
    # subtracts log q from every logit (Yi et al., 2019). ``refined`` does so for negatives only and
    # weights the loss, because the positive is not sampled (arXiv 2507.09331).
    log_q: Literal["none", "standard", "refined"] = "standard"
    margin: Positive = 0.1  # the margin of hinge
    negative_weight: Positive = 20  # the weight of negatives in logistic, GraphSAGE's Q


@dataclass(frozen=True)
class Encoded:
    """The vectors of a batch and the statistics of its items.

    Attributes:
        query: Vectors of the items, ``[B, d]``.
        target: Vectors of the targets, ``[B, d]``.
        negative: Vectors of the negatives that all pairs share, ``[M, d]``.
        query_ids: Numbers of the items, ``[B]``.
        target_ids: Numbers of the targets, ``[B]``.
        negative_ids: Numbers of the negatives, ``[M]``.
        target_log_q: Logarithm of the expected count of each target in the pool, ``[B]``.
        negative_log_q: Logarithm of the expected count of each negative in the pool, ``[M]``.
        hard: Vectors of the hard negatives of each pair, ``[B, H, d]``; None: no hard negatives.
    """

    query: Tensor
    target: Tensor
    negative: Tensor
    query_ids: Tensor
    target_ids: Tensor
    negative_ids: Tensor
    target_log_q: Tensor
    negative_log_q: Tensor
    hard: Tensor | None = None


def pair_loss(settings: LossSettings, batch: Encoded) -> Tensor:
    """Return the mean loss of the B pairs of a batch, a scalar.

    All losses but the softmax compare a pair's target with each of its negatives. A negative that
    all pairs share does not count for a pair whose item or target it is.
    """
    if settings.name == "softmax":
        return softmax_loss(settings, batch)
    positive = (batch.query * batch.target).sum(-1, keepdim=True)  # [B, 1]
    negative = batch.query @ batch.negative.T  # [B, M]
    same = batch.negative_ids[None, :] == batch.target_ids[:, None]
    same |= batch.negative_ids[None, :] == batch.query_ids[:, None]
    if batch.hard is not None:
        hard = torch.einsum("bd,bhd->bh", batch.query, batch.hard)
        negative = torch.cat([negative, hard], 1)
        same = torch.cat([same, torch.zeros_like(hard, dtype=torch.bool)], 1)
    match settings.name:
        case "hinge":
            losses = (negative - positive + settings.margin).relu()
        case "bpr":
            losses = functional.softplus((negative - positive) / settings.temperature)
        case "logistic":
            losses = settings.negative_weight * functional.softplus(negative / settings.temperature)
    kept = ~same
    mean = (losses * kept).sum(1) / kept.sum(1).clamp(min=1)  # [B]
    if settings.name == "logistic":
        mean = mean + functional.softplus(-positive.squeeze(1) / settings.temperature)
    return mean.mean()


def softmax_loss(settings: LossSettings, batch: Encoded) -> Tensor:
    """Return the mean cross-entropy of each pair's target among the pool, a scalar.

    The pool has all targets of the batch, over all processes, and the extra negatives. A column is
    masked in a row if it is the row's own item, or a repetition of its target.
    """
    target, ids, log_q, first = _over_processes(batch)
    columns = torch.cat([target, batch.negative])  # [P, d]
    column_ids = torch.cat([ids, batch.negative_ids])
    logits = batch.query @ columns.T / settings.temperature  # [B, P]
    if settings.log_q != "none":
        shift = torch.cat([log_q, batch.negative_log_q])
        logits = logits - shift
    own = torch.arange(len(batch.query), device=logits.device) + first
    hidden = column_ids[None, :] == batch.query_ids[:, None]
    hidden |= column_ids[None, :] == batch.target_ids[:, None]
    hidden[torch.arange(len(own), device=logits.device), own] = False
    logits = logits.masked_fill(hidden, float("-inf"))
    if settings.log_q != "refined":
        return functional.cross_entropy(logits, own)
    return _refined(logits, own, batch.target_log_q)


def _refined(logits: Tensor, own: Tensor, target_log_q: Tensor) -> Tensor:
    """Weight -s + logsumexp over negatives by 1 - P(target), which gives the softmax's gradients.

    The gradient of the full softmax is (1 - P) times that of the target's score against the mean
    over the other items; the corrected negatives estimate both.
    """
    rows = torch.arange(len(logits), device=logits.device)
    score = logits[rows, own] + target_log_q  # the target is not sampled, so not corrected
    others = logits.clone()
    others[rows, own] = float("-inf")
    rest = others.logsumexp(1)
    weight = torch.sigmoid(rest - score).detach()  # 1 - P
    return (weight * (rest - score)).mean()


def _over_processes(batch: Encoded) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return targets, ids and log q of all processes, and the offset of this process's."""
    if not is_initialized():
        return batch.target, batch.target_ids, batch.target_log_q, 0

    def gathered(values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(get_world_size())]
        all_gather(parts, values.contiguous())
        return torch.cat(parts)

    # Each process gets the gradient of every loss through its own targets; DDP then averages over
    # processes, which gives the gradient of the mean over the global batch.
    target = torch.cat(
        all_gather_with_gradient(batch.target.contiguous())  # type: ignore[no-untyped-call]
    )
    first = get_rank() * len(batch.target)
    return target, gathered(batch.target_ids), gathered(batch.target_log_q), first
