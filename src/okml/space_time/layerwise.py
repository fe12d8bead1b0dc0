"""Layer-major extraction: one block in memory at a time, for models larger than the device.

The usual loop runs all blocks over one batch, then the next batch; a model that does not fit is
then read from disk once per batch. Here the hidden states of all prompts stay on the device and one
block after the other is loaded and run over all of them, so that every weight is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from okml.accelerator import pick_device
from okml.data.models import local_model
from okml.errors import ParameterError
from okml.runtime import pick_dtype, progress
from okml.space_time.batches import Ids, Offsets, check_tokens, plan_batches, read_batch
from okml.space_time.extract import finite, residual
from okml.space_time.models import LanguageModel, document_start_id, find_blocks
from okml.space_time.weight_files import Weights


def open_layerwise(name_or_path: str | Path, dtype: str = "bfloat16") -> LanguageModel:
    """Open a model without reading its weights: enough to tokenize, plan and stream.

    Its parameters are on the meta device; only the functions of this module run it.

    Raises:
        DataError: If the model is not there.
    """
    name, folder = str(name_or_path), local_model(str(name_or_path))
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=pick_dtype(dtype)).eval()
    start = document_start_id(name, tokenizer)
    return LanguageModel(name, model, tokenizer, start, folder=folder)


def stream_layers(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    *,
    device: str = "auto",
    token_budget: int = 65_536,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the last token's residual stream after each block, reading every weight once.

    The numbers are those of ``extract.iter_states``, bit for bit when the token budget is the
    same. While the caller works on one layer, the next block is read from disk.

    Args:
        lm: A model of ``open_layerwise``, or any unquantized model read from a folder.
        ids: Flat token ids; each prompt ends at the entity's last token.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        device: The device that computes. It holds two blocks and ``len(ids) * d_model`` values.
        token_budget: Tokens in one pass of one block.

    Yields:
        The layer, -1 (the embedding) to L - 1, and its states, float32 [n, d] on ``device``.

    Raises:
        DataError: If weights are missing or the tokens do not fit the model.
        ParameterError: If a state is not finite.
    """
    weights, target, kind = _weights(lm), pick_device(device), lm.dtype
    skeleton, blocks = _skeleton(weights, kind, target)
    check_tokens(ids, offsets, skeleton.config)
    batches = plan_batches(offsets, token_budget)
    n, n_layers = len(offsets) - 1, len(blocks)

    # Never held while the caller has control: it would be the caller's mode too, and two streams
    # read in turn would leave it on for good.
    no_gradients = torch.inference_mode
    with ThreadPoolExecutor(1, "read block") as reader:
        waiting = reader.submit(weights.block, 0, blocks[0], kind)
        with no_gradients():
            calls = [_enter(skeleton, read_batch(ids, offsets, rows, target)) for rows in batches]
            states = _gather(calls, batches, n, -1)
        yield -1, states
        for layer in progress(range(n_layers), "layers"):
            block = blocks[layer]
            block.load_state_dict(waiting.result(), assign=True)
            block.to(target)
            if layer + 1 < n_layers:
                waiting = reader.submit(weights.block, layer + 1, blocks[layer + 1], kind)
            with no_gradients():
                for call in calls:
                    arguments = call.arguments[layer]
                    call.states = residual(block(call.states, *arguments.args, **arguments.kwargs))
                states = _gather(calls, batches, n, layer)
            block.to("meta")  # frees its weights
            yield layer, states


def _weights(lm: LanguageModel) -> Weights:
    if lm.folder is None or lm.quantization is not None:
        raise ParameterError(
            f"{lm.name} cannot be streamed: its weights are not plain files.",
            "Open it with `open_layerwise`.",
        )
    return Weights.of(lm.folder)


def _gather(calls: list[_Call], batches: list[Any], n: int, layer: int) -> Tensor:
    """Collect the last token's states of all batches in the order of the data set, [n, d]."""
    first = calls[0].states
    rows = torch.from_numpy(np.concatenate(batches)).to(first.device)
    states = first.new_empty(n, first.shape[-1], dtype=torch.float32)
    states[rows] = torch.cat([call.states[:, -1].float() for call in calls])
    return finite(states, layer, first.dtype)


@dataclass
class _Arguments:
    """What the base model passes to one block besides the hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class _Call:
    """One batch on its way through the blocks: hidden states [B, T, d], arguments by layer."""

    states: Tensor
    arguments: list[_Arguments] = field(default_factory=list)


class _Recorder(nn.Module):
    """Stands in for a block: passes the hidden states on and keeps the arguments.

    So position embeddings, masks and the like come from the model's own forward pass, for any
    architecture, per layer where it distinguishes layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: tuple[Tensor, _Arguments] | None = None

    def forward(self, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.seen = (states, _Arguments(args, kwargs))
        return states


def _enter(skeleton: Any, ids: Tensor) -> _Call:
    """Embed a batch [B, T] and learn what each block is going to be called with."""
    skeleton(input_ids=ids, use_cache=False)
    seen: list[Any] = [recorder.seen for recorder in find_blocks(skeleton)[1]]
    return _Call(seen[0][0], [arguments for _, arguments in seen])


def _skeleton(
    weights: Weights, dtype: torch.dtype, device: torch.device
) -> tuple[Any, nn.ModuleList]:
    """Return the base model with recorders for blocks, and its blocks without weights."""
    config = AutoConfig.from_pretrained(weights.folder, local_files_only=True)
    # Parameters on the meta device take no memory; buffers (rotary frequencies) become real.
    with init_empty_weights(include_buffers=False):
        model = AutoModel.from_config(config, dtype=dtype).eval()
    name, blocks = find_blocks(model)
    setattr(model, name, nn.ModuleList(_Recorder() for _ in blocks))
    weights.blocks = name
    model.load_state_dict(weights.outside(model, dtype), assign=True)
    return model.to(device), blocks
