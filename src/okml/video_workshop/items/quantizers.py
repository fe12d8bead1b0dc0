"""Residual quantizers: a vector becomes a short tuple of codes, coarse to fine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.errors import ParameterError
from okml.video_workshop.settings.items import RQVAESettings

Codes = Tensor  # int64 [N, L], each from 0 to K - 1
CHUNK = 2**24  # distances held at once


class ResidualQuantizer(nn.Module, ABC):
    """Maps vectors to tuples of codes and back; level ``l`` quantizes the residual of earlier ones.

    ``r_0 = z``, ``c_l = argmin_k |r_l - C_l[k]|^2``, ``r_{l+1} = r_l - C_l[c_l]`` (TIGER,
    arXiv 2305.05065, section 3.1). Each level has a codebook of its own, as residuals shrink.

    Args:
        levels: Number of levels L.
        codes: Number of codes K of a level.
        width: Dimension d of the quantized vectors.
    """

    codebooks: Tensor  # [L, K, d]

    def __init__(self, levels: int, codes: int, width: int) -> None:
        super().__init__()
        if levels < 1 or codes < 2 or width < 1:
            raise ParameterError(f"{levels} levels of {codes} codes cannot quantize vectors.")
        self.levels = levels
        self.codes = codes
        self.width = width

    @abstractmethod
    def encode(self, x: Tensor) -> Codes:
        """Return the codes ``[N, L]`` of any vectors ``[N, f]``, also of ones outside the fit."""

    @abstractmethod
    def decode(self, codes: Codes) -> Tensor:
        """Return the vectors ``[N, f]`` of codes ``[N, l]``; ``l < L`` takes the first levels."""

    def assign(self, z: Tensor) -> tuple[Codes, Tensor]:
        """Return the codes ``[N, L]`` and the residuals before each level and after the last.

        Args:
            z: Vectors in the space of the codebooks, ``[N, d]``.

        Returns:
            Codes, and residuals ``[L + 1, N, d]``.
        """
        residual, codes, residuals = z, [], [z]
        for book in self.codebooks:  # [K, d]
            code = nearest(residual, book)
            residual = residual - book[code]
            codes.append(code)
            residuals.append(residual)
        return torch.stack(codes, 1), torch.stack(residuals)

    def sum_of_codes(self, codes: Codes) -> Tensor:
        """Return the sums of code vectors, ``[N, d]``, of codes ``[N, l]``."""
        levels = torch.arange(codes.shape[1], device=codes.device)
        return self.codebooks[levels, codes].sum(1)  # [N, l, d] summed


def nearest(x: Tensor, centers: Tensor) -> Tensor:
    """Return the number of the nearest center of each vector, ``[N]``; the first of equal ones.

    Args:
        x: Vectors, ``[N, d]``.
        centers: Cluster centers, ``[K, d]``.
    """
    # |x - c|^2 without |x|^2, which all centers of a vector share.
    norms = centers.square().sum(1)
    height = max(1, CHUNK // len(centers))
    parts = torch.split(x, height)
    found = [torch.addmm(norms, part, centers.T, alpha=-2).argmin(1) for part in parts]
    return torch.cat(found)


def kmeans(x: Tensor, clusters: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Return the centers ``[K, d]`` after Lloyd's iterations from a k-means++ start.

    An empty cluster is moved to the vector that is farthest from its center, so
    none stays empty while there are as many distinct vectors as clusters.

    Args:
        x: Vectors, ``[N, d]``.
        clusters: Number of clusters K.
        iterations: Largest number of iterations; fewer run if no vector changes its cluster.
        generator: Random generator of the k-means++ start, on the CPU.

    Raises:
        ParameterError: If there are fewer vectors than clusters.
    """
    if len(x) < clusters:
        raise ParameterError(
            f"{len(x):,} vectors cannot have {clusters:,} clusters.", "Ask for fewer codes."
        )
    centers = _spread_start(x, clusters, generator)
    before = None
    for _ in range(iterations):
        owner = nearest(x, centers)  # [N]
        if before is not None and torch.equal(owner, before):
            break
        before = owner
        centers = _means(x, owner, centers)
    return centers


