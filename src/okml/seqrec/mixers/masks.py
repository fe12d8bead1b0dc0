"""Attention masks, and the positions of items in padded rows."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.seqrec.embedding import from_the_end
from okml.seqrec.mixers.base import Context


def visible(context: Context, causal: bool, n: int, device: torch.device) -> Tensor | None:
    """Return the mask of the keys that each query may see; None without restriction.

    Returns:
        Bool, true where a query may see a key; it broadcasts to ``[b, h, n, n]``. In a causal mask
        a token always sees itself, so that the row of a padded token is not empty (and NaN).
    """
    # A causal mask already hides padding on the right, which is later than every real token.
    hidden = None if causal and context.padding_side == "right" else context.padding
    allowed = None if hidden is None else ~hidden[:, None, None, :]  # [b, 1, 1, n]
    if not causal:
        return allowed
    earlier = torch.ones(n, n, dtype=torch.bool, device=device).tril()
    if allowed is None:
        return earlier  # [n, n]
    return (allowed & earlier) | torch.eye(n, dtype=torch.bool, device=device)  # [b, 1, n, n]


def places(context: Context, n: int, length: int, device: torch.device) -> Tensor:
    """Return positions such that the newest item of each history has ``length - 1``.

    Returns:
        ``[b, n]``, or ``[1, n]`` without padding; padding has 0.
    """
    if context.padding is None:
        return torch.arange(length - n, length, device=device)[None]
    return from_the_end(~context.padding, length)


def realign(x: Tensor, context: Context, back: bool = False) -> Tensor:
    """Move the padding of ``x`` ``[b, n, d]`` to the left, or with ``back`` to its own side."""
    if context.padding is None or context.padding_side == "left":
        return x
    n = x.shape[1]
    real = (~context.padding).sum(1, keepdim=True)  # [b, 1]
    index = torch.arange(n, device=x.device) + (-real if back else real)  # [b, n]
    return x.gather(1, (index % n)[..., None].expand_as(x))


def in_runs(x: Tensor, size: int) -> Tensor:
    """Split ``[..., n, e]`` into runs of consecutive positions, ``[..., n / size, size, e]``."""
    return x.reshape(*x.shape[:-2], x.shape[-2] // size, size, x.shape[-1])
