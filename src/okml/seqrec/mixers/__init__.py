"""Token mixers: attention and the proposed replacements, behind one interface.

``build(settings, shape)`` builds one from its settings; :data:`MIXERS` lists all kinds.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from okml.errors import ParameterError
from okml.seqrec.mixers.attention import Attention, AttentionSettings
from okml.seqrec.mixers.autoformer import Autoformer, AutoformerSettings
from okml.seqrec.mixers.base import (
    Context,
    Mixer,
    MixerSettings,
    PaddingSide,
    QueryMixer,
    RandomMixer,
    Shape,
)
from okml.seqrec.mixers.bigbird import BigBird, BigBirdSettings
from okml.seqrec.mixers.flash import FLASH, FLASHSettings
from okml.seqrec.mixers.hstu import HSTU, HSTUSettings
from okml.seqrec.mixers.informer import Informer, InformerSettings
from okml.seqrec.mixers.linformer import Linformer, LinformerSettings
from okml.seqrec.mixers.linrec import LinRec, LinRecSettings
from okml.seqrec.mixers.mamba import Mamba, MambaSettings
from okml.seqrec.mixers.performer import Performer, PerformerSettings
from okml.seqrec.mixers.reformer import Reformer, ReformerSettings
from okml.seqrec.mixers.tisasrec import TiSASRec, TiSASRecSettings

MIXERS: dict[type[MixerSettings], type[Mixer]] = {
    AttentionSettings: Attention,
    AutoformerSettings: Autoformer,
    BigBirdSettings: BigBird,
    FLASHSettings: FLASH,
    HSTUSettings: HSTU,
    InformerSettings: Informer,
    LinformerSettings: Linformer,
    LinRecSettings: LinRec,
    MambaSettings: Mamba,
    PerformerSettings: Performer,
    ReformerSettings: Reformer,
    TiSASRecSettings: TiSASRec,
}

AnyMixer = Annotated[
    AttentionSettings
    | AutoformerSettings
    | BigBirdSettings
    | FLASHSettings
    | HSTUSettings
    | InformerSettings
    | LinformerSettings
    | LinRecSettings
    | MambaSettings
    | PerformerSettings
    | ReformerSettings
    | TiSASRecSettings,
    Field(discriminator="kind"),
]


def check_mixer(settings: MixerSettings, shape: Shape) -> None:
    """Check that a mixer can be built.

    Raises:
        ParameterError: If the kind does not support ``shape``.
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


def build(settings: MixerSettings, shape: Shape) -> Mixer:
    """Build a mixer; errors are those of ``check_mixer``."""
    check_mixer(settings, shape)
    kind: Any = MIXERS[type(settings)]
    mixer: Mixer = kind(settings, shape)
    return mixer


__all__ = [
    "FLASH",
    "HSTU",
    "MIXERS",
    "AnyMixer",
    "Attention",
    "AttentionSettings",
    "Autoformer",
    "AutoformerSettings",
    "BigBird",
    "BigBirdSettings",
    "Context",
    "FLASHSettings",
    "HSTUSettings",
    "Informer",
    "InformerSettings",
    "LinRec",
    "LinRecSettings",
    "Linformer",
    "LinformerSettings",
    "Mamba",
    "MambaSettings",
    "Mixer",
    "MixerSettings",
    "PaddingSide",
    "Performer",
    "PerformerSettings",
    "QueryMixer",
    "RandomMixer",
    "Reformer",
    "ReformerSettings",
    "Shape",
    "TiSASRec",
    "TiSASRecSettings",
    "build",
    "check_mixer",
]
