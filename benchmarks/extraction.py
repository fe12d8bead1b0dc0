"""Activation extraction: okml beside what people do instead, in one run on one machine.

Every contestant runs in a process of its own, on the same tokens, with the model warmed up and
loading not timed. The contestants take turns for a few rounds and the fastest round of each counts,
since other work on the machine can only slow one down. All must return the same numbers: the
residual stream at the last token of every prompt, after every block and before the final norm.

    python benchmarks/extraction.py --out extraction.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import numpy as np
import torch

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    Figures,
    Quantity,
    alone,
    parser_of,
    taken,
    write_benchmark,
)
from okml.benchmark import compare as compare_figures
from okml.runtime import peak_memory_gib
from okml.space_time import entities
from okml.space_time.batches import plan_batches
from okml.space_time.extract import read_layers
from okml.space_time.models import LanguageModel, load_causal_lm
from okml.space_time.prompts import default_prompt, tokenize

PADDED_BATCH = 64
WARM_UP = 8  # prompts
# Largest difference, as a share of the largest activation. bfloat16 has 8 bits.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}


def okml_shared(lm: LanguageModel, ids: Any, offsets: Any, budget: int) -> np.ndarray:
    """Length buckets and a prefix that is read once: what the chapter runs."""
    return stacked(read_layers(lm, ids, offsets, token_budget=budget))


def okml_plain(lm: LanguageModel, ids: Any, offsets: Any, budget: int) -> np.ndarray:
    """Length buckets alone."""
    return stacked(read_layers(lm, ids, offsets, token_budget=budget, share_prefix=False))


def stacked(layers: Iterator[tuple[int, torch.Tensor]]) -> np.ndarray:
    return torch.stack([states for _, states in layers]).numpy()


def one_at_a_time(lm: LanguageModel, ids: Any, offsets: Any, budget: int) -> np.ndarray:
    """A loop over prompts with ``output_hidden_states=True``."""
    found = np.empty((lm.n_layers + 1, len(offsets) - 1, lm.d_model), dtype=np.float32)
    for row in range(len(offsets) - 1):
        sequence = torch.from_numpy(ids[offsets[row] : offsets[row + 1]])[None]
        with torch.inference_mode():
            states = lm.base(sequence, output_hidden_states=True, use_cache=False).hidden_states
        found[:, row] = torch.stack([state[0, -1] for state in states]).float().numpy()
    return found


def padded(lm: LanguageModel, ids: Any, offsets: Any, budget: int) -> np.ndarray:
    """Padded batches in the order of the data, attention mask, ``output_hidden_states=True``."""
    lengths = np.diff(offsets)
    found = np.empty((lm.n_layers + 1, len(lengths), lm.d_model), dtype=np.float32)
    for start in range(0, len(lengths), PADDED_BATCH):
        rows = np.arange(start, min(start + PADDED_BATCH, len(lengths)))
        mask = torch.from_numpy(np.arange(lengths[rows].max()) < lengths[rows, None])
        batch = torch.zeros(mask.shape, dtype=torch.int64)
        batch[mask] = torch.from_numpy(ids[offsets[rows[0]] : offsets[rows[-1] + 1]])
        with torch.inference_mode():
            states = lm.base(
                batch, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states
        last = torch.from_numpy(lengths[rows] - 1)
        for h, state in enumerate(states):
            found[h, rows] = state[torch.arange(len(rows)), last].float().numpy()
    return found


def with_nnsight(lm: LanguageModel, ids: Any, offsets: Any, budget: int) -> np.ndarray:
    """Our length buckets, read through nnsight's tracing instead of forward hooks."""
    from nnsight import NNsight, save

    traced = NNsight(lm.base)
    found = np.empty((lm.n_layers + 1, len(offsets) - 1, lm.d_model), dtype=np.float32)
    for rows in plan_batches(offsets, budget):
        length = int(offsets[rows[0] + 1] - offsets[rows[0]])
        batch = torch.from_numpy(ids[offsets[rows][:, None] + np.arange(length)])
        with torch.inference_mode(), traced.trace(batch, use_cache=False):
            states = [traced.layers[0].input[:, -1]]
            for block in traced.layers:
                states.append(block.output[:, -1])
            states = save(states)
        found[:, rows] = torch.stack(list(states)).float().numpy()
    return found


