"""Space and time neurons: which single MLP neurons follow a coordinate (Gurnee & Tegmark, Fig. 5).

Three views of neuron j of block l:

* weights: the cosine of its in, gate and out weights with a probe's direction;
* projection: the rank correlation of a target with the residual stream projected on its weights,
  what the authors' code ranks neurons by;
* activation: the rank correlation of a target with what the neuron truly does, the input of the
  out-projection.

The best of tens of thousands of neurons correlates with anything. So each search is repeated on
shuffled targets, and its best neuron is compared with the best neurons found there. And any
direction of the stream carries something of what the stream carries, so the projections are also
searched among as many random directions as there are neurons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import DataError
from okml.runtime import GIB, progress
from okml.space_time.batches import Ids, Offsets, Rows, check_tokens, plan_batches, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import up_to_block
from okml.space_time.readings import Reading

EPSILON = 1e-6
COLUMNS_AT_A_TIME = 2_048  # neurons that are ranked together


@dataclass(frozen=True)
class NeuronSearch:
    """The outcome of a search through all neurons.

    Attributes:
        neurons: One row a neuron, weight and target: ``layer``, ``neuron`` (both 0-based),
            ``weight`` (up, gate, down), ``target``, ``rho`` (Spearman).
        null: The largest |rho| of the same search on shuffled targets: ``target``, ``shuffle``,
            ``max_abs_rho``.
    """

    neurons: pl.DataFrame
    null: pl.DataFrame

    def best(self, count: int = 1) -> pl.DataFrame:
        """Return the ``count`` rows with the largest |rho| for each target, best first."""
        return _top(self.neurons, "rho", count)


def weight_cosines(
    lm: LanguageModel, directions: Mapping[str, NDArray[np.floating]]
) -> pl.DataFrame:
    """Return the cosine of every neuron's weights with probe directions.

    Args:
        lm: The language model that is read.
        directions: Probe direction of each target in the space of raw activations, [d].

    Returns:
        ``layer``, ``neuron``, ``weight``, ``target``, ``cosine``.
    """
    names = list(directions)
    stacked = np.stack([np.asarray(directions[name], np.float64) for name in names])
    units = torch.from_numpy(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))  # [t, d]
    frames = []
    for layer in range(lm.n_layers):
        for weight, rows in lm.mlp(layer).neuron_weights().items():
            values = torch.nn.functional.normalize(rows.float(), dim=1)  # [m, d]
            cosines = values @ units.to(values).T  # [m, t]
            frames.append(_frame(layer, weight, names, cosines, "cosine"))
    return pl.concat(frames)


def search_projections(
    lm: LanguageModel,
    reading: Reading,
    targets: Mapping[str, NDArray[np.floating]],
    *,
    rows: Rows | None = None,
    shuffles: int = 5,
    seed: int = 0,
    random_seed: int | None = None,
) -> NeuronSearch:
    """Correlate targets with the residual stream projected on each neuron's weights.

    As in the authors' code: the stream after block l, each row divided by its root mean square, is
    projected on the out weights of block l and on the in and gate weights of block l + 1, without
    the norm's gain, attention or non-linearity. The last block's output is not read.

    Args:
        lm: The language model that was read.
        reading: A reading of this model that kept all layers.
        targets: The targets to correlate with, [n] each.
        rows: Entities to use, all by default.
        shuffles: Repeats of the search on shuffled targets.
        seed: The seed of the shuffles.
        random_seed: The seed of as many random directions, which replace the weights; None:
            the weights themselves.

    Raises:
        DataError: If targets and entities do not match.
    """
    chosen = np.arange(reading.listing.entities) if rows is None else rows
    collector = _Collector(targets, len(chosen), shuffles, seed, lm.device)
    for layer in progress(range(lm.n_layers - 1), "projections"):
        states = _unit_rows(lm, reading, layer, chosen)
        for block in (layer, layer + 1):
            for weight in lm.mlp(block).neuron_weights():
                if _read_after(block, weight) == layer:
                    rows_of = _directions(lm, block, weight, random_seed)
                    collector.add(block, weight, states @ rows_of.T)
    return collector.result()


def project(
    lm: LanguageModel,
    reading: Reading,
    found: Mapping[str, Any],
    rows: Rows,
    random_seed: int | None = None,
) -> NDArray[np.float64]:
    """Return the projections of entities on one direction that a search found, [n].

    Args:
        lm: The language model that is read.
        reading: A reading of this model that kept all layers.
        found: A row of the search: ``layer``, ``weight``, ``neuron``.
        rows: The entities to project.
        random_seed: The seed of a search among random directions.
    """
    block, weight = found["layer"], found["weight"]
    states = _unit_rows(lm, reading, _read_after(block, weight), rows)
    direction = _directions(lm, block, weight, random_seed)[found["neuron"]]
    return np.asarray((states @ direction).cpu().numpy(), dtype=np.float64)


def _read_after(block: int, weight: str) -> int:
    """Return the block after which the stream is projected on the weights of a block."""
    return block if weight == "down" else block - 1


def _unit_rows(lm: LanguageModel, reading: Reading, layer: int, rows: Rows) -> Tensor:
    states = torch.from_numpy(reading.layer(layer)[rows]).to(lm.device)  # [n, d]
    return states / (states.square().mean(dim=1, keepdim=True) + EPSILON).sqrt()


def _directions(lm: LanguageModel, block: int, weight: str, random_seed: int | None) -> Tensor:
    """Return the weights of all neurons of a block, or as many random directions, [m, d]."""
    weights = lm.mlp(block).neuron_weights()[weight].float()
    if random_seed is None:
        return weights
    key = [random_seed, block, *weight.encode()]
    drawn = np.random.default_rng(key).standard_normal(weights.shape, dtype=np.float32)
    return torch.from_numpy(drawn).to(weights)


def neuron_activations(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    layers: Sequence[int],
    token_budget: int = 1024,
    memory_gib: float = 4.0,
) -> Iterator[tuple[int, Tensor]]:
    """Yield each block's neuron activations at the last token, float32 [n, m].

    As many blocks are read in one pass over the prompts as fit in ``memory_gib``.
    """
    check_tokens(ids, offsets, lm.model.config.vocab_size, lm.model.config.max_position_embeddings)
    batches = plan_batches(offsets, token_budget)
    n, width = len(offsets) - 1, lm.mlp(layers[0]).width
    at_once = max(1, int(memory_gib * GIB / (4 * n * width)))
    for start in range(0, len(layers), at_once):
        group = layers[start : start + at_once]
        found = torch.empty(len(group), n, width)
        for rows in progress(batches, f"neurons of blocks {group[0]}-{group[-1]}"):
            batch = read_batch(ids, offsets, rows, lm.device)
            with (
                torch.inference_mode(),
                _record_neurons(lm, group, found, rows),
                up_to_block(lm, max(group)),
            ):
                lm.base(input_ids=batch, use_cache=False)
        yield from zip(group, found, strict=True)


@contextmanager
def _record_neurons(
    lm: LanguageModel, layers: Sequence[int], found: Tensor, rows: Rows
) -> Iterator[None]:
    """Keep what enters the out-projections at the last token: ``found[slot, rows]`` [B, m]."""
    places = torch.from_numpy(rows)

    def keep(slot: int, entering: Tensor) -> None:  # entering: [B, T, m]
        found[slot, places] = entering[:, -1].float().cpu()

    with ExitStack() as stack:
        for slot, layer in enumerate(layers):
            handle = lm.mlp(layer).down.register_forward_pre_hook(
                lambda _, args, slot=slot: keep(slot, args[0])
            )
            stack.callback(handle.remove)
        yield


class _Collector:
    """Correlates blocks of neurons with true and shuffled targets and keeps the null's maxima."""

    def __init__(
        self,
        targets: Mapping[str, NDArray[np.floating]],
        n: int,
        shuffles: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.names = list(targets)
        true = np.stack([np.asarray(targets[name], np.float64) for name in self.names], axis=1)
        if true.shape[0] != n or not np.isfinite(true).all():
            raise DataError(f"Targets must be {n} finite numbers, one an entity.")
        rng = np.random.default_rng(seed)
        # Targets move together, so that a shuffle keeps how longitude and latitude depend.
        shuffled = [true[rng.permutation(n)] for _ in range(shuffles)]
        columns = np.concatenate([true, *shuffled], axis=1)  # [n, t * (1 + shuffles)]
        self.columns = torch.from_numpy(columns).to(device)
        self.null = np.zeros((shuffles, len(self.names)))
        self.frames: list[pl.DataFrame] = []

    def add(self, layer: int, weight: str, values: Tensor) -> None:  # values: [n, m]
        rho = rank_correlations(values.to(self.columns.device), self.columns)
        t = len(self.names)
        self.frames.append(_frame(layer, weight, self.names, rho[:, :t], "rho"))
        largest = rho[:, t:].abs().nan_to_num(0).amax(dim=0)
        self.null = np.maximum(self.null, largest.cpu().numpy().reshape(self.null.shape))

    def result(self) -> NeuronSearch:
        shuffles, t = self.null.shape
        null = pl.DataFrame(
            {
                "target": self.names * shuffles,
                "shuffle": np.repeat(np.arange(shuffles), t),
                "max_abs_rho": self.null.ravel(),
            },
            schema={"target": pl.String, "shuffle": pl.Int64, "max_abs_rho": pl.Float64},
        )
        return NeuronSearch(pl.concat(self.frames), null)


def _frame(
    layer: int, weight: str, targets: Sequence[str], scores: Tensor, column: str
) -> pl.DataFrame:
    """Return scores [m, t] as tidy rows."""
    m, t = scores.shape
    return pl.DataFrame(
        {
            "layer": np.full(m * t, layer, np.int32),
            "neuron": np.repeat(np.arange(m, dtype=np.int32), t),
            "weight": pl.Series([weight]).new_from_index(0, m * t),
            "target": list(targets) * m,
            column: scores.cpu().double().numpy().ravel(),
        }
    )


def _top(frame: pl.DataFrame, column: str, count: int) -> pl.DataFrame:
    known = frame.filter(pl.col(column).is_not_nan())
    strongest = known.sort(pl.col(column).abs(), descending=True, maintain_order=True)
    return strongest.group_by("target", maintain_order=True).head(count)


def average_ranks(values: Tensor) -> Tensor:
    """Rank each row of ``values`` [m, n] from 1 to n in float32; ties share their mean rank."""
    m, n = values.shape
    if values.device.type == "cpu":  # NumPy sorts with the vectors of the processor
        order = torch.from_numpy(np.argsort(values.numpy(), axis=1))
    else:
        order = values.argsort(dim=1)
    ordered = values.gather(1, order)
    place = torch.arange(n, device=values.device)
    ranks = torch.arange(1, n + 1, device=values.device, dtype=torch.float32).repeat(m, 1)
    edge = torch.ones_like(ordered, dtype=torch.bool)  # true where a run of equal values begins
    edge[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    tied = (~edge).any(dim=1)
    edge = edge[tied]
    # A run goes from the last edge at or before a place to just before the next edge.
    first = torch.where(edge, place, 0).cummax(dim=1).values
    end = torch.ones_like(edge)
    end[:, :-1] = edge[:, 1:]
    last = torch.where(end, place, n - 1).flip(1).cummin(dim=1).values.flip(1)
    ranks[tied] = (first + last).float() / 2 + 1
    return torch.empty_like(ranks).scatter_(1, order, ranks)


def rank_correlations(values: Tensor, targets: Tensor) -> Tensor:
    """Return Spearman's rho of each column of ``values`` with each column of ``targets``.

    Args:
        values: [n, m].
        targets: [n, t].

    Returns:
        [m, t]; NaN where a column is constant.
    """
    unit_targets = _unit_ranks(targets.T)  # [t, n]
    chunks = torch.split(values.T, COLUMNS_AT_A_TIME)
    return torch.cat([_unit_ranks(chunk) @ unit_targets.T for chunk in chunks])


def _unit_ranks(rows: Tensor) -> Tensor:
    ranks = average_ranks(rows.contiguous())
    ranks -= ranks.mean(dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(ranks, dim=1, keepdim=True)
    return ranks / lengths
