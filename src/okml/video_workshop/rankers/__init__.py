"""Rankers of several tasks over one input: shared-bottom, MMoE and PLE, and what feeds them."""

from okml.video_workshop.rankers.heads import PLE, HeadKind, MMoE, SharedBottom, build_heads
from okml.video_workshop.rankers.loss import multitask_loss
from okml.video_workshop.rankers.value import ValueModel

__all__ = [
    "PLE",
    "HeadKind",
    "MMoE",
    "SharedBottom",
    "ValueModel",
    "build_heads",
    "multitask_loss",
]
