"""Multi-task rankers: shared-bottom, MMoE and PLE heads, their inputs and their training."""

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