Contestant = Callable[[LanguageModel, Any, Any, int], np.ndarray]
CONTESTANTS: dict[str, Contestant] = {
    "okml": okml_shared,
    "okml_without_shared_prefix": okml_plain,
    "nnsight": with_nnsight,
    "padded_batches": padded,
    "one_prompt_at_a_time": one_at_a_time,
}
PEERS = {
    "okml": "okml",
    "okml_without_shared_prefix": "okml without the shared prefix",
    "nnsight": f"nnsight {metadata.version('nnsight')}, our length buckets",
    "padded_batches": f"padded batches of {PADDED_BATCH}, output_hidden_states",
    "one_prompt_at_a_time": "one prompt at a time, output_hidden_states",
}
QUANTITIES = (
    Quantity("cpu_seconds", "processor time", "s"),
    Quantity("tokens_per_second", "speed", "tokens/s", better="higher"),
    Quantity("peak_memory_gib", "peak memory", "GiB"),
)
# transformers returns its last hidden state after the final norm.
POST_NORM = {"padded_batches", "one_prompt_at_a_time"}


def work(
    name: str, ids: Any, offsets: Any, model: str, dtype: str, budget: int
) -> tuple[np.ndarray, Figures]:
    """Run one contestant and return its states and figures."""
    lm = load_causal_lm(model, dtype=dtype, device="cpu")
    warm = offsets[: WARM_UP + 1]
    CONTESTANTS[name](lm, ids[: warm[-1]], warm, budget)
    states, figures = taken(lambda: CONTESTANTS[name](lm, ids, offsets, budget))
    figures["tokens_per_second"] = len(ids) / figures["seconds"]
    figures["peak_memory_gib"] = peak_memory_gib()
    return states, figures


def compare(arguments: argparse.Namespace) -> BenchmarkRecord:
    """Run all contestants one after the other and compare speed, memory and numbers."""
    cities = entities.load("cities").sample(arguments.entities, seed=0)
    lm = load_causal_lm(arguments.model, device="cpu")
    prompt = default_prompt("cities")
    tokens = tokenize(cities, prompt, lm.tokenizer, lm.document_start, seed=0)
    ids, offsets = tokens.ids.astype(np.int64), tokens.offsets
    figures: dict[str, Figures] = {}
    states: dict[str, np.ndarray] = {}
    for _ in range(arguments.rounds):
        for name in CONTESTANTS:
            states[name], new = alone(
                work, name, ids, offsets, arguments.model, arguments.dtype, arguments.token_budget
            )
            if name not in figures or new["seconds"] < figures[name]["seconds"]:
                figures[name] = new
    checks = []
    for name, theirs in states.items():
        mine = states["okml"]
        if name in POST_NORM:  # transformers returns their last state after the final norm
            mine, theirs = mine[:-1], theirs[:-1]
        difference = float(np.abs(mine - theirs).max() / np.abs(mine).max())
        checks.append(
            Check(what=PEERS[name], difference=difference, tolerance=TOLERANCE[arguments.dtype])
        )
    ours = figures.pop("okml")
    return write_benchmark(
        arguments.out,
        f"Activations of all layers, {arguments.dtype}",
        f"Residual stream of {arguments.model} ({arguments.dtype}) at the last token of "
        f"{len(tokens)} city names under the prompt '{prompt}', all layers, {len(tokens.ids)} "
        f"tokens on {torch.get_num_threads()} threads. Tokens per second count every token of "
        "every prompt, read once or not; each contestant runs in a process of its own.",
        compare_figures(
            ours,
            {PEERS[name]: peer for name, peer in figures.items()},
            QUANTITIES,
            arguments.rounds,
        ),
        checks[1:],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="smollm2_135m")
    parser.add_argument("--dtype", default="float32", choices=list(TOLERANCE))
    parser.add_argument("--entities", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--token-budget", type=int, default=1024)
    print(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
