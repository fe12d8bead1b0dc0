"""The tokens that all prompts begin with, read once.

"What are the lat/lon coordinates of " is nine tokens before a name of four. In a causal model
nothing after them changes what the prefix computes, so its keys and values are computed once and
given to every batch: the same numbers up to rounding, in less than half of the time.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from okml.space_time.batches import Ids, Offsets
from okml.space_time.models import LanguageModel


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values of the first tokens of all prompts.

    Attributes:
        argument: The name of the argument by which the model takes a cache of keys and values.
        cache: The keys and values, for a batch of one.
    """

    argument: str
    cache: Any

    @classmethod
    def read(cls, lm: LanguageModel, ids: Ids) -> SharedPrefix:
        """Run the base model over the prefix, [P]."""
        parameters = inspect.signature(lm.base.forward).parameters
        argument = "cache" if "cache" in parameters else "past_key_values"
        cache = DynamicCache(config=lm.model.config)
        tokens = torch.from_numpy(ids.astype(np.int64))[None].to(lm.device)
        with torch.inference_mode():
            lm.base(input_ids=tokens, use_cache=True, **{argument: cache})
        return cls(argument, cache)

    def for_batch(self, size: int) -> dict[str, Any]:
        """Return the arguments that let a batch of ``size`` prompts go on after the prefix."""
        cache = copy.deepcopy(self.cache)  # the model appends to the one it is given
        cache.batch_repeat_interleave(size)
        return {"use_cache": True, self.argument: cache}


def prefix_length(ids: Ids, offsets: Offsets) -> int:
    """Return how many first tokens all prompts share, leaving each at least one of its own."""
    first = ids[offsets[0] : offsets[1]]
    shortest = int(np.diff(offsets).min())
    columns = ids[offsets[:-1, None] + np.arange(shortest - 1)]  # [n, shortest - 1]
    differs = (columns != first[: shortest - 1]).any(axis=0)
    return int(np.argmax(differs)) if differs.any() else shortest - 1


def without_prefix(ids: Ids, offsets: Offsets, length: int) -> tuple[Ids, Offsets]:
    """Return the flat ids and offsets of what follows the first ``length`` tokens of each."""
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    kept = ids[np.arange(len(ids)) - starts >= length]
    return kept, offsets - length * np.arange(len(offsets))
