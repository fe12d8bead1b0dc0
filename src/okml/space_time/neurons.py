"""Space and time neurons: which single MLP neurons follow a coordinate (Gurnee & Tegmark, Fig. 5).

Three views of neuron j of block l:

* weights: the cosine of its in, gate and out weights with a probe's direction;
* projection: the rank correlation of a target with the residual stream projected on its weights,
  what the authors' code ranks neurons by;
* activation: the rank correlation of a target with what the neuron truly does, the input of the
  out-projection.

The best of tens of thousands of neurons correlates with anything, and any direction of the stream
carries something of what the stream carries. So the projections are also searched among as many
random directions as there are neurons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import DataError
from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, Rows, check_tokens, plan_batches, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import up_to_block
from okml.space_time.readings import Reading
from okml.space_time.ridge import over_rms

COLUMNS_AT_A_TIME = 2_048  # neurons that are ranked together


def weight_cosines(weights: Tensor, direction: NDArray[np.floating]) -> Tensor:
    """Return the cosine of every neuron's weights [m, d] with a probe's direction [d], [m]."""
    unit = torch.from_numpy(direction / np.linalg.norm(direction)).to(weights.device).float()
    cosines: Tensor = torch.nn.functional.normalize(weights.float(), dim=1) @ unit
    return cosines


def search_projections(
    lm: LanguageModel,
    reading: Reading,
    targets: Mapping[str, NDArray[np.floating]],
    *,
    rows: Rows | None = None,
    random_seed: Sequence[int] | None = None,
) -> pl.DataFrame:
    """Correlate targets with the residual stream projected on each neuron's weights.

    As in the authors' code: the stream after block l, each row divided by its root mean square, is
    projected on the out weights of block l and on the in and gate weights of block l + 1, without
    the norm's gain, attention or non-linearity. The last block's output is not read.

    Args:
        lm: The language model that was read.
        reading: A reading of this model that kept all layers.
        targets: The targets to correlate with, [n] each.
        rows: Entities to use, all by default.
        random_seed: The seed of as many random directions, which replace the weights; None:
            the weights themselves.

    Returns:
        One row a neuron, weight and target: ``layer``, ``neuron`` (both 0-based), ``weight`` (up,
        gate, down), ``target``, ``rho`` (Spearman; NaN where a projection is constant).

    Raises:
        DataError: If targets and entities do not match.
    """
    chosen = np.arange(reading.listing.entities) if rows is None else rows
    columns = np.stack([np.asarray(target, np.float64) for target in targets.values()], axis=1)
    if len(columns) != len(chosen) or not np.isfinite(columns).all():
        raise DataError(f"Targets must be {len(chosen)} finite numbers, one an entity.")
    true = torch.from_numpy(columns).to(lm.device)
    frames = []
    for layer in progress(range(lm.n_layers - 1), "projections"):
        states = _unit_rows(lm, reading, layer, chosen)
        for block in (layer, layer + 1):
            for weight in lm.mlp(block).neuron_weights():
                if read_after(block, weight) == layer:
                    projected = states @ _directions(lm, block, weight, random_seed).T  # [n, m]
                    rho = rank_correlations(projected, true)
                    frames.append(_frame(block, weight, list(targets), rho))
    return pl.concat(frames)


def _frame(layer: int, weight: str, targets: Sequence[str], rho: Tensor) -> pl.DataFrame:
    """Return correlations [m, t] as tidy rows."""
    m, t = rho.shape
    return pl.DataFrame(
        {
            "layer": np.full(m * t, layer, np.int32),
            "neuron": np.repeat(np.arange(m, dtype=np.int32), t),
            "weight": pl.Series([weight]).new_from_index(0, m * t),
            "target": list(targets) * m,
            "rho": rho.cpu().double().numpy().ravel(),
        }
    )


def strongest(searched: pl.DataFrame, count: int = 1) -> pl.DataFrame:
    """Return the ``count`` rows of a search with the largest |rho| for each target, best first."""
    known = searched.filter(pl.col("rho").is_not_nan())
    ordered = known.sort(pl.col("rho").abs(), descending=True, maintain_order=True)
    return ordered.group_by("target", maintain_order=True).head(count)


def project(
    lm: LanguageModel,
    reading: Reading,
    found: Mapping[str, Any],
    rows: Rows,
    random_seed: Sequence[int] | None = None,
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
    states = _unit_rows(lm, reading, read_after(block, weight), rows)
    direction = _directions(lm, block, weight, random_seed)[found["neuron"]]
    return np.asarray((states @ direction).cpu().numpy(), dtype=np.float64)


def read_after(block: int, weight: str) -> int:
    """Return the block after which the stream is projected on the weights of a block."""
    return block if weight == "down" else block - 1


def _unit_rows(lm: LanguageModel, reading: Reading, layer: int, rows: Rows) -> Tensor:
    return over_rms(torch.from_numpy(reading.layer(layer)[rows]).to(lm.device))  # [n, d]


def _directions(
    lm: LanguageModel, block: int, weight: str, random_seed: Sequence[int] | None
) -> Tensor:
    """Return the weights of all neurons of a block, or as many random directions, [m, d]."""
    weights = lm.mlp(block).neuron_weights()[weight].float()
    if random_seed is None:
        return weights
    key = [*random_seed, block, *weight.encode()]
    drawn = np.random.default_rng(key).standard_normal(weights.shape, dtype=np.float32)
    return torch.from_numpy(drawn).to(weights)


def neuron_activations(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    layer: int,
    *,
    every_token: bool = False,
    token_budget: int = 1024,
) -> Tensor:
    """Return a block's neuron activations; see :func:`activations_of_blocks`."""
    read = activations_of_blocks(
        lm, ids, offsets, [layer], every_token=every_token, token_budget=token_budget
    )
    return read[layer]


