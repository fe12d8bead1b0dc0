"""The policy: DistilGPT2's blocks over item vectors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2Model

from okml.errors import DataError
from okml.offline_rl.settings import ActorSettings
from okml.seqrec.dropout import Dropout
from okml.seqrec.encoder import Encoder


class DistilGPT2Actor(Encoder):
    """``π(a | s)``: softmax over products of a state's vector with item vectors, plus a bias.

    The network has item and position vectors, GPT-2's pre-norm causal blocks and a final norm; the
    item vectors are also the output layer. Histories are padded on the right and positions count
    from the start of the window, so a short state has the same positions in training and use.

    Args:
        items: Number of items, numbered from 1.
        length: The largest number of items of a state.
    """

    def __init__(self, items: int, length: int, settings: ActorSettings) -> None:
        super().__init__()
        self.padding_side = "right"
        self.settings = settings
        body = _body(length, settings)
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=0)
        nn.init.normal_(self.item.weight, std=body.config.initializer_range)
        nn.init.zeros_(self.item.weight[0])
        self.bias = nn.Parameter(torch.zeros(items + 1, 1))
        self.position = nn.Parameter(body.wpe.weight[:length].detach().clone())
        self.dropout = Dropout(settings.dropout)
        self.blocks = body.h
        self.norm = body.ln_f

    def forward(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        """Return a vector for each position, ``[b, n, d + 1]``; the last component is 1."""
        return self.read(self.item(items))

    def read(self, tokens: Tensor) -> Tensor:
        """Return a vector for each of the tokens ``[b, n, d]``, to which it adds positions."""
        x = self.dropout(tokens + self.position[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)  # without a mask, attention is causal
        return functional.pad(self.norm(x), (0, 1), value=1.0)

    def item_matrix(self) -> Tensor:
        """Return the vectors and biases of items, ``[items + 1, d + 1]``."""
        return torch.cat([self.item.weight, self.bias], 1)

    def flops(self, length: int) -> int:
        """Return the floating-point operations of the blocks for one full history."""
        return length * token_flops(self.settings, length)


def token_flops(settings: ActorSettings, length: int) -> int:
    """Return the operations of all blocks for one token of a history of ``length``."""
    d = settings.width
    matrices = 2 * 12 * d * d  # query, key, value, output, and two layers of four times the width
    attention = 2 * 2 * d * length / 2  # causal: half of the pairs
    return settings.layers * int(matrices + attention)


def _body(length: int, settings: ActorSettings) -> GPT2Model:
    config = GPT2Config(
        vocab_size=1,  # items have a table of their own
        n_positions=length,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        bos_token_id=None,
        eos_token_id=None,
        activation_function="gelu_pytorch_tanh",  # gelu_new, the same function in one kernel
        resid_pdrop=settings.dropout,
        attn_pdrop=settings.attention_dropout,
        attn_implementation="sdpa",
        use_cache=False,
    )
    body = GPT2Model(config)
    if settings.language_weights is not None:
        _load_language_weights(body, Path(settings.language_weights), length)
    for block in body.h:
        # Equal dropout with faster random numbers on a CPU.
        block.attn.resid_dropout = Dropout(settings.dropout)
        block.mlp.dropout = Dropout(settings.dropout)
    return body


def _load_language_weights(body: GPT2Model, folder: Path, length: int) -> None:
    """Copy blocks, final norm and the first positions of a saved GPT-2.

    Raises:
        DataError: If there is no model in the folder, or its shapes differ.
    """
    if not (folder / "config.json").is_file():
        raise DataError(
            f"There is no model in {folder}.",
            "Save distilgpt2 of the hub there: `hf download distilbert/distilgpt2 --local-dir "
            f"{folder}`.",
        )
    saved = GPT2Model.from_pretrained(folder, local_files_only=True).state_dict()
    own = body.state_dict()
    taken = {name: value for name, value in saved.items() if name != "wte.weight" and name in own}
    taken["wpe.weight"] = saved["wpe.weight"][:length]
    misfit = [name for name, value in taken.items() if value.shape != own[name].shape]
    missing = [name for name in own if name not in taken and name != "wte.weight"]
    if misfit or missing:
        raise DataError(
            f"The model in {folder} has other shapes: {', '.join((misfit + missing)[:3])}.",
            "Give the actor its width, layers and at most its positions.",
        )
    body.load_state_dict(taken, strict=False)
