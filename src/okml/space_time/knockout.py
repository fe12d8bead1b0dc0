"""Attention knockout: what the last token carries if some blocks may not read some tokens.

Geva et al. (2023) cut the attention from the last token to others in a window of blocks, to find
where a fact comes from. What such a token has already told its successors is not cut.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, check_tokens, plan_batches, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import states_after


def read_without(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    hidden: NDArray[np.bool_],
    blocks: Sequence[int],
    *,
    token_budget: int = 1024,
) -> Tensor:
    """Return the last token's residual stream after the last of some blocks, float32 [n, d], CPU.

    Args:
        lm: The language model that is read.
        ids: Flat token ids of all prompts.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        hidden: The tokens that the last one of their prompt does not attend to, [len(ids)].
        blocks: The numbers of the blocks in which they are hidden.
        token_budget: Tokens in one forward pass.

    Raises:
        DataError: If the tokens do not fit the model.
    """
    check_tokens(ids, offsets, lm.model.config)
    batches = plan_batches(offsets, token_budget)
    parts = []
    for rows in progress(batches, "knockout"):
        sequences = read_batch(ids, offsets, rows, lm.device)  # [B, T]
        cut = read_batch(hidden.astype(np.int64), offsets, rows, lm.device).bool()
        with _last_token_without(lm, cut, blocks):
            parts.append(states_after(lm, sequences, max(blocks))[:, -1].float().cpu())
    return torch.cat(parts)[np.argsort(np.concatenate(batches))]


@contextmanager
def _last_token_without(lm: LanguageModel, cut: Tensor, blocks: Sequence[int]) -> Iterator[None]:
    """Keep the last token from attending to some tokens [B, T] while the context is open."""
    length = cut.shape[1]
    allowed = torch.ones(length, length, dtype=torch.bool, device=cut.device).tril()
    allowed = allowed.repeat(len(cut), 1, 1)  # [B, T, T]
    allowed[:, -1] &= ~cut
    mask = torch.zeros_like(allowed, dtype=lm.dtype).masked_fill(
        ~allowed, torch.finfo(lm.dtype).min
    )[:, None]  # [B, 1, T, T]; every head has the same

    def masked(block: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        call = inspect.signature(block.forward).bind(*args, **kwargs)  # some pass it by position
        call.arguments["attention_mask"] = mask
        return call.args, call.kwargs

    with ExitStack() as stack:
        for block in blocks:
            hook = lm.block(block).register_forward_pre_hook(masked, with_kwargs=True)
            stack.enter_context(hook)
        yield
