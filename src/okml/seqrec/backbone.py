"""The transformer encoder, with an interchangeable token mixer."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.block import Block
from okml.seqrec.distilling import Distilling, distilled_lengths
from okml.seqrec.embedding import SequenceEmbedding
from okml.seqrec.encoder import Encoder, read_last
from okml.seqrec.mixers import Context, Mixer, Shape
from okml.seqrec.settings import BackboneSettings


class Backbone(Encoder):
    """Embedding, blocks, and the item vectors as output layer (tied weights).

    Args:
        items: Number of items, numbered from 1.
        settings: The sizes, mixer and norms.
    """

    def __init__(self, items: int, settings: BackboneSettings) -> None:
        super().__init__()
        self.settings = settings
        self.padding_side = settings.padding_side
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
        self.layers = nn.ModuleList(
            Block(settings, self._shape(length)) for length in self._lengths(settings.length)
        )
        between = settings.layers - 1 if settings.distilling else 0
        self.distillings = nn.ModuleList(Distilling(settings.width) for _ in range(between))
        self.norm = (
            nn.Identity() if settings.norm == "post" else nn.LayerNorm(settings.width, eps=epsilon)
        )
        initialize(self, settings.initial_std)

    @property
    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.layers))

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``; for fewer after distilling."""
        tokens, context = self._all_but_last(items, times, padded)
        return self.norm(self.blocks[-1](tokens, context))  # type: ignore[no-any-return]

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``.

        The other outputs of the last block are not needed, so it computes only this one if its
        mixer can: the same values with fewer operations.
        """
        tokens, context = self._all_but_last(items, times, padded)
        final = self.blocks[-1]
        if final.shrinks:
            query = self._read_last(tokens, items)[:, None]  # [b, 1, d]
            return self.norm(final(tokens, context, query))[:, 0]  # type: ignore[no-any-return]
        return self.norm(self._read_last(final(tokens, context), items))  # type: ignore[no-any-return]

    def _all_but_last(
        self, items: Tensor, times: Tensor | None, padded: bool
    ) -> tuple[Tensor, Context]:
        """Return the tokens and the context that the last block reads."""
        tokens, context = self.embed(items, times, padded)
        for layer, block in enumerate(self.blocks[:-1]):
            tokens = block(tokens, context)
            if self.settings.distilling:
                tokens = self.distillings[layer](tokens)
        return tokens, context

    def _read_last(self, tokens: Tensor, items: Tensor) -> Tensor:
        if self.settings.distilling:  # full histories, and fewer tokens than items
            return tokens[:, -1]
        return read_last(tokens, items, self.padding_side)

    def _lengths(self, length: int) -> list[int]:
        """Return the number of tokens that each block reads."""
        layers = self.settings.layers
        return distilled_lengths(length, layers) if self.settings.distilling else [length] * layers

    def _shape(self, length: int) -> Shape:
        settings = self.settings
        return Shape(
            length, settings.width, settings.heads, settings.causal, settings.attention_dropout
        )

    def embed(self, items: Tensor, times: Tensor | None, padded: bool) -> tuple[Tensor, Context]:
        """Return the tokens ``[b, n, d]`` and the mixers' context.

        Raises:
            ParameterError: If the mixer needs times and there are none, or there may be padding
                that the mixer, distilling or decomposition does not support.
        """
        mixer, settings = self.blocks[0].mixer, self.settings
        name = type(mixer).__name__
        if mixer.needs_times and times is None:
            raise ParameterError(f"{name} needs the times of the interactions.")
        if mixer.needs_times and settings.distilling:
            raise ParameterError(f"{name} needs times, and distilled tokens have none.")
        spreads = settings.distilling or settings.norm == "decomposition"
        if padded and (spreads or not mixer.supports_padding):
            reason = "Distilling or decomposition" if spreads else name
            raise ParameterError(
                f"{reason} takes full histories only.",
                "Keep rows with a full history, and pass padded=False.",
            )
        padding = items == 0 if padded else None
        return self.embedding(items, padded), Context(padding, self.padding_side, times)

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, d]``."""
        return self.embedding.item.weight

    def flops(self, length: int) -> int:
        """Return the floating-point operations of :meth:`last` for one full history."""
        *blocks, final = self.blocks
        *lengths, left = self._lengths(length)
        total = final.flops(left, 1 if final.shrinks else left)
        total += sum(block.flops(n, n) for block, n in zip(blocks, lengths, strict=True))
        for n, part in zip(lengths, self.distillings, strict=False):
            total += cast(Distilling, part).flops(n)
        return total


def initialize(module: nn.Module, std: float) -> None:
    """Draw all weight matrices from a normal distribution; biases are zero, norms the identity."""
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
