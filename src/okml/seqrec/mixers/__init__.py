"""Token mixers: attention and what was proposed to replace it, behind one contract.

``build(settings, shape)`` makes one from its settings; :data:`MIXERS` lists all kinds.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from okml.errors import ParameterError
from okml.seqrec.mixers.attention import Attention, AttentionSettings
from okml.seqrec.mixers.base import Context, Mixer, MixerSettings, PaddingSide, QueryMixer, Shape

MIXERS: dict[type[MixerSettings], type[Mixer]] = {
    AttentionSettings: Attention,
}

AnyMixer = Annotated[AttentionSettings, Field(discriminator="kind")]


def build(settings: MixerSettings, shape: Shape) -> Mixer:
    """Make a mixer.

    Raises:
        ParameterError: If the kind cannot do what ``shape`` asks for.
    """
    kind: Any = MIXERS[type(settings)]
    name = kind.__name__
    if shape.width % shape.heads:
        raise ParameterError(f"A width of {shape.width} does not divide into {shape.heads} heads.")
    if shape.causal and not kind.supports_causal:
        raise ParameterError(
            f"{name} mixes future tokens into past ones and cannot be causal.",
            "Train it on last targets, with causal=False.",
        )
    if not shape.causal and not kind.supports_bidirectional:
        raise ParameterError(f"{name} is causal only.", "Set causal=True.")
    mixer: Mixer = kind(settings, shape)
    return mixer


__all__ = [
    "MIXERS",
    "AnyMixer",
    "Attention",
    "AttentionSettings",
    "Context",
    "Mixer",
    "MixerSettings",
    "PaddingSide",
    "QueryMixer",
    "Shape",
    "build",
]
