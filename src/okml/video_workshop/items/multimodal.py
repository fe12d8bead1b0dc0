"""One vector an item from what is known of it: text, cover, sound, film; any may be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.video_workshop.items.table import ItemTable

Modalities = Mapping[str, NDArray[np.float32]]  # [items + 1, f_m] each; NaN rows are missing
ModalitiesOf = Callable[[int], Modalities]  # those of a seed, which draws axes that mean nothing


class MultimodalItemEncoder(nn.Module):
    """A small network a modality, then attention of one learned query over those there are.

    A modality: layer norm, linear, GELU, linear, plus a vector of the modality. In training each
    is left out now and then, never the last one, so that none takes over (modality collapse).

    Args:
        widths: Of the features of each modality.
        width: Of the result, d.
        hidden: Of the networks.
        drop: Probability that a modality of an item is left out in training.
        std: Of the last layers' first weights.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,
        hidden: int = 128,
        drop: float = 0.2,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        if not widths or not 0 <= drop < 1:
            raise ParameterError("An item needs a modality, and a chance below 1 to lose it.")
        self.names = tuple(widths)
        self.drop = drop
        self.networks = nn.ModuleDict()
        for name, size in widths.items():
            last = nn.Linear(hidden, width)
            nn.init.normal_(last.weight, std=std)
            nn.init.zeros_(last.bias)
            self.networks[name] = nn.Sequential(
                nn.LayerNorm(size), nn.Linear(size, hidden), nn.GELU(), last
            )
        self.modality = nn.Parameter(torch.zeros(len(widths), width))
        self.query = nn.Parameter(torch.zeros(width))  # at first a plain mean

    def forward(self, features: Mapping[str, Tensor], there: Tensor) -> Tensor:
        """Return the vectors ``[..., d]``; zero for an item of which nothing is known.

        Args:
            features: ``[..., f_m]`` of each modality; what stands in for a missing one is free.
            there: Which modalities an item has, bool ``[..., m]`` in the order of names.
        """
        tokens = torch.stack([self.networks[name](features[name]) for name in self.names], -2)
        tokens = tokens + self.modality  # [..., m, d]
        if self.training and self.drop and len(self.names) > 1:
            there = self._some(there)
        scores = (tokens @ self.query) / tokens.shape[-1] ** 0.5  # [..., m]
        weights = scores.masked_fill(~there, -torch.inf).softmax(-1)
        # Of nothing at all the softmax is not a number.
        weights = weights.masked_fill(~there, 0.0)
        return (weights[..., None, :] @ tokens).squeeze(-2)  # type: ignore[no-any-return]

    def _some(self, there: Tensor) -> Tensor:
        """Leave modalities out at random, but none where nothing would be left."""
        kept = there & (torch.rand(there.shape, device=there.device) >= self.drop)
        return torch.where(kept.any(-1, keepdim=True), kept, there)


class ContentTable(ItemTable):
    """Vectors computed from what items are about: no row of an item's own.

    Args:
        modalities: Features by name, ``[items + 1, f_m]``; a row with NaN is missing, and so is
            the padding, row 0.
        width: Of a vector, d.
        hidden: Of the networks.
        drop: See :class:`MultimodalItemEncoder`.

    Raises:
        ParameterError: If modalities have different numbers of items.
    """

    there: Tensor  # bool [items + 1, m]

    def __init__(
        self, modalities: Modalities, width: int, hidden: int = 128, drop: float = 0.2
    ) -> None:
        lengths = {len(part) for part in modalities.values()}
        if len(lengths) != 1:
            raise ParameterError(f"Modalities of {sorted(lengths)} items are not of one catalog.")
        super().__init__(lengths.pop() - 1, width)
        widths = {name: part.shape[1] for name, part in modalities.items()}
        self.encoder = MultimodalItemEncoder(widths, width, hidden, drop)
        there = np.stack([~np.isnan(part).any(1) for part in modalities.values()], 1)
        there[0] = False
        self.register_buffer("there", torch.from_numpy(there))
        for name, part in modalities.items():
            self.register_buffer(f"features_{name}", torch.from_numpy(np.nan_to_num(part)))

    def features(self, name: str) -> Tensor:
        """Return what a modality says of all items, ``[items + 1, f_m]``; zero where missing."""
        return getattr(self, f"features_{name}")  # type: ignore[no-any-return]

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """Read one modality alone for a while, to see whether it has learned anything."""
        before = self.there.clone()
        others = [place for place, other in enumerate(self.encoder.names) if other != name]
        self.there[:, others] = False
        try:
            yield
        finally:
            self.there.copy_(before)

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""
        if ids.numel() > self.items + 1:  # each item once is less work than each id
            return self()[ids]  # type: ignore[no-any-return]
        features = {name: self.features(name)[ids] for name in self.encoder.names}
        return self.encoder(features, self.there[ids])  # type: ignore[no-any-return]
