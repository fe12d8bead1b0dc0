"""The shared state of the chapter's experiments: shops, graphs, trained encoders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from okml.kept import trainings_folder
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.arms import Arm, GraphName, graph_by_name
from okml.lightsage.baselines.pinsage import PinSage
from okml.lightsage.baselines.walks import (
    hard_negatives,
    importance_neighborhoods,
    visit_counts,
    walk_pairs,
)
from okml.lightsage.comparison import Comparison
from okml.lightsage.features import HopFeatures, hop_features
from okml.lightsage.graph import ItemGraph
from okml.lightsage.network.encoder import GraphEncoder, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.prepared import Prepared, prepare
from okml.lightsage.ranking import Numbers, Scores, rank_pairs, vector_scorer
from okml.lightsage.settings import DataSettings, LightsageProfile
from okml.lightsage.tail import (
    Groups,
    TailVectors,
    contract,
    contracted_adjacency,
    group_features,
    group_tail,
)
from okml.lightsage.training.batches import (
    BlockReader,
    HopReader,
    NegativeSettings,
    PairBatches,
    Reader,
)
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.positives import Positives
from okml.lightsage.training.trainer import Recipe, train_encoder
from okml.paths import atomic_write
from okml.runtime import pick_device
from okml.training import History
from okml.training.recent import recently_trained

MONITOR = "hr@10"


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained encoder with its graph.

    Attributes:
        encoder: Encoder with the weights of the last step, or of the best validation.
        history: Metrics of the training by step.
        adjacency: Graph of items, without groups.
        hops: Tables that it was trained on, for one hop over items; None: other trainings.
    """

    encoder: GraphEncoder
    history: History
    adjacency: Adjacency
    hops: HopFeatures | None = None

    @property
    def seconds(self) -> float:
        """Training time in seconds."""
        return float(self.history.frame["seconds"][-1])


@dataclass(frozen=True, eq=False)
class Scene:
    """The nodes of a training: items, or ungrouped items and groups.

    Attributes:
        features: Features X, ``[n, F]``.
        adjacency: Row-normalized graph A, ``[n, n]``.
        positives: Positive pairs of nodes.
        candidates: Numbers of the nodes that can be negatives.
    """

    features: NDArray[np.floating]
    adjacency: Adjacency
    positives: Positives
    candidates: Numbers


