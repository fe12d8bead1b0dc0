"""Who may look at whom, and where the items of a padded row are."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.seqrec.embedding import from_the_end
from okml.seqrec.mixers.base import Context


def visible(context: Context, causal: bool, n: int, device: torch.device) -> Tensor | None:
    """Return which key each query may see; None if all see all.

    Returns:
        Bool, true where a query may look; broadcasts to ``[b, h, n, n]``. Where the mask is causal
        a token always sees itself, so that no row of a padded token is empty (and NaN).
    """
    # On the right of a causal mask padding is later than every real token.
    hidden = None if causal and context.padding_side == "right" else context.padding
    allowed = None if hidden is None else ~hidden[:, None, None, :]  # [b, 1, 1, n]
    if not causal:
        return allowed
    earlier = torch.ones(n, n, dtype=torch.bool, device=device).tril()
    if allowed is None:
        return earlier  # [n, n]
    return (allowed & earlier) | torch.eye(n, dtype=torch.bool, device=device)  # [b, 1, n, n]


def places(context: Context, n: int, length: int, device: torch.device) -> Tensor:
    """Number the positions so that the newest item of each history is ``length - 1``.

    Returns:
        ``[b, n]``, or ``[1, n]`` where all rows are alike; padding gets 0.
    """
    if context.padding is None:
        return torch.arange(length - n, length, device=device)[None]
    return from_the_end(~context.padding, length)


def realign(x: Tensor, context: Context, back: bool = False) -> Tensor:
    """Move the padding of ``x`` ``[b, n, d]`` to the left; ``back``: to where it was."""
    if context.padding is None or context.padding_side == "left":
        return x
    n = x.shape[1]
    real = (~context.padding).sum(1, keepdim=True)  # [b, 1]
    index = torch.arange(n, device=x.device) + (-real if back else real)  # [b, n]
    return x.gather(1, (index % n)[..., None].expand_as(x))


def in_runs(x: Tensor, size: int) -> Tensor:
    """Cut ``[..., n, e]`` into runs of consecutive positions, ``[..., n / size, size, e]``."""
    return x.reshape(*x.shape[:-2], x.shape[-2] // size, size, x.shape[-1])
