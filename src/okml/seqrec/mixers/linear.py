"""Linear attention: attention without a softmax, in time linear in the length."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from okml.seqrec.mixers.masks import in_runs

CHUNK = 64  # tokens of a chunk, within which attention is quadratic


def linear_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Return ``(q k^T) v``, masked if causal, without forming the ``n x n`` matrix.

    The causal form sums ``k^T v`` over chunks (Hua et al., 2022, section 3.3): a token sees earlier
    chunks through the sum, and its own chunk through a small masked matrix.

    Args:
        q: The query features, ``[..., k, m]``, with ``k = n`` if causal.
        k: The key features, ``[..., n, m]``; zero for hidden keys.
        v: The values, ``[..., n, e]``.
        causal: Whether query ``i`` sees only the keys up to ``i``.

    Returns:
        The weighted sums of values, ``[..., k, e]``.
    """
    if not causal:
        return q @ (k.transpose(-1, -2) @ v)
    n = k.shape[-2]
    if n <= CHUNK:
        return (q @ k.transpose(-1, -2)).tril() @ v
    q, k, v = (_chunks(x) for x in (q, k, v))  # [..., c, CHUNK, m]
    own = (q @ k.transpose(-1, -2)).tril() @ v
    sums = (k.transpose(-1, -2) @ v).cumsum(-3)  # [..., c, m, e]
    before = functional.pad(sums, (0, 0, 0, 0, 1, -1))  # up to the previous chunk
    return (own + q @ before).flatten(-3, -2)[..., :n, :]


def linear_attention_flops(keys: int, queries: int, m: int, e: int, causal: bool) -> int:
    """Return the operations of :func:`linear_attention` for one head."""
    if not causal:
        return 2 * (keys + queries) * m * e
    if keys <= CHUNK:
        return 2 * keys * keys * (m + e)
    padded = math.ceil(keys / CHUNK) * CHUNK
    return 2 * padded * CHUNK * (m + e) + 4 * padded * m * e


def _chunks(x: Tensor) -> Tensor:
    return in_runs(functional.pad(x, (0, 0, 0, -x.shape[-2] % CHUNK)), CHUNK)
