"""Every field of every profile is given values without sense, the way a command line gives them."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from okml.chapters import CHAPTERS, chapter
from okml.console import pairs
from okml.errors import ParameterError
from okml.profile import Profile
from okml.settings import Settings

# Infinite and huge numbers are given to every class below. What no type lets pass is left to the
# night.
SENSELESS = [
    pytest.param(("-1", "0"), id="numbers"),
    pytest.param(
        ("NaN", "wrong", "null", "true", "[]", "{}"), marks=pytest.mark.nightly, id="others"
    ),
]
TO_OBJECTS = ("-1", "wrong", "null", "[]")  # to what has fields of its own

# Where such a value has a meaning, by the names of fields. A new field that takes one is added here
# by whoever can say what it means.
MEANS_SOMETHING_NEGATIVE = {
    "lambda_exponents", "shifts",  # powers of ten, deviations
    "click", "hate", "like", "watch",  # ranges of what a response is worth to a user
}  # fmt: skip
MEANS_SOMETHING_AT_ZERO = {
    # A part that is switched off.
    "attention_dropout", "blend", "brightness", "commitment", "conservative", "contrast", "cutout",
    "distillation_weight", "dropout", "gate_dropout", "hidden_dropout", "mlp_weight_decays",
    "modality_drop", "penalty", "prompt_dropout", "pseudo_cold", "r1_weight",
    "reconstruction", "rings", "saturation", "subsample", "supervised", "translation",
    "transient", "weight_decay", "wrong_type_share",
    # None of something that is counted; the first of something that is numbered.
    "gpu_memory_gib", "hard", "hard_first", "holdout_layer", "table_layer",
    "relaxed_epoch_sweep", "relaxed_epochs", "seeds", "sessions", "steps_all_labels",
    "student_timesteps", "teacher_timesteps", "warmup_steps", "workers",
    # Noise and spreads of a simulator, and what never happens in it.
    "accuracy", "expert_slips", "experts", "global_share", "head_noise", "kept", "late_share",
    "launch_day", "leaf_spread", "listing_spread", "mean_extra_clicks", "mean_extra_steps",
    "p_cart", "p_page", "p_purchase", "p_search", "product_spread", "quality_spread", "ring_share",
    "tail_noise", "type_spread", "view_share",
    # A power, a weight, a discount, a momentum or a threshold that leaves no trace.
    "action", "alpha", "auxiliary_gamma", "betas", "gamma", "genre", "intents", "least_effective",
    "least_score", "least_spread", "multi", "nfsd_guidance", "popularity_power", "power",
    "restart", "t", "target_decay", "teacher_guidance", "user_offset", "user_power",
    "weariness",
    *MEANS_SOMETHING_NEGATIVE,
}  # fmt: skip
FREE_TEXT = {"family", "monitor", "shards", "titles"}
MAY_REPEAT = {"betas", "channels", "fan_outs", "hidden", "initial_std", "shifts"}


def plain(values: Any) -> Any:
    return json.loads(values.model_dump_json())


def fields(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the value of every field, and of the first element of every list."""
    inside = values.items() if isinstance(values, dict) else enumerate(values[:1])
    for name, value in inside:
        yield (*path, str(name)), value
        if isinstance(value, dict | list):
            yield from fields(value, (*path, str(name)))


def name_of(path: tuple[str, ...]) -> str:
    return [step for step in path if not step.isdecimal()][-1]


def numbers(values: Any) -> Iterator[float]:
    if isinstance(values, int | float):
        yield values
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            yield from numbers(value)


def takes(profile: Profile, path: tuple[str, ...], value: str) -> Any:
    """Return what a field became, or the error that refused it."""
    (name, text) = next(iter(pairs([f"{'.'.join(path)}={value}"]).items()))
    try:
        changed: Any = plain(chapter(profile.chapter).profile(profile.name, {name: text}))
    except ParameterError as error:
        return error
    assert all(math.isfinite(number) and abs(number) < 1e16 for number in numbers(changed))
    for step in path:
        changed = changed[int(step) if isinstance(changed, list) else step]
    return changed


