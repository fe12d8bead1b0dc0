"""The study that all experiments of the chapter share: entities, models and activations."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from okml.accelerator import pick_device
from okml.data import fetch
from okml.errors import ParameterError
from okml.kept import distinct, trainings_folder
from okml.space_time import entities
from okml.space_time.arms import Pass, all_passes, layers_kept, needs
from okml.space_time.baselines import WordVectors
from okml.space_time.config import ModelSettings, SpaceTimeProfile
from okml.space_time.entities import EntitySet
from okml.space_time.extract import read_layers
from okml.space_time.layers import Draw, LayerFit, fit_layer, layer_frames
from okml.space_time.layerwise import open_layerwise, stream_layers
from okml.space_time.models import LanguageModel, load_causal_lm, randomize
from okml.space_time.prompts import Tokens, tokenize
from okml.space_time.readings import Reading, drafted, open_reading, rounded
from okml.space_time.ridge import LambdaGrid
from okml.training.ahead import train_ahead


class Study:
    """Entities, models and activations of one run, each made once; its folder keeps readings."""

    def __init__(self, profile: SpaceTimeProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self._loaded: tuple[ModelSettings, int | None, LanguageModel] | None = None

    @cached_property
    def device(self) -> torch.device:
        """Where models and probes run."""
        return pick_device(self.profile.device)

    @cache  # noqa: B019 - a study lives as long as its run
    def entities(self, name: str) -> EntitySet:
        """Return the entity set called ``name``, cut to the size the profile reads."""
        return self.all_entities(name).at_most(self.profile.entities)

    @cache  # noqa: B019
    def all_entities(self, name: str) -> EntitySet:
        """Return the whole entity set called ``name``."""
        return entities.load(name)

    def rows(self, name: str, seed: int) -> Draw:
        """Return the rows of a set that ``seed`` draws: a share of each side of the split."""
        test = self.entities(name).test_mask()
        rng = np.random.default_rng(seed)
        share = self.profile.resample

        def draw(side: NDArray[np.int64]) -> NDArray[np.int64]:
            count = max(2, round(share * len(side)))
            return np.sort(rng.choice(side, count, replace=False)) if share < 1 else side

        return Draw(draw(np.flatnonzero(~test)), draw(np.flatnonzero(test)))

    @property
    def fixed(self) -> bool:
        """Whether every seed draws all rows, so that no seed changes a linear probe."""
        return self.profile.resample == 1

    @property
    def probe_seeds(self) -> tuple[int, ...]:
        """The seeds whose linear probes differ: the first alone where none changes them."""
        return self.profile.seeds[:1] if self.fixed else self.profile.seeds

    @property
    def lambdas(self) -> LambdaGrid:
        """The candidates for λ."""
        settings = self.profile.probe
        return LambdaGrid(settings.lambda_exponents, settings.lambdas)

    @cached_property
    def word_vectors(self) -> WordVectors | None:
        """Static vectors of the words that occur in the sets, if the profile names some."""
        if self.profile.word_vectors is None:
            return None
        (path,) = fetch(self.profile.word_vectors).values()
        wanted = {
            word
            for name in self.profile.sets
            for text in self.entities(name).text()
            for word in re.findall(r"[^\W_]+", text.lower())
        }
        table = json.loads(path.read_text(encoding="utf-8"))["vectors"]
        width = 100  # each entry is the vector, then its norm and its rank
        return {word: np.array(table[word][:width]) for word in wanted if word in table}

    def language_model(
        self, settings: ModelSettings, untrained_seed: int | None = None
    ) -> LanguageModel:
        """Return a model; the last one stays in memory until another is asked for.

        Args:
            settings: The model and how it is held. A ``layerwise`` one has no weights in memory: it
                can be asked for tokens, and :meth:`read` reads it block by block.
            untrained_seed: The seed of freshly drawn weights in place of the trained ones.

        Raises:
            ParameterError: If the untrained control of a model that is not in memory is wanted.
        """
        if untrained_seed is not None and settings.placement == "layerwise":
            raise ParameterError(
                f"{settings.name} is read block by block and has no untrained control.",
                "Use the profile's resident model.",
            )
        if self._loaded is None or self._loaded[:2] != (settings, untrained_seed):
            self._loaded = None  # free the old one before the new one is built
            self._loaded = (settings, untrained_seed, self._open(settings, untrained_seed))
        return self._loaded[2]

    def _open(self, settings: ModelSettings, untrained_seed: int | None) -> LanguageModel:
        if untrained_seed is not None:  # needs the architecture alone
            described = open_layerwise(settings.name, settings.dtype)
            return randomize(described, untrained_seed, self.device)
        if settings.placement == "layerwise":
            return open_layerwise(settings.name, settings.dtype)
        return load_causal_lm(
            settings.name, settings.dtype, self.device.type, settings.quantization
        )

    def tokens(self, lm: LanguageModel, name: str, prompt: str) -> Tokens:
        """Return the tokens of a set under a prompt."""
        return tokenize(self.entities(name), prompt, lm.tokenizer, lm.document_start, seed=0)

    def read(self, one: Pass) -> Reading:
        """Return the finished reading of a pass; a model runs only if there is none on disk.

        Every layer is probed as soon as it is read. What stays is in
        :func:`okml.space_time.arms.layers_kept`.
        """
        name = distinct(f"{one.set}-{one.prompt}", (one, self.device.type))
        folder = trainings_folder(self, Study.read) / name
        if found := open_reading(folder):
            return found
        carried = {self.read(need).listing.chosen for need in self.needs(one)}
        entity_set, storage = self.entities(one.set), self.profile.activation_dtype
        seeds = self.probe_seeds if one.untrained is None else (one.untrained,)
        draws = {seed: self.rows(one.set, seed) for seed in seeds}
        lm = self.language_model(one.model, one.untrained)
        kept = layers_kept(self.profile, one, lm.n_layers)
        fitted: list[list[LayerFit]] = []
        best: tuple[float, int, torch.Tensor | None] = (math.inf, -1, None)
        with drafted(folder, storage) as draft:
            for layer, read in self._stream(lm, one):
                states = rounded(read, storage)  # [n, d]
                fits = fit_layer(
                    layer, states, entity_set.y(), [*draws.values()],
                    how=self.profile.probe.preprocess, lambdas=self.lambdas, device=self.device,
                )  # fmt: skip
                fitted.append(fits)
                if layer in kept.layers | carried:
                    draft.keep(layer, states)
                if (error := fits[0].fit.best_loo_mse) < best[0]:
                    best = error, layer, states
            _, chosen, states_of_chosen = best
            if kept.chosen and chosen not in draft.layers and states_of_chosen is not None:
                draft.keep(chosen, states_of_chosen)
            frames = layer_frames(entity_set, draws, fitted)
            labels = {
                "set": pl.lit(one.set),
                "prompt": pl.lit(one.prompt),
                "model": pl.lit("trained" if one.untrained is None else "untrained"),
            }
            labeled = {name: frame.with_columns(**labels) for name, frame in frames.items()}
            draft.finish(labeled, (lm.n_layers, len(entity_set), lm.d_model), chosen)
        return Reading(folder, draft.listing)

    def read_ahead(self) -> None:
        """Read all passes on the cards of this machine, each card a pass at a time.

        On a CPU the passes follow one another: a second process would hold a second model.
        """
        on_cpu = self.device.type == "cpu"
        train_ahead(self, all_passes(self.profile), places=[self.device] if on_cpu else None)

    def train(self, job: Pass) -> Reading:
        """Return the finished reading of a pass, which is a job of :func:`train_ahead`."""
        return self.read(job)

    def needs(self, job: Pass) -> list[Pass]:
        """Return the passes that a pass waits for."""
        return needs(self.profile, job)

    def _stream(self, lm: LanguageModel, one: Pass) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the states of a pass after each layer, [n, d]."""
        tokens, budget = self.tokens(lm, one.set, one.prompt), self.profile.batch_tokens
        if one.model.placement == "layerwise":
            device = self.device.type
            return stream_layers(lm, tokens.ids, tokens.offsets, device=device, token_budget=budget)
        return read_layers(lm, tokens.ids, tokens.offsets, token_budget=budget)
