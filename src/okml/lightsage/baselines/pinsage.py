"""PinSage (Ying et al., 2018): importance pooling, two transforms a layer, a two-layer head."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from okml.lightsage.network.convolution import Convolution
from okml.lightsage.network.encoder import GraphEncoder


class PinSageSettings(BaseModel):
    """Sizes for thousands of items; the paper's are for billions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = Field(default=2, ge=1)
    width: int = Field(default=64, ge=1)
    neighbors: int = Field(default=10, ge=1)  # T; paper: 50
    walks: int = Field(default=100, ge=1)  # from each node
    length: int = Field(default=3, ge=1)
    restart: float = Field(default=0.5, ge=0, lt=1)
    hard: int = Field(default=1, ge=0)  # hard negatives of a pair
    hard_first: int = Field(default=50, ge=0)  # ranks by visits; paper: 2000 to 5000
    hard_last: int = Field(default=200, ge=1)


class PinSageConvolution(Convolution):
    """``norm(ReLU(W [h || n] + w))`` with ``n`` the weighted mean of ``ReLU(Q h + q)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, activation=True, normalize=True)
        self.neighbor = nn.Linear(inputs, outputs)
        self.linear = nn.Linear(inputs + outputs, outputs)

    def before(self, h: Tensor) -> Tensor:
        """Return what neighbors pass on, ``[n, outputs]``."""
        passed: Tensor = torch.relu(self.neighbor(h))
        return passed


class PinSage(GraphEncoder):
    """PinSage over importance neighborhoods.

    Unlike the paper's, its vectors have length 1, as those of all encoders here: one index serves
    them all.

    Args:
        settings: Sizes.
        features: F.
    """

    def __init__(self, settings: PinSageSettings, features: int) -> None:
        width = settings.width
        super().__init__(
            (
                PinSageConvolution(features if layer == 0 else width, width)
                for layer in range(settings.layers)
            ),
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width, bias=False)),
        )
        self.settings = settings
