"""The probes that are compared: linear, non-linear, and linear on a few principal components."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.errors import ParameterError, TrainingError
from okml.space_time.ridge import (
    Features,
    Lambdas,
    Preprocessing,
    RidgeFit,
    Route,
    as_float64,
    fit_ridge,
    pca_curve,
    preprocess,
)
from okml.training import (
    SupervisedTask,
    TensorBatches,
    TrainingSettings,
    fit,
    load_weights,
)
from okml.training.rng import unchanged_random_state

Predictions = NDArray[np.float64]
SPLIT_SEED = 42  # of the MLP's validation rows, as in the authors' code


class Probe(Protocol):
    """Reads targets [n, t] from activations [n, d] as they were stored."""

    def fit(self, X: Features, Y: Features) -> Self:
        """Fit to training rows and return the probe."""
        ...

    def predict(self, X: Features) -> Predictions:
        """Return predictions in the units of the targets, [n, t]."""
        ...


class _Fitted:
    """What probes that end in a ridge fit share."""

    how: Preprocessing
    device: torch.device | str | None
    result: RidgeFit | None

    def predict(self, X: Features) -> Predictions:
        """Return predictions in the units of the targets, [n, t]."""
        if self.result is None:
            raise ParameterError("This probe has not been fitted.")
        predicted = self.result.predict(preprocess(X, self.how, self.device))
        return np.asarray(predicted.cpu().numpy())


@dataclass
class LinearProbe(_Fitted):
    """Ridge regression with the leave-one-out λ, section 3.1 of the paper.

    Attributes:
        how: Preprocessing of rows.
        lambdas: Penalties to choose from.
        route: How to solve.
        device: Where to solve.
        result: The fit, once there is one.
    """

    how: Preprocessing = "rms"
    lambdas: Lambdas | None = None
    route: Route = "auto"
    device: torch.device | str | None = None
    result: RidgeFit | None = field(default=None, init=False)

    def fit(self, X: Features, Y: Features) -> Self:
        """Fit to training rows and return the probe."""
        rows = preprocess(X, self.how, self.device)
        self.result = fit_ridge(rows, Y, self.lambdas, self.route)
        return self


@dataclass
class PCAProbe(_Fitted):
    """Ridge regression on the first principal components of the training rows (Figure 4).

    Attributes:
        components: How many are kept.
        how: Preprocessing of rows.
        lambdas: Penalties to choose from.
        device: Where to solve.
        result: The fit, once there is one.
    """

    components: int
    how: Preprocessing = "rms"
    lambdas: Lambdas | None = None
    device: torch.device | str | None = None
    result: RidgeFit | None = field(default=None, init=False)

    def fit(self, X: Features, Y: Features) -> Self:
        """Fit to training rows and return the probe."""
        rows = preprocess(X, self.how, self.device)
        self.result = pca_curve(rows, Y, [self.components], self.lambdas)[self.components]
        return self


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
        """Return scaled columns as float32."""
        return ((values - self.center) / self.spread).float()

    def undo(self, values: Tensor) -> Tensor:
        """Return scaled columns in their own units as float64."""
        return values.double() * self.spread + self.center


@dataclass(frozen=True)
class FittedMLP:
    """A trained network with the scaling of what goes in and comes out.

    Attributes:
        network: From scaled inputs [n, d] to standardized targets [n, t].
        inputs: Scaling of the columns of preprocessed rows; None leaves them as they are.
        outputs: Standardization of the targets.
        weight_decay: The one that was chosen.
        validation_mse: Smallest error on the validation rows, in standardized units.
    """

    network: nn.Module
    inputs: Scaler | None
    outputs: Scaler
    weight_decay: float
    validation_mse: float

    def predict(self, rows: Tensor) -> Tensor:
        """Return the targets of preprocessed rows [n, d], float64 [n, t]."""
        with torch.inference_mode():
            scaled: Tensor = self.network(scale_inputs(rows, self.inputs))
        return self.outputs.undo(scaled)


def scale_inputs(rows: Tensor, scaler: Scaler | None) -> Tensor:
    """Return rows as float32, scaled where there is a scaler."""
    return rows.float() if scaler is None else scaler.apply(rows)


@dataclass
class MLPProbe:
    """Linear(d, hidden), ReLU, Linear(hidden, t): Table 2 of the paper.

    Trained by AdamW on the squared error of standardized targets; stops when the error on a
    tenth of the training rows has not fallen for ``patience`` epochs. The weight decay with the
    smallest such error wins. Ours standardizes the columns and restores the best weights;
    ``parity`` takes inputs as they are and keeps the last weights, as the authors' code does.

    Attributes:
        hidden: Width of the hidden layer.
        learning_rate: Of AdamW.
        weight_decays: To choose from.
        batch: Rows in a step.
        epochs: At most.
        patience: Epochs without improvement before training stops.
        how: Preprocessing of rows; ``parity`` implies ``raw``.
        parity: Do as the authors' code does.
        seed: Of initial weights and batches.
        device: Where to train.
        result: The fitted network, once there is one.
    """

    hidden: int = 256
    learning_rate: float = 1e-3
    weight_decays: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    batch: int = 512
    epochs: int = 20
    patience: int = 3
    how: Preprocessing = "rms"
    parity: bool = False
    seed: int = 0
    device: torch.device | str | None = None
    result: FittedMLP | None = field(default=None, init=False)

    def fit(self, X: Features, Y: Features) -> Self:
        """Fit to training rows [n, d] with targets [n, t] and return the probe.

        Raises:
            TrainingError: If the loss is not finite.
        """
        rows = self._prepare(X)
        targets = as_float64(Y, rows.device)
        order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
        held_out = max(1, round(0.1 * len(rows)))
        validation, kept = (
            torch.from_numpy(part).to(rows.device) for part in (order[:held_out], order[held_out:])
        )
        # Statistics of the rows trained on, so that the validation error is honest.
        inputs = None if self.parity else Scaler.of(rows[kept])
        outputs = Scaler.of(targets[kept])
        x, z = scale_inputs(rows, inputs), outputs.apply(targets)
        trained = [
            FittedMLP(network, inputs, outputs, decay, error)
            for decay in self.weight_decays
            for network, error in [
                self._train(x[kept], z[kept], x[validation], z[validation], decay)
            ]
        ]
        self.result = min(trained, key=lambda fitted: fitted.validation_mse)
        return self

    def predict(self, X: Features) -> Predictions:
        """Return predictions in the units of the targets, [n, t]."""
        if self.result is None:
            raise ParameterError("This probe has not been fitted.")
        return np.asarray(self.result.predict(self._prepare(X)).cpu().numpy())

    def _prepare(self, X: Features) -> Tensor:
        return preprocess(X, "raw" if self.parity else self.how, self.device)

    def _train(
        self, x: Tensor, z: Tensor, x_validation: Tensor, z_validation: Tensor, decay: float
    ) -> tuple[nn.Module, float]:
        """Train one network; return it and its smallest validation error."""
        network = self._network_of(x.shape[1], z.shape[1]).to(x.device)
        settings = TrainingSettings(
            batch_size=min(self.batch, len(x)),
            max_epochs=self.epochs,
            seed=self.seed,
            evaluate_every=1,
            monitor="mse",
            mode="min",
            patience=self.patience,
            device="cpu" if x.device.type == "cpu" else "cuda",
        )
        task = SupervisedTask(
            network,
            lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
            torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=decay),
            evaluate=lambda model: {
                "mse": float(nn.functional.mse_loss(model(x_validation), z_validation))
            },
        )
        with TemporaryDirectory() as folder, unchanged_random_state():
            history = fit(task, TensorBatches(x, z), settings, Path(folder))
            if self.parity:  # the authors' code keeps the last weights, not the best ones
                network.load_state_dict(load_weights(Path(folder), "last")["model"])
        if history.best_value is None:
            raise TrainingError("The MLP probe was never evaluated.")
        return network, history.best_value

    def _network_of(self, d: int, t: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return nn.Sequential(nn.Linear(d, self.hidden), nn.ReLU(), nn.Linear(self.hidden, t))