class Study:
    """Shops, graphs and encoders of one run, each computed once.

    Args:
        run_dir: Folder of the run.
    """

    def __init__(self, profile: LightsageProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self._data: dict[tuple[str, int], Prepared] = {}

    @cached_property
    def device(self) -> torch.device:
        """Device of the trainings."""
        return pick_device(self.profile.device)

    def comparison(self, reference: str) -> Comparison:
        """Return an empty comparison."""
        return Comparison(reference)

    def data(self, settings: DataSettings, seed: int) -> Prepared:
        """Return a shop under its protocol."""
        key = settings.key, seed
        if key not in self._data:
            self._data[key] = prepare(settings, seed)
        return self._data[key]

    @cache  # noqa: B019 - a study lives as long as its run
    def graph(self, data: Prepared, name: GraphName, seed: int) -> ItemGraph:
        """Return a graph of the ablation."""
        log, settings = data.shop.train, data.settings.graph
        return graph_by_name(name, log, data.items, settings, seed, data.key)

    @cache  # noqa: B019
    def groups(self, data: Prepared, seed: int, random: bool = False) -> Groups:
        """Return groups of similar tail items, or of random ones of a category and type."""
        size = self.profile.tail.group_size
        groups = group_tail(data.tail, data.category, data.kind, data.shop.features, size)
        return groups.shuffled(np.random.default_rng([seed, 1]), data.key) if random else groups

    @cache  # noqa: B019
    def contracted(self, data: Prepared, name: GraphName, seed: int, random: bool) -> Adjacency:
        """Return the graph of ungrouped items and groups."""
        edges = self.graph(data, name, seed).edges
        most = data.settings.graph.merge.most_neighbors
        return contracted_adjacency(edges, self.groups(data, seed, random), most)

    @recently_trained
    def train(self, data: Prepared, arm: Arm, seed: int) -> Trained:
        """Return a trained encoder of an arm."""
        scene = self._scene(data, arm, seed)
        torch.manual_seed(seed)
        settings = arm.encoder.model_copy(update={"width": self.profile.width})
        known = ~data.tail if settings.item_vectors else None
        encoder = LightSAGE(settings, scene.features.shape[1], known)
        recipe = self.profile.sampled_recipe if settings.sampled else self.profile.recipe
        folder = self._folder(Study.train, data, arm.key(), seed)
        reader = self._reader(scene, arm, folder)
        adjacency = self.graph(data, arm.graph, seed).adjacency
        trained = self._fit(
            data, encoder, adjacency, scene, reader, arm.negatives, arm.loss, recipe, seed, folder
        )
        if isinstance(reader, HopReader) and arm.pooled == "no":
            return replace(trained, hops=reader.features)
        return trained

    @recently_trained
    def train_pinsage(self, data: Prepared, seed: int) -> Trained:
        """Return a trained PinSage over importance neighborhoods of the main graph."""
        profile, settings = self.profile, self.profile.pinsage
        graph = self.graph(data, data.settings.main_graph, seed).adjacency
        rng = np.random.default_rng([seed, 2])
        visits = visit_counts(graph, settings.walks, settings.length, settings.restart, rng)
        near = importance_neighborhoods(visits, settings.neighbors)
        hard = hard_negatives(visits, settings.hard_first, settings.hard_last, rng)
        positives = self._positives(data, seed)
        scene = Scene(data.shop.features, near, positives, np.arange(data.items))
        torch.manual_seed(seed)
        encoder = PinSage(settings.model_copy(update={"width": profile.width}), _width(data))
        sampler = NeighborSampler(near, (settings.neighbors,) * settings.layers)
        return self._fit(
            data, encoder, near, scene, BlockReader(scene.features, sampler),
            profile.negatives.model_copy(update={"hard": settings.hard}),
            LossSettings(name="hinge"), profile.sampled_recipe, seed,
            self._folder(Study.train_pinsage, data, "pinsage", seed), hard,
        )  # fmt: skip

    def vectors(self, data: Prepared, arm: Arm, seed: int) -> Scores:
        """Return the vectors of all items without pooling, ``[N, d]``."""
        trained = self.train(data, arm, seed)
        if isinstance(trained.encoder, LightSAGE) and trained.hops is not None:
            return trained.encoder.embed_hops(trained.hops)
        return trained.encoder.embed(data.shop.features, trained.adjacency)

    def tail_vectors(
        self, data: Prepared, arm: Arm, seed: int, random: bool = False
    ) -> TailVectors:
        """Return the vectors of items and of groups by one encoder.

        Args:
            data: Data set of the items.
            arm: Configuration of the encoder.
            seed: Random seed of the training.
            random: Whether random groups are served.
        """
        trained = self.train(data, arm, seed)
        return TailVectors.embed(
            trained.encoder,
            data.shop.features,
            trained.adjacency,
            self.groups(data, seed, random),
            self.contracted(data, arm.graph, seed, random),
            self.profile.tail.blend,
        )

    def _positives(self, data: Prepared, seed: int) -> Positives:
        graph = self.graph(data, data.settings.main_graph, seed)
        return Positives.of(graph.directed, data.items)

    def _scene(self, data: Prepared, arm: Arm, seed: int) -> Scene:
        graph = self.graph(data, arm.graph, seed)
        adjacency = graph.adjacency
        if arm.positives == "walks":
            rng = np.random.default_rng([seed, 3])
            directed = walk_pairs(adjacency, self.profile.walks, 5, rng)
        else:
            directed = graph.directed
        if arm.pooled == "no":
            positives = Positives.of(directed, data.items)
            return Scene(data.shop.features, adjacency, positives, np.arange(data.items))
        random = arm.pooled == "random"
        groups = self.groups(data, seed, random)
        nodes = data.items + groups.count
        return Scene(
            group_features(data.shop.features, groups),
            self.contracted(data, arm.graph, seed, random),
            Positives.of(contract(directed, groups), nodes),
            np.setdiff1d(np.arange(nodes), np.flatnonzero(groups.members)),
        )

    def _reader(self, scene: Scene, arm: Arm, folder: Path) -> Reader:
        if arm.encoder.sampled:
            sampler = NeighborSampler(scene.adjacency, self._fan_outs(arm))
            return BlockReader(scene.features, sampler, leave_edge_out=arm.leave_edge_out)
        return HopReader(
            self._hops(scene, folder),
            leave_edge_out=arm.leave_edge_out,
            hidden_share=arm.hidden_share,
        )

    def _fan_outs(self, arm: Arm) -> tuple[int, ...]:
        """Return the fan-outs of an encoder's hops; the last one repeats for further hops."""
        fans, layers = self.profile.fan_outs, arm.encoder.layers
        return (fans + fans[-1:] * layers)[:layers]

    def _hops(self, scene: Scene, folder: Path) -> HopFeatures:
        if not self.profile.out_of_core:
            return hop_features(scene.features, scene.adjacency)
        with atomic_write(folder / "features.npy", "wb") as file:
            np.save(file, scene.features.astype(np.float16))
        mapped = np.load(folder / "features.npy", mmap_mode="r")
        return hop_features(mapped, scene.adjacency, folder / "neighborhoods.npy")

    def _fit(
        self,
        data: Prepared,
        encoder: GraphEncoder,
        adjacency: Adjacency,
        scene: Scene,
        reader: Reader,
        negatives: NegativeSettings,
        loss: LossSettings,
        recipe: Recipe,
        seed: int,
        folder: Path,
        hard: NDArray[np.integer] | None = None,
    ) -> Trained:
        source = PairBatches(
            scene.positives, reader, negatives, recipe.batch, candidates=scene.candidates, hard=hard
        )

        def validate() -> Mapping[str, float]:
            vectors = encoder.embed(data.shop.features, adjacency)
            pairs = data.valid
            (ranking,) = rank_pairs(vector_scorer(vectors), pairs.item, pairs.target)
            return {MONITOR: float(ranking.hit(10).mean())}

        history = train_encoder(
            encoder, source, loss, recipe, seed=seed, device=self.profile.device, folder=folder,
            evaluate=validate if recipe.evaluate_every else None, monitor=MONITOR,
        )  # fmt: skip
        return Trained(encoder, history, adjacency)

    def _folder(self, trained_by: Callable[..., Any], data: Prepared, name: str, seed: int) -> Path:
        parts = (data.settings.key, name, f"seed {seed}")
        return trainings_folder(self, trained_by, Study.data).joinpath(
            *(re.sub(r"[^\w-]+", "_", part) for part in parts)
        )


def _width(data: Prepared) -> int:
    return int(data.shop.features.shape[1])
