"""Item representations by name, at one budget of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.distributed.device_mesh import DeviceMesh

from okml.accelerator import forked_rng
from okml.errors import ParameterError
from okml.seqrec.axes import leading_axes
from okml.seqrec.batches import CPU
from okml.seqrec.interactions import Ints
from okml.seqrec.rows import Mask
from okml.video_workshop.common.content import Features
from okml.video_workshop.common.table import IdTable, ItemTable
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.multimodal import ContentTable, Modalities, ModalitiesOf
from okml.video_workshop.items.quantizers import RQVAE, Codes, RQKMeans
from okml.video_workshop.items.shared_rows import (
    QuotientRemainder,
    SharedRows,
    bigrams,
    hashed,
    learned_pieces,
    prefixes,
    random_codes,
    unigrams,
)
from okml.video_workshop.settings.items import ItemArm, ItemsSettings


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
        case QuotientRemainder():
            rows = table.quotient.num_embeddings + table.remainder.num_embeddings
            lookups = 2
        case HybridTable():
            own, shared = size_of(table.own), size_of(table.shared)
            rows, lookups = own.rows + shared.rows, own.lookups + shared.lookups
        case _:
            rows, lookups = 0, 0
    return TableSize(rows, lookups, sum(part.numel() for part in table.parameters()))


@dataclass(frozen=True, eq=False)
class TableMaker:
    """Makes the tables of one training set; quantizers are fitted on its items only (pitfall P5).

    Attributes:
        modalities: Function from a seed to the features of all items by modality, ``[items + 1,
            f_m]``, NaN where one is missing.
        counts: Events of each item in training, ``[items + 1]``.
        device: Device on which quantizers are fitted.
        pretrained: Function from a seed to pre-trained vectors, ``[items + 1, d]``, NaN where one
            is missing; None: arms that need them are not available.
    """

    modalities: ModalitiesOf
    counts: Ints
    settings: ItemsSettings
    device: torch.device = CPU
    pretrained: Callable[[int], Features] | None = None

    @property
    def known(self) -> Mask:
        """Mask of the training items, ``[items + 1]``."""
        return self.counts > 0

    def make(
        self,
        arm: ItemArm,
        seed: int,
        codes: int | None = None,
        width: int | None = None,
        mesh: DeviceMesh | None = None,
    ) -> ItemTable:
        """Return an untrained table, whose initial weights come from torch's global random state.

        Args:
            arm: Name of the item representation.
            seed: Random seed of hashes, random codes, quantizers and the axes of content.
            codes: K of the compressed arms; None: the value of the settings.
            width: Dimension d of a vector; None: that of the settings' user model.
            mesh: Processes that rows of single items are spread over; None: they are here.

        Raises:
            ParameterError: If the arm does not fit the budget, or reads pre-trained vectors and
                there are none.
        """
        settings, width = self.settings, width or self.settings.model.width
        items, levels = len(self.counts) - 1, settings.levels
        size = codes or settings.codes
        rows = levels * size
        match arm:
            case "id":
                return IdTable(items, width, mesh=mesh)
            case "hash" | "multihash":
                hashes = 1 if arm == "hash" else levels
                return SharedRows(hashed(items, rows, hashes, seed), rows, width)
            case "qr":
                return QuotientRemainder(items, _remainders(items, rows), width)
            case "random_codes":
                return SharedRows(*unigrams(random_codes(items, levels, size, seed), size), width)
            case "sid_unigram":
                return SharedRows(*unigrams(self.semantic_codes(size, seed), size), width)
            case "sid_rqvae":
                found = self.semantic_codes(size, seed, kind="rqvae")
                return SharedRows(*unigrams(found, size), width)
            case "sid_bigram":
                # L/2 tables of K^2 rows within the budget.
                smaller = max(2, int((2 * rows / levels) ** 0.5))
                return SharedRows(*bigrams(self.semantic_codes(smaller, seed), smaller), width)
            case "sid_prefix":
                places, used = prefixes(self.semantic_codes(size, seed), self.known, rows)
                return SharedRows(places, used, width, self.known)
            case "sid_spm":
                # Single codes take half of the rows and leave the other half to longer pieces.
                smaller = max(2, size // 2)
                found = self.semantic_codes(smaller, seed)
                places, used = learned_pieces(found, smaller, self.counts, rows)
                return SharedRows(places, used, width, self.known)
            case "sid_pretrained":
                found = self.semantic_codes(size, seed, of="pretrained")
                return SharedRows(*unigrams(found, size), width)
            case "content":
                return self._content(self.modalities(seed), width)
            case "content_pretrained":
                return self._content({"pretrained": self._pretrained(seed)}, width)
            case "hybrid_content":
                content = self._content(self.modalities(seed), width)
                return HybridTable(content, self.counts, settings.pseudo_cold, mesh=mesh)
            case "hybrid_sid" | "hybrid_gate" | "hybrid_played" | "hybrid_naive":
                played = settings.pseudo_cold if arm in ("hybrid_sid", "hybrid_played") else 0.0
                gated = arm in ("hybrid_sid", "hybrid_gate")
                shared = self._all_prefixes(seed, width)
                return HybridTable(shared, self.counts, played, gated, mesh)

    @cache  # noqa: B019 - a maker lives as long as its experiment
    def semantic_codes(
        self,
        size: int,
        seed: int,
        kind: Literal["rqkmeans", "rqvae"] = "rqkmeans",
        of: Literal["content", "pretrained"] = "content",
    ) -> Codes:
        """Return codes ``[items + 1, L]`` of all items; the quantizer is fitted on known ones."""
        pretrained, settings = of == "pretrained", self.settings
        x = self._leading(self._pretrained(seed), seed) if pretrained else self.quantized(seed)
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
        """Return the quantizer's input: content on its leading axes, ``[items + 1, f]``."""
        return self._leading(self.content(seed).numpy(), seed)

    def _leading(self, content: Features, seed: int) -> torch.Tensor:
        """Project centered content on the leading axes of known items, ``[items + 1, f]``."""
        content = np.nan_to_num(content).astype(np.float64)
        centered = content - content[self.known].mean(0)
        axes = leading_axes(centered[self.known], self.settings.components, seed)
        return torch.from_numpy((centered @ axes).astype(np.float32)).to(self.device)

    def _content(self, modalities: Modalities, width: int) -> ContentTable:
        return ContentTable(modalities, width, self.settings.hidden, self.settings.modality_drop)

    def _pretrained(self, seed: int) -> Features:
        if self.pretrained is None:
            raise ParameterError(
                "There are no pre-trained vectors of the items.",
                "Give the maker ItemsStudy.vectors.",
            )
        return self.pretrained(seed)

    def _all_prefixes(self, seed: int, width: int) -> SharedRows:
        codes = self.semantic_codes(self.settings.prefix_codes, seed)
        return SharedRows(*prefixes(codes, self.known), width, self.known)


def _remainders(items: int, rows: int) -> int:
    """Return the largest M such that M remainders and their quotients fit into ``rows`` rows."""
    fitting = [m for m in range(1, rows) if m + items // m + 1 <= rows]
    if not fitting:
        raise ParameterError(
            f"{rows} rows are too few for quotients and remainders of {items:,} items.",
            f"Take at least {2 * int(np.sqrt(items)) + 2} rows.",
        )
    return fitting[-1]
