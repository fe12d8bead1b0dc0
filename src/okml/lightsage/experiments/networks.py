"""The network ablation: layers, activations, losses, and leaving out the predicted edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch

from okml.lightsage.arms import LEAKING, NO_GRAPH, loss_jobs, network_jobs, variant_arm
from okml.lightsage.comparison import PairedComparison, measure_gain, same_pairs
from okml.lightsage.network.encoder import MEANING, EncoderSettings, LightSAGE
from okml.lightsage.study import Study
from okml.steps import StepResult


def measure_networks(study: Study) -> StepResult:
    """Train every variant on the main graph."""
    profile, result = study.profile, StepResult()
    rows = network_jobs(profile)
    comparison = study.compare(rows, "V0")
    if {"V4", NO_GRAPH} <= set(profile.variants):
        loss, control = "hr10_loss_to_graphsage", "no_graph_hr10_loss_to_graphsage"
        result.measure(loss, comparison.difference("V4", "V0"))
        result.measure(control, comparison.difference("V4", NO_GRAPH))
        result.compare(loss, control, comparison.difference(NO_GRAPH, "V0"))
        result.log("rising_networks", study.not_flat(rows, ("V0", "V4", NO_GRAPH)), exact=True)
    seconds = []
    for name, job in rows:
        trained = study.encoder(job)
        seconds.append({"arm": name, "ms a step": 1e3 * trained.seconds / trained.history.steps})
    measured = pl.DataFrame(seconds).group_by("arm", maintain_order=True).mean()
    result.frames = {
        "summary": comparison.summary().join(measured, on="arm", maintain_order="left"),
        "seeds": comparison.per_seed(),
    }
    return result


def count_networks(study: Study) -> StepResult:
    """Count parameters and operations of each variant."""
    profile = study.profile
    data = study.data(profile.data, profile.seeds[0])
    features, rows = data.shop.features.shape[1], []
    for name in profile.variants:
        encoder = variant_arm(profile, name).encoder
        counts = count_costs(encoder, features, profile.fan_outs)
        rows.append({"arm": name, "network": MEANING[name]} | vars(counts))
    result = StepResult(frames={"costs": pl.DataFrame(rows)})
    if "V4" in profile.variants:
        parameters = {row["arm"]: row["parameters"] for row in rows}
        ratio = parameters["V0"] / parameters["V4"]
        result.log("parameter_ratio_to_graphsage", ratio, exact=True)
    return result


@dataclass(frozen=True)
class OperationCounts:
    """The cost of embedding one item ("fewer non-linear operations"), and of a training step.

    Attributes:
        parameters: Number of parameters of the network.
        relu: Number of ReLU evaluations.
        norms: Number of vectors scaled to length 1.
        nodes: Largest number of feature rows that a training step reads per endpoint of a pair.
    """

    parameters: int
    relu: int
    norms: int
    nodes: int


def count_costs(
    settings: EncoderSettings, features: int, fan_outs: Sequence[int]
) -> OperationCounts:
    """Count the operations of an encoder without learned item vectors.

    Args:
        settings: Architecture of the encoder.
        features: Number of node features F.
        fan_outs: Number of neighbors sampled at each hop from the item outward.
    """
    encoder = LightSAGE(settings, features)
    parameters = sum(p.numel() for p in encoder.parameters())
    hops = fan_outs[: settings.layers] if settings.sampled else ()
    reached = [1]  # nodes of each hop
    for fan in hops:
        reached.append(reached[-1] * fan)
    # Layer l (from 1) is computed for the nodes that are at most L - l hops away.
    computed = [
        sum(reached[: settings.layers - layer]) if settings.sampled else 1
        for layer in range(settings.layers)
    ]
    relu = sum(
        count * settings.width
        for convolution, count in zip(encoder.hops, computed, strict=True)
        if convolution.activation
    )
    norms = sum(computed) if settings.normalize_layers else 0
    return OperationCounts(
        parameters=parameters,
        relu=relu + settings.width * settings.head,
        norms=norms + 1,
        nodes=sum(reached) if settings.sampled else 1 + (settings.layers > 0),
    )


def measure_losses(study: Study) -> StepResult:
    """Train LightSAGE with other losses, and with the predicted edge in the graph."""
    profile, result = study.profile, StepResult()
    rows = loss_jobs(profile)
    comparison, curves = study.compare(rows, "V0"), []
    for name, job in rows:
        if job.seed == profile.seeds[0] and name in ("V0", LEAKING):
            history = study.encoder(job).history
            logged = history.frame.select("step", loss="train/loss").drop_nulls()
            curves.append(logged.select(pl.lit(name).alias("encoder"), "step", "loss"))
    for part, metric in (("hr@10", "hr10"), ("tail", "tail"), ("head", "head")):
        name = f"leave_edge_out_{metric}_gain"
        measure_gain(result, comparison, name, ("V0", LEAKING), part=part)
    _measure_at_neighbors(result, study, comparison)
    result.log("rising_losses", study.not_flat(rows, ("V0", LEAKING)), exact=True)
    result.frames = {
        "summary": comparison.summary(),
        "seeds": comparison.per_seed(),
        "curves": pl.concat(curves),
    }
    return result


def _measure_at_neighbors(result: StepResult, study: Study, comparison: PairedComparison) -> None:
    """Measure the gain where the target is a neighbor of the item in view, and elsewhere.

    In serving the target is then among the items whose mean is read. Of the two trainings only the
    one that leaves the edge in has read such neighborhoods.
    """
    neighbors = {}
    for seed, data in comparison.data.items():
        adjacency = study.graph(data, data.settings.main_graph, seed).adjacency
        ends = (torch.from_numpy(side) for side in (data.test.item, data.test.target))
        neighbors[seed] = (adjacency.entries(*ends) > 0).numpy()  # [p]
    neighbors = same_pairs(comparison.data, neighbors)
    for seed, mask in neighbors.items():
        result.log("share_of_pairs_at_neighbors", float(mask.mean()), seed=seed)
    if all(mask.any() and not mask.all() for mask in neighbors.values()):
        others = {seed: ~mask for seed, mask in neighbors.items()}
        for where, part in (("at_neighbors", neighbors), ("elsewhere", others)):
            name = f"leave_edge_out_hr10_gain_{where}"
            measure_gain(result, comparison, name, ("V0", LEAKING), part=part)
