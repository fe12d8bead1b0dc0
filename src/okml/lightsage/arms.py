"""The compared arms: a list of rows for each table, each row with its training.

The steps, the training ahead and the plan read these lists.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from okml.lightsage.graph.ablation import GraphName
from okml.lightsage.network.encoder import VARIANTS, EncoderSettings
from okml.lightsage.settings import BaselineName, LightsageProfile, TaskSettings
from okml.lightsage.tail import Grouping, Policy
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings

NETWORK, WITH_IDS = "LightSAGE", "LightSAGE and item vectors"
FEATURES, TRUTH = "features alone", "truth behind the clicks"
LEAKING = "edge not left out"
NO_GRAPH = "V5"
# Baselines that are a variant of the network, with its pairs, loss and steps.
OF_VARIANTS = {"graphsage": "V4", "trained features": NO_GRAPH}
SIGN_HOPS = 2
BY_FEATURES = "no graph, own vectors"  # the vector of an isolated item without a group
SCARCE: tuple[GraphName, ...] = ("strong + search", "full")
# Cuts of consecutive clicks to as many edges as the graph of strong actions has.
CUTS: tuple[GraphName, ...] = ("weak, as few edges", "weak, few of each item")
IN_VIEW: tuple[GraphName, ...] = ("weak", *CUTS, "strong")
LONGER = 3  # sessions of a longer log, in multiples
COVERAGE_SEEDS = 3  # seeds of the shops on which coverage alone is measured
TRAINED = ("item2vec", "lightgcn users", "lightgcn items", "pinsage")
# GraphSAGE with its own loss: walk pairs, popularity negatives, logistic. Negatives have the weight
# of the pair: with the paper's Q = 20, the unit vectors spread until no two are close, and the
# ranking is random.
GRAPHSAGE_LOSS = LossSettings(name="logistic", temperature=1.0, negative_weight=1.0)


class Arm(BaseModel):
    """The configuration of one encoder: graph, architecture, loss and sampling."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: GraphName = "full"  # whose neighbors an item reads; the pairs are the main graph's
    encoder: EncoderSettings = EncoderSettings()
    loss: LossSettings = LossSettings()
    negatives: NegativeSettings = NegativeSettings()
    leave_edge_out: bool = True
    hidden_share: float = 0.0  # share of rows trained without their neighborhood; one hop only
    diffused: int = 0  # powers of A whose products with X are features too (SIGN)
    pooled: Literal["no", "similar", "random"] = "no"  # whether tail items share a node in training
    positives: Literal["edges", "walks"] = "edges"


@dataclass(frozen=True, eq=False)
class Job:
    """One training, or a scorer that needs none; jobs with equal folders are equal.

    Attributes:
        data: Data set with its protocol.
        seed: Random seed of the training and of synthetic data.
        arm: Configuration of an encoder, or the name of a baseline.
        rate: Factor of the learning rate; None: the one that validation chooses.
    """

    data: TaskSettings
    seed: int
    arm: Arm | BaselineName | Literal["truth"]
    rate: float | None = None

    @property
    def folder(self) -> tuple[str, str, str]:
        """The names of its folder and of the two above."""
        if isinstance(self.arm, Arm):
            name = hashlib.sha256(self.arm.model_dump_json().encode()).hexdigest()[:16]
        else:
            name = self.arm.replace(" ", "_")
        rate = "" if self.rate is None else f"_rate_{self.rate:g}"
        return self.data.key, name, f"seed_{self.seed}{rate}"

    @property
    def trains(self) -> bool:
        """Whether there is something to train."""
        return isinstance(self.arm, Arm) or self.arm in TRAINED

    @property
    def slow(self) -> bool:
        """Whether a step reads more than two rows an item."""
        return not isinstance(self.arm, Arm) or self.arm.encoder.sampled

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)


class TailTreatment(NamedTuple):
    """One treatment of the tail, in training and in serving."""

    name: str
    pooled: Literal["no", "similar", "random"]  # tail items that share a node in training
    policy: Policy
    groups: Grouping = "similar"  # groups whose vectors the index holds
    hidden: bool = False  # trained with hidden neighborhoods


