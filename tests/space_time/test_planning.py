from __future__ import annotations

from pathlib import Path

import pytest

from okml.chapters import chapter
from okml.data import catalog
from okml.errors import ParameterError
from okml.plan import Plan, over_budget
from okml.space_time.config import PROFILES
from okml.space_time.planning import plan
from tests.scales import beyond_scale

GIB = 2**30
# q and o [8192, 8192], k and v [1024, 8192], three maps of the MLP [28672, 8192], two norms
LLAMA2_70B_BLOCK = 2 * 8192 * 8192 + 2 * 1024 * 8192 + 3 * 28672 * 8192 + 2 * 8192


@pytest.fixture(autouse=True)
def nothing_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data, and no way to fetch any."""
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("OKML_OFFLINE", "1")


@pytest.fixture(scope="module")
def gpu() -> Plan:
    return plan(PROFILES["gpu"])


def value(found: Plan, what: str) -> float:
    return next(item.value for item in found.items if item.what == what)


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_profile_fits_its_budget(name: str, tmp_path: Path) -> None:
    profile = chapter("space_time").profile(name)
    assert over_budget(chapter("space_time").plan(profile), profile) == []
    assert not (tmp_path / "empty").exists()
    assert beyond_scale(profile) == []


def test_the_gpu_profile_fits_one_80_gb_card(gpu: Plan) -> None:
    assert 0 < gpu.gpu_memory_gib < 80e9 / GIB
    # The weights of the largest model alone would not.
    assert 2 * value(gpu, "parameters of llama2_70b") > 80e9


def test_weights_in_memory(gpu: Plan) -> None:
    # Llama-2-13B: 13,015,864,320 parameters of 2 bytes.
    assert value(gpu, "weights of llama2_13b in memory") == pytest.approx(13_015_864_320 * 2 / GIB)
    # Llama-2-70B: outside of the blocks two maps of 32,000 tokens and the last norm.
    outside = 2 * 32000 * 8192 + 8192
    expected = (2 * LLAMA2_70B_BLOCK + outside) * 2 / GIB
    assert value(gpu, "weights of llama2_70b in memory") == pytest.approx(expected)


def test_keys_and_values_of_a_batch(gpu: Plan) -> None:
    # Names of two tokens after a prefix of nine; keys as wide as the stream of 5,120 in 40 blocks.
    expected = 2 * 40 * 2_048 * (9 + 2) * 5_120 * 2 / GIB
    assert value(gpu, "keys and values of one batch in llama2_13b") == pytest.approx(expected)
    # In SmolLM2 three heads of keys serve nine.
    cpu = plan(PROFILES["cpu"])
    expected = 2 * 30 * 2_048 * (9 + 2) * 192 * 2 / GIB
    assert value(cpu, "keys and values of one batch in smollm2_135m") == pytest.approx(expected)
    # A batch as large as the hidden states of the 70B allow would fill the card.
    larger = plan(PROFILES["gpu"].override({"batch_tokens": 65_536}))
    assert larger.gpu_memory_gib > 80e9 / GIB


def test_hidden_states_of_the_largest_set(gpu: Plan) -> None:
    expected = 39_585 * 14 * 8192 * 2 / GIB  # names · tokens · width · bytes
    assert value(gpu, "hidden states of llama2_70b") == pytest.approx(expected)


def test_reading_hours_of_the_largest_model(gpu: Plan) -> None:
    world, usa, nyc, people, art, news = 39_585, 29_997, 19_838, 37_539, 31_321, 28_389
    usa_without_zip = 17_464
    everything = world + usa + usa_without_zip + nyc + people + art + news
    prompts = 5 * world + 3 * (usa + nyc + people + art + news)  # besides the question
    read = everything + prompts  # each set under each prompt once
    # Two operations a parameter of 80 blocks, for 14 tokens of a name.
    hours = 2 * 80 * LLAMA2_70B_BLOCK * 14 * read / 400e12 / 3600
    assert value(gpu, "reading with llama2_70b") == pytest.approx(hours)


def test_interventions_run_at_the_rate_of_float32(gpu: Plan) -> None:
    # Pinned: 2,000 texts on each of two topics, three neurons and four named ones, 200 matched;
    # and 200 works, one neuron and four, seven values of each and of nine controls twice over.
    pinned = 2 * 2_000 * 7 * 202 + 200 * 5 * (7 + 2 * 9)
    pushed = 1_000 * 52 * 6  # along the probe's direction, the covariance and 50 random ones
    cut = 4 * round(0.2 * 39_585)  # test places, with nothing or some tokens hidden
    operations = 6_476_267_520  # a token's pass through half of the blocks
    hours = operations * ((25 * pushed + 14 * cut) / 400e12 + 25 * pinned / 40e12) / 3600
    assert value(gpu, "interventions in llama2_7b") == pytest.approx(hours)


def test_the_control_is_drawn_in_float32(gpu: Plan) -> None:
    expected = 4 * 6_738_415_616 / GIB
    assert value(gpu, "untrained control of llama2_7b") == pytest.approx(expected)
    assert gpu.memory_gib > expected


def test_layers_on_disk_are_those_that_are_read_again(gpu: Plan) -> None:
    world, usa, nyc, people, art, news = 39_585, 29_997, 19_838, 37_539, 31_321, 28_389
    six = world + usa + nyc + people + art + news
    # The layer of the tables, of Pythia the same for all of them, of Llama-2-13B two; Llama-2-7B is
    # searched for neurons in all 33 states.
    pythia = 768 + 1024 + 2 * 2048 + 2560 + 4096
    bytes_ = 2 * six * (pythia + 2 * 5120 + 33 * 4096)
    # The 70B: all of World; elsewhere the embedding and the chosen layer, and two of the tables, of
    # the USA under another question; the chosen one of World under its other five prompts.
    layers = 81 * world + 2 * usa + 2 * usa + 2 * 17_464 + 4 * (nyc + people + art + news)
    bytes_ += 2 * 8192 * (layers + 5 * world)
    assert value(gpu, "activations on disk") == pytest.approx(bytes_ / GIB)


def test_all_layers_of_a_resident_model_wait_in_memory(gpu: Plan) -> None:
    expected = 41 * 39_585 * 5120 * 2 / GIB
    assert value(gpu, "all layers of world_place in llama2_13b") == pytest.approx(expected)


def test_kept_activations_are_counted_once() -> None:
    # cpu: the default prompt of five sets of 4,000, three prompts besides on world_place, and the
    # untrained control of three seeds; 31 states of width 576 in two bytes.
    names = 4_000 * (5 + 3 + 3)
    found = plan(PROFILES["cpu"].override({"entities": 4_000, "sets": [
        "world_place", "us_place", "nyc_place", "art", "historical_figure"]}))  # fmt: skip
    assert value(found, "activations on disk") == pytest.approx(31 * names * 576 * 2 / GIB)


def test_data_are_names_that_can_be_fetched() -> None:
    for profile in PROFILES.values():
        assert set(plan(profile).data) <= catalog().keys()
    read = {"world_models", "glove_100d", "smollm2_135m", "world_outline"}
    assert read <= set(plan(PROFILES["cpu"]).data)


def test_hours_are_the_sum_of_their_items(gpu: Plan) -> None:
    assert gpu.hours == pytest.approx(sum(i.value for i in gpu.items if i.unit == "h"))


def test_a_misspelt_set_is_an_error() -> None:
    sets = [*PROFILES["smoke"].sets, "citys"]
    with pytest.raises(ParameterError, match="Did you mean 'cities'"):
        plan(PROFILES["smoke"].override({"sets": sets}))


def test_night_reads_the_released_sets_in_full_within_90_minutes() -> None:
    found = plan(PROFILES["night"])
    world, usa, nyc, art, people, events = 39_585, 29_997, 19_838, 31_321, 2_501, 1_363
    names = world + usa + 17_464 + nyc + art + people + events
    names += 3 * world  # the untrained control of every seed
    names += 3 * world + usa + 2 * people + events  # prompts, and the question of tables
    (reading,) = (i for i in found.items if i.what.startswith("reading with"))
    assert f"{names:,} names" in reading.follows_from
    assert found.hours * 60 <= 90


def test_a_larger_sample_does_not_fit_a_small_budget() -> None:
    profile = PROFILES["smoke"].override({"budget.minutes": 0.01})
    assert over_budget(plan(profile), profile)
