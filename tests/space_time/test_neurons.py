from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from okml.errors import DataError
from okml.space_time.batches import end_to_end
from okml.space_time.models import LanguageModel
from okml.space_time.neurons import (
    activations_of_blocks,
    average_ranks,
    neuron_activations,
    project,
    rank_correlations,
    search_projections,
    strongest,
    weight_cosines,
)
from okml.space_time.readings import Reading
from tests.space_time.tiny_models import NEURONS, WIDTH, Prompts, sequence
from tests.space_time.whole_readings import whole_reading


@pytest.fixture
def targets() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {
        "longitude": rng.normal(size=40),
        "year": rng.integers(1900, 1905, 40).astype(float),  # many ties
    }


@pytest.fixture
def reading(lm: LanguageModel, prompts: Prompts, tmp_path: Path) -> Reading:
    return whole_reading(lm, prompts, tmp_path / "reading")


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([-2.5, -0.0, 0.0, 1.0, 1.5, 3.0]),
    )
)
def test_ranks_equal_those_of_scipy(values: np.ndarray) -> None:
    expected = stats.rankdata(values, axis=1)
    np.testing.assert_array_equal(average_ranks(torch.from_numpy(values)).numpy(), expected)


def test_correlations_equal_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 5_000)).round(1)  # ties, and more than one chunk
    targets = rng.normal(size=(50, 2)).round(0)
    mine = rank_correlations(torch.from_numpy(values), torch.from_numpy(targets)).numpy()
    assert mine.shape == (5_000, 2)
    for column in (0, 17, 2_047, 2_048, 4_999):
        for target in range(2):
            expected = stats.spearmanr(values[:, column], targets[:, target]).statistic
            assert mine[column, target] == pytest.approx(expected, abs=1e-6)


def test_a_constant_neuron_has_no_correlation() -> None:
    values = torch.stack([torch.ones(9), torch.arange(9.0)], dim=1)
    rho = rank_correlations(values, torch.arange(9.0)[:, None])
    assert rho[0, 0].isnan()
    assert rho[1, 0] == pytest.approx(1.0)


def test_activations_equal_a_pass_by_hand(lm: LanguageModel, prompts: Prompts) -> None:
    found = {layer: neuron_activations(lm, *prompts, layer) for layer in (0, 2)}
    for row in (0, 11, 39):
        for layer in (0, 2):
            entering: list[torch.Tensor] = []
            mlp = lm.block(layer).mlp
            handle = mlp.register_forward_pre_hook(
                lambda _, args, entering=entering: entering.append(args[0])
            )
            with torch.inference_mode():
                lm.base(sequence(prompts, row))
                x = entering[0][0, -1]
                parts = lm.mlp(layer)
                act = mlp.act if hasattr(mlp, "act") else mlp.act_fn
                expected = (
                    act(parts.up(x)) if parts.gate is None else act(parts.gate(x)) * parts.up(x)
                )
            handle.remove()
            torch.testing.assert_close(found[layer][row], expected, atol=1e-5, rtol=1e-5)


def test_several_blocks_are_read_in_one_pass(llama: LanguageModel, prompts: Prompts) -> None:
    together = activations_of_blocks(llama, *prompts, [2, 0], token_budget=10)
    assert [*together] == [2, 0]
    for layer, read in together.items():
        torch.testing.assert_close(read, neuron_activations(llama, *prompts, layer))


def test_every_token_is_read_where_asked(llama: LanguageModel, prompts: Prompts) -> None:
    ids, offsets = prompts
    everything = neuron_activations(llama, ids, offsets, 1, every_token=True, token_budget=10)
    last = neuron_activations(llama, ids, offsets, 1)
    assert everything.shape == (len(ids), NEURONS)
    # A prompt cut after each of its tokens ends at every token once.
    cut = [ids[start : end + 1] for start, stop in itertools.pairwise(offsets)
           for end in range(start, stop)]  # fmt: skip
    ends = neuron_activations(llama, *end_to_end(cut), 1)
    torch.testing.assert_close(everything.sum(0), ends.sum(0), atol=1e-3, rtol=1e-4)
    assert not torch.allclose(everything.square().mean(0), last.square().mean(0))


