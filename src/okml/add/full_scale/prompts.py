"""Text towers: from token numbers to the conditions of Stable Diffusion networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from okml.add.full_scale.architectures import TOKENS

NEGATIVE_PROMPT = (  # noise-free score distillation uses it, arXiv 2310.17590
    "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, "
    "low-resolution, gloomy"
)
Tokenize = Callable[[Sequence[str]], Tensor]  # captions to [B, 77] token numbers


class SdPrompts(nn.Module):
    """The text tower of SD 1.5 or SD 2.1: ``input_ids`` to ``encoder_hidden_states``."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``[B, 77, width]``, the last layer after its norm."""
        return {"encoder_hidden_states": self.tower(condition["input_ids"]).last_hidden_state}


class SdxlPrompts(nn.Module):
    """Both text towers of SDXL, and its micro-conditioning on sizes.

    Takes ``input_ids`` and ``input_ids_2``; gives ``encoder_hidden_states`` ``[B, 77, 2048]``,
    ``text_embeds`` ``[B, 1280]`` and ``time_ids`` ``[B, 6]``.

    Args:
        tower: The text tower of CLIP ViT-L.
        tower_2: The text tower of OpenCLIP ViT-bigG with its projection.
        side: The side of the square images, given as original and target size, in training
            as the released pipelines do in sampling.
    """

    def __init__(self, tower: nn.Module, tower_2: nn.Module, side: int = 512) -> None:
        super().__init__()
        self.tower = tower
        self.tower_2 = tower_2
        self.side = side

    def forward(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the arguments of SDXL's network for tokens ``[B, 77]`` of both towers.

        The states are those of the towers' last layers but one, side by side.
        """
        one = self.tower(condition["input_ids"], output_hidden_states=True)
        two = self.tower_2(condition["input_ids_2"], output_hidden_states=True)
        states = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1)
        return {
            "encoder_hidden_states": states,
            "text_embeds": two.text_embeds,
            "time_ids": time_ids(len(states), self.side, states.device),
        }


def time_ids(batch: int, side: int, device: torch.device) -> Tensor:
    """Return SDXL's micro-conditioning ``[B, 6]``: original size, crop at (0, 0), target size."""
    values = torch.tensor([side, side, 0, 0, side, side], dtype=torch.float32, device=device)
    return values.expand(batch, -1)


def empty_sdxl_condition(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return SDXL-base's empty condition, ``[1, ...]``: zeros for text, sizes as they are."""
    return {
        name: value[:1] if name == "time_ids" else torch.zeros_like(value[:1])
        for name, value in condition.items()
    }


class TextEmbedding(nn.Module):
    """c_text: the projected, normalized embedding of a CLIP text tower."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return ``[B, D]`` float32 of token numbers ``[B, 77]``."""
        return functional.normalize(self.tower(input_ids).text_embeds.float(), dim=1)


def tokenizer_of(tokenizer: object) -> Tokenize:
    """Return a function from captions to token numbers, padded and cut to 77."""

    def tokenize(captions: Sequence[str]) -> Tensor:
        ids: Tensor = tokenizer(  # type: ignore[operator]
            list(captions),
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return ids

    return tokenize
