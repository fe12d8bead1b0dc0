"""RQ-VAE: an autoencoder whose code is quantized level by level, trained end to end."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.settings import Count, LearningRate, NonNegative, Settings, Width
from okml.video_workshop.items.quantization.base import Codes, ResidualQuantizer, nearest
from okml.video_workshop.items.quantization.kmeans import kmeans

INITIAL = 10_000  # vectors that the first codebooks are fitted on


class RQVAESettings(Settings):
    """TIGER's sizes; the optimizer that needs fewer steps is the default."""

    hidden: tuple[Width, ...] = (512, 256, 128)  # layers of the encoder, mirrored after it
    latent: Width = 32  # d_z
    commitment: NonNegative = 0.25  # weight of the commitment loss
    optimizer: Literal["adamw", "adagrad"] = "adamw"
    learning_rate: LearningRate = 1e-3  # TIGER: Adagrad at 0.4
    batch: Count = 1024
    steps: Count = 2000
    dead_every: Count = 100  # steps between searches for unused codes
    dead_window: Count = 1000  # number of latest assignments in which such a code does not occur


class RQVAELosses(NamedTuple):
    """The parts of the loss, means over vectors."""

    reconstruction: Tensor  # |x - x_hat|^2
    codebook: Tensor  # sum over levels of |sg[r_l] - C_l[c_l]|^2
    commitment: Tensor  # sum over levels of |r_l - sg[C_l[c_l]]|^2, without its weight

    def total(self, commitment: float) -> Tensor:
        """Return the loss with the commitment's weight."""
        return self.reconstruction + self.codebook + commitment * self.commitment


class RQVAE(ResidualQuantizer):
    """Encoder, residual quantizer, decoder; arXiv 2305.05065, section 3.1.

    Args:
        levels: Number of levels L.
        codes: Number of codes K of a level.
        width: Dimension f of the vectors.
    """

    mean: Tensor  # [f]
    scale: Tensor  # []

    def __init__(self, levels: int, codes: int, width: int, settings: RQVAESettings) -> None:
        super().__init__(levels, codes, settings.latent)
        self.settings = settings
        sizes = [width, *settings.hidden, settings.latent]
        self.encoder = _mlp(sizes)
        self.decoder = _mlp(sizes[::-1])
        self.codebooks = nn.Parameter(torch.randn(levels, codes, settings.latent) * 0.02)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    def losses(self, x: Tensor) -> tuple[RQVAELosses, Codes, Tensor]:
        """Return the losses of standardized vectors ``[b, f]``, their codes and residuals.

        The decoder reads ``z + sg[z_q - z]``, the straight-through estimator, so its gradient
        reaches the encoder.
        """
        z = self.encoder(x)  # [b, d]
        with torch.no_grad():
            codes, _ = self.assign(z)
        levels = torch.arange(self.levels, device=x.device)
        vectors = self.codebooks[levels, codes]  # [b, L, d]
        # A stop-gradient on earlier codes: the loss of a level trains its own codebook and z only.
        before = functional.pad(vectors.detach().cumsum(1)[:, :-1], (0, 0, 1, 0))  # [b, L, d]
        residuals = z[:, None] - before  # [b, L, d]
        through = z + (vectors.sum(1) - z).detach()
        parts = RQVAELosses(
            (x - self.decoder(through)).square().sum(-1).mean(),
            (residuals.detach() - vectors).square().sum((1, 2)).mean(),
            (residuals - vectors.detach()).square().sum((1, 2)).mean(),
        )
        return parts, codes, residuals.detach()

    def fit(self, x: Tensor, seed: int = 0) -> Self:
        """Train the network.

        Vectors are centered and scaled to a total variance of 1. The first codebooks are k-means
        of the untrained encoder's outputs for up to 10,000 vectors.

        Args:
            x: Vectors ``[N, f]`` of the items that exist at the training cut only.
            seed: Random seed of the initial codebooks, the order of vectors and the revived codes.

        Raises:
            ParameterError: If there are fewer vectors than codes.
        """
        settings = self.settings
        generator = torch.Generator().manual_seed(seed)
        self.mean.copy_(x.mean(0))
        self.scale.copy_((x - self.mean).square().sum(1).mean().rsqrt())
        x = self._standardize(x)
        self._start_codebooks(x, generator)
        make = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adagrad
        optimizer = make(self.parameters(), lr=settings.learning_rate)
        recent = _RecentCodes(self.levels, settings.dead_window)
        for step in range(1, settings.steps + 1):
            drawn = torch.randint(len(x), (min(settings.batch, len(x)),), generator=generator)
            parts, codes, residuals = self.losses(x[drawn.to(x.device)])
            optimizer.zero_grad()
            parts.total(settings.commitment).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            recent.add(codes)
            if step % settings.dead_every == 0 and step < settings.steps:
                self._revive(recent, residuals, generator)
        return self.eval()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Return the codes ``[N, L]`` of vectors ``[N, f]``."""
        return self.assign(self.encoder(self._standardize(x)))[0]

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """Return the decoder's vectors ``[N, f]``, in the units of the input."""
        return self.decoder(self.sum_of_codes(codes)) / self.scale + self.mean  # type: ignore[no-any-return]

    def _standardize(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale

    @torch.no_grad()
    def _start_codebooks(self, x: Tensor, generator: torch.Generator) -> None:
        few = torch.randperm(len(x), generator=generator)[:INITIAL].to(x.device)
        residual = self.encoder(x[few])
        for book in self.codebooks:
            book.copy_(kmeans(residual, self.codes, 10, generator))
            residual = residual - book[nearest(residual, book)]

    @torch.no_grad()
    def _revive(self, recent: _RecentCodes, residuals: Tensor, generator: torch.Generator) -> None:
        """Replace each code that no recent vector chose by a random residual of the batch."""
        for level, book in enumerate(self.codebooks):
            dead = recent.unused(level, self.codes)
            drawn = torch.randint(len(residuals), (len(dead),), generator=generator)
            book[dead] = residuals[drawn.to(residuals.device), level]


class _RecentCodes:
    """The latest codes of each level, as many as the window holds."""

    def __init__(self, levels: int, window: int) -> None:
        self.window = window
        self.codes = torch.zeros(0, levels, dtype=torch.int64)

    def add(self, codes: Codes) -> None:
        self.codes = torch.cat([self.codes.to(codes.device), codes])[-self.window :]

    def unused(self, level: int, codes: int) -> Tensor:
        count = torch.bincount(self.codes[:, level], minlength=codes)
        return (count == 0).nonzero()[:, 0]


def _mlp(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
