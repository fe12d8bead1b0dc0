"""The passes of a run, stated once: each model reads a set of names under a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.prompts import default_prompt, prompts_of, table_prompt


@dataclass(frozen=True)
class Pass:
    """One pass of a model over an entity set.

    Attributes:
        model: The model and how it is held.
        set: The entity set.
        prompt: The prompt it is read under.
        untrained: The seed of freshly drawn weights; None: the trained ones.
    """

    model: ModelSettings
    set: str
    prompt: str
    untrained: int | None = None


def asked(model: ModelSettings, name: str, untrained: int | None = None) -> Pass:
    """Return the pass of a model over a set under the paper's question."""
    return Pass(model, name, default_prompt(name), untrained)


def prompts_read(profile: SpaceTimeProfile, name: str) -> list[str]:
    """Return the prompts that a profile reads a set under, the paper's question first."""
    question, wanted = default_prompt(name), profile.prompts
    others = [p for p in prompts_of(name) if wanted is None or p in wanted]
    return [question, *(prompt for prompt in others if prompt != question)]


def depth_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by depth: every set, and the control untrained by seed."""
    resident, place = profile.resident_model, profile.place_set
    untrained = [asked(resident, place, untrained=seed) for seed in profile.seeds]
    return [*(asked(profile.model, name) for name in profile.sets), *untrained]


def prompt_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by prompt."""
    return [
        Pass(profile.model, name, prompt)
        for name in profile.prompt_sets
        for prompt in prompts_read(profile, name)
    ]


def model_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind accuracy by model: every model over every set of the tables."""
    return [asked(model, name) for model in profile.models for name in profile.table_sets]


def table_pass(model: ModelSettings, name: str) -> Pass:
    """Return the pass of a model over a set under the question of the paper's tables."""
    return Pass(model, name, table_prompt(name))


def table_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return the passes behind Tables 2 to 4 and Figures 4 and 5."""
    return [table_pass(model, name) for model in profile.models for name in profile.table_sets]


def all_passes(profile: SpaceTimeProfile) -> list[Pass]:
    """Return every pass of a run, each once: the list of the jobs that read a model."""
    twin = asked(profile.resident_model, profile.place_set)  # the pass of the untrained control
    passes = [*depth_passes(profile), twin, *prompt_passes(profile)]
    return list(dict.fromkeys([*passes, *model_passes(profile), *table_passes(profile)]))


def needs(profile: SpaceTimeProfile, one: Pass) -> list[Pass]:
    """Return the passes that a pass waits for.

    A probe is carried between the prompts of the place set at the layer that leave-one-out picks
    under the paper's question, so each prompt's pass keeps that layer.
    """
    question = asked(profile.model, profile.place_set)
    carried = one in prompt_passes(profile) and one.set == profile.place_set
    return [question] if carried and one != question else []


def table_layer(profile: SpaceTimeProfile, model: ModelSettings, blocks: int) -> int:
    """Return the layer of Table 2 in a model of so many blocks."""
    by_depth = round(profile.probe.depth * blocks) - 1
    return by_depth if model.table_layer is None else model.table_layer


def holdout_layer(profile: SpaceTimeProfile, model: ModelSettings, blocks: int) -> int:
    """Return the layer of Tables 3 and 4 in a model of so many blocks."""
    if model.holdout_layer is None:
        return table_layer(profile, model, blocks)
    return model.holdout_layer


def steering_layer(profile: SpaceTimeProfile, blocks: int) -> int:
    """Return the layer whose output is pushed in a model of so many blocks."""
    return round(profile.steering.depth * (blocks - 1))


@dataclass(frozen=True)
class Kept:
    """Layers of a pass that stay on disk once all of them were probed.

    Attributes:
        layers: The numbers of the layers; -1 is the embedding.
        chosen: Whether the layer that leave-one-out picks stays, too.
    """

    layers: frozenset[int]
    chosen: bool


def layers_kept(profile: SpaceTimeProfile, one: Pass, blocks: int) -> Kept:
    """Return the layers of a pass that a later step reads; the others are probed and forgotten.

    All layers are read again where neurons are searched, since each block's weights meet the
    stream around it, where rows divided by their RMS are compared with rows as they are, and where
    attention to a spelled region is cut, in the resident model.

    Args:
        profile: The settings of the run.
        one: The pass through a model.
        blocks: The number of blocks of its model.
    """
    main, resident = profile.model, profile.resident_model
    question = asked(main, profile.place_set)
    searched = [table_pass(resident, name) for name in profile.table_sets]
    if profile.keep_activations or one in (question, *searched):
        return Kept(frozenset(range(-1, blocks)), chosen=True)
    layers = set()
    if one in table_passes(profile):
        layers |= {of(profile, one.model, blocks) for of in (table_layer, holdout_layer)}
    if one == asked(resident, profile.place_set):
        layers.add(steering_layer(profile, blocks))
    explained = [asked(main, name) for name in profile.sets]  # compared with cheap explanations
    if one in explained:
        layers.add(-1)
    return Kept(frozenset(layers), chosen=one in explained)
