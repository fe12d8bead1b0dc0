"""Token mixers: attention and the proposed replacements, behind one interface.

``build_mixer(name, shape)`` builds one with the sizes of its paper; :data:`MIXERS` lists all.
"""

from __future__ import annotations

from typing import Any, Literal

from okml.errors import ParameterError
from okml.seqrec.mixers.attention import Attention
from okml.seqrec.mixers.autoformer import Autoformer
from okml.seqrec.mixers.base import Context, Mixer, PaddingSide, QueryMixer, Shape
from okml.seqrec.mixers.bigbird import BigBird
from okml.seqrec.mixers.flash import FLASH
from okml.seqrec.mixers.hstu import HSTU
from okml.seqrec.mixers.informer import Informer
from okml.seqrec.mixers.linformer import Linformer
from okml.seqrec.mixers.linrec import LinRec
from okml.seqrec.mixers.mamba import Mamba
from okml.seqrec.mixers.performer import Performer
from okml.seqrec.mixers.reformer import Reformer
from okml.seqrec.mixers.tisasrec import TiSASRec

MixerName = Literal[
    "attention",
    "autoformer",
    "bigbird",
    "flash",
    "hstu",
    "informer",
    "linformer",
    "linrec",
    "mamba",
    "performer",
    "reformer",
    "tisasrec",
]

MIXERS: dict[MixerName, type[Mixer]] = {
    "attention": Attention,
    "autoformer": Autoformer,
    "bigbird": BigBird,
    "flash": FLASH,
    "hstu": HSTU,
    "informer": Informer,
    "linformer": Linformer,
    "linrec": LinRec,
    "mamba": Mamba,
    "performer": Performer,
    "reformer": Reformer,
    "tisasrec": TiSASRec,
}


def build_mixer(name: MixerName, shape: Shape) -> Mixer:
    """Build a mixer.

    Raises:
        ParameterError: If the mixer does not support ``shape``.
    """
    kind: Any = MIXERS[name]
    if shape.width % shape.heads:
        raise ParameterError(f"A width of {shape.width} does not divide into {shape.heads} heads.")
    if shape.causal and not kind.supports_masks:
        raise ParameterError(
            f"{kind.__name__} mixes future tokens into past ones and cannot be causal.",
            "Train it on last targets, with causal=False.",
        )
    if not shape.causal and not kind.supports_bidirectional:
        raise ParameterError(
            f"{kind.__name__} is a recurrence over earlier tokens and only causal.",
            "Train it on windows, with causal=True.",
        )
    mixer: Mixer = kind(shape)
    return mixer


__all__ = [
    "MIXERS",
    "Attention",
    "Context",
    "Mixer",
    "MixerName",
    "PaddingSide",
    "QueryMixer",
    "Shape",
    "build_mixer",
]
