"""Tables with fewer rows than items: an item's vector is a sum of rows that others use too.

Hashes, random codes and Semantic IDs differ only in the rows that an item gets, so they are one
module; the functions here assign the rows. A place is the number of a row from 1; 0 is no row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.video_workshop.common.table import ItemTable
from okml.video_workshop.items.code_quality import prefix_numbers
from okml.video_workshop.items.quantizers import Codes

Places = Tensor  # int64 [items + 1, lookups]; row 0, the padding, is all 0


class SharedRows(ItemTable):
    """The sum of a few rows of one table.

    Args:
        places: Rows of each item, ``[items + 1, lookups]``.
        rows: Number of rows of the table.
        width: Dimension d of a vector.
        known: Mask of the training items, ``[items + 1]``; None: all. A row that a single training
            item uses is that item's own.
        std: Standard deviation of the normal initialization.

    Raises:
        ParameterError: If a place is not a row of the table.
    """

    places: Places
    own: Tensor  # bool [items + 1, lookups]

    def __init__(
        self,
        places: Places,
        rows: int,
        width: int,
        known: NDArray[np.bool_] | None = None,
        std: float = 0.02,
    ) -> None:
        super().__init__(len(places) - 1, width)
        if int(places.min()) < 0 or int(places.max()) > rows:
            raise ParameterError(f"The places of items go beyond the {rows:,} rows of the table.")
        self.register_buffer("places", places)
        users = places if known is None else places[torch.from_numpy(known)]
        count = torch.bincount(users.flatten(), minlength=rows + 1)
        self.register_buffer("own", count[places] <= 1)
        self.rows = nn.Embedding(rows + 1, width, padding_idx=0)
        nn.init.normal_(self.rows.weight, std=std)
        with torch.no_grad():
            self.rows.weight[0].zero_()

    @property
    def lookups(self) -> int:
        """Largest number of rows that are read for an item."""
        return self.places.shape[1]

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the sums ``[..., d]`` of the items ``ids`` ``[...]``."""
        return self._sums(self.places[ids])

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the sums, without a new item's own rows."""
        return self._sums(self.places[ids] * ~(self.own[ids] & new[..., None]))

    def _sums(self, places: Places) -> Tensor:
        """Return the sums ``[..., d]`` of the rows at ``places`` ``[..., lookups]``."""
        # One fused kernel, which does not materialize the gathered rows.
        bags = functional.embedding_bag(
            places.flatten(0, -2), self.rows.weight, mode="sum", padding_idx=0
        )
        return bags.view(*places.shape[:-1], self.width)


def hashed(items: int, rows: int, seed: int) -> Places:
    """Place each item on a random row: the hashing trick.

    The hash is ``((a i + b) mod p) mod rows`` with random ``a`` and ``b`` (Carter and Wegman), so
    two items collide with a probability of about ``1 / rows``.
    """
    rng = np.random.default_rng(seed)
    prime = 2**31 - 1
    a = torch.from_numpy(rng.integers(1, prime, size=1))
    b = torch.from_numpy(rng.integers(0, prime, size=1))
    if items >= prime:
        raise ParameterError(f"Hashes modulo {prime:,} cannot tell {items:,} items apart.")
    numbers = torch.arange(items + 1)[:, None]  # [items + 1, 1]
    return _padded((a * numbers + b) % prime % rows + 1)


def random_codes(items: int, levels: int, codes: int, seed: int) -> Codes:
    """Return uniform random codes, ``[items + 1, levels]``: the control of Semantic IDs."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(codes, size=(items + 1, levels)))


def unigrams(codes: Codes, size: int) -> tuple[Places, int]:
    """Give each code of each level a row.

    Args:
        codes: Codes of all items, ``[items + 1, L]``; row 0 is ignored.
        size: Number of codes K of a level.

    Returns:
        Places ``[items + 1, L]``, and the number of rows, ``L K``.
    """
    levels = codes.shape[1]
    return _padded(codes + torch.arange(levels) * size + 1), levels * size


def prefixes(codes: Codes, known: NDArray[np.bool_], rows: int | None = None) -> tuple[Places, int]:
    """Give each prefix of a code tuple a row (arXiv 2504.02137: prefix n-grams, n = L).

    A prefix that no training item has would never be trained, so it gets no row: a new item is the
    sum of the prefixes that it shares with training items.

    Args:
        codes: Codes of all items, ``[items + 1, L]``.
        known: Mask of the training items, ``[items + 1]``.
        rows: Number of rows into which the prefixes are folded by their numbers; None: a row each.

    Returns:
        Places ``[items + 1, L]``, and the number of rows.
    """
    seen = torch.from_numpy(known.copy())
    seen[0] = False
    places, used = [], 0
    for level in range(1, codes.shape[1] + 1):
        number = prefix_numbers(codes[:, :level])  # [items + 1]
        trained = torch.zeros(int(number.max()) + 1, dtype=torch.bool)
        trained[number[seen]] = True
        row = trained.cumsum(0) * trained  # rows count from 1; 0: no row
        places.append(torch.where(row[number] > 0, row[number] + used, 0))
        used += int(trained.sum())
    table = torch.stack(places, 1)
    if rows is not None:
        table = torch.where(table > 0, (table - 1) % rows + 1, 0)
        used = rows
    return _padded(table), used


def _padded(places: Places) -> Places:
    places[0] = 0
    return places
