"""The sampler: scores of a history's items by their time gaps, and the choice by rank (Eq. 5-8)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from okml.settings import Positive, Settings, Width

Ranking = Literal["gap", "position", "content", "recency", "random", "uniform"]
Noise = Literal["normal", "uniform", "none"]

LAST, PADDED = 1e3, -1e3  # constant scores of the newest item and of padding
TIE_BREAK = 1e-4  # score added for each position, so that equal gaps are ranked by recency
GOLDEN = (5**0.5 - 1) / 2  # any number of its multiples modulo 1 lie evenly


class SamplerSettings(Settings):
    """The settings of the ranking of items."""

    # gap: an MLP of the time since the item (the paper). position: the same MLP of its position
    # (the paper's ablation STRec-3). content: a linear map of its token. recency, random, and
    # uniform, evenly over the history in every layer: rankings without learned weights.
    ranking: Ranking = "gap"
    # raw: seconds, which saturate the MLP after a few minutes; log: their logarithm
    gap_input: Literal["log", "raw"] = "log"
    hidden: Width = 32
    activation: Literal["tanh", "relu"] = "tanh"  # the authors' code: tanh for 50 items, relu for 8
    initial_std: tuple[Positive, Positive] = (
        1.0,
        0.3,
    )  # standard deviations of the two weight matrices; released: 0.02
    noise: Noise = "normal"  # R of Eq. 6: uniform in the paper, normal in the authors' code
    noise_at_evaluation: bool = False  # the paper's is on: its predictions are random
    mirrored: bool = False  # the MLP starts from minus its initial scores: what fell rises
    shuffled: bool = False  # items get the scores of others of their history: gaps tell nothing

    @property
    def is_learned(self) -> bool:
        """Whether the ranking has weights to train."""
        return self.ranking in ("gap", "position", "content")


# The sampler of the authors' code.
RELEASED_SAMPLER = SamplerSettings(
    gap_input="raw", initial_std=(0.02, 0.02), noise="normal", noise_at_evaluation=True
)


class Sampler(nn.Module):
    """Scores the items of a history, of which the highest are kept.

    It sees tokens and times, and neither the numbers of the items nor other histories.

    Args:
        settings: The settings of the ranking.
        width: The width of a token, for the ranking by content.

    Attributes:
        noise_at_evaluation: Whether noise is added in evaluation mode too.
    """

    def __init__(self, settings: SamplerSettings, width: int) -> None:
        super().__init__()
        self.settings = settings
        self.noise_at_evaluation = settings.noise_at_evaluation
        if settings.ranking in ("gap", "position"):
            first, second = nn.Linear(1, settings.hidden), nn.Linear(settings.hidden, 1)
            activation = nn.Tanh() if settings.activation == "tanh" else nn.ReLU()
            self.mlp = nn.Sequential(first, activation, second)
            for layer, std in zip((first, second), settings.initial_std, strict=True):
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)
            if settings.mirrored:
                second.weight.data.neg_()
        elif settings.ranking == "content":
            self.mlp = nn.Sequential(nn.Linear(width, 1))

    def forward(self, tokens: Tensor, times: Tensor | None, padding: Tensor | None) -> Tensor:
        """Return the scores of the items.

        Args:
            tokens: The tokens of the items, ``[b, n, d]``.
            times: The times of the items, int64 seconds ``[b, n]``, ascending, for the ranking
                by gap.
            padding: Bool ``[b, n]``, true at padding, which is on the left; None without padding.

        Returns:
            Float32 ``[b, n]``. Learned scores are standardized within a history before the noise
            is added. The newest item has :data:`LAST` and padding :data:`PADDED`.
        """
        b, n, _ = tokens.shape
        settings = self.settings
        real = tokens.new_ones(b, n, dtype=torch.bool) if padding is None else ~padding
        if settings.ranking == "random":
            scores = torch.rand(b, n, device=tokens.device)
        elif settings.ranking == "recency":
            scores = torch.arange(n, device=tokens.device, dtype=torch.float32).expand(b, n)
        elif settings.ranking == "uniform":
            age = torch.arange(n - 1, -1, -1, device=tokens.device, dtype=torch.float32)
            scores = (-(age * GOLDEN % 1)).argsort().argsort().float().expand(b, n)
        else:
            with torch.autocast(tokens.device.type, enabled=False):
                scores = standardize(self.raw_scores(tokens, times), real)
            if settings.shuffled:
                scores = shuffle(scores, real)
            if self.training or self.noise_at_evaluation:
                scores = scores + draw_noise(settings.noise, scores)
        newest = torch.arange(n, device=tokens.device) == n - 1
        scores = torch.where(newest, LAST, scores)
        return torch.where(real, scores, PADDED)

    def raw_scores(self, tokens: Tensor, times: Tensor | None) -> Tensor:
        """Return the output of the network before standardization, ``[b, n]``."""
        if self.settings.ranking == "content":
            return self.mlp(tokens.float())[..., 0]  # type: ignore[no-any-return]
        if self.settings.ranking == "position":
            n = tokens.shape[1]
            x = torch.linspace(-1, 1, n, device=tokens.device).expand(tokens.shape[:2])
            return self.mlp(x[..., None])[..., 0]  # type: ignore[no-any-return]
        assert times is not None  # the encoder checks it
        scores = self.score_gaps(gaps(times))  # [b, n]
        # Items with equal times share the score of the first: a matrix product may round equal
        # rows differently, and standardization would amplify the differences in a history with
        # one time only.
        ascending = times.contiguous()
        return scores.gather(1, torch.searchsorted(ascending, ascending))

    def score_gaps(self, gap: Tensor) -> Tensor:
        """Return the MLP's output for gaps in seconds, any shape, before standardization."""
        return self.mlp(gap_input(gap, self.settings.gap_input)[..., None])[..., 0]  # type: ignore[no-any-return]


