"""One small encoder of each kind, with weights large enough for differences to show."""

from __future__ import annotations

import torch
from torch import nn

from okml.seqrec.encoder import Encoder
from okml.seqrec.models import (
    NARM,
    BERT4Rec,
    Caser,
    CaserSettings,
    GRU4Rec,
    GRU4RecSettings,
    NARMSettings,
    bert4rec,
)

ITEMS = 30
LENGTH = 6
CAUSAL = ("gru4rec", "narm", "caser")
ALL = (*CAUSAL, "bert4rec")


def encoder(name: str) -> Encoder:
    torch.manual_seed(0)
    built = {
        "gru4rec": lambda: GRU4Rec(ITEMS, GRU4RecSettings(width=4, hidden=5)),
        "narm": lambda: NARM(ITEMS, NARMSettings(width=4, hidden=5)),
        "caser": lambda: Caser(ITEMS, CaserSettings(width=4, recent=3, horizontal=3, vertical=2)),
        "bert4rec": lambda: BERT4Rec(
            ITEMS, bert4rec(length=LENGTH, width=4, hidden=8, initial_std=0.5)
        ),
    }[name]()
    with torch.no_grad():
        for part in built.modules():
            if isinstance(part, nn.Conv1d | nn.Linear) and part.bias is not None:
                part.bias.normal_()
        if name == "caser":
            built.output.weight[:, -1].normal_()
    return built.eval()


def left_padded(histories: list[list[int]], length: int = LENGTH) -> torch.Tensor:
    return torch.tensor([[0] * (length - len(h)) + h for h in histories])
