"""Scaled dot-product attention on PyTorch's fused kernels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.seqrec.mixers.base import Context, MixerSettings, QueryMixer, Shape


class AttentionSettings(MixerSettings):
    """Multi-head attention, Vaswani et al. (2017)."""

    kind: Literal["attention"] = "attention"


class Attention(QueryMixer):
    """Multi-head attention, one projection each for queries, keys, values and the output.

    Where no mask is needed (no padding, or a causal mask and padding on the right) the kernel is
    called without one, since FlashAttention takes none.
    """

    def __init__(self, settings: AttentionSettings, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.output = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Attend from ``queries`` (None: from every token) to ``tokens``."""
        causal = self.shape.causal and queries is None
        q = self.heads(self.query(tokens if queries is None else queries))  # [b, h, k, d_h]
        k = self.heads(self.key(tokens))  # [b, h, n, d_h]
        v = self.heads(self.value(tokens))
        mask = attention_mask(context, causal, tokens.shape[1], q.dtype)
        mixed = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.shape.dropout if self.training else 0.0,
            is_causal=causal and mask is None,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, tokens: Tensor, context: Context) -> Tensor:
        """Return the attention weights ``[b, h, n, n]``, which the fused kernels never hold."""
        q = self.heads(self.query(tokens))
        k = self.heads(self.key(tokens))
        logits = q @ k.transpose(-1, -2) / self.shape.head_width**0.5
        n = tokens.shape[1]
        mask = attention_mask(context, self.shape.causal, n, logits.dtype)
        if mask is not None:
            allowed = mask.dtype == torch.bool
            logits = logits.masked_fill(~mask, -torch.inf) if allowed else logits + mask
        elif self.shape.causal:
            later = torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
            logits = logits.masked_fill(later, -torch.inf)
        return logits.softmax(-1)

    def heads(self, x: Tensor) -> Tensor:
        """Cut ``[b, n, d]`` into ``[b, h, n, d_h]``."""
        b, n, _ = x.shape
        return x.view(b, n, self.shape.heads, self.shape.head_width).transpose(1, 2)

    def flops(self, keys: int, queries: int) -> int:
        """Projections of keys, values, queries and output, then the two products of matrices."""
        d = self.shape.width
        return 4 * keys * d * d + 4 * queries * d * d + 4 * keys * queries * d


def attention_mask(context: Context, causal: bool, n: int, dtype: torch.dtype) -> Tensor | None:
    """Return which key each query may see, or None where no mask or only a causal one is needed.

    Returns:
        Bool, true where a query may look, or a bias in ``dtype``; broadcasts to ``[b, h, k, n]``.
        A token always sees itself, so that no row of a padded token is empty (and NaN).
    """
    hidden = context.padding
    if causal and context.padding_side == "right":
        hidden = None  # later than every real token
    if hidden is None and context.key_bias is None:
        return None
    device = (hidden if hidden is not None else context.key_bias).device  # type: ignore[union-attr]
    allowed = None
    if hidden is not None:
        allowed = ~hidden[:, None, None, :]  # [b, 1, 1, n]
    if causal:
        earlier = torch.ones(n, n, dtype=torch.bool, device=device).tril()
        allowed = earlier if allowed is None else allowed & earlier  # [b, 1, n, n]
        allowed = allowed | torch.eye(n, dtype=torch.bool, device=device)
    if context.key_bias is None:
        return allowed
    bias = context.key_bias[:, None, None, :].to(dtype)
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
