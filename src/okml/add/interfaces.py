"""The interfaces of the networks and batches around a distillation.

Everything here is independent of size: digits on a CPU and SDXL on a GPU implement the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from okml.add.denoiser import Denoiser
from okml.add.schedule import NoiseSchedule

# Keyword arguments of a diffusers network by name, each ``[B, ...]``: ``class_labels``,
# ``encoder_hidden_states``, and SDXL's ``text_embeds`` and ``time_ids``.
Condition = Mapping[str, Tensor]


class Examples(NamedTuple):
    """A micro-batch.

    Attributes:
        images: The real images x0 in [-1, 1], ``[B, C, H, W]``.
        latents: The scaled latents as the student's network takes them, ``[B, c, h, w]``;
            None: encoded by the codec when they are needed.
        condition: The condition of the student, or the input of ``Networks.prompt_encoder``.
        text: The text embedding c_text of the discriminator, ``[B, D]``.
        image: The image embedding c_img of the discriminator, ``[B, D]``.
        teacher_condition: The condition of a teacher of another family; None for the same.
        seed: The seed of all random draws of this micro-batch. A step is a function of weights and
            batch alone, whatever the number of processes.
    """

    images: Tensor
    condition: Condition
    seed: int
    latents: Tensor | None = None
    text: Tensor | None = None
    image: Tensor | None = None
    teacher_condition: Condition | None = None


class FeatureNetwork(nn.Module, ABC):
    """The frozen network F whose features the heads look at.

    Attributes:
        channels: The width C_k of each tapped feature map.
    """

    channels: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the tapped features.

        Args:
            images: ``[B, C, H, W]``, real ones in [-1, 1]; a student's may lie outside, and
                nothing may be clamped, since that would stop the gradient.

        Returns:
            One ``[B, C_k, N_k]`` for each tap, N_k positions; differentiable in ``images``.
        """


class Codec(nn.Module, ABC):
    """Maps between images and the space a diffusion network works in. Its weights are frozen."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Return latents ``[B, c, h, w]``, scaled as the network takes them."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Return images ``[B, C, H, W]``, not clamped; differentiable in ``latents``."""


@dataclass(frozen=True)
class Networks:
    """Everything a distillation uses and does not train.

    Attributes:
        teacher: The diffusion network psi.
        teacher_schedule: The teacher's noise schedule, not rescaled.
        features: The feature network F (Table 1a); None only if ``adversarial`` is off.
        codec: The codec of the student's latents.
        teacher_codec: The teacher's codec where its latents are others (Table 1e): the student's
            output is decoded and encoded again. None: they share ``codec``.
        prompt_encoder: A map from the conditions of a batch to network arguments; None for none.
        teacher_prompt_encoder: The same for ``teacher_condition``.
        null_condition: The teacher's empty condition, ``[1, ...]`` each; for guidance and NFSD.
        negative_condition: The teacher's negative prompt, ``[1, ...]`` each. None: NFSD takes no
            domain term at t >= 200.
    """

    teacher: Denoiser
    teacher_schedule: NoiseSchedule
    features: FeatureNetwork | None
    codec: Codec
    teacher_codec: Codec | None = None
    prompt_encoder: nn.Module | None = None
    teacher_prompt_encoder: nn.Module | None = None
    null_condition: Condition | None = None
    negative_condition: Condition | None = None
