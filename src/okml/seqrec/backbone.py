"""The transformer encoder that all attention kinds share."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.block import Block
from okml.seqrec.embedding import SequenceEmbedding
from okml.seqrec.encoder import Encoder, read_last
from okml.seqrec.mixers import Context, Mixer, Shape
from okml.seqrec.settings import BackboneSettings


class Backbone(Encoder):
    """Embedding, blocks, and the item vectors as output layer (tied weights).

    Args:
        items: Number of items, numbered from 1.
        settings: Sizes, mixer, norms.
    """

    def __init__(self, items: int, settings: BackboneSettings) -> None:
        super().__init__()
        self.settings = settings
        self.padding_side = settings.padding_side
        shape = Shape(
            settings.length,
            settings.width,
            settings.heads,
            settings.causal,
            settings.attention_dropout,
        )
        epsilon = settings.norm_epsilon
        self.embedding = SequenceEmbedding(
            items,
            settings.length,
            settings.width,
            dropout=settings.dropout,
            norm=nn.LayerNorm(settings.width, eps=epsilon) if settings.embedding_norm else None,
            scale=settings.width**0.5 if settings.scale_embedding else 1.0,
            positions=settings.positions,
        )
        self.layers = nn.ModuleList(Block(settings, shape) for _ in range(settings.layers))
        self.norm = (
            nn.LayerNorm(settings.width, eps=epsilon) if settings.norm == "pre" else nn.Identity()
        )
        initialize(self, settings.initial_std)

    @property
    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.layers))

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``."""
        tokens, context = self.embed(items, times, padded)
        for block in self.blocks:
            tokens = block(tokens, context)
        return self.norm(tokens)  # type: ignore[no-any-return]

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``.

        Nobody reads the other outputs of the last block, so it writes only this one where its
        mixer can: the same numbers for less work.
        """
        tokens, context = self.embed(items, times, padded)
        *blocks, final = self.blocks
        for block in blocks:
            tokens = block(tokens, context)
        if final.shrinks:
            query = read_last(tokens, items, self.padding_side)[:, None]  # [b, 1, d]
            return self.norm(final(tokens, context, query))[:, 0]  # type: ignore[no-any-return]
        return self.norm(read_last(final(tokens, context), items, self.padding_side))  # type: ignore[no-any-return]

    def embed(self, items: Tensor, times: Tensor | None, padded: bool) -> tuple[Tensor, Context]:
        """Return the tokens ``[b, n, d]`` and what the mixers may know about them.

        Raises:
            ParameterError: If the mixer needs times and there are none, or there is padding
                that it cannot handle.
        """
        mixer = self.blocks[0].mixer
        if mixer.needs_times and times is None:
            raise ParameterError(f"{type(mixer).__name__} needs the times of the interactions.")
        if padded and not mixer.supports_padding:
            raise ParameterError(
                f"{type(mixer).__name__} takes full histories only.",
                "Keep rows with a full history, and pass padded=False.",
            )
        padding = items == 0 if padded else None
        return self.embedding(items, padded), Context(padding, self.padding_side, times)

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, d]``."""
        return self.embedding.item.weight

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` for one full history."""
        *blocks, final = self.blocks
        read = 1 if final.shrinks else length
        return sum(block.flops(length, length) for block in blocks) + final.flops(length, read)


def initialize(module: nn.Module, std: float) -> None:
    """Draw all weight matrices from a normal distribution; biases are zero, the norms neutral."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding | nn.Conv1d):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear | nn.Conv1d) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
    for part in module.modules():
        if isinstance(part, Mixer):
            part.initialize()