def has_sense(path: tuple[str, ...], before: Any, after: Any) -> bool:
    """Tell whether a field may have become what it became."""
    name = name_of(path)
    if isinstance(after, bool) or isinstance(before, bool):
        return isinstance(before, bool) and isinstance(after, bool)
    if isinstance(after, str):
        return name in FREE_TEXT
    if isinstance(after, int | float):
        known = MEANS_SOMETHING_NEGATIVE if after < 0 else MEANS_SOMETHING_AT_ZERO
        return after in (-1, 0) and name in known
    if isinstance(after, list):
        return len({json.dumps(value) for value in after}) == len(after) or name in MAY_REPEAT
    return after is None or isinstance(after, dict)


@pytest.mark.parametrize("senseless", SENSELESS)
@pytest.mark.parametrize("name", CHAPTERS)
def test_no_field_takes_a_value_without_sense(name: str, senseless: tuple[str, ...]) -> None:
    tried = set()
    wrong = []
    for profile in map(chapter(name).profile, chapter(name).profiles()):
        for path, before in fields(plain(profile)):
            if (path, type(before)) in tried:  # the same class at another scale
                continue
            tried.add((path, type(before)))
            twice = [[*before, before[0]]] if isinstance(before, list) and before else []
            given = [v for v in senseless if v in TO_OBJECTS or not isinstance(before, dict)]
            for value in (*given, *map(json.dumps, twice)):
                after = takes(profile, path, value)
                if isinstance(after, ParameterError):
                    lines = after.message.splitlines()
                    if not all(re.fullmatch(r"[^:]+: .+\.", line) for line in lines):
                        wrong.append((path, value, after.message))
                elif after != before and not has_sense(path, before, after):
                    wrong.append((path, value, after))
    assert not wrong, "\n".join(map(str, wrong))
    assert {path[0] for path, _ in tried} == {*type(profile).model_fields}
    assert len(tried) > len(Profile.model_fields)


