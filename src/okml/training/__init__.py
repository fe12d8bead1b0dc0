"""The training loop: progress, checkpoints, resumption, guards, one or many devices.

The common case::

    task = SupervisedTask(model, loss, torch.optim.Adam(model.parameters()))
    history = fit(task, TensorBatches(x, y), TrainingSettings(batch_size=64, max_epochs=3), folder)

Several networks and optimizers need a :class:`TrainingTask` with more than one :class:`Phase`.
"""

from okml.training.batches import BatchSource, TensorBatches
from okml.training.checkpoint import load_weights
from okml.training.history import History
from okml.training.loop import fit
from okml.training.settings import TrainingSettings
from okml.training.task import Losses, Phase, SupervisedTask, TrainingTask

__all__ = [
    "BatchSource",
    "History",
    "Losses",
    "Phase",
    "SupervisedTask",
    "TensorBatches",
    "TrainingSettings",
    "TrainingTask",
    "fit",
    "load_weights",
]
