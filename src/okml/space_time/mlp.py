"""The probe that is not linear: an MLP with one hidden layer (Table 2 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from okml.accelerator import forked_rng, setting_for
from okml.errors import TrainingError
from okml.space_time.config import ProbeSettings
from okml.space_time.metrics import Floats
from okml.space_time.ridge import as_float64
from okml.training import SupervisedTask, TensorBatches, TrainingSettings, fit
from okml.training.rng import unchanged_random_state

SPLIT_SEED = 42  # draws the validation rows, as in the authors' code


@dataclass(frozen=True)
class Scaler:
    """Shift and scale of columns, [d] each."""

    center: Tensor
    spread: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Scaler:
        """Measure mean and deviation of columns [n, d]; constant ones keep their scale."""
        spread = values.std(0, correction=0)
        return cls(values.mean(0), torch.where(spread > 0, spread, 1.0))

    def apply(self, values: Tensor) -> Tensor:
        """Return the scaled columns of values [n, d] as float32."""
        return ((values - self.center) / self.spread).float()


@dataclass(frozen=True)
class FittedMLP:
    """A trained network with the scaling of its inputs and outputs.

    Attributes:
        network: The map from scaled inputs [n, d] to standardized targets [n, t].
        inputs: The scaling of the columns of preprocessed rows.
        outputs: The standardization of the targets.
        weight_decay: The weight decay that was chosen.
        validation_mse: The smallest error on the validation rows, in standardized units.
    """

    network: nn.Module
    inputs: Scaler
    outputs: Scaler
    weight_decay: float
    validation_mse: float

    def predict(self, X: Tensor) -> Floats:
        """Return the targets of preprocessed rows [n, d], [n, t]."""
        with torch.inference_mode():
            scaled: Tensor = self.network(self.inputs.apply(X))
        return np.asarray((scaled.double() * self.outputs.spread + self.outputs.center).cpu())


def fit_mlp(X: Tensor, Y: Floats, settings: ProbeSettings, seed: int) -> FittedMLP:
    """Train Linear(d, hidden), ReLU, Linear(hidden, t) by AdamW on the squared error.

    Inputs and targets are standardized. A training stops when the error on a tenth of the rows
    has not fallen for ``mlp_patience`` epochs, and its best weights are restored. The weight decay
    with the smallest such error wins. The authors' code takes inputs as they are and keeps the
    last weights.

    Args:
        X: Preprocessed training rows, [n, d].
        Y: Targets in their own units, [n, t].
        settings: The fields that begin with ``mlp_``.
        seed: The seed of initial weights and batches.

    Raises:
        TrainingError: If the loss is not finite.
    """
    targets = as_float64(Y, X.device)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(X))
    held_out = max(1, round(0.1 * len(X)))
    validation, kept = (
        torch.from_numpy(part).to(X.device) for part in (order[:held_out], order[held_out:])
    )
    # Statistics of the rows trained on, so that the validation error is honest.
    inputs, outputs = Scaler.of(X[kept]), Scaler.of(targets[kept])
    x, z = inputs.apply(X), outputs.apply(targets)
    trained = [
        FittedMLP(network, inputs, outputs, decay, error)
        for decay in settings.mlp_weight_decays
        for network, error in [
            _train((x[kept], z[kept]), (x[validation], z[validation]), decay, settings, seed)
        ]
    ]
    return min(trained, key=lambda fitted: fitted.validation_mse)


def _train(
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    decay: float,
    settings: ProbeSettings,
    seed: int,
) -> tuple[nn.Module, float]:
    """Train one network on inputs and targets; return it and its smallest validation error."""
    (x, z), (x_validation, z_validation) = training, validation
    hidden = settings.mlp_hidden
    with forked_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, z.shape[1])
        ).to(x.device)
    task = SupervisedTask(
        network,
        lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        torch.optim.AdamW(network.parameters(), lr=settings.mlp_learning_rate, weight_decay=decay),
        evaluate=lambda model: {
            "mse": float(nn.functional.mse_loss(model(x_validation), z_validation))
        },
    )
    how = TrainingSettings(
        batch_size=min(settings.mlp_batch, len(x)),
        max_epochs=settings.mlp_epochs,
        seed=seed,
        evaluate_every=1,
        monitor="mse",
        mode="min",
        patience=settings.mlp_patience,
        device=setting_for(x.device),
    )
    with TemporaryDirectory() as folder, unchanged_random_state():
        history = fit(task, TensorBatches(x, z), how, Path(folder))
    if history.best_value is None:
        raise TrainingError("The MLP probe was never evaluated.")
    return network, history.best_value
