"""BigBird: blocks of tokens attend to their neighbors, to the ends and to random blocks."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from okml.accelerator import has_flex_attention
from okml.seqrec.mixers.base import Context, MultiHead, Shape

FLEX_LENGTH = 1000  # smallest number of tokens for the sparse kernel
TILE = 128  # tokens of a tile of the sparse kernel


class BigBird(MultiHead):
    """Attention with a block mask that is drawn once for each layer, Zaheer et al. (2020).

    It is the variant whose global tokens are the ends of the sequence: the first and the last
    block see all and are seen by all; the others see themselves, the neighboring blocks and
    ``random_blocks`` more. Blocks count from the newest item. Short sequences use a dense mask,
    which saves no operations; long ones use a kernel that skips tiles, on a GPU.

    Args:
        shape: The sizes and options of the backbone.
        block: The number of tokens of a block; None for 4, and 128 from 1000 tokens on.
        random_blocks: The number of random blocks of each block.
    """

    supports_masks = False
    pattern: Tensor

    def __init__(self, shape: Shape, block: int | None = None, random_blocks: int = 1) -> None:
        super().__init__(shape)
        self.block = block or (4 if shape.length < FLEX_LENGTH else TILE)
        self.random_blocks = random_blocks
        blocks = math.ceil(shape.length / self.block)
        # pattern[i, j]: whether block i sees block j; block 0 is the newest
        self.register_buffer("pattern", torch.empty(blocks, blocks, dtype=torch.bool))
        self.initialize()

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Mix ``tokens`` ``[b, n, d]``."""
        q, k, v = self.project(tokens)  # [b, h, n, d_h]
        sparse = has_flex_attention(tokens.device) and tokens.shape[1] >= FLEX_LENGTH
        if sparse and self.active_dropout == 0:
            return self.merge(self.flex(q, k, v))
        return self.merge(self.dense(q, k, v))

    def dense(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Compute all weights and mask them, ``[b, h, n, d_h]``."""
        block = self._blocks(q.shape[2], q.device)
        mask = self.pattern[block[:, None], block]  # [n, n]
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self.active_dropout
        )

    def flex(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Compute the weights of visible blocks only, ``[b, h, n, d_h]``."""
        kernel = flex_attention if torch.compiler.is_compiling() else _compiled_flex_attention()
        mixed: Tensor = kernel(q, k, v, block_mask=self._block_mask(q.shape[2], q.device))
        return mixed

    def _block_mask(self, n: int, device: torch.device) -> BlockMask:
        """Return the pattern for the kernel: the visible tiles, and the mask inside them.

        Tiles count from the oldest token and blocks from the newest, so a tile may hold parts of
        several blocks.
        """
        block, pattern = self._blocks(n, device), self.pattern

        def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return pattern[block[query], block[key]]

        holds = torch.zeros(math.ceil(n / TILE), len(pattern), device=device)  # tile, block
        holds[torch.arange(n, device=device) // TILE, block] = 1.0
        seen = (holds @ pattern.to(holds.dtype) @ holds.T) > 0  # [tiles, tiles]
        order = seen.int().argsort(dim=-1, descending=True, stable=True).int()
        return BlockMask.from_kv_blocks(
            seen.sum(-1, dtype=torch.int32)[None, None],
            order[None, None],
            BLOCK_SIZE=TILE,
            mask_mod=sees,
            seq_lengths=(n, n),
        )

    def _blocks(self, n: int, device: torch.device | None = None) -> Tensor:
        """Return the block of each token, ``[n]``; that of the newest is 0."""
        return torch.arange(n - 1, -1, -1, device=device) // self.block

    def initialize(self) -> None:
        """Draw the random blocks of each block among those outside its window and the ends."""
        blocks = len(self.pattern)
        row = torch.arange(blocks)
        seen = (row[:, None] - row).abs() <= 1
        seen[[0, -1]] = True
        seen[:, [0, -1]] = True
        chance = torch.rand(blocks, blocks).masked_fill(seen, -1.0)
        some = chance.topk(min(self.random_blocks, blocks), dim=1)
        drawn = torch.zeros_like(seen).scatter(1, some.indices, some.values >= 0)
        self.pattern.copy_(seen | drawn)

    def flops(self, keys: int, queries: int) -> int:
        """Return the operations of projections and two matrix products.

        The products count all pairs, or those of visible blocks from 1000 tokens on.
        """
        pairs = keys * keys
        if keys >= FLEX_LENGTH:
            count = torch.bincount(self._blocks(keys))  # tokens of each block
            seen = self.pattern[: len(count), : len(count)].cpu()
            pairs = int((count[:, None] * count * seen).sum())
        return self.projection_flops(keys, queries) + 4 * pairs * self.shape.width


@cache
def _compiled_flex_attention() -> Any:
    """Return the compiled kernel; the uncompiled one would hold all weights."""
    return torch.compile(flex_attention)
