"""Item representations by name, at one budget of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.distributed.device_mesh import DeviceMesh

from okml.accelerator import forked_rng
from okml.seqrec.axes import leading_axes
from okml.seqrec.batches import CPU
from okml.seqrec.interactions import Ints
from okml.seqrec.rows import Mask
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.multimodal import ContentTable, ModalitiesOf
from okml.video_workshop.items.quantizers import RQVAE, Codes, RQKMeans
from okml.video_workshop.items.shared_rows import (
    SharedRows,
    hashed,
    prefixes,
    random_codes,
    unigrams,
)
from okml.video_workshop.settings.items import ItemArm, ItemsSettings

QuantizerKind = Literal["rqkmeans", "rqvae"]


class TableSize(NamedTuple):
    """The size of a table.

    Attributes:
        rows: Number of trained rows of all tables.
        lookups: Largest number of rows that are read for an item.
        parameters: Number of trained parameters.
    """

    rows: int
    lookups: int
    parameters: int


def size_of(table: ItemTable) -> TableSize:
    """Count the rows, look-ups and parameters of a table."""
    match table:
        case IdTable():
            rows, lookups = table.items, 1
        case SharedRows():
            rows, lookups = table.rows.num_embeddings - 1, table.lookups
        case HybridTable():
            own, shared = size_of(table.own), size_of(table.shared)
            rows, lookups = own.rows + shared.rows, own.lookups + shared.lookups
        case _:
            rows, lookups = 0, 0
    return TableSize(rows, lookups, sum(part.numel() for part in table.parameters()))


@dataclass(frozen=True, eq=False)
class TableMaker:
    """Makes the tables of one training set; quantizers are fitted on its items only.

    Attributes:
        modalities: Function from a seed to the features of all items by modality, ``[items + 1,
            f_m]``, NaN where one is missing.
        counts: Events of each item in training, ``[items + 1]``.
        device: Device on which quantizers are fitted.
    """

    modalities: ModalitiesOf
    counts: Ints
    settings: ItemsSettings
    device: torch.device = CPU

    @property
    def known(self) -> Mask:
        """Mask of the training items, ``[items + 1]``."""
        return self.counts > 0

    def make(
        self,
        arm: ItemArm,
        seed: int,
        width: int | None = None,
        mesh: DeviceMesh | None = None,
    ) -> ItemTable:
        """Return an untrained table, whose initial weights come from torch's global random state.

        Args:
            arm: Name of the item representation.
            seed: Random seed of hashes, random codes, quantizers and the axes of content.
            width: Dimension d of a vector; None: that of the settings' user model.
            mesh: Processes that rows of single items are spread over; None: they are here.
        """
        settings, width = self.settings, width or self.settings.model.width
        items, levels, size = len(self.counts) - 1, settings.levels, settings.codes
        rows = levels * size
        match arm:
            case "id":
                return IdTable(items, width, mesh=mesh)
            case "hash":
                return SharedRows(hashed(items, rows, seed), rows, width)
            case "random_codes":
                return SharedRows(*unigrams(random_codes(items, levels, size, seed), size), width)
            case "sid_unigram" | "sid_rqvae":
                kind: QuantizerKind = "rqvae" if arm == "sid_rqvae" else "rqkmeans"
                return SharedRows(*unigrams(self.semantic_codes(size, seed, kind), size), width)
            case "sid_prefix":
                places, used = prefixes(self.semantic_codes(size, seed), self.known, rows)
                return SharedRows(places, used, width, self.known)
            case "content":
                return self._content(seed, width)
            case "hybrid_content" | "hybrid_shuffled" | "content_sum":
                content = self._content(seed, width, exchanged=arm == "hybrid_shuffled")
                gated = arm != "content_sum"
                played = settings.pseudo_cold if gated else 0.0
                return HybridTable(content, self.counts, played, gated, mesh)
            case "hybrid_sid" | "hybrid_gate" | "hybrid_played" | "hybrid_naive":
                played = settings.pseudo_cold if arm in ("hybrid_sid", "hybrid_played") else 0.0
                gated = arm in ("hybrid_sid", "hybrid_gate")
                codes = self.semantic_codes(settings.prefix_codes, seed)
                shared = SharedRows(*prefixes(codes, self.known), width, self.known)
                return HybridTable(shared, self.counts, played, gated, mesh)

    @cache  # noqa: B019 - a maker lives as long as its experiment
    def semantic_codes(self, size: int, seed: int, kind: QuantizerKind = "rqkmeans") -> Codes:
        """Return codes ``[items + 1, L]`` of all items; the quantizer is fitted on known ones."""
        x, settings = self.quantized(seed), self.settings
        known = torch.from_numpy(self.known).to(self.device)
        # In a forked random state, so that a table's initial weights do not depend on cached codes.
        with forked_rng():
            torch.manual_seed(seed)
            quantizer: RQKMeans | RQVAE
            if kind == "rqvae":
                quantizer = RQVAE(settings.levels, size, x.shape[1], settings.rqvae)
            else:
                quantizer = RQKMeans(settings.levels, size, x.shape[1])
            return quantizer.to(self.device).fit(x[known], seed).encode(x).cpu()

    def content(self, seed: int) -> torch.Tensor:
        """Return all modalities side by side, ``[items + 1, f]``."""
        together = np.concatenate([*self.modalities(seed).values()], axis=1)
        return torch.from_numpy(np.nan_to_num(together))

    @cache  # noqa: B019 - a maker lives as long as its experiment
    def quantized(self, seed: int) -> torch.Tensor:
        """Return the quantizer's input: content on the leading axes of known items."""
        content = self.content(seed).numpy().astype(np.float64)
        centered = content - content[self.known].mean(0)
        axes = leading_axes(centered[self.known], self.settings.components, seed)
        return torch.from_numpy((centered @ axes).astype(np.float32)).to(self.device)

    def _content(self, seed: int, width: int, exchanged: bool = False) -> ContentTable:
        settings, modalities = self.settings, self.modalities(seed)
        if exchanged:
            new = np.random.default_rng(seed).permutation(np.flatnonzero(~self.known[1:]) + 1)
            of = np.arange(len(self.counts))
            of[new] = np.roll(new, 1)  # none keeps its own
            modalities = {name: part[of] for name, part in modalities.items()}
        return ContentTable(modalities, width, settings.hidden, settings.modality_drop)
