"""The controls, where the answer is known from the names alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import r2_score

from okml.space_time.baselines import token_targets
from okml.space_time.config import ProbeSettings
from okml.space_time.entities import EntitySet
from okml.space_time.experiments import probing
from okml.space_time.experiments.controls import _measure_selectivity
from okml.space_time.layers import Draw
from okml.space_time.prompts import tokenize
from okml.space_time.ridge import LambdaGrid
from okml.steps import StepResult
from tests.space_time.tiny_experiment import START, byte_tokenizer

PLACE = "world_place"
ENDINGS = ("bay", "den", "fjord", "glen", "holm", "ton")


def named_places() -> EntitySet:
    """Return 120 places; no first letter of a name tells its last syllable."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "entity": [f"{'ABCDE'[n % 5]}{n} {ENDINGS[n % 6]}" for n in range(120)],
            "is_test": np.arange(120) % 4 == 0,
            "longitude": rng.uniform(-90, 90, 120),
            "latitude": rng.uniform(-60, 60, 120),
        }
    )
    columns = ("longitude", "latitude")
    return EntitySet(PLACE, "space", frame, columns, None, None, None, "made by hand")


def study_of(places: EntitySet, seen: np.ndarray, seeds: tuple[int, ...]) -> Any:
    """Return a study whose model has these states, [n, d], at the last tokens of places."""
    tokenizer = byte_tokenizer(ENDINGS)
    start = tokenizer.convert_tokens_to_ids(START)
    test = places.test_mask()
    return SimpleNamespace(
        profile=SimpleNamespace(
            place_set=PLACE, model=None, seeds=seeds, probe=ProbeSettings(preprocess="raw")
        ),
        device="cpu",
        lambdas=LambdaGrid(),
        entities=lambda name: places,
        read=lambda one: SimpleNamespace(layer=lambda layer: seen),
        language_model=lambda model: None,
        tokens=lambda lm, name, prompt: tokenize(places, prompt, tokenizer, start, 0),
        rows=lambda name, seed: Draw(np.flatnonzero(~test), np.flatnonzero(test)),
    )


def last_of(places: EntitySet) -> list[int]:
    pieces = byte_tokenizer(ENDINGS)(places.text(), add_special_tokens=False)["input_ids"]
    return [ids[-1] for ids in pieces]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_probe_that_sees_the_last_token_learns_the_task_of_last_tokens_by_heart(
    seed: int,
) -> None:
    places = named_places()
    last = last_of(places)
    seen = np.array([[token == kind for kind in sorted(set(last))] for token in last], float)
    result = StepResult()
    _measure_selectivity(study_of(places, seen, (seed,)), result, {PLACE: 1})
    assert result.values("place_token_task_r2") == pytest.approx([1], abs=1e-3)


def test_what_the_mlp_learns_by_heart_is_beside_what_the_linear_probe_learns() -> None:
    """States that are all the same teach the linear probe the mean of the training names."""
    places, seen = named_places(), torch.ones(120, 1, dtype=torch.float64)
    test, last, result = places.test_mask(), last_of(places), StepResult()
    expected = []
    for seed in (0, 1):
        task = token_targets(last, places.y(), seed)
        mean = np.broadcast_to(task[~test].mean(axis=0), task[test].shape)
        expected.append(1 - r2_score(task[test], mean))
    with mock.patch.object(probing, "_mlp", lambda *given: given[2][given[3].test]):  # all of it
        probing._measure_memory(study_of(places, seen.numpy(), (0, 1)), result, PLACE, seen)
    assert result.values("mlp_token_task_gain") == pytest.approx(expected)
