"""Scaled dot-product attention on PyTorch's fused kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from okml.seqrec.mixers.base import Context, QueryMixer


class Attention(QueryMixer):
    """Multi-head attention, Vaswani et al. (2017).

    If no mask is needed (no padding, or a causal mask and padding on the right) the kernel is
    called without one, since FlashAttention supports none.
    """

    supports_key_bias = True

    def forward(self, tokens: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """Attend from ``queries``, ``[b, k, d]``, to ``tokens``, ``[b, n, d]``; None for all."""
        causal = self.shape.causal and queries is None
        q, k, v = self.project(tokens, queries)  # [b, h, k, d_h], [b, h, n, d_h]
        mask = attention_mask(context, causal, tokens.shape[1], q.dtype)
        mixed = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.active_dropout,
            is_causal=causal and mask is None,
        )
        return self.merge(mixed)

    def weights(self, tokens: Tensor, context: Context) -> Tensor:
        """Return the attention weights ``[b, h, n, n]``, which the fused kernels never hold."""
        q = self.heads(self.query(tokens))
        k = self.heads(self.key(tokens))
        logits = q @ k.transpose(-1, -2) / self.shape.head_width**0.5
        if context.key_bias is not None:
            logits = logits + context.key_bias[:, None, None, :]
        allowed = context.visible(self.shape.causal, tokens.shape[1], tokens.device)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        return torch.softmax(logits, -1)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of the four projections and of the two matrix products."""
        return self.projection_flops(keys, queries) + 4 * keys * queries * self.shape.width


def attention_mask(context: Context, causal: bool, n: int, dtype: torch.dtype) -> Tensor | None:
    """Return the attention mask, or None if no mask or only a causal one is needed.

    Returns:
        Bool, true where a query may see a key, or an additive bias in ``dtype``; it broadcasts to
        ``[b, h, k, n]``.
    """
    hidden = context.padding
    if causal and context.padding_side == "right":
        hidden = None
    if hidden is None and context.key_bias is None:
        return None
    device = (hidden if hidden is not None else context.key_bias).device  # type: ignore[union-attr]
    allowed = context.visible(causal, n, device)
    if context.key_bias is None:
        return allowed
    bias = context.key_bias[:, None, None, :].to(dtype)
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
