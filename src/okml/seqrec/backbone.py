"""The transformer encoder, with an interchangeable token mixer."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

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
        settings: The sizes, mixer and norms.
    """

    def __init__(self, items: int, settings: BackboneSettings) -> None:
        super().__init__()
        self.settings = settings
        self.padding_side = settings.padding_side
        self.embedding = SequenceEmbedding(items, settings)
        self.layers = nn.ModuleList(
            Block(settings, self._shape(length)) for length in self._lengths(settings.length)
        )
        between = settings.layers - 1 if settings.distilling else 0
        self.distillings = nn.ModuleList(Distilling(settings.width) for _ in range(between))
        self.norm = (
            nn.Identity()
            if settings.norm == "post"
            else nn.LayerNorm(settings.width, eps=settings.norm_epsilon)
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
                that the mixer or distilling does not support.
        """
        mixer, settings = self.blocks[0].mixer, self.settings
        name = type(mixer).__name__
        if mixer.needs_times and times is None:
            raise ParameterError(f"{name} needs the times of the interactions.")
        if mixer.needs_times and settings.distilling:
            raise ParameterError(f"{name} needs times, and distilled tokens have none.")
        if padded and (settings.distilling or not mixer.supports_masks):
            raise ParameterError(
                f"{'Distilling' if settings.distilling else name} takes full histories only.",
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


class Distilling(nn.Module):
    """Convolution, batch norm, ELU and max pooling with stride 2 (Zhou et al., 2021, equation 5).

    The convolution is circular, as in the authors' code.

    Args:
        width: The width of a token, ``d``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``[b, n, d]`` to ``[b, floor((n - 1) / 2) + 1, d]``."""
        x = functional.elu(self.norm(self.convolution(tokens.transpose(1, 2))))  # [b, d, n]
        return functional.max_pool1d(x, 3, stride=2, padding=1).transpose(1, 2)

    def flops(self, tokens: int) -> int:
        """Return the operations of the convolution for one sequence, two for a multiply-add."""
        return 2 * tokens * self.convolution.weight.numel()


def distilled_lengths(length: int, layers: int) -> list[int]:
    """Return the number of tokens of each block, with distilling between consecutive blocks."""
    lengths = [length]
    while len(lengths) < layers:
        lengths.append((lengths[-1] - 1) // 2 + 1)
    return lengths
