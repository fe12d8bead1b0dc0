"""The settings of rankers."""

from __future__ import annotations

from okml.settings import (
    BelowOne,
    Count,
    Depth,
    LearningRate,
    NonNegative,
    Settings,
    Width,
    heads_divide,
)


class HeadSettings(Settings):
    """Sizes of multi-task heads; spec 4.6."""

    experts: Count = 4  # of MMoE
    expert_width: Width = 64
    tower_width: Width = 32
    layers: Depth = 2  # of PLE
    own_experts: Count = 1  # of a task, in a layer of PLE
    shared_experts: Count = 1
    gate_dropout: BelowOne = 0.1


class RankerSettings(Settings):
    """A ranker and its training on a log of the simulator."""

    width: Width = 16  # of vectors of users and items
    layers: Depth = 1  # of the transformer over clicks
    attention_heads: Depth = 2
    heads: HeadSettings = HeadSettings()
    epochs: Count = 3
    batch: Count = 512  # requests
    learning_rate: LearningRate = 5e-3
    weight_decay: NonNegative = 1e-2

    _heads = heads_divide("attention_heads")
