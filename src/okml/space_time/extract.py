"""Read the residual stream at an entity's last token, after every block.

Hidden state h = 0 is what enters the first block (the embedding), h = l + 1 is what leaves block l.
All are taken before the final norm, the last one too; ``output_hidden_states`` returns that one
after it (Gurnee & Tegmark, 2023, probe it so).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.accelerator import has_pinned_memory, synchronize
from okml.errors import ParameterError
from okml.runtime import progress
from okml.space_time.activations import (
    ActivationStore,
    Storage,
    StoreManifest,
    open_store,
    tokens_hash,
)
from okml.space_time.batches import Ids, Offsets, Rows, check_tokens, plan_batches, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.shared_prefix import SharedPrefix, prefix_length, without_prefix


def extract(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    folder: Path,
    *,
    data_set: str,
    prompt: str,
    token_budget: int = 1024,
    storage: Storage = "float16",
    share_prefix: bool = True,
    flush_seconds: float = 5.0,
) -> ActivationStore:
    """Fill, continue or merely open the store of these tokens' activations.

    A store that a killed run left behind is continued at the first batch not on disk; a finished
    one is opened without touching the model.

    Args:
        lm: The language model that is read.
        ids: Token ids of all prompts, one after the other; each prompt ends at the entity's last
            token.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        folder: The folder of all stores; this one's subfolder is named by a hash of its manifest.
        data_set: Name of the entity set, for the record.
        prompt: Name of the prompt variant, for the record.
        token_budget: Tokens in one forward pass.
        storage: Type on disk. float16 keeps all bits of bfloat16 but less range, which is checked.
        share_prefix: Whether the tokens that all prompts begin with are read once; False gives the
            numbers of layer-major extraction to the last bit.
        flush_seconds: The longest stretch of work that a kill can lose.

    Returns:
        The finished store, shape [L + 1, n, d].

    Raises:
        DataError: If the tokens do not fit the model, or the store on disk is damaged.
        ParameterError: If activations overflow the model's or the store's type.
        ResourceError: If the disk is too small.
    """
    _check(lm, ids, offsets)
    shared = prefix_length(ids, offsets) if share_prefix else 0
    rest_ids, rest_offsets = without_prefix(ids, offsets, shared)
    batches = plan_batches(rest_offsets, token_budget)
    manifest = describe(
        lm,
        ids,
        offsets,
        fingerprint=lm.fingerprint,
        data_set=data_set,
        prompt=prompt,
        order="batch-major",
        parts=len(batches),
        token_budget=token_budget,
        shared_prefix=shared,
        storage=storage,
        device=lm.device.type,
    )
    with open_store(folder, manifest) as store:
        waiting = np.flatnonzero(~store.done)
        prefix = SharedPrefix.read(lm, ids[:shared]) if shared and len(waiting) else None
        todo = [batches[b] for b in waiting]
        states = iter_states(lm, rest_ids, rest_offsets, todo, prefix)
        bar = progress(states, f"{data_set}/{prompt}", total=len(waiting))
        with store.writing(flush_seconds) as write:
            for batch, (rows, values) in zip(waiting, bar, strict=True):
                write(int(batch), np.s_[:, rows], values)
    return store


def describe(lm: LanguageModel, ids: Ids, offsets: Offsets, **fields: Any) -> StoreManifest:
    """Return the manifest of these tokens' activations; ``fields`` are those of the extraction."""
    return StoreManifest(
        model=lm.name,
        tokens=tokens_hash(ids, offsets),
        entities=len(offsets) - 1,
        blocks=lm.n_layers,
        d_model=lm.d_model,
        dtype=str(lm.dtype).removeprefix("torch."),
        quantization=lm.quantization,
        **fields,
    )


def iter_states(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    batches: Sequence[Rows],
    prefix: SharedPrefix | None = None,
) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Run the base model over batches and yield the last token's hidden states.

    Args:
        lm: The model; its head is not run.
        ids: Flat token ids.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        batches: Rows of equal length, from ``plan_batches``.
        prefix: The tokens that come before ``ids`` in every prompt.

    Yields:
        The rows of a batch, [B], and their states, [L + 1, B, d].

    Raises:
        ParameterError: If a state is not finite.
    """
    for rows in batches:
        batch = read_batch(ids, offsets, rows, lm.device)
        shape = (lm.n_layers + 1, len(rows), lm.d_model)
        # Pinned memory lets each block's copy run while the next block computes.
        buffer = torch.empty(shape, dtype=lm.dtype, pin_memory=has_pinned_memory(lm.device))
        before = prefix.for_batch(len(rows)) if prefix else {"use_cache": False}
        with torch.inference_mode(), last_token_into(buffer, lm):
            lm.base(input_ids=batch, **before)
        synchronize(lm.device)
        yield rows, _finite(buffer)


@contextmanager
def last_token_into(buffer: Tensor, lm: LanguageModel) -> Iterator[None]:
    """Copy the last token's row of every hidden state into ``buffer`` [L + 1, B, d]."""

    def keep(h: int, states: Tensor) -> None:  # states: [B, T, d]
        buffer[h].copy_(states[:, -1], non_blocking=True)

    with ExitStack() as stack:
        stack.enter_context(
            lm.blocks[0].register_forward_pre_hook(lambda _, args: keep(0, args[0]))
        )
        for h, block in enumerate(lm.blocks, start=1):
            stack.enter_context(
                block.register_forward_hook(lambda _, __, output, h=h: keep(h, residual(output)))
            )
        yield


def residual(block_output: Any) -> Tensor:
    """Return the residual stream in a block's output, which some families wrap in a tuple."""
    states: Tensor = block_output[0] if isinstance(block_output, tuple) else block_output
    return states


def _finite(buffer: Tensor) -> NDArray[np.float32]:
    values = buffer.float()
    good = torch.isfinite(values).flatten(1).all(dim=1)
    if not good.all():
        h = int(torch.argmin(good.int()))
        where = "the embedding" if h == 0 else f"block {h - 1}"
        kind = str(buffer.dtype).removeprefix("torch.")
        raise ParameterError(
            f"The activations after {where} are not finite in {kind}.",
            "float16 overflows above 65504: use bfloat16 or float32."
            if buffer.dtype == torch.float16
            else "The weights or the tokens are damaged.",
        )
    return values.numpy()


def _check(lm: LanguageModel, ids: Ids, offsets: Offsets) -> None:
    config = lm.model.config
    check_tokens(ids, offsets, config.vocab_size, config.max_position_embeddings)
    first: nn.Module = lm.blocks[0]
    if any(block.training for block in (first, lm.model)):
        raise ParameterError("The model is in training mode; call `.eval()` on it.")