def _spread_start(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw the first centers among the vectors, each by its squared distance (k-means++)."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    centers = [x[first, None]]
    distance = (x - x[first]).square().sum(1)  # [N], to the nearest center so far
    # One draw a center, all of them at once, so that nothing waits for the device in between.
    draws = torch.rand(clusters - 1, generator=generator, dtype=torch.float64).to(x.device)
    for number in range(clusters - 1):
        # The constant keeps the draw defined when all vectors coincide with a center.
        weights = distance.double() + 1e-12
        # Inverse transform sampling, because torch.multinomial is limited to 2^24 vectors.
        total = weights.cumsum(0)
        place = torch.searchsorted(total, draws[number, None] * total[-1])  # [1]
        place = place.clamp_max(len(x) - 1)
        centers.append(x[place])
        distance = torch.minimum(distance, (x - x[place]).square().sum(1))
    return torch.cat(centers)


def _means(x: Tensor, owner: Tensor, centers: Tensor) -> Tensor:
    """Return the mean of each cluster, ``[K, d]``; empty ones start again far from the others."""
    count = torch.bincount(owner, minlength=len(centers))
    sums = torch.zeros_like(centers).index_add_(0, owner, x)
    means = sums / count.clamp_min(1)[:, None]
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        distance = (x - means[owner]).square().sum(1)
        means[empty] = x[distance.topk(len(empty)).indices]
    return means


class RQKMeans(ResidualQuantizer):
    """Residual k-means, which has no network to train and uses all its codes.

    OneRec found it to reconstruct better than an RQ-VAE (0.0410 against 0.0548, all codes used at
    three levels of 8,192), so it is the default here.

    Args:
        levels: Number of levels L.
        codes: Number of codes K of a level.
        width: Dimension d of the vectors.
        iterations: Largest number of Lloyd iterations of a level.
    """

    mean: Tensor  # [d]

    def __init__(self, levels: int, codes: int, width: int, iterations: int = 25) -> None:
        super().__init__(levels, codes, width)
        self.iterations = iterations
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("codebooks", torch.zeros(levels, codes, width))

    @torch.no_grad()
    def fit(self, x: Tensor, seed: int = 0) -> Self:
        """Fit the codebooks, coarse to fine.

        Args:
            x: Vectors ``[N, d]`` of the items that exist at the training cut only.
            seed: Random seed of the k-means++ starts.

        Raises:
            ParameterError: If there are fewer vectors than codes.
        """
        generator = torch.Generator().manual_seed(seed)
        self.mean.copy_(x.mean(0))
        residual = x - self.mean
        for level in range(self.levels):
            centers = kmeans(residual, self.codes, self.iterations, generator)
            self.codebooks[level] = centers
            residual = residual - centers[nearest(residual, centers)]
        return self

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Return the codes ``[N, L]`` of vectors ``[N, d]``."""
        return self.assign(x - self.mean)[0]

    def decode(self, codes: Codes) -> Tensor:
        """Return the mean plus the sum of code vectors, ``[N, d]``."""
        return self.mean + self.sum_of_codes(codes)


INITIAL = 10_000  # vectors that the first codebooks are fitted on
DEAD_EVERY = 100  # steps between searches for unused codes
DEAD_WINDOW = 1000  # number of latest assignments in which such a code does not occur


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
        optimizer = torch.optim.AdamW(self.parameters(), lr=settings.learning_rate)
        recent = _RecentCodes(self.levels, DEAD_WINDOW)
        for step in range(1, settings.steps + 1):
            drawn = torch.randint(len(x), (min(settings.batch, len(x)),), generator=generator)
            parts, codes, residuals = self.losses(x[drawn.to(x.device)])
            optimizer.zero_grad()
            parts.total(settings.commitment).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            recent.add(codes)
            if step % DEAD_EVERY == 0 and step < settings.steps:
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
