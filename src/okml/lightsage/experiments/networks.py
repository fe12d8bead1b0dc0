"""The network ablation: layers, activations, losses, and leaving out the predicted edge."""

from __future__ import annotations

import polars as pl

from okml.lightsage.arms import Arm
from okml.lightsage.comparison import measure_gain
from okml.lightsage.network.costs import count_costs
from okml.lightsage.network.settings import MEANING, VARIANTS
from okml.lightsage.ranking import vector_scorer
from okml.lightsage.study import Study
from okml.steps import StepResult, announced

LEAKING = "edge not left out"
NO_GRAPH = "V5"


def variant_arm(study: Study, name: str) -> Arm:
    """Return a variant on the main graph."""
    profile = study.profile
    return Arm(
        name=name,
        graph=profile.data.main_graph,
        encoder=VARIANTS[name],
        loss=profile.loss,
        negatives=profile.negatives,
    )


def measure_networks(study: Study) -> StepResult:
    """Train every variant on the main graph."""
    profile, result = study.profile, StepResult()
    comparison = study.comparison("V0")
    seconds = []
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        for name in profile.variants:
            arm = variant_arm(study, name)
            with announced(f"seed {seed}, variant {name}"):
                trained = study.train(data, arm, seed)
            comparison.add(name, seed, data, vector_scorer(study.vectors(data, arm, seed)))
            steps = trained.history.steps
            seconds.append({"arm": name, "ms a step": 1e3 * trained.seconds / steps})
    if {"V4", NO_GRAPH} <= set(profile.variants):
        loss, control = "hr10_loss_to_graphsage", "no_graph_hr10_loss_to_graphsage"
        result.measure(loss, comparison.difference("V4", "V0"))
        result.measure(control, comparison.difference("V4", NO_GRAPH))
        result.compare(loss, control, comparison.difference(NO_GRAPH, "V0"))
    measured = pl.DataFrame(seconds).group_by("arm", maintain_order=True).mean()
    result.frames = {
        "summary": comparison.summary().join(measured, on="arm", maintain_order="left"),
        "seeds": comparison.per_seed(),
    }
    return result


def count_networks(study: Study) -> StepResult:
    """Count parameters and operations of each variant."""
    data = study.data(study.profile.data, study.profile.seeds[0])
    costs = _costs(study, data.shop.features.shape[1])
    result = StepResult(frames={"costs": costs})
    if "V4" in study.profile.variants:
        counted = dict(costs.select("arm", "parameters").iter_rows())
        ratio = counted["V0"] / counted["V4"]
        result.log("parameter_ratio_to_graphsage", ratio, exact=True)
    return result


def _costs(study: Study, features: int) -> pl.DataFrame:
    profile = study.profile
    rows = []
    for name in profile.variants:
        settings = VARIANTS[name].model_copy(update={"width": profile.width})
        rows.append(
            {"arm": name, "network": MEANING[name]}
            | vars(count_costs(settings, features, profile.fan_outs))
        )
    return pl.DataFrame(rows)


def loss_arms(study: Study) -> dict[str, Arm]:
    """Return LightSAGE with each loss, and with the predicted edge in the graph."""
    main = variant_arm(study, "V0")
    return {
        "V0": main,
        LEAKING: main.model_copy(update={"leave_edge_out": False}),
        **{
            name: main.model_copy(update={"loss": loss})
            for name, loss in study.profile.losses.items()
        },
    }


def measure_losses(study: Study) -> StepResult:
    """Train LightSAGE with other losses, and with the predicted edge in the graph."""
    profile, result = study.profile, StepResult()
    comparison, curves = study.comparison("V0"), []
    for seed in profile.seeds:
        data = study.data(profile.data, seed)
        for name, arm in loss_arms(study).items():
            trained = study.train(data, arm, seed)
            comparison.add(name, seed, data, vector_scorer(study.vectors(data, arm, seed)))
            if seed == profile.seeds[0] and name in ("V0", LEAKING):
                logged = trained.history.frame.select("step", loss="train/loss").drop_nulls()
                curves.append(logged.select(pl.lit(name).alias("encoder"), "step", "loss"))
    for part, metric in (("hr@10", "hr10"), ("tail", "tail"), ("head", "head")):
        name = f"leave_edge_out_{metric}_gain"
        measure_gain(result, comparison, name, ("V0", LEAKING), part=part)
    result.frames = {
        "summary": comparison.summary(),
        "seeds": comparison.per_seed(),
        "curves": pl.concat(curves),
    }
    return result
