"""A diffusers network under the one signature that the distillation calls."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# SDXL takes these two in a dictionary of their own.
ADDED = frozenset({"text_embeds", "time_ids"})


class Denoiser(nn.Module):
    """Any diffusers network that is called ``network(sample, timestep, **condition)``.

    That is ``UNet2DModel`` (``class_labels``), ``UNet2DConditionModel`` of Stable Diffusion
    (``encoder_hidden_states``) and of SDXL (``text_embeds`` and ``time_ids`` besides), and every
    module of that form.

    Args:
        network: The network; inputs are cast to the floating-point type of its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return the prediction of the network (noise, velocity or sample) in float32.

        Args:
            noisy: The noised input x_t, ``[B, c, h, w]``.
            timestep: The integer timesteps t, ``[B]``.
            condition: The keyword arguments of the network, ``[B, ...]`` each.

        Returns:
            ``[B, c, h, w]``. :meth:`okml.add.schedule.NoiseSchedule.to_sample` makes x0 of it.
        """
        dtype = next(self.network.parameters()).dtype
        arguments = {name: _as(value, dtype) for name, value in condition.items()}
        added = {name: arguments.pop(name) for name in ADDED & arguments.keys()}
        if added:
            arguments["added_cond_kwargs"] = added  # type: ignore[assignment]
        output = self.network(noisy.to(dtype), timestep, **arguments, return_dict=False)
        return _tensor(output).float()


def _as(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _tensor(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