OWN = TailTreatment("trained alone, own vectors", "no", "own")
DIGEST = TailTreatment("trained pooled, served by the digest's rule", "similar", "isolated")
SERVED = TailTreatment("trained alone, served by the digest's rule", "no", "isolated")
RANDOM_SERVED = TailTreatment(
    "trained alone, random groups of a type served", "no", "isolated", "random"
)
KEY_SERVED = TailTreatment("trained alone, one group a type served", "no", "isolated", "key")
LARGE_SERVED = TailTreatment(
    "trained alone, larger similar groups served", "no", "isolated", "large"
)
JOINED_SERVED = TailTreatment("trained alone, new items join groups", "no", "isolated", "joined")
RANDOM = TailTreatment(
    "trained pooled at random in a type, similar groups served", "random", "isolated"
)
HIDDEN = TailTreatment("trained with hidden neighborhoods, own vectors", "no", "own", hidden=True)
TREATMENTS = (
    OWN,
    TailTreatment("trained pooled, own vectors", "similar", "own"),
    TailTreatment("trained pooled, whole tail pooled", "similar", "all"),
    DIGEST,
    TailTreatment("trained pooled, the digest's rule by query", "similar", "query"),
    SERVED,
    RANDOM,
    RANDOM_SERVED,
    KEY_SERVED,
    LARGE_SERVED,
    JOINED_SERVED,
    HIDDEN,
)
FEW_TREATMENTS = (
    OWN, DIGEST, SERVED, RANDOM, RANDOM_SERVED, KEY_SERVED, LARGE_SERVED, JOINED_SERVED,
)  # fmt: skip

Rows = list[tuple[str, Job]]  # the name of a row of a table, and its job


def graph_jobs(profile: LightsageProfile) -> Rows:
    """Return LightSAGE on every graph of the ablation, and the two ends of the scale.

    Arms differ by the graph whose neighbors an item reads. Their pairs are those of the main graph.
    """
    rows = _on_graphs(profile, profile.data, profile.graphs)
    for seed in profile.seeds:
        rows.append((FEATURES, Job(profile.data, seed, "features")))
        if profile.data.name == "synthetic":
            rows.append((TRUTH, Job(profile.data, seed, "truth")))
    return rows


def scarce_search_jobs(profile: LightsageProfile) -> Rows:
    """Return LightSAGE on the graphs of ``SCARCE`` on a shop with few searches."""
    return _on_graphs(profile, profile.scarce_search, SCARCE)


def shops_of_coverage(profile: LightsageProfile) -> dict[str, TaskSettings]:
    """Return shops where Swing may reach more items, by the name of their metric.

    In one of them a pair of users makes an edge, and the other one's log is longer. They are drawn
    for the first ``COVERAGE_SEEDS`` seeds alone. A real log has neither.
    """
    data = profile.data
    if data.name != "synthetic":
        return {}
    swing = data.graph.swing.model_copy(update={"least_pairs": 1, "least_score": 0.0})
    graph = data.graph.model_copy(update={"swing": swing})
    shop = data.shop.model_copy(update={"sessions": LONGER * data.shop.sessions})
    return {
        "swing_coverage_gain_of_single_pairs": data.model_copy(update={"graph": graph}),
        "swing_coverage_gain_of_a_longer_log": data.model_copy(update={"shop": shop}),
    }


def in_view_jobs(profile: LightsageProfile) -> Rows:
    """Return LightSAGE on the graphs of ``IN_VIEW`` on a shop whose feed follows the item."""
    return _on_graphs(profile, profile.in_view, IN_VIEW)


def network_jobs(profile: LightsageProfile) -> Rows:
    """Return every variant of the network on the main graph."""
    return [
        (name, Job(profile.data, seed, variant_arm(profile, name)))
        for seed in profile.seeds
        for name in profile.variants
    ]


def loss_jobs(profile: LightsageProfile) -> Rows:
    """Return LightSAGE with each loss, and with the predicted edge in the graph."""
    main = variant_arm(profile, "V0")
    arms = {"V0": main, LEAKING: main.model_copy(update={"leave_edge_out": False})}
    arms |= {name: main.model_copy(update={"loss": loss}) for name, loss in profile.losses.items()}
    return [
        (name, Job(profile.data, seed, arm)) for seed in profile.seeds for name, arm in arms.items()
    ]


def tail_jobs(profile: LightsageProfile) -> list[tuple[TailTreatment, Job]]:
    """Return the treatments of the tail; those that differ in serving share a training."""
    main, share = variant_arm(profile, "V0"), profile.tail.hidden_share
    rows = []
    for seed in profile.seeds:
        for row in FEW_TREATMENTS if profile.tail_rows == "few" else TREATMENTS:
            changes = {"pooled": row.pooled, "hidden_share": share if row.hidden else 0.0}
            rows.append((row, Job(profile.data, seed, main.model_copy(update=changes))))
    return rows


