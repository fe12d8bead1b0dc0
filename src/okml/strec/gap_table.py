"""The learned scores as a short table, with which the authors replace the MLP at inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from okml.accelerator import require_float64
from okml.errors import ParameterError
from okml.strec.sampler import Sampler


@dataclass(frozen=True)
class GapTable:
    """A step function of the time gap.

    Attributes:
        edges: The gaps in seconds between steps, ascending, ``[s - 1]``.
        values: The score of each step before standardization, ``[s]``.
    """

    edges: Tensor
    values: Tensor

    def __call__(self, gap: Tensor) -> Tensor:
        """Return the scores of gaps in seconds of any shape; an edge belongs to the later step.

        Raises:
            ResourceError: If the device of the gaps has no float64.
        """
        require_float64(gap.device, "Tables of time gaps")
        return self.values[torch.bucketize(gap.double(), self.edges.double(), right=True)]


# The table in the authors' code for MovieLens-20M, an approximation of their learned MLP.
RELEASED_TABLE = GapTable(
    edges=torch.tensor([70.0, 150.0, 250.0, 400.0, 600.0, 1000.0]),
    values=torch.tensor([0.037, -0.163, -0.383, -0.553, -0.7074, -0.7674, -0.7824]),
)


@torch.no_grad()
def freeze_to_table(sampler: Sampler, gap: Tensor, steps: int = 16) -> GapTable:
    """Approximate a trained sampler by a table: medians of its scores in quantile bins of gaps.

    Args:
        sampler: A sampler that ranks by gap.
        gap: The gaps of training histories in seconds, int64 ``[m]``.
        steps: The largest number of steps; there are fewer if many gaps are equal.

    Raises:
        ParameterError: If the sampler does not rank by gap.
        ResourceError: If the device of the gaps has no float64.
    """
    require_float64(gap.device, "Tables of time gaps")
    if sampler.settings.ranking != "gap":
        raise ParameterError(f"A sampler by {sampler.settings.ranking} has no table of gaps.")
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:-1]
    ordered = gap.double().sort().values
    edges = torch.unique(ordered[(share * (len(ordered) - 1)).long()])
    edges = edges[edges > ordered[0]]
    step = torch.bucketize(gap.double(), edges, right=True)
    scores = sampler.score_gaps(gap)
    values = torch.stack([scores[step == number].median() for number in range(len(edges) + 1)])
    return GapTable(edges, values)
