"""Which model reads which set under which prompt, stated once for the experiments and the plan."""

from __future__ import annotations

from dataclasses import dataclass

from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.prompts import default_prompt, prompts_of


@dataclass(frozen=True)
class Pass:
    """One pass of a model over an entity set.

    Attributes:
        model: The model and how it is held.
        set: The entity set.
        prompt: The prompt it is read under.
        untrained: Whether the weights are freshly drawn.
    """

    model: ModelSettings
    set: str
    prompt: str
    untrained: bool = False


def asked(model: ModelSettings, name: str, untrained: bool = False) -> Pass:
    """Return the pass of a model over a set under the paper's question."""
    return Pass(model, name, default_prompt(name), untrained)


def prompts_read(profile: SpaceTimeProfile, name: str) -> list[str]:
    """Return the prompts that a profile reads a set under, the paper's question first."""
    question, wanted = default_prompt(name), profile.prompts
    others = [p for p in prompts_of(name) if wanted is None or p in wanted]
    return [question, *(prompt for prompt in others if prompt != question)]


def depth_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by depth: every set, and the untrained control."""
    untrained = asked(profile.resident_model, profile.place_set, untrained=True)
    return [*(asked(profile.model, name) for name in profile.sets), untrained]


def prompt_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by prompt."""
    return [
        Pass(profile.model, name, prompt)
        for name in profile.prompt_sets
        for prompt in prompts_read(profile, name)
    ]


def size_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by model size."""
    return [
        asked(model, name)
        for model in profile.models
        for name in (profile.place_set, profile.time_set)
    ]


def probed_in_full(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes after which every layer is probed, one for each time it is done."""
    main, resident, place = profile.model, profile.resident_model, profile.place_set
    depth = depth_passes(profile)
    passes = list(depth)
    if resident != main:
        passes.append(asked(resident, place))  # the untrained control's twin
    passes += [one for one in prompt_passes(profile) if one not in depth]
    passes.append(asked(main, place))  # rows that are not divided by their RMS
    return passes + [one for one in size_passes(profile) if one not in depth]


def all_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return every pass of a run; where activations are kept, none is made twice."""
    main, resident = profile.model, profile.resident_model
    place, time = profile.place_set, profile.time_set
    passes = probed_in_full(profile)
    passes.append(asked(main, place))  # random places by last token
    passes += [Pass(main, place, prompt) for prompt in prompts_read(profile, place)]  # transfer
    passes += 2 * [asked(main, place), asked(main, time)]  # MLP, principal components
    passes += [asked(main, name) for name in profile.sets]  # hold-outs
    passes += [asked(resident, place), asked(resident, time)]  # neurons
    passes.append(asked(resident, place))  # steering
    return list(dict.fromkeys(passes)) if profile.keep_activations else passes
