"""BigBird: blocks of tokens attend to their neighbors, to the ends and to random blocks."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from okml.seqrec.mixers.base import Context, MixerSettings, RandomMixer, Shape
from okml.seqrec.mixers.heads import MultiHead
from okml.seqrec.mixers.masks import places, visible
from okml.settings import Count, Whole

FLEX_LENGTH = 1000  # smallest number of tokens for the sparse kernel
TILE = 128  # tokens of a tile of the sparse kernel


class BigBirdSettings(MixerSettings):
    """Zaheer et al. (2020), the variant whose global tokens are the ends of the sequence."""

    kind: Literal["bigbird"] = "bigbird"
    block: Count | None = None  # tokens of a block; None: 4, and 128 from 1000 tokens on
    random_blocks: Whole = 1  # random blocks of each block, in addition to the three of the window


class BigBird(MultiHead, RandomMixer):
    """Attention with a block mask that is drawn once for each layer.

    The first and the last block see all and are seen by all; the others see themselves, the
    neighboring blocks and ``random_blocks`` more. Blocks count from the newest item, so the blocks
    of a history do not depend on its padding. Short sequences use a dense mask, which saves no
    operations; long ones without padding use a kernel that skips tiles, on a GPU.
    """

    pattern: Tensor

    def __init__(self, settings: BigBirdSettings, shape: Shape) -> None:
        super().__init__(shape)
        self.block = settings.block or (4 if shape.length < FLEX_LENGTH else TILE)
        self.random_blocks = settings.random_blocks
        blocks = math.ceil(shape.length / self.block)
        # pattern[i, j]: whether block i sees block j; block 0 is the newest
        self.register_buffer("pattern", torch.empty(blocks, blocks, dtype=torch.bool))
        self.draw()

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        q, k, v = self.project(tokens)  # [b, h, n, d_h]
        sparse = tokens.is_cuda and tokens.shape[1] >= FLEX_LENGTH
        if sparse and context.padding is None and self.active_dropout == 0:
            return self.merge(self.flex(q, k, v))
        return self.merge(self.dense(q, k, v, context))

    def dense(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """Compute all weights and mask them, ``[b, h, n, d_h]``."""
        n = q.shape[2]
        block = self._block(places(context, n, self.shape.length, q.device))  # [b, n]
        mask = self.pattern[block[:, None, :, None], block[:, None, None, :]]  # [b, 1, n, n]
        allowed = visible(context, self.shape.causal, n, q.device)
        if allowed is not None:
            mask = mask & allowed
        if context.padding is not None:  # a padded token may be in a block that sees padding only
            mask = mask | torch.eye(n, dtype=torch.bool, device=q.device)
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self.active_dropout
        )

    def flex(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Compute the weights of visible blocks only, for full histories; ``[b, h, n, d_h]``."""
        kernel = flex_attention if torch.compiler.is_compiling() else _compiled_flex_attention()
        mixed: Tensor = kernel(q, k, v, block_mask=self._block_mask(q.shape[2], q.device))
        return mixed

    def _block_mask(self, n: int, device: torch.device) -> BlockMask:
        """Return the pattern for the kernel: the visible tiles, and the mask inside them.

        Tiles count from the oldest token and blocks from the newest, so a tile may hold parts of
        several blocks.
        """
        first, pattern, causal = self.shape.length - n, self.pattern, self.shape.causal

        def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            near = pattern[self._block(query + first), self._block(key + first)]
            return near & (query >= key) if causal else near

        place = torch.arange(first, self.shape.length, device=device)
        tile = (place - first) // TILE
        holds = torch.zeros(math.ceil(n / TILE), len(pattern), device=device)  # tile, block
        holds[tile, self._block(place)] = 1.0
        seen = (holds @ pattern.to(holds.dtype) @ holds.T) > 0  # [tiles, tiles]
        if causal:
            seen = seen.tril()
        order = seen.int().argsort(dim=-1, descending=True, stable=True).int()
        return BlockMask.from_kv_blocks(
            seen.sum(-1, dtype=torch.int32)[None, None],
            order[None, None],
            BLOCK_SIZE=TILE,
            mask_mod=sees,
            seq_lengths=(n, n),
        )

    def _block(self, place: Tensor) -> Tensor:
        """Return the block of a position; the newest item has the position ``length - 1``."""
        return (self.shape.length - 1 - place) // self.block

    def draw(self, generator: torch.Generator | None = None) -> None:
        """Draw the random blocks of each block among those outside its window and the ends."""
        blocks = len(self.pattern)
        row = torch.arange(blocks)
        seen = (row[:, None] - row).abs() <= 1
        seen[[0, -1]] = True
        seen[:, [0, -1]] = True
        chance = torch.rand(blocks, blocks, generator=generator)
        hidden = seen | (row < row[:, None]) if self.shape.causal else seen  # newer blocks
        chance = chance.masked_fill(hidden, -1.0)
        some = chance.topk(min(self.random_blocks, blocks), dim=1)
        drawn = torch.zeros_like(seen).scatter(1, some.indices, some.values >= 0)
        self.pattern.copy_(seen | drawn)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections and two matrix products.

        The products count all pairs, or those of visible blocks from 1000 tokens on.
        """
        pairs = keys * keys
        if keys >= FLEX_LENGTH:
            place = torch.arange(self.shape.length - keys, self.shape.length)
            count = torch.bincount(self._block(place))  # tokens of each block
            seen = self.pattern[: len(count), : len(count)].cpu()
            seen = seen.triu() if self.shape.causal else seen
            pairs = int((count[:, None] * count * seen).sum())
        return self.projection_flops(keys, queries) + 4 * pairs * self.shape.width


@cache
def _compiled_flex_attention() -> Any:
    """Return the compiled kernel; the uncompiled one would hold all weights."""
    return torch.compile(flex_attention)
