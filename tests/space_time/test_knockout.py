from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from okml.space_time.batches import end_to_end
from okml.space_time.experiments import carrying
from okml.space_time.experiments.carrying import NOTHING, QUESTION, REGION, REST
from okml.space_time.knockout import read_without
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import neuron_activations
from tests.space_time.tiny_models import LAYERS, Prompts, sequence

EVERY_BLOCK = range(LAYERS)


def last_states(lm: LanguageModel, ids: torch.Tensor, layer: int, **call: Any) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output)[0, -1])

    with torch.inference_mode(), lm.block(layer).register_forward_hook(keep):
        lm.base(ids, use_cache=False, **call)
    return found[0]


def test_nothing_hidden_is_a_plain_pass(lm: LanguageModel, prompts: Prompts) -> None:
    ids, offsets = prompts
    read = read_without(lm, ids, offsets, np.zeros(len(ids), bool), [0, 1], token_budget=30)
    for row in (0, 7, 39):
        expected = last_states(lm, sequence(prompts, row), 1)
        torch.testing.assert_close(read[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lm", ["llama", "neox"], indirect=True)
def test_hidden_in_every_block_is_the_librarys_own_mask(
    lm: LanguageModel, prompts: Prompts
) -> None:
    """Independent way: transformers takes a mask of four dimensions for all blocks at once."""
    ids, offsets = prompts
    hidden = np.random.default_rng(0).random(len(ids)) < 0.4
    hidden[offsets[1:] - 1] = False  # the last token reads itself
    read = read_without(lm, ids, offsets, hidden, EVERY_BLOCK, token_budget=30)
    changed = 0
    for row in (0, 7, 21, 39):
        own = sequence(prompts, row)
        length = own.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        mask[-1, torch.from_numpy(hidden[offsets[row] : offsets[row + 1]])] = -torch.inf
        expected = last_states(lm, own, LAYERS - 1, attention_mask=mask[None, None])
        torch.testing.assert_close(read[row], expected, atol=1e-4, rtol=1e-4)
        changed += int((read[row] - last_states(lm, own, LAYERS - 1)).abs().max() > 0.01)
    assert changed >= 2


def test_only_the_named_blocks_are_cut(llama: LanguageModel, prompts: Prompts) -> None:
    ids, offsets = prompts
    hidden = np.ones(len(ids), bool)
    hidden[offsets[1:] - 1] = False
    none = np.zeros(len(ids), bool)
    after = {blocks: read_without(llama, ids, offsets, hidden, blocks) for blocks in ((0, 1), (1,))}
    plain = read_without(llama, ids, offsets, none, (0, 1))
    distances = {blocks: float((read - plain).norm()) for blocks, read in after.items()}
    assert distances[0, 1] > distances[(1,)] > 0.1
    before = neuron_activations(llama, ids, offsets, 2)
    read_without(llama, ids, offsets, hidden, (0, 1))
    torch.testing.assert_close(neuron_activations(llama, ids, offsets, 2), before)  # hooks are gone


def test_parts_of_a_name_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for each word, with the blank before it, as byte-level tokenizers have them."""
    text = ["Iowa's Dallas County", "New York's Rye"]
    pieces = [["Where", " is", " Iowa", "'s", " Dallas", " County"],
              ["Where", " is", " New", " York", "'s", " Rye"]]  # fmt: skip
    monkeypatch.setattr(carrying, "default_prompt", lambda _: "where_is")

    def tokenizer(asked: list[str], **_: Any) -> dict[str, Any]:
        assert asked == ["".join(own) for own in pieces]
        ends = [np.cumsum([len(piece) for piece in own]).tolist() for own in pieces]
        return {"offset_mapping": [[(0, end) for end in own] for own in ends]}

    _, offsets = end_to_end([[0] * (1 + len(own)) for own in pieces])
    lm: Any = SimpleNamespace(tokenizer=tokenizer)
    found = carrying._parts(lm, "world_place", text, offsets)
    starts = [0, len(pieces[0]) + 1]
    shown = {
        hidden: [
            [piece for piece, cut in zip(own, tokens[start + 1 :], strict=False) if cut]
            for own, start in zip(pieces, starts, strict=True)
        ]
        for hidden, tokens in found.items()
    }
    assert shown == {
        NOTHING: [[], []],
        QUESTION: [["Where", " is"], ["Where", " is"]],
        REGION: [[" Iowa", "'s"], [" New", " York", "'s"]],
        REST: [[" Dallas"], []],
    }
    assert not any(tokens[starts].any() for tokens in found.values())  # the document starts
