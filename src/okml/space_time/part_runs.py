"""Run a part of a model's blocks: those up to a block, or those after it.

An intervention at one block leaves what comes before it as it is. So the blocks before it run once
for a prompt, and the others for each of its many versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from okml.space_time.extract import residual
from okml.space_time.models import LanguageModel, find_blocks


class _Through(nn.Module):
    """Stands in for a block and passes the hidden states on."""

    def forward(self, states: Tensor, *_: Any, **__: Any) -> Tensor:
        return states


class _Given(nn.Module):
    """Stands in for a block and says what leaves it."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, states: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.states.expand(len(states), -1, -1)


@contextmanager
def _replaced(lm: LanguageModel, stand_ins: Mapping[int, nn.Module]) -> Iterator[None]:
    name, blocks = find_blocks(lm.base)
    part = [stand_ins.get(at, block) for at, block in enumerate(blocks)]
    setattr(lm.base, name, nn.ModuleList(part))
    try:
        yield
    finally:
        setattr(lm.base, name, blocks)


@contextmanager
def up_to_block(lm: LanguageModel, layer: int) -> Iterator[None]:
    """Let a model skip the blocks after ``layer`` while the context is open."""
    with _replaced(lm, {at: _Through() for at in range(layer + 1, lm.n_layers)}):
        yield


def states_after(lm: LanguageModel, ids: Tensor, layer: int) -> Tensor:
    """Return what leaves block ``layer``, -1 the embedding, [B, T, d]; later blocks are not run."""
    found: list[Tensor] = []
    first = lm.block(max(layer, 0))
    hook = (
        first.register_forward_pre_hook(lambda _, args: found.append(args[0]))
        if layer < 0
        else first.register_forward_hook(lambda _, __, output: found.append(residual(output)))
    )
    with hook, up_to_block(lm, max(layer, 0)), torch.inference_mode():
        lm.base(input_ids=ids, use_cache=False)
    return found[0]


@contextmanager
def going_on_after(lm: LanguageModel, layer: int, states: Tensor) -> Iterator[None]:
    """Let a model begin with what leaves a block while the context is open.

    Args:
        lm: The language model. The ids that it is called with still say how many rows there are.
        layer: The number of the block; with -1 all blocks run, as outside the context.
        states: The output of the block, [B, T, d]; the same for all rows if B is 1.
    """
    before: dict[int, nn.Module] = {at: _Through() for at in range(layer)}
    with _replaced(lm, before | ({layer: _Given(states)} if layer >= 0 else {})):
        yield
