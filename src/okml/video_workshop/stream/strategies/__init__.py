"""Update strategies of recommenders; see spec 4.9 and experiment E6."""

from okml.video_workshop.stream.strategies.distillation import Distillation
from okml.video_workshop.stream.strategies.elastic import ElasticWeights
from okml.video_workshop.stream.strategies.expiry import Expiry
from okml.video_workshop.stream.strategies.incremental import (
    Incremental,
    Rehearsal,
    Replay,
    Stale,
)
from okml.video_workshop.stream.strategies.retrain import FullRetrain, ShortRetrain, train_base

__all__ = [
    "Distillation",
    "ElasticWeights",
    "Expiry",
    "FullRetrain",
    "Incremental",
    "Rehearsal",
    "Replay",
    "ShortRetrain",
    "Stale",
    "train_base",
]
