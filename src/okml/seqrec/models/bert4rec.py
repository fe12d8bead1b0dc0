"""BERT4Rec: a bidirectional transformer that predicts masked items."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone, initialize
from okml.seqrec.batches import CPU, CausalBatch, FlatEvents, draw_negatives
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.negatives import NegativeSampler
from okml.seqrec.rows import Windows
from okml.seqrec.settings import BackboneSettings


class BERT4Rec(Encoder):
    """A bidirectional backbone with one more token, [MASK], whose number is ``items + 1``.

    As in Sun et al. (2019), a linear layer, GELU and a norm follow the backbone. Their item biases
    are omitted, since scores here are products alone.

    Args:
        items: Number of items, numbered from 1.
        settings: The settings of the backbone; see ``presets.bert4rec``.

    Raises:
        ParameterError: If the backbone is causal or pads on the right.
    """

    def __init__(self, items: int, settings: BackboneSettings) -> None:
        if settings.causal or settings.padding_side != "left":
            raise ParameterError(
                "BERT4Rec looks in both directions and asks behind the last item.",
                "Set causal=False and padding_side='left'.",
            )
        super().__init__()
        width = settings.width
        self.mask = items + 1
        self.length = settings.length
        self.backbone = Backbone(items + 1, settings)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=settings.norm_epsilon)
        )
        initialize(self.head, settings.initial_std)

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d]``; some of ``items`` may be [MASK]."""
        return self.head(self.backbone(items, times, padded))  # type: ignore[no-any-return]

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return the vector of a [MASK] after the history, ``[b, d]``.

        It occupies one of the backbone's positions, so the oldest item of a full history is
        dropped.
        """
        asked = torch.cat([items, torch.full_like(items[:, :1], self.mask)], 1)[:, -self.length :]
        if times is not None:  # [MASK] has the time of the last item
            times = torch.cat([times, times[:, -1:]], 1)[:, -self.length :]
        return self.head(self.backbone.last(asked, times, padded))  # type: ignore[no-any-return]

    def item_matrix(self) -> Tensor:
        """Return the vectors of items without that of [MASK], ``[items + 1, d]``."""
        return self.backbone.item_matrix()[:-1]

    def flops(self, length: int) -> int:
        """Return the operations of :meth:`last` for one full history."""
        width = self.backbone.settings.width
        return self.backbone.flops(min(length + 1, self.length)) + 2 * width**2


class ClozeBatches:
    """A batch source whose examples are windows with some items masked, which are the targets.

    The batches have the form of :class:`CausalBatches`: ``targets`` has the item where ``items``
    has [MASK], and 0 elsewhere. A window has all its events, so it is one longer than the inputs
    of a causal model: cut windows of ``length - 1`` for a backbone of ``length``.

    Args:
        interactions: The events of all users.
        windows: The windows; a batch has ``n = windows.length + 1`` positions.
        mask: The number of the token [MASK].
        ratio: The probability that an item is masked; in a row without any, the last one is.
        last_only: The probability that only the last item of a row is masked, as in next-item
            prediction. (RecBole draws this for a whole batch; by row, batches vary less.)
        jitter: Whether the windows' borders move between epochs; see :meth:`Windows.bounds`.
        negatives: The sampler of negative items; None for none.
        device: The device on which batches are built.

    Raises:
        ParameterError: If a ratio is no probability.
    """

    def __init__(
        self,
        interactions: Interactions,
        windows: Windows,
        mask: int,
        *,
        ratio: float = 0.2,
        last_only: float = 0.5,
        jitter: bool = False,
        negatives: NegativeSampler | None = None,
        device: torch.device = CPU,
    ) -> None:
        if not (0 <= ratio <= 1 and 0 <= last_only <= 1):
            raise ParameterError(f"{ratio} and {last_only} must be probabilities, 0 to 1.")
        self.interactions = interactions
        self.windows = windows
        self.mask = mask
        self.ratio = ratio
        self.last_only = last_only
        self.jitter = jitter
        self.negatives = negatives
        self._flat = FlatEvents(interactions, device)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    def batch(self, indices: Ints, rng: np.random.Generator) -> CausalBatch:
        """Build the batch of the windows ``indices``, ``[b]``; ``rng`` moves and masks them."""
        start, stop = self.windows.bounds(self.interactions, indices, rng if self.jitter else None)
        length, flat = self.windows.length + 1, self._flat
        places, real = flat.padded(start, stop, length, "left")  # [b, n]
        items, user = flat.items(places) * real, flat.put(self.windows.user[indices])
        drawn = self._draw(stop - start, length, rng)
        masked = flat.put(drawn).bool()
        targets = items * masked
        return CausalBatch(
            items=items.masked_fill(masked, self.mask),
            times=flat.times(places) * real,
            targets=targets,
            user=user,
            padded=bool((stop - start < length).any()),
            count=int(drawn.sum()),
            negatives=draw_negatives(self.negatives, targets, user, rng),
        )

    def _draw(self, sizes: Ints, length: int, rng: np.random.Generator) -> Ints:
        """Return 1 where a position is masked, ``[b, length]``, for windows of some sizes ``[b]``.

        The last position is never padding; it is the one that is masked in last-only rows.
        """
        masked = rng.random((len(sizes), length)) < self.ratio
        masked[rng.random(len(sizes)) < self.last_only] = False
        masked &= np.arange(length) >= length - sizes[:, None]
        masked[:, -1] |= ~masked.any(1)
        return masked.astype(np.int64)
