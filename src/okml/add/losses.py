"""The losses of Adversarial Diffusion Distillation (Eq. 1 to 4 and appendix A).

The paper prints sums and expectations and no reductions. Ours: the mean over positions inside a
head, the sum over heads; the mean over the entries of an image, or their sum, as the squared norm
of Eq. 4 reads to the letter; the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from okml.add.settings import Reduction, Weighting
from okml.errors import ParameterError


def hinge_for_heads(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the discriminator's loss, Eq. 3 without R1.

    Args:
        real: The logits of each head for real images, ``[B, N_k]``.
        fake: The logits of each head for the student's images, ``[B, N_k]``.

    Returns:
        sum_k mean max(0, 1 - real_k) + mean max(0, 1 + fake_k); twice the number of heads at
        chance.
    """
    losses = [
        (1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).sum()


def hinge_for_student(fake: Sequence[Tensor]) -> Tensor:
    """Return the student's adversarial loss, Eq. 2: minus the mean logit, summed over heads.

    Args:
        fake: The logits of each head for the student's images, ``[B, N_k]``.
    """
    return -torch.stack([logits.mean() for logits in fake]).sum()


def r1_penalty(logits: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """Return the gradient penalty on real images, by the input of each head (section 3.2).

    Args:
        logits: The logits of each head, ``[B, N_k]``.
        features: The inputs of the heads, ``[B, C_k, N_k]``; leaves that require a gradient, so
            that nothing goes back into the feature network.

    Returns:
        sum_k mean_b of the squared norm of d (the sum of all logits) / d features[b], where batch
        statistics let an image act on the logits of others; differentiable in the weights of the
        heads.
    """
    total = torch.stack([each.sum() for each in logits]).sum()
    gradients = torch.autograd.grad(total, list(features), create_graph=True)
    norms = [gradient.flatten(1).square().sum(1).mean() for gradient in gradients]
    return torch.stack(norms).sum()


def distillation_weight(weighting: Weighting, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return c(t) of Eq. 4.

    ``exponential`` is alpha_t itself, not its square. ``sds`` is alpha / (2 sigma) w(t) with
    w(t) = sigma^2, which makes the gradient that of score distillation sampling (appendix A);
    ``nfsd`` has the same weight and another target.

    Args:
        weighting: The name of the weighting.
        alpha: The signal level alpha_t, ``[B]``.
        sigma: The noise level sigma_t, ``[B]``.
    """
    if weighting == "exponential":
        return alpha
    if weighting in ("sds", "nfsd"):
        return alpha * sigma / 2
    if weighting == "uniform":
        return torch.ones_like(alpha)
    raise ParameterError("Without distillation there is no weight.")


def distillation_loss(
    prediction: Tensor, target: Tensor, weight: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """Return mean_b c(t_b) times the squared difference of example b, averaged or summed.

    Args:
        prediction: The student's estimate of x0, ``[B, ...]``.
        target: The teacher's estimate, ``[B, ...]``, with a stop-gradient.
        weight: The weights c(t), ``[B]``.
        reduction: What is taken over the entries of an example.
    """
    squared = (prediction.float() - target.detach().float()).square().flatten(1)
    distance = squared.sum(1) if reduction == "sum" else squared.mean(1)
    return (weight * distance).mean()