def no_graph_jobs(profile: LightsageProfile) -> Rows:
    """Return the control of the tail, a network that reads an item's own features."""
    arm = variant_arm(profile, NO_GRAPH)
    return [(BY_FEATURES, Job(profile.data, seed, arm)) for seed in profile.seeds]


def baseline_jobs(profile: LightsageProfile, data: TaskSettings | None = None) -> Rows:
    """Return LightSAGE, also with item vectors and on the data's other graphs, and baselines."""
    data = data or profile.data
    rows: Rows = []
    for seed in profile.seeds:
        rows.append((NETWORK, network_job(profile, data, seed)))
        if data.item_vectors:
            rows.append((WITH_IDS, network_job(profile, data, seed, item_vectors=True)))
        for graph in data.graphs:
            rows.append((on_graph(graph), Job(data, seed, variant_arm(profile, "V0", graph))))
        for name in data.baselines:
            rows.append((name, Job(data, seed, baseline_arm(profile, data, name))))
    return rows


def on_graph(name: GraphName) -> str:
    """Return the name of LightSAGE on another graph than the main one of a real log."""
    return f"{NETWORK}: {name}"


def baseline_arm(
    profile: LightsageProfile, data: TaskSettings, name: BaselineName
) -> Arm | BaselineName:
    """Return the encoder of a baseline, or its name if it is none."""
    if name in OF_VARIANTS:
        return variant_arm(profile, OF_VARIANTS[name], data.main_graph)
    changes: dict[str, object] = {}
    match name:
        case "sign":
            encoder = EncoderSettings(layers=0, head=True, width=profile.width)
            changes = {"encoder": encoder, "diffused": SIGN_HOPS}
        case "graphsage's own loss":
            few = {"count": 20, "draw": "popularity"}
            negatives = profile.negatives.model_copy(update=few)
            changes = {"loss": GRAPHSAGE_LOSS, "negatives": negatives, "positives": "walks"}
        case _:
            return name
    return variant_arm(profile, "V4", data.main_graph).model_copy(update=changes)


def tries(profile: LightsageProfile, job: Job) -> list[Job]:
    """Return the trainings of the first seed that choose the learning rate of a job."""
    return [replace(job, seed=profile.seeds[0], rate=factor) for factor in profile.rate_factors]


def tables(profile: LightsageProfile) -> list[Rows]:
    """Return the rows of every table but the tail's, whose rows share trainings."""
    return [
        *(baseline_jobs(profile, data) for data in (profile.data, *profile.real)),
        graph_jobs(profile),
        scarce_search_jobs(profile),
        in_view_jobs(profile),
        network_jobs(profile),
        loss_jobs(profile),
        no_graph_jobs(profile),
    ]


def all_jobs(profile: LightsageProfile) -> list[Job]:
    """Return every training of a run once, the slow ones first."""
    jobs = [job for rows in tables(profile) for _, job in rows]
    jobs += [job for _, job in tail_jobs(profile)]
    trainings = dict.fromkeys(job for job in jobs if job.trains)
    return sorted(trainings, key=lambda job: not job.slow)


def network_job(
    profile: LightsageProfile, data: TaskSettings, seed: int, *, item_vectors: bool = False
) -> Job:
    """Return LightSAGE on the main graph of a data set, with or without learned item vectors."""
    arm = variant_arm(profile, "V0", data.main_graph)
    encoder = arm.encoder.model_copy(update={"item_vectors": item_vectors})
    return Job(data, seed, arm.model_copy(update={"encoder": encoder}))


def variant_arm(profile: LightsageProfile, name: str, graph: GraphName | None = None) -> Arm:
    """Return a variant of the network on a graph; None: the main graph of the main data."""
    return Arm(
        graph=graph or profile.data.main_graph,
        encoder=VARIANTS[name].model_copy(update={"width": profile.width}),
        loss=profile.loss,
        negatives=profile.negatives,
    )


def _on_graphs(
    profile: LightsageProfile, data: TaskSettings | None, graphs: tuple[GraphName, ...]
) -> Rows:
    """Return LightSAGE on graphs of a shop; no rows without a shop."""
    if data is None:
        return []
    return [
        (name, Job(data, seed, variant_arm(profile, "V0", name)))
        for seed in profile.seeds
        for name in graphs
    ]
