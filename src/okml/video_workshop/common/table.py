"""The interface of item tables, and the table with one row per item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.nn import functional

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.seqrec.losses import ItemEmbeddings
from okml.video_workshop.common.spread_rows import drawn_rows, look_up

AT_A_TIME = 2**17  # items whose vectors are computed together, where all are


class ReadItems:
    """The vectors of the items of one step, each looked up once.

    Args:
        lookup: Function from item numbers ``[m]`` to their vectors, ``[m, d]``.
        ids: Item numbers that will be asked for, any shapes.
    """

    def __init__(self, lookup: Callable[[Tensor], Tensor], *ids: Tensor) -> None:
        self.numbers = torch.cat([part.flatten() for part in ids]).sort().values  # [m], ascending
        # An item is looked up at its first place alone, and the padding at the others: a shorter
        # list would make the host wait for its length.
        again = functional.pad(self.numbers[1:] == self.numbers[:-1], (1, 0))
        self.vectors = lookup(self.numbers.masked_fill(again, 0))  # [m, d]

    def __getitem__(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of items ``[...]`` that were given."""
        return functional.embedding(torch.searchsorted(self.numbers, ids), self.vectors)


class ItemTable(nn.Module, ABC):
    """The item vectors, which a user model reads as input and scores against as output.

    Items are numbered from 1; 0 is padding, and its vector is zero.

    Args:
        items: Number of items.
        width: Dimension d of a vector.
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.items = items
        self.width = width

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` of the items ``ids`` ``[...]``."""

    def __getitem__(self, ids: Tensor) -> Tensor:
        """Return the same as :meth:`lookup`."""
        return self.lookup(ids)

    def read(self, *ids: Tensor) -> ItemEmbeddings:
        """Return the vectors of the items that a step needs, each computed once.

        Args:
            ids: Numbers of those items, any shapes.
        """
        return ReadItems(self.lookup, *ids)

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the vectors ``[..., d]`` as if some items had no training events.

        Args:
            ids: Item numbers, ``[...]``.
            new: Mask of the items that lose the parameters learned for them alone, bool ``[...]``.
        """
        return self.lookup(ids)  # a table without parameters of a single item

    def redraw(self) -> None:
        """Redraw the random choices of training; a training calls it once per batch.

        A user model reads the table for input and for output, and both must see the same draw.
        """

    def observe(self, items: Ints, times: Ints) -> object:
        """Take note of the events of a finished period; most tables do not.

        Args:
            items: Item of each event, ``[e]``.
            times: Time of each event in seconds, ``[e]``.
        """

    def forward(self) -> Tensor:
        """Return all vectors, ``[items + 1, d]``; row 0, the padding, is zero."""
        ids = torch.arange(self.items + 1, device=next(self.parameters()).device)
        return torch.cat([self.lookup(part) for part in torch.split(ids, AT_A_TIME)])


class IdTable(ItemTable):
    """One trained row per item; the row of an item without events stays untrained.

    Args:
        items: Number of items.
        width: Dimension d of a vector.
        std: Standard deviation of the normal initialization.
        mesh: Processes that the rows are spread over, a mesh of one dimension; None: they are here.
            Processes look up together, and none has all vectors.
    """

    def __init__(
        self, items: int, width: int, std: float = 0.02, mesh: DeviceMesh | None = None
    ) -> None:
        super().__init__(items, width)
        self.mesh = mesh
        if mesh is not None:
            self.rows = nn.Embedding(items + 1, width, padding_idx=0, device="meta")
            self.rows.weight = drawn_rows(items + 1, width, std, mesh)
            return
        self.rows = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.rows.weight, std=std)
        with torch.no_grad():
            self.rows.weight[0].zero_()

    def lookup(self, ids: Tensor) -> Tensor:
        """Return the rows ``[..., d]`` of ``ids`` ``[...]``."""
        if self.mesh is None:
            return self.rows(ids)  # type: ignore[no-any-return]
        return look_up(cast(DTensor, self.rows.weight), ids)

    def read(self, *ids: Tensor) -> ItemEmbeddings:
        """Return the table itself, which looks up when asked, or what one exchange has fetched."""
        return self if self.mesh is None else super().read(*ids)

    def lookup_as_new(self, ids: Tensor, new: Tensor) -> Tensor:
        """Return the rows, zero where an item is ``new``."""
        return self.lookup(ids) * ~new[..., None]

    def forward(self) -> Tensor:
        """Return the weight ``[items + 1, d]`` itself, without a gather.

        Raises:
            ParameterError: If the rows are spread over processes.
        """
        if self.mesh is not None:
            raise ParameterError(
                f"The item rows are spread over {self.mesh.size()} processes, and none has all.",
                "Train with a sampled softmax; rank in a single process.",
            )
        return self.rows.weight
