"""Whether attention carries a spelled region to the last token after the middle of the network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.space_time import probes
from okml.space_time.arms import asked
from okml.space_time.batches import Offsets, end_to_end
from okml.space_time.judging import HeldOut, less
from okml.space_time.knockout import read_without
from okml.space_time.layers import FEWEST, REGION_FIRST, Draw, spells_region
from okml.space_time.metrics import Floats
from okml.space_time.models import LanguageModel
from okml.space_time.prompts import default_prompt, prompt
from okml.space_time.ridge import RidgeFit
from okml.space_time.study import Study
from okml.steps import StepResult

# What the last token does not attend to, in the words of the table.
NOTHING, REGION, REST, QUESTION = "nothing", "region", "rest of the name", "question"
HIDDEN = {NOTHING: "", REGION: "_without_region", REST: "_without_rest",
          QUESTION: "_without_question"}  # fmt: skip
SCHEMA = {"hidden": pl.String, "seed": pl.Int64, "tokens": pl.Float64, "r2": pl.Float64,
          "middle_r2": pl.Float64}  # fmt: skip


def measure_carrying(study: Study) -> StepResult:
    """Hide the spelled region of a name from its last token after the middle of the network.

    Read are the test places whose names spell their region ("Iowa's Dallas County"), in the
    resident model. A probe is fitted to what its latest good layer carries, the one of the second
    half with the smallest leave-one-out error, and another one to the middle layer. The states of
    the late layer are then read again while the last token cannot attend to some tokens in the
    blocks between the two: to none, to those of the region, to those of the rest of the name, or to
    those of the question. ``late_rise`` is R² of the late layer less that of the middle one,
    ``late_rise_without_<tokens>`` the same with tokens hidden, and ``late_loss_<tokens>`` is how
    much lower R² is then. The probes have not been fitted to such states, so that a mere shift of
    them counts, too. The frame ``carrying`` has ``hidden``, ``seed``, ``tokens`` (the mean
    number hidden of a name), ``r2`` and ``middle_r2``; it is empty where too few names spell their
    region.
    """
    model, name = study.profile.resident_model, study.profile.place_set
    one, entity_set = asked(model, name), study.entities(name)
    text, spelled = entity_set.text(), spells_region(entity_set.text())
    read = np.flatnonzero(spelled & entity_set.test_mask())
    if any(spelled[study.rows(name, seed).test].sum() < FEWEST for seed in study.probe_seeds):
        note = f"Too few names of {name} spell their region to hide it from their last token."
        return StepResult(frames={"carrying": pl.DataFrame(schema=SCHEMA)}, notes=[note])
    reading, y = study.read(one), entity_set.y()
    middle, late = _layers(reading.frames["curves"].filter(seed=study.probe_seeds[0]))
    lm = study.language_model(model)
    tokens = study.tokens(lm, name, one.prompt)
    ids, offsets = end_to_end([tokens[int(at)] for at in read])
    parts = _parts(lm, name, [text[at] for at in read], offsets)
    blocks = range(middle + 1, late + 1)
    features = probes.prepared(study, reading.layer(late))
    fits = {seed: probes.fit(study, features, y, study.rows(name, seed))
            for seed in study.probe_seeds}  # fmt: skip
    held_out = HeldOut(entity_set)
    of_spelled = held_out.among(spelled)
    at_middle = probes.linear_arm(study, name, probes.prepared(study, reading.layer(middle)))
    arms, found, result = {}, [], StepResult()
    for hidden, cut in parts.items():
        budget = study.profile.batch_tokens
        states = read_without(lm, ids, offsets, cut, blocks, token_budget=budget).numpy()
        changed = features.clone()
        changed[read] = probes.prepared(study, states)
        arms[hidden] = probes.arm(study, name, partial(_predict, fits, changed))
        r2s, middle_r2s = (held_out.by_seed(of_spelled, arm) for arm in (arms[hidden], at_middle))
        found += [
            {"hidden": hidden, "seed": seed, "tokens": float(cut.sum() / len(read)),
             "r2": r2, "middle_r2": middle_r2s[seed]}
            for seed, r2 in r2s.items()
        ]  # fmt: skip
        rise = held_out.estimate(less(of_spelled), arms[hidden], at_middle)
        result.measure(f"late_rise{HIDDEN[hidden]}", rise, "R²")
        if hidden != NOTHING:
            loss = held_out.estimate(less(of_spelled), arms[NOTHING], arms[hidden])
            result.measure(f"late_loss{HIDDEN[hidden]}", loss, "R²")
    result.log("late_layer", float(late))
    result.frames["carrying"] = pl.DataFrame(found, schema=SCHEMA)
    return result


def _layers(curves: pl.DataFrame) -> tuple[int, int]:
    """Return the middle layer, and that of the second half with the smallest error."""
    middle = int(curves["layer"].to_numpy().max()) // 2
    late = curves.filter(pl.col("layer") > middle).sort("loo")
    return middle, int(late["layer"][0])


def _predict(fits: Mapping[int, RidgeFit], features: Any, rows: Draw, seed: int) -> Floats:
    return np.asarray(fits[seed].predict(features[rows.test]).cpu().numpy())


def _parts(
    lm: LanguageModel, name: str, text: list[str], offsets: Offsets
) -> dict[str, NDArray[np.bool_]]:
    """Tell which tokens to hide from the last one, over all prompts end to end.

    The document start is an attention sink and never hidden, nor is the last token itself.
    """
    asking = prompt(name, default_prompt(name))
    found = {hidden: np.zeros(int(offsets[-1]), bool) for hidden in HIDDEN}
    read = lm.tokenizer([asking.text(entity) for entity in text], add_special_tokens=False,
                        return_offsets_mapping=True)["offset_mapping"]  # fmt: skip
    for start, entity, spans in zip(offsets[:-1], text, read, strict=True):
        name_begins = len(asking.prefix)
        rest_begins = name_begins + entity.index(REGION_FIRST) + len(REGION_FIRST.rstrip())
        ends = np.array([end for _, end in spans[:-1]])  # of the characters of a token
        at = start + 1 + np.arange(len(ends))
        found[QUESTION][at] = ends <= name_begins
        found[REGION][at] = (ends > name_begins) & (ends <= rest_begins)
        found[REST][at] = ends > rest_begins
    return found
