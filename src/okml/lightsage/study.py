"""The data, graphs and trainings that the steps of a run share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.accelerator import pick_device
from okml.errors import ParameterError
from okml.kept import trainings_folder
from okml.lightsage.adjacency import Adjacency
from okml.lightsage.arms import Arm, Job, Rows, tries
from okml.lightsage.baselines.item2vec import by_epoch, item2vec
from okml.lightsage.baselines.lightgcn import IdGraph, lightgcn
from okml.lightsage.baselines.pinsage import (
    PinSage,
    hard_negatives,
    importance_neighborhoods,
    visit_counts,
    walk_pairs,
)
from okml.lightsage.baselines.untrained import (
    category_scorer,
    edge_scorer,
    feature_scorer,
    popularity_scorer,
    random_scorer,
    truth_scorer,
)
from okml.lightsage.comparison import PairedComparison, PairMetrics, evaluate, validation_ndcg
from okml.lightsage.features import diffused, hop_features
from okml.lightsage.graph import ItemGraph, SwingSettings, cosine, swing, user_items
from okml.lightsage.graph.ablation import DRAWN, GraphName, LogEdges, graph_by_name
from okml.lightsage.network.encoder import GraphEncoder, LightSAGE
from okml.lightsage.network.sampler import NeighborSampler
from okml.lightsage.ranking import Numbers, Scorer, vector_scorer
from okml.lightsage.settings import LightsageProfile, TaskSettings
from okml.lightsage.tail import (
    Grouping,
    Groups,
    TailVectors,
    contract,
    contracted_adjacency,
    group_features,
    group_tail,
)
from okml.lightsage.task import RetrievalTask, open_task
from okml.lightsage.training.batches import BlockReader, HopReader, PairBatches, Positives, Reader
from okml.lightsage.training.losses import LossSettings
from okml.lightsage.training.trainer import ContrastiveModel, Hyperparameters, train_module
from okml.paths import atomic_write
from okml.seqrec.convergence import MONITOR, still_rising
from okml.steps import announced
from okml.training import History
from okml.training.recent import recently_trained

WALK_LENGTH = 5  # steps of the walks that give GraphSAGE's own positives, as in the paper


@dataclass(frozen=True, eq=False)
class TrainedVectors:
    """A finished training.

    Attributes:
        vectors: Vectors of all items, ``[N, d]``, on the device of the study.
        history: Metrics of the training by step; None of one that nobody validates or logs.
    """

    vectors: Tensor
    history: History | None


@dataclass(frozen=True, eq=False)
class TrainedGraphEncoder(TrainedVectors):
    """A trained encoder.

    Attributes:
        encoder: Encoder with the weights of the last step, or of the best validation.
    """

    encoder: GraphEncoder
    history: History

    @property
    def seconds(self) -> float:
        """Training time in seconds."""
        return float(self.history.frame["seconds"][-1])


@dataclass(frozen=True, eq=False)
class TrainingGraph:
    """The nodes of a training: items, or ungrouped items and groups.

    Attributes:
        features: Features X, ``[n, F]``, on the device of the study.
        adjacency: Row-normalized graph A, ``[n, n]``, there as well.
        positives: Positive pairs of nodes.
        candidates: Numbers of the nodes that can be negatives. New items are held out: those that
            nobody opened in training are neither negatives nor in the means of groups.
    """

    features: Tensor
    adjacency: Adjacency
    positives: Positives
    candidates: Numbers


class Study:
    """Data, graphs and trainings of one run, each computed once.

    Args:
        run_dir: Folder of the run.
    """

    def __init__(self, profile: LightsageProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self._data: dict[tuple[str, int], RetrievalTask] = {}
        self._histories: dict[Job, History | None] = {}

    @cached_property
    def device(self) -> torch.device:
        """Device of the trainings."""
        return pick_device(self.profile.device)

    def data(self, settings: TaskSettings, seed: int) -> RetrievalTask:
        """Return a data set under its protocol; seeds share what they do not change."""
        key = settings.key, seed if settings.seeded else 0
        if key not in self._data:
            self._data[key] = open_task(settings, seed)
        return self._data[key]

    def graph(self, data: RetrievalTask, name: GraphName, seed: int) -> ItemGraph:
        """Return a graph of the ablation; seeds share those in which nothing is drawn."""
        return self._graph(data, name, seed if name in DRAWN else 0)

    @cache  # noqa: B019 - a study lives as long as its run
    def _graph(self, data: RetrievalTask, name: GraphName, seed: int) -> ItemGraph:
        return graph_by_name(name, self.edges(data), seed)

    @cache  # noqa: B019
    def edges(self, data: RetrievalTask) -> LogEdges:
        """Return the edges of a training log by kind."""
        return LogEdges(data.shop.train, data.items, data.settings.graph, data.key)

    @cache  # noqa: B019
    def _filtering(self, data: RetrievalTask, count: Callable[..., pl.DataFrame]) -> pl.DataFrame:
        """Return all scores of collaborative filtering, by Swing or by cosine."""
        settings = data.settings.graph.swing
        return count(user_items(data.shop.train, settings), _uncapped(settings))

    @cache  # noqa: B019
    def features(self, data: RetrievalTask) -> Tensor:
        """Return the features X of a data set, ``[N, F]``, on the device."""
        return self._here(data.shop.features)

    @cache  # noqa: B019
    def adjacency(self, data: RetrievalTask, name: GraphName, seed: int) -> Adjacency:
        """Return the row-normalized A of a graph of the ablation, on the device."""
        return self.graph(data, name, seed).adjacency.to(self.device)

    @cache  # noqa: B019
    def groups(self, data: RetrievalTask, seed: int, kind: Grouping = "similar") -> Groups:
        """Return the groups of tail items of one kind."""
        features = data.shop.features
        tail = data.tail & ~data.cold if kind == "joined" else data.tail
        settings = self.profile.tail
        sizes = {"key": data.items, "large": settings.large_size}
        size = sizes.get(kind, settings.group_size)
        groups = group_tail(tail, data.category, data.kind, features, size)
        if kind == "random":
            return groups.shuffled(np.random.default_rng([seed, 1]), data.key)
        return groups.joined_by(data.cold, data.key, features) if kind == "joined" else groups

    @cache  # noqa: B019
    def contracted(
        self, data: RetrievalTask, name: GraphName, seed: int, kind: Grouping
    ) -> Adjacency:
        """Return the graph of ungrouped items and groups."""
        edges = self.graph(data, name, seed).edges
        most = data.settings.graph.merge.most_neighbors
        return contracted_adjacency(edges, self.groups(data, seed, kind), most).to(self.device)

    def needs(self, job: Job) -> Iterable[Job]:
        """Return the trainings that choose the learning rate of a job."""
        chosen = job.rate is not None or len(self.profile.rate_factors) == 1
        return () if chosen else tries(self.profile, job)

    def train(self, job: Job) -> TrainedVectors:
        """Return the finished training of a job."""
        trained = self._trained(self.tuned(job) if job.rate is None else job)
        self._histories[job] = trained.history
        return trained

    def tuned(self, job: Job) -> Job:
        """Return a job with the learning rate that had the best validation with the first seed."""
        trials = tries(self.profile, job)
        best = trials[0] if len(trials) == 1 else max(trials, key=self.validation)
        return replace(job, rate=best.rate)

    @cache  # noqa: B019
    def validation(self, job: Job) -> float:
        """Return NDCG@10 of a job on the validation pairs, by which rates and rivals are chosen."""
        history = self._history(job) if job.trains else None
        if history is not None and history.best_value is not None:
            return history.best_value  # the training kept the weights of this value
        return validation_ndcg(self.scorer(job), self.data(job.data, job.seed))

    def rising(self, jobs: Iterable[Job]) -> bool | None:
        """Tell whether the trainings of an arm with different seeds ended before they were flat.

        None: one of them has no curve of the validation, so that nothing tells. What needs no
        training does not rise.
        """
        histories = [self._history(job) for job in jobs if job.trains]
        curves = [history for history in histories
                  if history is not None and MONITOR in history.frame.columns]  # fmt: skip
        if len(curves) < len(histories):
            return None
        return bool(curves) and still_rising(curves)

    def not_flat(self, rows: Rows, arms: Iterable[str]) -> int:
        """Count the arms of a table that were still rising when their trainings ended.

        An arm counts, too, of which nothing tells.
        """
        return sum(
            self.rising(job for name, job in rows if name == arm) is not False for arm in arms
        )

    def best(self, rows: Rows, arms: Iterable[str]) -> str:
        """Return the arm of a table with the best validation for the first seed."""
        seed, chosen = self.profile.seeds[0], set(arms)
        found = {
            name: self.validation(job) for name, job in rows if job.seed == seed and name in chosen
        }
        return max(found, key=lambda name: found[name])

    def _history(self, job: Job) -> History | None:
        if job not in self._histories:
            self.train(job)
        return self._histories[job]

    @recently_trained
    def _trained(self, job: Job) -> TrainedVectors:
        match job.arm:
            case Arm():
                return self._train_encoder(job, job.arm)
            case "pinsage":
                return self._train_pinsage(job)
            case "item2vec":
                return self._train_item2vec(job)
            case "lightgcn users" | "lightgcn items":
                return self._train_lightgcn(job)
        raise ParameterError(f"Nothing is trained for the competitor {job.arm!r}.")

    def encoder(self, job: Job) -> TrainedGraphEncoder:
        """Return the trained encoder of a job."""
        trained = self.train(job)
        assert isinstance(trained, TrainedGraphEncoder)
        return trained

    def scorer(self, job: Job) -> Scorer:
        """Return the scorer of a job, trained if it has parameters."""
        data = self.data(job.data, job.seed)
        match job.arm:
            case "random":
                return random_scorer(data.items, job.seed)
            case "popularity":
                return popularity_scorer(self._here(data.clicks))
            case "popularity in category":
                return category_scorer(self._here(data.clicks), self._here(data.category))
            case "features":
                return feature_scorer(self.features(data))
            case "truth":
                assert data.shop.on_page is not None  # the arms list it for synthetic data alone
                return truth_scorer(torch.from_numpy(data.shop.on_page))
            case "cosine" | "swing":
                edges = self._filtering(data, swing if job.arm == "swing" else cosine)
                return edge_scorer(edges, data.items, self.device)
            case _:  # an encoder, or a competitor of ids
                return vector_scorer(self.train(job).vectors)

    def compare(self, rows: Iterable[tuple[str, Job]], reference: str) -> PairedComparison:
        """Rank the test pairs by each row of a table.

        Args:
            rows: Name and job of each row.
            reference: Name of the row that differences are relative to.
        """
        comparison = PairedComparison(reference)
        for name, job in rows:
            data = self.data(job.data, job.seed)
            with announced(f"{data.label}, seed {job.seed}: {name}"):
                comparison.data[job.seed] = data
                comparison.outcomes[name, job.seed] = self.outcome(job)
        return comparison

    @cache  # noqa: B019
    def outcome(self, job: Job) -> PairMetrics:
        """Return the outcome of a job on the test pairs; several tables have the same jobs."""
        return evaluate(self.scorer(job), self.data(job.data, job.seed))

    def tail_vectors(self, job: Job, kind: Grouping = "similar") -> TailVectors:
        """Return the vectors of items and of groups of one kind by one encoder."""
        assert isinstance(job.arm, Arm)
        data, graph = self.data(job.data, job.seed), job.arm.graph
        return TailVectors.embed(
            self.encoder(job).encoder,
            self.features(data),
            self.adjacency(data, graph, job.seed),
            self.groups(data, job.seed, kind),
            self.contracted(data, graph, job.seed, kind),
            self.profile.tail.blend,
        )

    def _train_encoder(self, job: Job, arm: Arm) -> TrainedGraphEncoder:
        data = self.data(job.data, job.seed)
        nodes = self._nodes(data, arm, job.seed)
        torch.manual_seed(job.seed)
        known = ~data.tail if arm.encoder.item_vectors else None
        encoder = LightSAGE(arm.encoder, nodes.features.shape[1], known)
        reader = self._reader(nodes, arm)
        pairs = PairBatches(
            nodes.positives, reader, arm.negatives, self.profile.recipe.batch, nodes.candidates
        )

        def embed() -> Tensor:
            if isinstance(reader, HopReader) and arm.pooled == "no":
                return encoder.embed_hops(reader.features)
            return encoder.embed(self.features(data), self.adjacency(data, arm.graph, job.seed))

        return self._fit(job, encoder, pairs, arm.loss, embed)

    def _train_pinsage(self, job: Job) -> TrainedGraphEncoder:
        """Train PinSage over importance neighborhoods of the main graph."""
        profile, settings = self.profile, self.profile.pinsage
        data = self.data(job.data, job.seed)
        rng = np.random.default_rng([job.seed, 2])
        visits = visit_counts(
            self.adjacency(data, job.data.main_graph, job.seed), settings.walks, settings.length,
            settings.restart, rng, most=max(settings.neighbors, settings.hard_last),
        )  # fmt: skip
        near = importance_neighborhoods(visits, data.items, settings.neighbors).to(self.device)
        known = np.flatnonzero(~data.cold)  # new items are held out
        ranks = settings.hard_first, settings.hard_last
        hard = hard_negatives(visits, data.items, known, *ranks, rng)
        torch.manual_seed(job.seed)
        features = self.features(data)
        encoder = PinSage(settings, features.shape[1], profile.width)
        sampler = NeighborSampler(near, (settings.neighbors,) * settings.layers)
        directed = self.graph(data, job.data.main_graph, job.seed).directed
        pairs = PairBatches(
            Positives.of(directed, data.items), BlockReader(features, sampler),
            profile.negatives.model_copy(update={"hard": settings.hard}), profile.recipe.batch,
            known, hard=hard,
        )  # fmt: skip

        loss = LossSettings(name="hinge")
        return self._fit(job, encoder, pairs, loss, lambda: encoder.embed(features, near))

    def _train_item2vec(self, job: Job) -> TrainedVectors:
        data, folder = self.data(job.data, job.seed), self._folder(job)
        path, curve = folder / "vectors.npy", folder / "validation.parquet"

        def monitored(vectors: NDArray[np.float32]) -> Mapping[str, float]:
            return self._monitored(data, self._here(vectors))

        if not path.exists():
            profile, settings = self.profile, self.profile.item2vec
            rate = settings.learning_rate * (job.rate or 1.0)
            # A session is a sentence, whose words are what Swing reads: all but feed clicks.
            vectors, validations = item2vec(
                user_items(data.shop.train, _over("session", job.data.graph.swing)), data.items,
                settings.model_copy(update={"learning_rate": rate}), job.seed,
                monitored if profile.recipe.evaluate_every else None, profile.width,
            )  # fmt: skip
            if validations is not None:
                with atomic_write(curve, "wb") as file:
                    validations.write_parquet(file)
            with atomic_write(path, "wb") as file:
                np.save(file, vectors)
        history = by_epoch(pl.read_parquet(curve)) if curve.exists() else None
        return TrainedVectors(self._here(np.load(path)), history)

    def _train_lightgcn(self, job: Job) -> TrainedVectors:
        data, profile = self.data(job.data, job.seed), self.profile
        if job.arm == "lightgcn users":
            pairs = user_items(data.shop.train, _over("user", job.data.graph.swing))
            graph = IdGraph.of_users(pairs, data.items)
        else:
            directed = self.graph(data, job.data.main_graph, job.seed).directed
            graph = IdGraph.of_items(directed, data.items)
        recipe = _at_rate(profile.lightgcn.recipe, job)
        settings = profile.lightgcn.model_copy(update={"recipe": recipe})
        vectors, history = lightgcn(
            graph, settings, width=profile.width, seed=job.seed, device=profile.device,
            folder=self._folder(job), evaluate=lambda vectors: self._monitored(data, vectors),
        )  # fmt: skip
        return TrainedVectors(vectors, history)

    def _nodes(self, data: RetrievalTask, arm: Arm, seed: int) -> TrainingGraph:
        features, adjacency = self.features(data), self.adjacency(data, arm.graph, seed)
        # All arms learn from the pairs of the main graph, so that arms on other graphs differ from
        # it by the neighbors that they read.
        directed = self.graph(data, data.settings.main_graph, seed).directed
        if arm.positives == "walks":
            rng = np.random.default_rng([seed, 3])
            directed = walk_pairs(adjacency, self.profile.walks, WALK_LENGTH, rng)
        if arm.pooled == "no":
            positives = Positives.of(directed, data.items)
            powers = diffused(features, adjacency, arm.diffused)
            return TrainingGraph(powers, adjacency, positives, np.flatnonzero(~data.cold))
        groups = self.groups(data, seed, arm.pooled)
        return TrainingGraph(
            group_features(features, groups.without(data.cold)),
            self.contracted(data, arm.graph, seed, arm.pooled),
            Positives.of(contract(directed, groups), data.items + groups.count),
            np.unique(groups.node()[~data.cold]),
        )

    def _reader(self, nodes: TrainingGraph, arm: Arm) -> Reader:
        if arm.encoder.sampled:
            # The last fan-out repeats for further hops.
            fans, layers = self.profile.fan_outs, arm.encoder.layers
            sampler = NeighborSampler(nodes.adjacency, (fans + fans[-1:] * layers)[:layers])
            return BlockReader(nodes.features, sampler, leave_edge_out=arm.leave_edge_out)
        return HopReader(
            hop_features(nodes.features, nodes.adjacency),
            leave_edge_out=arm.leave_edge_out,
            hidden_share=arm.hidden_share,
        )

    def _fit(
        self, job: Job, encoder: GraphEncoder, pairs: PairBatches, loss: LossSettings,
        embed: Callable[[], Tensor],
    ) -> TrainedGraphEncoder:  # fmt: skip
        """Train an encoder, whose vectors ``embed`` returns."""
        data = self.data(job.data, job.seed)
        history = train_module(
            ContrastiveModel(encoder, loss), pairs, _at_rate(self.profile.recipe, job),
            seed=job.seed, device=self.profile.device, folder=self._folder(job),
            evaluate=lambda: self._monitored(data, embed()), identity={"loss": loss.model_dump()},
        )  # fmt: skip
        return TrainedGraphEncoder(embed(), history, encoder)

    def _monitored(self, data: RetrievalTask, vectors: Tensor) -> Mapping[str, float]:
        return {MONITOR: validation_ndcg(vector_scorer(vectors), data)}

    def _here(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _folder(self, job: Job) -> Path:
        return trainings_folder(self, Study._trained, Study.data).joinpath(*job.folder)


def _at_rate(recipe: Hyperparameters, job: Job) -> Hyperparameters:
    rate = recipe.learning_rate * (job.rate or 1.0)
    return recipe.model_copy(update={"learning_rate": rate})


def _over(unit: Literal["user", "session"], settings: SwingSettings) -> SwingSettings:
    return settings.model_copy(update={"over": unit})


def _uncapped(settings: SwingSettings) -> SwingSettings:
    """Return settings without caps, except for a larger cap on the users of an item."""
    most = max(1000, settings.most_item_users)
    return settings.unbounded().model_copy(update={"most_item_users": most})
