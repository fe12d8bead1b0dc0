"""Serving: faiss indices of the items that may be shown, and the recall of approximate ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from okml.errors import ParameterError
from okml.lightsage.ranking import Numbers
from okml.settings import Count, Positive, Settings


class FlatIndex(Settings):
    """Exact inner products with every vector."""

    kind: Literal["flat"] = "flat"


class HnswIndex(Settings):
    """A proximity graph with greedy search (Malkov & Yashunin, 2016)."""

    kind: Literal["hnsw"] = "hnsw"
    links: Annotated[Count, Field(ge=2)] = 32  # M
    build_width: Count = 200  # efConstruction
    search_width: Count = 128  # efSearch


class IvfPqIndex(Settings):
    """An inverted file with product quantization (Jégou et al., 2011)."""

    kind: Literal["ivf_pq"] = "ivf_pq"
    cells_per_root: Positive = 4  # cells = this times the root of N
    code_bytes: Count = 16  # bytes of a vector's code
    probes: Count = 16  # cells searched


Scores = NDArray[np.float32]
AnyIndex = Annotated[FlatIndex | HnswIndex | IvfPqIndex, Field(discriminator="kind")]


@dataclass(frozen=True, eq=False)
class Served:
    """An index of the items that may be shown.

    Attributes:
        index: Index object of faiss.
        ids: Item number at each position of the index, ``[n]``.
        seconds: Build time in seconds.
    """

    index: Any
    ids: Numbers
    seconds: float

    @property
    def bytes(self) -> int:
        """Size of the index on disk."""
        return len(faiss.serialize_index(self.index))

    def search(self, queries: Scores, items: Numbers, k: int) -> tuple[Numbers, Scores]:
        """Return the best ``k`` items for viewed items, without those themselves, ``[q, k]``.

        Args:
            queries: Vectors of the viewed items, ``[q, d]``.
            items: Numbers of the viewed items, ``[q]``.
            k: Number of results, padded with -1 if the index finds fewer.
        """
        scores, places = self.index.search(np.ascontiguousarray(queries), k + 1)
        found = np.where(places >= 0, self.ids[places], -1)
        own = found == items[:, None]
        own[:, -1] |= ~own.any(1)  # without the item itself, the last result is dropped
        shape = (len(items), k)
        return found[~own].reshape(shape), scores[~own].reshape(shape)


def build_index(
    settings: AnyIndex, vectors: Scores, eligible: NDArray[np.bool_] | None = None
) -> Served:
    """Index vectors by inner product.

    Args:
        settings: Kind and parameters of the index.
        vectors: Unit vectors of all items, ``[N, d]``.
        eligible: Mask of the items that may be shown, ``[N]``; others are not indexed, so requests
            need no filter. None: all.

    Raises:
        ParameterError: If no item may be shown, or the width is no multiple of ``code_bytes``.
    """
    ids = np.arange(len(vectors)) if eligible is None else np.flatnonzero(eligible)
    if not len(ids):
        raise ParameterError("No item may be shown, so there is nothing to index.")
    kept = np.ascontiguousarray(vectors[ids], np.float32)
    started = time.perf_counter()
    index = _empty(settings, kept)
    index.add(kept)
    return Served(index, ids, time.perf_counter() - started)


def _empty(settings: AnyIndex, vectors: Scores) -> Any:
    width = vectors.shape[1]
    index: Any
    match settings:
        case HnswIndex():
            index = faiss.IndexHNSWFlat(width, settings.links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = settings.build_width
            index.hnsw.efSearch = settings.search_width
        case IvfPqIndex() if width % settings.code_bytes:
            raise ParameterError(
                f"Vectors of {width} numbers cannot be cut into {settings.code_bytes} equal parts.",
                "Choose code_bytes that divide the width.",
            )
        case IvfPqIndex():
            cells = max(1, round(settings.cells_per_root * len(vectors) ** 0.5))
            # Faiss recommends 39 vectors per centroid, so a smaller shop has fewer cells.
            cells = min(cells, max(1, len(vectors) // 39))
            bits = 8 if len(vectors) >= 39 * 256 else 4
            coarse = faiss.IndexFlatIP(width)
            index = faiss.IndexIVFPQ(
                coarse, width, cells, settings.code_bytes, bits, faiss.METRIC_INNER_PRODUCT
            )
            index.nprobe = settings.probes
            # A small shop may have fewer vectors per centroid without a warning.
            index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
            index.train(vectors)
        case _:
            index = faiss.IndexFlatIP(width)
    return index


def index_recall(found: Numbers, exact: Numbers) -> float:
    """Return the recall of an approximate search: the mean share of exact results that it found.

    Args:
        found: The items that it found for each query, ``[q, k]``.
        exact: The items of the exact search, ``[q, k]``.
    """
    shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]
    return float(np.mean(shares))
