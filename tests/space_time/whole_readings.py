"""A reading that keeps every layer, for tests of what reads layers again."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.extract import read_layers
from okml.space_time.models import LanguageModel
from okml.space_time.readings import FRAMES, Reading, drafted, rounded
from tests.space_time.tiny_models import Prompts


def whole_reading(lm: LanguageModel, prompts: Prompts, folder: Path) -> Reading:
    """Read prompts and keep all layers in float32; no probe is fitted."""
    frames = dict.fromkeys(FRAMES, pl.DataFrame({"layer": [0]}))
    with drafted(folder, "float32") as draft:
        for layer, states in read_layers(lm, *prompts):
            draft.keep(layer, rounded(states, "float32"))
        draft.finish(frames, (lm.n_layers, len(prompts[1]) - 1, lm.d_model), chosen=0)
    return Reading(folder, draft.listing)