def gaps(times: Tensor) -> Tensor:
    """Return the seconds from each item to the newest one, ``t_n - t_i >= 0``, ``[b, n]`` (Eq. 5).

    They are subtracted as integers, since float32 has a resolution of 128 seconds at current Unix
    times.

    Args:
        times: The times of the items, int64 seconds ``[b, n]``, ascending.

    Raises:
        TypeError: If the times are no int64.
    """
    if times.dtype != torch.int64:
        raise TypeError(f"Times are {times.dtype}; gaps need int64 seconds.")
    return times[:, -1:] - times


def gap_input(gap: Tensor, kind: Literal["log", "raw"]) -> Tensor:
    """Return the MLP's input, float32, any shape: minus the gap in seconds, or its logarithm.

    The logarithm is scaled to [-1.5, 3] between no gap and two years.
    """
    seconds = gap.clamp_min(0).float()
    return -seconds if kind == "raw" else (torch.log1p(seconds) - 6) / 4


def standardize(scores: Tensor, real: Tensor) -> Tensor:
    """Standardize each history's scores to mean 0 and standard deviation 1 over its real items.

    The deviation is zero if all gaps are equal; epsilon is under the root, so that scores and
    gradients are then zero instead of undefined.

    Args:
        scores: The scores of the items, ``[b, n]``.
        real: Bool ``[b, n]``, false at padding, whose result is 0.
    """
    count = real.sum(1, keepdim=True).clamp_min(1)
    mean = torch.where(real, scores, 0).sum(1, keepdim=True) / count
    centered = torch.where(real, scores - mean, 0)
    variance = centered.square().sum(1, keepdim=True) / count
    return centered * torch.rsqrt(variance + 1e-10)


def shuffle(scores: Tensor, real: Tensor) -> Tensor:
    """Return each history's scores in a random order; the newest item and padding keep theirs.

    Args:
        scores: The scores of the items, ``[b, n]``.
        real: Bool ``[b, n]``, false at padding, which is on the left.
    """
    n = scores.shape[1]
    places = torch.arange(n, device=scores.device).expand_as(scores)
    among = torch.rand(scores.shape, device=scores.device)  # in [0, 1)
    among = torch.where(real, among, (places - n).float())  # padding stays first, in its order
    among = torch.where(places == n - 1, 1.0, among)
    return scores.gather(1, among.argsort(1))


def draw_noise(kind: Noise, like: Tensor) -> Tensor:
    """Draw the noise R of Eq. 6, one number for each score in ``like``, ``[b, n]``."""
    if kind == "none":
        return torch.zeros_like(like)
    return torch.randn_like(like) if kind == "normal" else torch.rand_like(like)


def keep_order(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the ``count`` highest scores, best first, int64 ``[b, count]``.

    The newest item comes first. The sample of a later layer is a prefix of this one (Eq. 7-8).
    """
    n = scores.shape[1]
    recency = TIE_BREAK * torch.arange(n, device=scores.device)
    return (scores.detach() + recency).topk(count, dim=1).indices
