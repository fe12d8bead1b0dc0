"""PinSage (Ying et al., 2018): importance pooling, two transforms per layer, two-layer head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from okml.lightsage.network.convolution import Convolution
from okml.lightsage.network.encoder import GraphEncoder
from okml.settings import BelowOne, Count, Depth, Settings, Whole, Width, rule


class PinSageSettings(Settings):
    """Sizes for thousands of items; the paper's are for billions."""

    layers: Depth = 2
    width: Width = 64
    neighbors: Count = 10  # T; paper: 50
    walks: Count = 100  # from each node
    length: Count = 3
    restart: BelowOne = 0.5
    hard: Whole = 1  # hard negatives of a pair
    hard_first: Whole = 50  # ranks by visits; paper: 2000 to 5000
    hard_last: Count = 200

    _ranks = rule(
        lambda settings: settings.hard_first + settings.hard <= settings.hard_last,
        "ranks {hard_first} to {hard_last} have fewer than {hard} hard negatives",
    )


class PinSageConvolution(Convolution):
    """``norm(ReLU(W [h || n] + w))`` with ``n`` the weighted mean of ``ReLU(Q h + q)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, activation=True, normalize=True)
        self.neighbor = nn.Linear(inputs, outputs)
        self.linear = nn.Linear(inputs + outputs, outputs)

    def before(self, h: Tensor) -> Tensor:
        """Return the messages of neighbors, ``[n, outputs]``."""
        passed: Tensor = torch.relu(self.neighbor(h))
        return passed


class PinSage(GraphEncoder):
    """PinSage over importance neighborhoods.

    Unlike in the paper, its vectors have length 1, as those of all encoders here, so that one index
    serves all of them.

    Args:
        features: Number of input features F.
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
