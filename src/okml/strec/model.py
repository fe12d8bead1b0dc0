"""STRec: a transformer whose layers keep a decreasing number of items of the history."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Context
from okml.seqrec.settings import BackboneSettings
from okml.strec.relaxation import RelaxationSettings, key_bias
from okml.strec.sampler import Sampler, SamplerSettings, keep_order
from okml.strec.schedule import Schedule, check_schedule

Stage = Literal["relaxed", "hard"]


class STRec(Backbone):
    """The backbone with a sampler: layer ``l`` computes ``schedule[l]`` of the tokens it reads.

    All weights but the sampler's have the names and shapes of the backbone's, so either can start
    from a checkpoint of the other. The newest item is always kept, has the highest rank, and is
    the read-out position.

    Args:
        items: Number of items, numbered from 1.
        settings: The settings of the backbone: bidirectional, padded on the left.
        schedule: The number of items that each layer keeps.
        sampler: The settings of the ranking of items.
        relaxation: The settings of the soft mask in stage 1; None for the defaults.

    Attributes:
        stage: ``relaxed`` (stage 1): all items are kept, a soft mask hides items outside of the
            sample from the next layer, and the sampler is trained. ``hard``: stage 2 and
            inference.
    """

    def __init__(
        self,
        items: int,
        settings: BackboneSettings,
        schedule: Schedule,
        sampler: SamplerSettings,
        relaxation: RelaxationSettings | None = None,
    ) -> None:
        super().__init__(items, settings)
        check_schedule(schedule, settings.length, settings.layers)
        if settings.padding_side != "left" or not self.blocks[0].shrinks:
            raise ParameterError("STRec needs padding on the left, and attention as its mixer.")
        self.schedule = schedule
        self.sampler = Sampler(sampler, settings.width)
        self.relaxation = relaxation or RelaxationSettings()
        shifts = self.relaxation.shifts
        if shifts is not None and len(shifts) != settings.layers:
            raise ParameterError(f"{len(shifts)} shifts for {settings.layers} layers.")
        self.stage: Stage = "hard"

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Raise an error, since dropped items have no vector.

        Raises:
            ParameterError: The method always raises it.
        """
        raise ParameterError("STRec has a vector for the newest item only.", "Call `last`.")

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector after the whole history, ``[b, d]``.

        Raises:
            ParameterError: If items are ranked by gap and there are no times.
        """
        if times is None and self.sampler.settings.ranking == "gap":
            raise ParameterError("A sample ranked by time gaps needs the times.")
        tokens, context = self.embed(items, times, padded)
        scores = self.sampler(tokens, times, context.padding)  # [b, n]
        if self.stage == "relaxed":
            return self.encode_relaxed(tokens, scores, context.padding)
        return self.encode_hard(tokens, scores, context.padding)

    def encode_hard(self, tokens: Tensor, scores: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return the vector after the history, ``[b, d]``; each layer keeps a prefix by rank.

        Args:
            tokens: The embeddings of items and positions, ``[b, n, d]``.
            scores: The scores that rank the tokens, ``[b, n]``, highest for the newest item.
            padding: Bool ``[b, n]``, true at padding; None without padding.
        """
        order = keep_order(scores, self.schedule[0])  # [b, k_1]
        read = padding
        kept = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))
        if padding is not None:
            padding = padding.gather(1, order)
        for block, count in zip(self.blocks, self.schedule, strict=True):
            kept = block(tokens, Context(read), kept[:, :count])  # [b, k, d]
            tokens = kept
            read = None if padding is None else padding[:, :count]
        return self.norm(kept[:, 0])  # type: ignore[no-any-return]

    def encode_relaxed(
        self, tokens: Tensor, scores: Tensor, padding: Tensor | None = None
    ) -> Tensor:
        """Encode all tokens with a soft mask of those that the layer before would have dropped.

        The arguments and the result are those of :meth:`encode_hard`.
        """
        bias = None
        *blocks, final = zip(self.blocks, self.schedule, strict=True)
        for layer, (block, count) in enumerate(blocks):
            tokens = block(tokens, Context(padding, key_bias=bias))
            bias = key_bias(scores, layer, count, self.relaxation)
        newest = tokens[:, -1:]
        return self.norm(final[0](tokens, Context(padding, key_bias=bias), newest))[:, 0]  # type: ignore[no-any-return]

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` in the hard stage, without the small sampler.

        Raises:
            ParameterError: If ``length`` is not that of the schedule.
        """
        if length != self.settings.length:
            raise ParameterError(f"The schedule is for {self.settings.length} items.")
        read = (length, *self.schedule)
        return sum(
            block.flops(keys, queries)
            for block, keys, queries in zip(self.blocks, read, self.schedule, strict=False)
        )
