"""Transfer of a pre-trained model: frozen, with low-rank changes, or fully fine-tuned."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from okml.seqrec.block import Block
from okml.seqrec.mixers import MultiHead
from okml.video_workshop.common.user_model import EventContext, UserModel
from okml.video_workshop.settings.users import Mode


class LowRank(nn.Module):
    """``W + alpha / r B A`` with ``B`` zero at the start (LoRA, Hu et al. 2022, equation 3).

    Args:
        weight: Initial matrix ``W``, ``[out, in]``.
        rank: Rank ``r`` of the change.
        alpha: Scale ``alpha`` of the change.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(weight.new_empty(rank, columns).normal_(std=columns**-0.5))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed matrix, ``[out, in]``."""
        changed: Tensor = weight + self.scale * self.up @ self.down
        return changed


def add_low_rank(model: UserModel, rank: int, alpha: float) -> None:
    """Freeze ``model``, and give queries, values and feed-forward networks a trainable change."""
    model.requires_grad_(False)
    for layer in model.layers:
        block = cast(Block, layer)
        mixer, network = cast(MultiHead, block.mixer), block.feed_forward
        assert network is not None
        for linear in (mixer.query, mixer.value, network.inner, network.outer):
            change = LowRank(linear.weight.detach(), rank, alpha)
            parametrize.register_parametrization(linear, "weight", change)


def take_over(model: UserModel, mode: Mode, rank: int, alpha: float) -> UserModel:
    """Set which parameters ``mode`` trains, and return ``model``.

    ``frozen`` trains none, ``lora`` low-rank changes of the matrices, ``full`` and ``scratch`` all.
    """
    if mode == "frozen":
        return model.requires_grad_(False)
    if mode == "lora":
        add_low_rank(model, rank, alpha)
    return model


def trained_parameters(module: nn.Module) -> int:
    """Return the number of parameters that training changes."""
    return sum(part.numel() for part in module.parameters() if part.requires_grad)


@torch.no_grad()
def align(vectors: Tensor, reference: Tensor) -> Tensor:
    """Return the rotation that brings ``vectors`` closest to ``reference``, orthogonal Procrustes.

    The vectors of a retrained model are arbitrarily rotated against the old ones. For the rotation
    ``R = U V'`` of ``U S V' = svd(vectors' reference)``, ``|vectors R - reference|`` is smallest
    (Schoenemann 1966). If ``vectors`` are wider, ``R`` has orthonormal columns and the directions
    that the reference does not have are left out.

    Args:
        vectors: Vectors of the new model, ``[n, d]``.
        reference: Vectors of the same items in the old model, ``[n, k]`` with ``k <= d``.

    Returns:
        Rotation ``R``, ``[d, k]``.
    """
    left, _, right = torch.linalg.svd(vectors.T @ reference, full_matrices=False)
    rotation: Tensor = left @ right
    return rotation


class Turned(nn.Module):
    """A user model whose vectors are rotated onto those of the model it replaces.

    Args:
        model: New user model.
        rotation: Rotation from the new vectors to the old ones, ``[d, k]``; see :func:`align`.
    """

    def __init__(self, model: UserModel, rotation: Tensor) -> None:
        super().__init__()
        self.model = model
        self.rotation: Tensor
        self.register_buffer("rotation", rotation)

    def last(self, items: Tensor, context: EventContext | None = None) -> Tensor:
        """Return the vector after the whole history, ``[b, k]``."""
        return self.model.last(items, context=context) @ self.rotation

    def item_matrix(self) -> Tensor:
        """Return the item vectors, ``[items + 1, k]``."""
        return self.model.item_matrix() @ self.rotation

    def item_vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors of the items ``ids`` ``[...]``, ``[..., k]``."""
        return self.model.item_vectors(ids) @ self.rotation