def activations_of_blocks(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    layers: Sequence[int],
    *,
    every_token: bool = False,
    token_budget: int = 1024,
) -> dict[int, Tensor]:
    """Return the neuron activations of some blocks by their number, float32 on the CPU.

    Args:
        lm: The language model that is read.
        ids: Flat token ids of the prompts.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        layers: The numbers of the blocks.
        every_token: Whether all tokens are read, in no order, [len(ids), m], and not the last one
            of each prompt, [n, m].
        token_budget: Tokens in one forward pass.

    Raises:
        DataError: If the tokens do not fit the model.
    """
    check_tokens(ids, offsets, lm.model.config)
    batches = plan_batches(offsets, token_budget)
    seen: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def keep(layer: int, activations: Tensor) -> None:  # [B, T, m]
        entering = activations.flatten(0, 1) if every_token else activations[:, -1]
        seen[layer].append(entering.float().cpu())

    with ExitStack() as hooks, torch.inference_mode(), up_to_block(lm, max(layers)):
        for layer in seen:
            hooks.enter_context(
                lm.mlp(layer).down.register_forward_pre_hook(
                    lambda _, args, layer=layer: keep(layer, args[0])
                )
            )
        for rows in progress(batches, "neurons"):
            lm.base(input_ids=read_batch(ids, offsets, rows, lm.device), use_cache=False)
    order = slice(None) if every_token else np.argsort(np.concatenate(batches))
    return {layer: torch.cat(parts)[order] for layer, parts in seen.items()}


def average_ranks(values: Tensor) -> Tensor:
    """Rank each row of ``values`` [m, n] from 1 to n in float32; ties share their mean rank."""
    m, n = values.shape
    if values.device.type == "cpu":  # NumPy sorts with the vectors of the processor, in one thread
        parts = np.array_split(values.numpy(), torch.get_num_threads())
        with ThreadPoolExecutor(len(parts)) as pool:
            sort = partial(np.argsort, axis=1)
            order = torch.from_numpy(np.concatenate([*pool.map(sort, parts)]))
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
        values: The first variables, one a column, [n, m].
        targets: The second variables, one a column, [n, t].

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