def test_projection_search_equals_a_naive_loop(
    lm: LanguageModel, reading: Reading, targets: dict[str, np.ndarray]
) -> None:
    search = search_projections(lm, reading, targets)
    in_weights = {"up", "gate"} & set(lm.mlp(0).neuron_weights())
    found = search.group_by("weight").agg(pl.col("layer").unique().sort())
    layers = dict(found.iter_rows())
    # In weights read the stream before their block, so block 0 has none; out weights of the last
    # block would read what the authors' code leaves out.
    assert layers == {"down": [0, 1]} | {weight: [1, 2] for weight in in_weights}
    for row in search.sample(25, seed=1).iter_rows(named=True):
        after = row["layer"] if row["weight"] == "down" else row["layer"] - 1
        states = reading.layer(after).astype(np.float64)
        states /= np.sqrt((states**2).mean(axis=1, keepdims=True) + 1e-6)
        weight = lm.mlp(row["layer"]).neuron_weights()[row["weight"]][row["neuron"]].numpy()
        expected = stats.spearmanr(states @ weight, targets[row["target"]]).statistic
        assert row["rho"] == pytest.approx(expected, abs=1e-3)


def test_projection_search_on_some_rows(
    llama: LanguageModel, prompts: Prompts, tmp_path: Path, targets: dict[str, np.ndarray]
) -> None:
    reading = whole_reading(llama, prompts, tmp_path / "reading")
    rows = np.array([3, 1, 4, 15, 9, 26, 5, 35])
    some = {name: target[rows] for name, target in targets.items()}
    search = search_projections(llama, reading, some, rows=rows)
    states = reading.layer(0)[rows].astype(np.float64)
    states /= np.sqrt((states**2).mean(axis=1, keepdims=True) + 1e-6)
    first = search.filter(weight="down", layer=0, neuron=4, target="longitude")
    weight = llama.mlp(0).neuron_weights()["down"][4].numpy()
    expected = stats.spearmanr(states @ weight, some["longitude"]).statistic
    assert first["rho"].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("random_seed", [None, (3, 0)])
def test_what_a_search_finds_can_be_projected_on_again(
    lm: LanguageModel,
    reading: Reading,
    targets: dict[str, np.ndarray],
    random_seed: tuple[int, int] | None,
) -> None:
    search = search_projections(lm, reading, targets, random_seed=random_seed)
    for found in search.sample(12, seed=2).iter_rows(named=True):
        values = project(lm, reading, found, np.arange(40), random_seed)
        expected = stats.spearmanr(values, targets[found["target"]]).statistic
        assert found["rho"] == pytest.approx(expected, abs=1e-3)


def test_random_directions_are_as_many_as_weights_and_know_none_of_them(
    lm: LanguageModel, reading: Reading, targets: dict[str, np.ndarray]
) -> None:
    def search(seed: tuple[int, int] | None) -> pl.DataFrame:
        return search_projections(lm, reading, targets, random_seed=seed)

    own, drawn, others = search(None), search((0, 0)), search((0, 1))
    keys = ["layer", "neuron", "weight", "target"]
    assert drawn.select(keys).equals(own.select(keys))
    assert not drawn["rho"].equals(others["rho"])
    with torch.no_grad():
        lm.mlp(1).neuron_weights()["down"].mul_(-1)
    assert search((0, 0)).equals(drawn)


def test_best_takes_each_target_and_both_signs(
    lm: LanguageModel, reading: Reading, targets: dict[str, np.ndarray]
) -> None:
    best = strongest(search_projections(lm, reading, targets), 5)
    assert best["target"].value_counts()["count"].to_list() == [5, 5]
    assert (best["rho"] < 0).any()
    for _, group in best.group_by("target"):
        assert group["rho"].abs().is_sorted(descending=True)


def test_cosines_equal_the_formula(lm: LanguageModel) -> None:
    direction = np.random.default_rng(3).normal(size=WIDTH)
    for rows in lm.mlp(2).neuron_weights().values():
        row = rows[5].numpy()
        expected = row @ direction / np.linalg.norm(row) / np.linalg.norm(direction)
        assert weight_cosines(rows, direction)[5] == pytest.approx(expected, abs=1e-6)
        assert weight_cosines(rows, -3 * direction)[5] == pytest.approx(-expected, abs=1e-6)


def test_targets_must_fit_the_entities(lm: LanguageModel, reading: Reading) -> None:
    for bad in (np.ones(39), np.full(40, np.nan)):
        with pytest.raises(DataError, match="40 finite numbers"):
            search_projections(lm, reading, {"longitude": bad})