def classes(base: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for found in base.__subclasses__():
        yield found
        yield from classes(found)


def test_every_bound_that_a_field_states_is_held() -> None:
    for name in CHAPTERS:
        chapter(name).profile("smoke")  # imports them
    stated, wrong = 0, []
    for found in classes():
        for name, field in found.model_fields.items():
            check = TypeAdapter(Annotated[field.annotation, field])
            for bound in field.metadata:
                beyond = [
                    *([bound.ge - 1] if isinstance(bound, Ge) else []),
                    *([bound.le + 1] if isinstance(bound, Le) else []),
                ]
                for value in beyond:
                    stated += 1
                    with contextlib.suppress(ValidationError):
                        wrong.append((found, name, bound, check.validate_python(value)))
    assert not wrong
    assert stated > 300


def test_every_number_of_every_settings_class_has_two_bounds() -> None:
    for name in CHAPTERS:
        chapter(name).profile("smoke")  # imports them
    wrong = []
    for found in classes():
        for name, field in found.model_fields.items():
            if field.annotation is bool or not found.__module__.startswith("okml."):
                continue
            check = TypeAdapter(Annotated[field.annotation, field])
            for number in (math.nan, math.inf, -math.inf, 1e300, -1e300, True):
                for value in (number, [number], [number, number], [[number]], {"strong": number}):
                    with contextlib.suppress(ValidationError):
                        wrong.append((found, name, check.validate_python(value)))
    assert not wrong


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("strec", {"network.heads": "3"}, "network: width 32 is not a multiple of 3 heads"),
        ("strec", {"causal.heads": "5"}, "width 32 is not a multiple of 5 heads"),
        ("strec", {"network.layers": "2"}, "has 3 entries for 2 layers"),
        ("strec", {"datasets.0.length": "8"}, "exceeds the window of 8 items"),
        ("strec", {"datasets.0.short_lengths": "[20]"}, "exceed the window of 16 items"),
        ("strec", {"recipes.0.from_scratch": "true"}, "needs a warm start"),
        ("strec", {"recipes.0.relaxed_epochs": "0"}, "needs relaxed_epochs"),
        ("strec", {"recipes.0.patience": "2"}, "recipes.0: patience 2 needs evaluate_every"),
        ("strec", {"recipes.0.relaxation.shifts": "[-0.2]"}, "1 shifts are stated for 3 layers"),
        ("strec", {"recipes.1.name": "modern"}, "recipes: 'modern' is listed twice"),
        ("strec", {"mixers": '["gru"]'}, "Input should be 'attention', 'autoformer'"),
        ("strec", {"mixers": '["mamba"]'}, "mamba is causal: see `references`"),
        ("strec", {"datasets.0.log": "ml_100"}, "Did you mean 'ml_100k'?"),
        ("space_time", {"models.0.name": "smolm2_135m"}, "Did you mean 'smollm2_135m'?"),
        ("space_time", {"sets.0": "citys"}, "Did you mean 'cities'?"),
        ("space_time", {"place_set": "people"}, "place_set needs places"),
        ("space_time", {"zip_set": "films"}, "zip_set needs places with ZIP codes"),
        (
            "space_time",
            {"prompts": '["empty", "random", "ordinary", "blank"]'},
            "under the prompt 'blank'",
        ),
        ("space_time", {"probe.lambda_exponents": "[2, -6]"}, "must ascend"),
        ("space_time", {"steering.strengths": "[0]"}, "a strength of 0 is no push"),
        ("offline_rl", {"main_arms": '["crr"]'}, "one of arms and main_arms"),
        ("offline_rl", {"main_arms": '["distilgpt2_start"]'}, "needs actor.language_weights"),
        ("offline_rl", {"datasets.0.actor.language_weights": "nowhere"}, "There is no such folder"),
        ("add", {"sets.0.add.student_timesteps": "[499, 249]"}, "Values should ascend"),
        ("add", {"sets.0.size": "16"}, "digits have 8 pixels a side"),
        ("add", {"sets.0.size": "7"}, "size 7 cannot be halved 1 times"),
        ("add", {"sets.0.channels": "[12, 16]"}, "channels need multiples of 8"),
        ("add", {"sets.0.channels": "[16, 8]"}, "the last at least 16"),
        ("add", {"sets.0.vit.heads": "5"}, "width 48 is not a multiple of 5 heads"),
        ("add", {"sets.0.vit.patch": "9"}, "a patch of 9 exceeds the size 8"),
        ("add", {"sets.0.progressive.from_steps": "6"}, "a power of two, not 6"),
        ("add", {"sets.0.add.heads.kernel": "8"}, "kernel must be odd, not 8"),
        ("add", {"sets.0.add.heads.kernel": "35"}, "which have 16 positions"),
        ("add", {"sets.0.add.student_timesteps": "[999, 249]"}, "Values should ascend"),
        ("add", {"published.base.side": "500"}, "side 500 is not a multiple of 8"),
        ("add", {"published.base.add.teacher_steps": "3"}, "a row of Table 1 does not fit"),
        ("lightsage", {"data.shop.valid_days": "30"}, "must ascend"),
        ("lightsage", {"data.shop.launch_day": "31"}, "launch_day 31.0 is after 30.0 days"),
        ("lightsage", {"data.graph.merge.coefficients": '{"strong": 1}'}, "for each of strong"),
        ("lightsage", {"pinsage.hard_first": "200"}, "fewer than 1 hard negatives"),
        ("lightsage", {"width": "60"}, "cannot be cut into 16 codes"),
        ("lightsage", {"variants": '["V0", "V7"]'}, "There is no variant of the network 'V7'"),
        ("video_workshop", {"users.base.heads": "3"}, "width 32 is not a multiple of 3 heads"),
        ("video_workshop", {"users.base.length": "9"}, "the same length"),
        ("video_workshop", {"users.ranked": '["like", "loved"]'}, "ml_100k has no signal loved"),
        ("video_workshop", {"users.ablations": '["intents"]'}, "the base needs two layers"),
        ("video_workshop", {"data.features": '["text"]'}, "only MicroLens has"),
        ("video_workshop", {"traffic_data": '{"log": "ml_1m"}'}, "needs a log of impressions"),
        ("video_workshop", {"goals.simulator.slate": "101"}, "exceeds the 100 candidates"),
        ("video_workshop", {"goals.traffic.test_from": "2"}, "no day lies between"),
        ("video_workshop", {"goals.traffic.test_from": "5"}, "is after the last"),
        ("video_workshop", {"items.once": '["id"]'}, "arms and once have something in common"),
        ("video_workshop", {"stream.weekly.launches.last": "20"}, "27 to 20 is no span"),
        ("video_workshop", {"stream.weekly.first": "30"}, "before period 30"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    name: str, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        chapter(name).profile("smoke", changes)
    assert message in caught.value.message
