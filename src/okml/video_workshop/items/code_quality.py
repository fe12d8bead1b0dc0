"""The quality of codes: reconstruction of the content, usage and similarity."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from okml.video_workshop.items.quantizers import Codes, ResidualQuantizer

PAIRS = 200_000  # most pairs a prefix length that are compared


@torch.no_grad()
def quantization_report(
    quantizer: ResidualQuantizer,
    x: Tensor,
    content: Tensor,
    labels: NDArray[np.bool_],
) -> pl.DataFrame:
    """Describe the codes of vectors.

    Args:
        quantizer: Fitted quantizer of ``x``.
        x: Quantized vectors, ``[N, f]``.
        content: Vectors whose cosine measures the similarity of items, ``[N, c]``.
        labels: Genres of each item, bool ``[N, g]``.

    Returns:
        A row for each number of levels, from 0 (a random pair): ``levels``, ``nmse`` (squared error
        over variance), ``perplexity`` and ``used`` (share of codes in use) of that level,
        ``prefixes`` (distinct ones), ``pairs`` (of items that share that prefix), ``cosine`` and
        ``jaccard`` (mean over those pairs); and of the full tuples, ``unique`` ones and
        ``collisions``, the share of items that are not alone in theirs.
    """
    codes = quantizer.encode(x)  # [N, L]
    variance = (x - x.mean(0)).square().sum()
    direction = functional.normalize(content, dim=1)
    rng = np.random.default_rng(0)  # draws pairs where there are too many to compare all
    rows = []
    for level in range(quantizer.levels + 1):
        prefix = prefix_numbers(codes[:, :level])
        first, second = _pairs(prefix.cpu().numpy(), rng)
        row = {
            "levels": level,
            "nmse": 1.0,
            "perplexity": None,
            "used": None,
            "prefixes": int(prefix.max()) + 1,
            "pairs": len(first),
            "cosine": float((direction[first] * direction[second]).sum(1).mean()),
            "jaccard": _jaccard(labels[first], labels[second]),
        }
        if level:
            error = (x - quantizer.decode(codes[:, :level])).square().sum()
            share = torch.bincount(codes[:, level - 1], minlength=quantizer.codes) / len(codes)
            row |= {
                "nmse": float(error / variance),
                "perplexity": float(torch.special.entr(share).sum().exp()),
                "used": float((share > 0).float().mean()),
            }
        rows.append(row)
    count = torch.bincount(prefix_numbers(codes))
    return pl.DataFrame(
        rows, schema_overrides={"perplexity": pl.Float64, "used": pl.Float64}
    ).with_columns(
        pl.lit(len(count)).alias("unique"),
        pl.lit(float(count[count > 1].sum() / len(codes))).alias("collisions"),
    )


def prefix_numbers(prefixes: Codes) -> Tensor:
    """Number the distinct rows of ``[N, l]`` from 0, in the order of the codes, ``[N]``."""
    if prefixes.shape[1] == 0:
        return torch.zeros(len(prefixes), dtype=torch.int64, device=prefixes.device)
    numbers: Tensor = torch.unique(prefixes, dim=0, return_inverse=True)[1]
    return numbers


def _pairs(group: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Return pairs of different items of one group, all of them or as many as are compared."""
    order = np.argsort(group, kind="stable")
    size = np.bincount(group)
    start = np.cumsum(size) - size
    pairs = size * (size - 1) // 2
    total = int(pairs.sum())
    if total <= PAIRS:
        upper = [np.triu_indices(n, 1) for n in size]
        first = np.concatenate([start[g] + a for g, (a, _) in enumerate(upper)])
        second = np.concatenate([start[g] + b for g, (_, b) in enumerate(upper)])
    else:
        drawn = rng.choice(len(size), PAIRS, p=pairs / total)
        a = rng.integers(size[drawn])
        b = (a + 1 + rng.integers(size[drawn] - 1)) % size[drawn]
        first, second = start[drawn] + a, start[drawn] + b
    return order[first], order[second]


def _jaccard(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the mean share of labels that two items have in common, of pairs that have any."""
    union = (first | second).sum(1)
    some = union > 0
    return (
        float(((first & second).sum(1)[some] / union[some]).mean()) if some.any() else float("nan")
    )
