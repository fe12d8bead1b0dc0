"""Item vectors from the features of text, cover, sound and film; any modality may be missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.video_workshop.common.table import ItemTable

Modalities = Mapping[str, NDArray[np.float32]]  # [items + 1, f_m] each; NaN rows are missing
ModalitiesOf = Callable[[int], Modalities]  # the seed draws arbitrary axes


class MultimodalItemEncoder(nn.Module):
    """A small network for each modality, then attention of one learned query over present ones.

    Each network: layer norm, linear, GELU, linear, plus a vector of the modality. Modality dropout
    in training, which keeps at least one, prevents modality collapse.

    Args:
        widths: Feature dimension f_m of each modality.
        width: Dimension d of an item vector.
        hidden: Width of the networks' hidden layer.
        drop: Probability that a modality of an item is left out in training.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,
        hidden: int = 128,
        drop: float = 0.2,
    ) -> None:
        super().__init__()
        if not widths or not 0 <= drop < 1:
            raise ParameterError("An item needs a modality, and a chance below 1 to lose it.")
        self.names = tuple(widths)
        self.drop = drop
        self.networks = nn.ModuleDict()
        for name, size in widths.items():
            last = nn.Linear(hidden, width)
            nn.init.normal_(last.weight, std=0.02)
            nn.init.zeros_(last.bias)
            self.networks[name] = nn.Sequential(
                nn.LayerNorm(size), nn.Linear(size, hidden), nn.GELU(), last
            )
        self.modality = nn.Parameter(torch.zeros(len(widths), width))
        self.query = nn.Parameter(torch.zeros(width))  # zeros give a plain mean

    def forward(self, features: Mapping[str, Tensor], there: Tensor) -> Tensor:
        """Return the vectors ``[..., d]``; zero for an item without any modality.

        Args:
            features: Features of each modality, ``[..., f_m]``; the values of a missing one have no
                effect.
            there: Mask of the modalities that an item has, bool ``[..., m]`` in the order of names.
        """
        tokens = torch.stack([self.networks[name](features[name]) for name in self.names], -2)
        tokens = tokens + self.modality  # [..., m, d]
        if self.training and self.drop and len(self.names) > 1:
            there = self._some(there)
        scores = (tokens @ self.query) / tokens.shape[-1] ** 0.5  # [..., m]
        weights = scores.masked_fill(~there, -torch.inf).softmax(-1)
        # The softmax is NaN for an item without any modality.
        weights = weights.masked_fill(~there, 0.0)
        return (weights[..., None, :] @ tokens).squeeze(-2)  # type: ignore[no-any-return]

    def _some(self, there: Tensor) -> Tensor:
        """Drop modalities at random, but none of an item that would lose all of them."""
        kept = there & (torch.rand(there.shape, device=there.device) >= self.drop)
        return torch.where(kept.any(-1, keepdim=True), kept, there)


class ContentTable(ItemTable):
    """Vectors computed from content features alone: items have no rows of their own.

    Args:
        modalities: Features by name, ``[items + 1, f_m]``; a row with NaN is missing, as is the
            padding, row 0.
        width: Dimension d of an item vector.
        hidden: Width of the networks' hidden layer.
        drop: Probability that a modality of an item is left out in training.

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
        """Return the features of a modality, ``[items + 1, f_m]``; zero where missing."""
        return getattr(self, f"features_{name}")  # type: ignore[no-any-return]

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""
        if ids.numel() > self.items + 1:  # encoding each item once is cheaper
            return self()[ids]  # type: ignore[no-any-return]
        features = {name: self.features(name)[ids] for name in self.encoder.names}
        return self.encoder(features, self.there[ids])  # type: ignore[no-any-return]
