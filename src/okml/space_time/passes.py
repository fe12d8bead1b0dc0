"""Which model reads which set under which prompt in a run, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.study import default_prompt, prompts_read


@dataclass(frozen=True)
class Pass:
    """One pass of a model over an entity set.

    Attributes:
        model: Which model.
        set: The entity set.
        prompt: The prompt it is read under.
        untrained: Whether the weights are freshly drawn.
    """

    model: ModelSettings
    set: str
    prompt: str
    untrained: bool = False


def probed_in_full(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes after which every layer is probed, a pass for each time it is."""
    main, resident = profile.model, profile.resident_model
    place = profile.place_set
    passes = [_asked(main, name) for name in profile.sets]  # accuracy by layer
    passes.append(_asked(resident, place, untrained=True))
    if resident != main:
        passes.append(_asked(resident, place))  # the untrained control's twin
    passes += [
        Pass(main, name, prompt)
        for name in profile.prompt_sets
        for prompt in prompts_read(profile, name)
    ]
    # Names that spell their region, under the question and without it.
    passes += [Pass(main, place, prompt) for prompt in (default_prompt(place), "empty")]
    passes.append(_asked(main, place))  # rows divided by their RMS beside raw rows
    others = [model for model in profile.models if model != main]
    passes += [_asked(m, name) for m in others for name in (place, profile.time_set)]
    return passes


def all_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return every pass of a run; where activations are kept, none is made twice."""
    main, resident = profile.model, profile.resident_model
    place, time = profile.place_set, profile.time_set
    passes = probed_in_full(profile)
    passes += [_asked(main, place), _asked(main, time)]  # map and timeline
    passes.append(_asked(main, place))  # random places by last token
    passes += [Pass(main, place, prompt) for prompt in prompts_read(profile, place)]  # transfer
    passes += 2 * [_asked(main, place), _asked(main, time)]  # MLP, principal components
    passes += [_asked(main, name) for name in profile.sets]  # hold-outs
    passes += [_asked(resident, place), _asked(resident, time)]  # neurons
    passes.append(_asked(resident, place))  # steering
    return list(dict.fromkeys(passes)) if profile.keep_activations else passes


def _asked(model: ModelSettings, name: str, untrained: bool = False) -> Pass:
    return Pass(model, name, default_prompt(name), untrained)
