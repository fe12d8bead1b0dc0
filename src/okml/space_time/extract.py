"""Read the residual stream at an entity's last token, after every block.

Hidden state h = 0 is what enters the first block (the embedding), h = l + 1 is what leaves block l.
All are taken before the final norm, the last one too; ``output_hidden_states`` returns that one
after it (Gurnee & Tegmark, 2023, probe it so).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from okml.accelerator import has_pinned_memory, synchronize
from okml.errors import ParameterError
from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, Rows, check_tokens, plan_batches, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.shared_prefix import SharedPrefix, prefix_length, without_prefix


def read_layers(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    *,
    token_budget: int = 1024,
    share_prefix: bool = True,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the last token's residual stream after each block of a model that is in memory.

    All blocks run over one batch after the other, so the states of all layers are gathered in the
    machine's memory before the first is yielded.

    Args:
        lm: The language model that is read.
        ids: Token ids of all prompts, one after the other; each prompt ends at the entity's last
            token.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        token_budget: Tokens in one forward pass.
        share_prefix: Whether the tokens that all prompts begin with are read once; False gives the
            numbers of ``layerwise.stream_layers`` to the last bit.

    Yields:
        The layer, -1 (the embedding) to L - 1, and its states, float32 [n, d] on the CPU.

    Raises:
        DataError: If the tokens do not fit the model.
        ParameterError: If a state is not finite.
    """
    _check(lm, ids, offsets)
    shared = prefix_length(ids, offsets) if share_prefix else 0
    rest_ids, rest_offsets = without_prefix(ids, offsets, shared)
    prefix = SharedPrefix.read(lm, ids[:shared]) if shared else None
    batches = plan_batches(rest_offsets, token_budget)
    gathered = torch.empty(lm.n_layers + 1, len(offsets) - 1, lm.d_model, dtype=lm.dtype)
    read = iter_states(lm, rest_ids, rest_offsets, batches, prefix)
    for rows, states in progress(read, "batches", total=len(batches)):
        gathered[:, torch.from_numpy(rows)] = states
    for h, states in enumerate(gathered):
        yield h - 1, finite(states.float(), h - 1, lm.dtype)


def iter_states(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    batches: Sequence[Rows],
    prefix: SharedPrefix | None = None,
) -> Iterator[tuple[Rows, Tensor]]:
    """Run the base model over batches and yield the last token's hidden states.

    Args:
        lm: The model; its head is not run.
        ids: Flat token ids.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        batches: Rows of equal length, from ``plan_batches``.
        prefix: The tokens that come before ``ids`` in every prompt.

    Yields:
        The rows of a batch, [B], and their states, [L + 1, B, d], in the model's type on the CPU.
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
        yield rows, buffer


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
    """Return the residual stream, [..., d], in a block's output, which may be a tuple."""
    states: Tensor = block_output[0] if isinstance(block_output, tuple) else block_output
    return states


def finite(states: Tensor, layer: int, dtype: torch.dtype) -> Tensor:
    """Return the states after a layer, computed in a type, if all of them are finite.

    Raises:
        ParameterError: If one is not.
    """
    if torch.isfinite(states).all():
        return states
    where = "the embedding" if layer < 0 else f"block {layer}"
    raise ParameterError(
        f"The activations after {where} are not finite in {str(dtype).removeprefix('torch.')}.",
        "float16 overflows above 65504: use bfloat16 or float32."
        if dtype == torch.float16
        else "The weights or the tokens are damaged.",
    )


def _check(lm: LanguageModel, ids: Ids, offsets: Offsets) -> None:
    check_tokens(ids, offsets, lm.model.config)
    first: nn.Module = lm.blocks[0]
    if any(block.training for block in (first, lm.model)):
        raise ParameterError("The model is in training mode; call `.eval()` on it.")
