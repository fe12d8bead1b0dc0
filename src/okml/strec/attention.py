"""Concentration and rank of attention matrices: the observation that motivates STRec."""

from __future__ import annotations

import torch
from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Attention


@torch.no_grad()
def attention_maps(model: Backbone, items: Tensor, times: Tensor | None = None) -> list[Tensor]:
    """Return the attention weights of each layer for full histories, ``[b, h, n, n]`` each.

    Raises:
        ParameterError: If the model's mixer is not softmax attention.
    """
    tokens, context = model.embed(items, times, padded=False)
    maps = []
    for block in model.blocks:
        if not isinstance(block.mixer, Attention):
            raise ParameterError(f"{type(block.mixer).__name__} has no matrix of weights.")
        read = block.mixer_norm(tokens) if block.pre_norm else tokens
        maps.append(block.mixer.weights(read, context))
        tokens = block(tokens, context)
    return maps


def singular_values(weights: Tensor) -> Tensor:
    """Return the singular values of each matrix in float64, ``[b, h, n]``, the largest first.

    They are computed on the CPU: a GPU takes matrices of more than 32 rows one at a time.

    Args:
        weights: The attention weights of one layer, ``[b, h, n, n]``.
    """
    return torch.linalg.svdvals(weights.cpu().double())  # type: ignore[no-any-return]


def history_statistics(weights: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """Return the statistics of each history, means over heads, ``[b]``, by name.

    ``A`` is one attention matrix ``[n, n]``, ``c_j = mean_i A_ij`` its column mass, and ``σ`` are
    its singular values:

    * ``top5_mass``: sum of the five largest ``c_j``;
    * ``last5_mass``: sum of the last five ``c_j``;
    * ``row_cosine``: mean cosine similarity of two different rows;
    * ``shuffled_cosine``: the same if the keys of each row are in a random order of its own, in
      expectation: ``1 / (n |a_i| |a_j|)`` for rows ``a_i`` and ``a_j``;
    * ``first_energy``: ``σ_1² / Σ σ²``; 1 for rank one;
    * ``effective_rank``: ``exp`` of the entropy of ``σ / Σ σ``.

    Args:
        weights: The attention weights of one layer, ``[b, h, n, n]``, rows summing to 1.
        sigma: Their :func:`singular_values`, ``[b, h, n]``.
    """
    a = weights.cpu().flatten(0, 1).double()  # [m, n, n]
    sigma = sigma.flatten(0, 1)  # [m, n]
    n = a.shape[-1]
    mass = a.mean(1)  # [m, n]
    lengths = a.norm(dim=2, keepdim=True)  # [m, n, 1]
    # The sum of all cosines is the squared length of the summed unit rows.
    pairs = (a / lengths).sum(1).square().sum(1) - n
    inverse = 1 / lengths[..., 0]
    shuffled = (inverse.sum(1).square() - inverse.square().sum(1)) / n
    share = sigma / sigma.sum(1, keepdim=True)
    values = {
        "top5_mass": mass.topk(min(5, n)).values.sum(1),
        "last5_mass": mass[:, -5:].sum(1),
        "row_cosine": pairs / (n * (n - 1)),
        "shuffled_cosine": shuffled / (n * (n - 1)),
        "first_energy": sigma[:, 0].square() / sigma.square().sum(1),
        "effective_rank": torch.special.entr(share).sum(1).exp(),
    }
    return {name: value.view(weights.shape[:2]).mean(1) for name, value in values.items()}
