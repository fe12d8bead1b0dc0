"""The effect of the prompt, and probes carried from one prompt to another (Figure 3)."""

from __future__ import annotations

import polars as pl

from okml.space_time import probes
from okml.space_time.arms import Pass, prompt_passes, prompts_read
from okml.space_time.experiments.reading import probe_of
from okml.space_time.judging import HeldOut, less
from okml.space_time.metrics import mean_r2
from okml.space_time.prompts import default_prompt
from okml.space_time.study import Study
from okml.steps import StepResult


def measure_prompts(study: Study) -> StepResult:
    """Probe every layer under every prompt of the sets named by the profile.

    ``prompt_gain`` compares the paper's question with no prompt on the main place set, each at its
    own chosen layer; ``random_prompt_drop`` compares no prompt with ten random tokens. Its control
    ``ordinary_prompt_drop`` compares no prompt with as many tokens of ordinary text about something
    else, drawn for each name.
    """
    name = study.profile.place_set
    measured = {one: study.read(one).frames for one in prompt_passes(study.profile)}
    result = StepResult(
        frames={"prompts": pl.concat([frames["curves"] for frames in measured.values()])}
    )
    arms = {
        one.prompt: probe_of(study, frames["predictions"], name)
        for one, frames in measured.items()
        if one.set == name
    }
    held_out = HeldOut(study.entities(name))
    gain = less(held_out.r2)
    asked, empty, random, ordinary = (
        arms[p] for p in (default_prompt(name), "empty", "random", "ordinary")
    )
    result.measure("prompt_gain", held_out.estimate(gain, asked, empty), "R²")
    result.measure("random_prompt_drop", held_out.estimate(gain, empty, random), "R²")
    control = "ordinary_prompt_drop"
    result.measure(control, held_out.estimate(gain, empty, ordinary), "R²")
    result.compare("random_prompt_drop", control, held_out.estimate(gain, ordinary, random))
    return result


def measure_transfer(study: Study, layer: int) -> StepResult:
    """Fit the probe under one prompt and score it under another, on the main place set.

    The paper's text leaves this out; the authors' notebooks have it. The frame ``transfer`` has a
    row a pair: ``fitted``, ``scored``, ``r2``, and ``r2_centered``, where the mean shift between
    the two prompts' activations is taken off first.
    """
    name, seed = study.profile.place_set, study.profile.seeds[0]
    y, rows = study.entities(name).y(), study.rows(name, seed)
    states = {
        prompt: study.read(Pass(study.profile.model, name, prompt)).layer(layer)
        for prompt in prompts_read(study.profile, name)
    }
    found = []
    for fitted, own in states.items():
        fit = probes.fit(study, probes.prepared(study, own), y, rows)
        for scored, other in states.items():
            shift = other[rows.train].mean(axis=0) - own[rows.train].mean(axis=0)
            scores = {}
            for column, moved in (("r2", other), ("r2_centered", other - shift)):
                features = probes.prepared(study, moved[rows.test])
                predicted = fit.predict(features).cpu().numpy()
                scores[column] = mean_r2(y[rows.test], predicted)
            found.append({"fitted": fitted, "scored": scored, **scores})
    return StepResult(frames={"transfer": pl.DataFrame(found)})
