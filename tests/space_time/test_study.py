from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from okml.errors import ParameterError
from okml.space_time import probes
from okml.space_time.arms import prompts_read
from okml.space_time.config import PROFILES, SpaceTimeProfile
from okml.space_time.experiments.pinning import measure_ablation, measure_sweep
from okml.space_time.models import load_causal_lm
from okml.space_time.prompts import default_prompt
from okml.space_time.study import Study
from tests.space_time.tiny_experiment import (
    PLACE,
    TIME,
    hand_made,
    save_models,
    save_vectors,
    settings,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    folder = tmp_path_factory.mktemp("study")
    with hand_made(save_vectors(folder)):
        yield save_models(folder)


@pytest.fixture
def profile(folders: list[Path]) -> SpaceTimeProfile:
    return settings(folders)


def test_a_seed_draws_its_share_of_each_side(profile: SpaceTimeProfile, tmp_path: Path) -> None:
    study = Study(profile.override({"resample": 0.5}), tmp_path)
    test = study.entities(PLACE).test_mask()
    drawn = [study.rows(PLACE, seed) for seed in (0, 1)]
    for rows in drawn:
        assert len(rows.train) == round(0.5 * (~test).sum())
        assert len(rows.test) == round(0.5 * test.sum())
        assert not test[rows.train].any()
        assert test[rows.test].all()
        for side in (rows.train, rows.test):
            assert (np.diff(side) > 0).all()  # in order, none twice
    assert set(drawn[0].train) != set(drawn[1].train)
    assert study.probe_seeds == profile.seeds


@pytest.mark.parametrize("stated", ["rms", "raw"])
def test_states_are_prepared_as_the_profile_says_unless_told_otherwise(
    profile: SpaceTimeProfile, tmp_path: Path, stated: str
) -> None:
    study = Study(profile.override({"probe.preprocess": stated}), tmp_path)
    states = np.array([[3, 4], [0, -10]], np.float32)
    # The root mean squares are 5 / √2 and 10 / √2.
    of = {"raw": states, "rms": np.sqrt(2) * np.array([[0.6, 0.8], [0, -1]])}
    found = {how: probes.prepared(study, states, how) for how in (None, *of)}
    for how, features in found.items():
        assert features.dtype == torch.float64
        np.testing.assert_allclose(features.cpu(), of[how or stated], atol=1e-5)


def test_a_draw_can_be_repeated(profile: SpaceTimeProfile, tmp_path: Path) -> None:
    changed = profile.override({"resample": 0.8})
    first, again = (Study(changed, tmp_path).rows(TIME, 3) for _ in range(2))
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.test, again.test)


def test_without_resampling_every_seed_reads_all(profile: SpaceTimeProfile, tmp_path: Path) -> None:
    study = Study(profile, tmp_path)
    rows = study.rows(PLACE, 7)
    everything = np.sort(np.concatenate([rows.train, rows.test]))
    np.testing.assert_array_equal(everything, np.arange(len(study.entities(PLACE))))
    assert study.probe_seeds == profile.seeds[:1]


def test_a_set_has_the_metrics_of_what_it_stands_in_for() -> None:
    stems = {name: {*map(scale.stem, scale.sets)} for name, scale in PROFILES.items()}
    assert stems["smoke"] == {"place", "us_place", "time"}
    every = {"place", "us_place", "us_place_without_zip", "nyc_place", "time", "people", "events"}
    assert stems["night"] == stems["gpu"] == every
    assert stems["cpu"] == every - {"events"}


def test_sets_are_cut_to_the_profile(profile: SpaceTimeProfile, tmp_path: Path) -> None:
    study = Study(profile.override({"entities": 100}), tmp_path)
    assert len(study.entities(PLACE)) == 100
    assert len(study.all_entities(PLACE)) == 180
    assert set(study.entities(PLACE).text()) <= set(study.all_entities(PLACE).text())


def test_the_question_of_the_paper_comes_first(profile: SpaceTimeProfile) -> None:
    every = prompts_read(profile, PLACE)
    assert every[0] == default_prompt(PLACE) == "coords"
    known = ["coords", "empty", "empty_all_caps", "ordinary", "random", "where_is"]
    assert sorted(every) == known
    few = profile.override({"prompts": ["ordinary", "random", "empty", "where_is"]})
    assert prompts_read(few, PLACE) == ["coords", "empty", "random", "ordinary", "where_is"]
    assert prompts_read(few, TIME) == ["release", "empty", "random"]


def test_a_misspelt_prompt_is_an_error(profile: SpaceTimeProfile) -> None:
    with pytest.raises(ParameterError, match="'were_is'"):
        profile.override({"prompts": ["empty", "random", "ordinary", "were_is"]})


def test_the_untrained_control_has_none_of_the_trained_weights(
    profile: SpaceTimeProfile, folders: list[Path], tmp_path: Path
) -> None:
    study = Study(profile, tmp_path)
    trained = load_causal_lm(folders[0]).model.state_dict()
    lm = study.language_model(profile.resident_model, untrained_seed=5)
    fresh = lm.model.state_dict()
    assert lm.dtype == torch.bfloat16
    torch.manual_seed(5)
    expected = AutoModelForCausalLM.from_config(lm.model.config, dtype=torch.float32).state_dict()
    assert fresh.keys() == trained.keys()
    for name, value in fresh.items():
        assert torch.equal(value, expected[name].bfloat16())
        if value.ndim == 2:  # norms are ones in both
            assert not torch.equal(value, trained[name].bfloat16())


def test_a_model_that_is_not_in_memory_has_no_untrained_control(
    profile: SpaceTimeProfile, tmp_path: Path
) -> None:
    study = Study(profile, tmp_path)
    with pytest.raises(ParameterError, match="has no untrained control"):
        study.language_model(profile.model, untrained_seed=0)


def test_passes_share_the_cards_of_a_machine_and_follow_one_another_on_a_cpu(
    profile: SpaceTimeProfile, tmp_path: Path
) -> None:
    study, cpu, card = Study(profile, tmp_path), torch.device("cpu"), torch.device("cuda")
    with mock.patch("okml.space_time.study.train_ahead") as ahead:
        for device in (cpu, card):
            study.device = device
            study.read_ahead()
    assert [call.kwargs["places"] for call in ahead.call_args_list] == [[cpu], None]


def test_a_model_stays_until_another_is_asked_for(
    profile: SpaceTimeProfile, tmp_path: Path
) -> None:
    study = Study(profile, tmp_path)
    first = study.language_model(profile.models[0])
    assert study.language_model(profile.models[0]) is first
    assert study.language_model(profile.models[1]).n_layers == 3
    assert study.language_model(profile.models[0]) is not first


def test_the_type_in_which_names_are_read_is_not_that_of_interventions(
    profile: SpaceTimeProfile, tmp_path: Path
) -> None:
    neurons = pl.DataFrame({
        "set": [PLACE, TIME], "target": ["latitude", "release_year"], "activation": [0.5, 0.4],
        "layer": [1, 0], "neuron": [2, 3],
    })  # fmt: skip
    found = []
    for dtype in ("float32", "bfloat16"):
        types = {f"models.{place}.dtype": dtype for place in range(len(profile.models))}
        study = Study(profile.override(types), tmp_path / dtype)
        for measure, metric in (
            (measure_ablation, "ablation_rise"),
            (measure_sweep, "sweep_shift"),
        ):
            result = measure(study, neurons)
            found.append((metric, result.values(metric), result.values(f"{metric}_matched")))
    assert found[:2] == found[2:]
