"""Every step of the chapter on hand-made entities and tiny models, with the gpu profile."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn.metrics import r2_score
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from okml.errors import ParameterError
from okml.ledger import RunRecord, judge, load_claims, read_record
from okml.space_time import entities
from okml.space_time.arms import Pass, all_passes, asked
from okml.space_time.entities import RegisteredSet
from okml.space_time.experiment import Experiment
from okml.space_time.experiments import holdouts, neuron_search, pinning, steering
from okml.space_time.experiments.carrying import HIDDEN, measure_carrying
from okml.space_time.experiments.controls import NGRAMS, ORACLE, _questions
from okml.space_time.experiments.probing import measure_components
from okml.space_time.judging import HeldOut
from okml.space_time.layers import Draw
from okml.space_time.models import LanguageModel, load_causal_lm
from okml.space_time.prompts import prompt
from okml.space_time.ridge import LambdaGrid
from okml.space_time.study import Study
from okml.steps import StepResult
from tests.deciding import deciding_estimates
from tests.processes import run
from tests.space_time.tiny_experiment import (
    DATA,
    KINDS,
    PLACE,
    REGISTRY,
    TIME,
    ZIP,
    byte_tokenizer,
    hand_made,
    isles,
    save_models,
    save_vectors,
    settings,
)

Read = Counter[Pass]
# Claims about sets that have no part in the dry run.
OF_OTHER_SETS = {
    f"space_time.{name}"
    for name in ("linear_usa", "linear_nyc", "linear_people", "linear_events",
                 "people_neurons", "events_neurons")
}  # fmt: skip
OF_THE_RESIDENT_MODEL = ("place_untrained_rise", "place_gain_over_untrained")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models and word vectors on disk, hand-made entities in place of the real ones."""
    folder = tmp_path_factory.mktemp("room")
    save_models(folder)
    with hand_made(save_vectors(folder)):
        yield folder


def models_of(room: Path) -> list[Path]:
    return [room / "llama_2", room / "llama_3"]


def watched(experiment: Experiment) -> tuple[RunRecord, Read]:
    """Run an experiment and count the passes it makes."""
    read: Read = Counter()
    real = Study._stream

    def count(study: Study, lm: Any, one: Pass) -> Any:
        read[one] += 1
        return real(study, lm, one)

    with mock.patch.object(Study, "_stream", count):
        return experiment.record(), read


@pytest.fixture(scope="module")
def dry_run(room: Path) -> tuple[Experiment, RunRecord, Read]:
    """The gpu profile in small: bfloat16, the largest model read block by block, nothing kept."""
    profile = settings(models_of(room))
    assert not profile.keep_activations
    experiment = Experiment(profile, room / "dry_run")
    return experiment, *watched(experiment)


def test_the_gpu_profile_decides_every_claim(dry_run: Any) -> None:
    record = dry_run[1]
    for claim, estimate in deciding_estimates(record, OF_OTHER_SETS):
        assert estimate.interval is not None, claim.id
        assert claim.bar("gpu"), claim.id


def test_a_difference_is_that_of_a_metric_and_its_control(dry_run: Any) -> None:
    record = dry_run[1]
    claims = [claim for claim in load_claims("space_time") if claim.id not in OF_OTHER_SETS]
    compared = [claim for claim in claims if claim.control is not None]
    assert len(compared) > 10
    for claim in compared:
        verdict = judge(claim, record)
        assert verdict.measured is not None
        assert verdict.control is not None
        assert verdict.difference is not None
        expected = verdict.measured.mean - verdict.control.mean
        assert verdict.difference.mean == pytest.approx(expected, abs=1e-9), claim.id


def test_the_probe_finds_the_signal(dry_run: Any) -> None:
    metrics = dry_run[1].metrics
    # Over five seeds 0.69 and 0.78, with standard deviations of 0.06 and 0.14; R² can be below 0.
    assert metrics["place_spearman"].mean > 0.3
    assert metrics["time_spearman"].mean > 0.05


def test_the_years_saved_are_those_of_the_map_against_the_median(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    shown = experiment.timeline.frames["predictions"]
    found = experiment.study.entities(TIME)
    guess = np.median(found.y()[~found.test_mask()])
    years, probed = (shown[name].to_numpy() for name in ("release_year", "release_year_probed"))
    saved = np.abs(years - guess).mean() - np.abs(years - probed).mean()
    assert record.metrics["time_error_saved"].mean == pytest.approx(saved)


def test_the_strongest_cheap_explanation_is_the_control(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    rows = experiment.controls.frames["controls"].filter(set=PLACE)
    cheap = rows.filter(~pl.col("features").is_in(["language model, linear probe", ORACLE]))
    assert record.metrics["place_cheap_r2"].mean == pytest.approx(cheap["r2"].to_numpy().max())
    (shown,) = experiment.controls.frames["margins"].filter(question="R²", set=PLACE).to_dicts()
    assert shown["cheap"] == cheap.sort("r2")["features"][-1]
    difference = record.differences["place_r2"]["place_cheap_r2"]
    assert (shown["low"], shown["high"]) == difference.interval
    assert set(experiment.controls.frames["margins"]["set"]) == {PLACE, TIME, ZIP}


def test_kinds_are_also_held_out_of_bare_names_alone() -> None:
    """Two kinds; the errors of their bare names are the only ones that the second metric reads."""
    kinds = {"lake": [0.1, 0.2, 0.9], "city": [0.3, 0.5]}
    rows = [
        {
            "features": features,
            "block": kind,
            "nominal": 0.0,
            "heldout_errors": [e + more for e in errors],
        }
        for features, more in ((holdouts.MODEL, 0.0), (NGRAMS, 0.01))
        for kind, errors in kinds.items()
    ]
    result, bare = StepResult(), np.array([True, True, False, True, True])
    holdouts._measure_types(result, pl.DataFrame(rows), bare)
    every, part = (0.4 + 0.4) / 2, (0.15 + 0.4) / 2  # each kind counts once
    assert result.values("type_heldout_proximity") == pytest.approx([every])
    assert result.values("type_bare_heldout_proximity") == pytest.approx([part])
    assert result.values("type_bare_heldout_proximity_cheap") == pytest.approx([part + 0.01])
    difference = result.differences["type_bare_heldout_proximity"]
    assert difference["type_bare_heldout_proximity_cheap"].mean == pytest.approx(-0.01)


def test_the_order_of_bare_names_is_that_of_the_errors(room: Path) -> None:
    study = Study(settings(models_of(room)), room / "order")
    text = study.entities(PLACE).text()
    spelled = np.arange(len(text)) % 3 == 0
    types = pl.DataFrame({"features": [holdouts.MODEL] * 2, "block": ["lake", "city"]})
    with mock.patch.object(holdouts, "spells_region", return_value=spelled):
        bare = holdouts._bare_rows(study, types)
    kinds = study.entities(PLACE).frame["entity_type"].to_list()
    of = {kind: [not s for s, k in zip(spelled, kinds, strict=True) if k == kind] for kind in kinds}
    assert bare.tolist() == of["lake"] + of["city"]


def test_names_whose_last_token_no_training_name_has_are_asked_about_alone(dry_run: Any) -> None:
    study = dry_run[0].study
    found = study.entities(PLACE)
    held_out, y = HeldOut(found), found.y()
    test = np.flatnonzero(found.test_mask())
    last = np.zeros(len(found), np.int64)
    last[test[:25]] = np.arange(1, 26)  # the others end in token 0, as all training names do
    with mock.patch("okml.space_time.experiments.controls.last_tokens", return_value=last):
        asked_of = {one.metric: one for one in _questions(study, PLACE, held_out)}
    p = y + np.random.default_rng(0).normal(size=y.shape)
    expected = r2_score(y[test[:25]], p[test[:25]])
    assert asked_of["new_token_r2"].statistic(test, p) == pytest.approx(expected)
    # No isle spells its country as the released names do.
    assert asked_of["bare_r2"].statistic(test, p) == pytest.approx(r2_score(y[test], p[test]))
    assert {"within_region_rho", "bare_within_region_rho"} <= asked_of.keys()
    assert [one.metric for one in _questions(study, TIME, HeldOut(study.entities(TIME)))] == ["r2"]


def test_a_kind_held_out_counts_once(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    types = experiment.holdouts.frames["types"].filter(set=PLACE)
    assert types["features"].n_unique() == 6  # the model and five cheap explanations
    means = dict(types.group_by("features").agg(pl.col("heldout").mean()).iter_rows())
    own = means.pop("language model")
    assert record.metrics["type_heldout_proximity"].mean == pytest.approx(own)
    cheap = record.metrics["type_heldout_proximity_cheap"].mean
    assert cheap == pytest.approx(min(means.values()))
    assert "heldout_errors" not in types.columns  # a list for each row would fill the record


def test_every_draw_of_random_directions_is_kept_and_equal_searches_are_made_once(
    dry_run: Any,
) -> None:
    experiment, record, _ = dry_run
    assert [*record.metrics["neuron_rho"].values] == ["all"]  # every seed would read all names
    assert [*record.metrics["neuron_rho_random"].values] == ["0", "1"]
    best = experiment.neurons.frames["random_directions"]
    draws = best.group_by("set", "target").agg(pl.col("draw").sort())
    assert draws.height == 3  # longitude, latitude and years
    assert all(drawn == [0, 1] for drawn in draws["draw"].to_list())


def test_the_shift_is_half_of_what_lies_between_the_opposite_pushes(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    means = experiment.steering.frames["steering"].filter(direction="probe").sort("strength")
    west, east = means["shift"]
    assert record.metrics["steering_shift"].mean == pytest.approx((east - west) / 2)


def test_a_larger_model_is_read_block_by_block_and_the_resident_one_intervened_in(
    dry_run: Any, room: Path
) -> None:
    experiment, record, _ = dry_run
    curves = experiment.depth.frames["curves"]
    assert curves.filter(set=PLACE, model="trained")["layer"].max() == 2
    assert curves.filter(set=PLACE, model="untrained")["layer"].max() == 1
    neurons = experiment.neurons.frames["neurons"]
    assert set(neurons["layer"]) <= {0, 1}
    assert [str(room / "llama_2") in note for note in record.notes] == [True, False]
    assert "Too few names" in record.notes[1]  # that spell their region


def test_the_untrained_control_is_compared_with_its_own_model(dry_run: Any, room: Path) -> None:
    experiment, record, _ = dry_run
    alone = settings(models_of(room)[:1], "resident")
    own = Experiment(alone, room / "alone")
    expected = own.depth.values("place_gain_over_untrained")
    assert experiment.depth.values("place_gain_over_untrained") == pytest.approx(expected)
    assert own.depth.values("place_r2") != pytest.approx(record.metrics["place_r2"].numbers)
    assert own.depth.notes == []


def test_what_is_kept_of_a_pass_is_what_a_later_step_reads(dry_run: Any) -> None:
    study, profile = dry_run[0].study, dry_run[0].profile
    main, resident = profile.model, profile.resident_model
    kept = {one: set(study.read(one).listing.layers) for one in all_passes(profile)}
    everything = {main: {-1, 0, 1, 2}, resident: {-1, 0, 1}}
    for name in (PLACE, TIME):  # neurons are searched in every layer
        assert kept[asked(resident, name)] == everything[resident]
    chosen = study.read(asked(main, PLACE)).listing.chosen
    assert kept[asked(main, PLACE)] == everything[main]  # raw rows are compared in every layer
    assert kept[Pass(main, PLACE, "random")] == {chosen}  # probes are carried between prompts
    own = study.read(asked(main, ZIP)).listing.chosen
    assert kept[asked(main, ZIP)] == {-1, own}  # hold-outs; the embedding is a control there
    assert kept[Pass(main, TIME, "random")] == set()
    for seed in profile.seeds:
        assert kept[asked(resident, PLACE, untrained=seed)] == set()


def test_the_untrained_network_is_drawn_for_each_seed(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    untrained = experiment.depth.frames["predictions"].filter(model="untrained", role="chosen")
    values = [part["predicted_0"].to_numpy() for part in untrained.partition_by("seed")]
    assert len(values) == len(experiment.profile.seeds)
    assert not np.allclose(*values)
    for metric in ("place_untrained_rise", "place_gain_over_untrained"):
        assert [*record.metrics[metric].values] == ["0", "1"]
    assert record.differences["place_rise"]["place_untrained_rise"].seeds == 2
    assert record.metrics["place_rise"].seeds == 0  # every seed reads all names


def test_every_pass_is_made_once(dry_run: Any) -> None:
    assert dry_run[2] == Counter(all_passes(dry_run[0].profile))


def test_passes_are_jobs_for_any_process_and_all_layers_can_be_kept(room: Path) -> None:
    profile = settings(models_of(room), keep_activations=True)
    graph = {one: Study(profile, room / "kept").needs(one) for one in all_passes(profile)}
    question = asked(profile.model, PLACE)
    assert graph[Pass(profile.model, PLACE, "random")] == [question]
    workers = itertools.cycle(Study(profile, room / "kept") for _ in range(2))
    for one, worker in zip(graph, workers, strict=False):
        layers = worker.train(one).listing.layers
        assert layers == tuple(range(-1, 2 if one.model == profile.resident_model else 3))
    with mock.patch.object(Study, "_stream", refuse):
        assert Experiment(profile, room / "kept").depth.metrics["place_spearman"].mean > 0.3


def test_both_placements_give_the_same_numbers(room: Path) -> None:
    records = {}
    for placement in ("resident", "layerwise"):
        profile = settings(
            models_of(room), placement, activation_dtype="float32",
            **{"models.0.dtype": "float32", "models.1.dtype": "float32"},
        )  # fmt: skip
        experiment = Experiment(profile, room / placement)
        steps = (experiment.depth, experiment.prompts, experiment.holdouts, experiment.sizes)
        records[placement] = {name: of for step in steps for name, of in step.metrics.items()}
    assert records["resident"].keys() == records["layerwise"].keys()
    for name, metric in records["resident"].items():
        if name not in OF_THE_RESIDENT_MODEL:
            streamed = records["layerwise"][name].mean
            assert streamed == pytest.approx(metric.mean, rel=2e-3, abs=2e-3, nan_ok=True), name


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something is computed again")


def test_a_finished_run_is_shown_and_not_computed_again(dry_run: Any, room: Path) -> None:
    experiment, first, _ = dry_run
    with (
        mock.patch.object(Study, "read", refuse),
        mock.patch.object(Study, "language_model", refuse),
        mock.patch.object(Study, "all_entities", refuse),
    ):
        again = Experiment(experiment.profile, room / "dry_run").record()
    assert again.metrics == first.metrics
    assert again.tables == first.tables
    assert again.notes == first.notes
    assert read_record(room / "dry_run" / "record.json").metrics == first.metrics


def test_a_record_can_be_asked_for_twice(dry_run: Any) -> None:
    experiment, first, _ = dry_run
    assert experiment.record().metrics == first.metrics


def test_other_settings_compute_every_step_again(dry_run: Any, room: Path) -> None:
    changed = dry_run[0].profile.override({"holdout_min_rows": 11})
    with (
        mock.patch.object(Study, "read", refuse),
        mock.patch.object(Study, "language_model", refuse),
        mock.patch.object(Study, "entities", refuse),
    ):
        experiment = Experiment(changed, room / "dry_run")
        for step in Experiment.step_names():
            with pytest.raises(AssertionError, match="computed again"):
                getattr(experiment, step)


def test_the_record_names_all_data(dry_run: Any) -> None:
    data = dry_run[1].provenance.data
    assert set(data) == {"hand_made/rows.csv", "glove_100d/vectors.json", "wordnet/data.noun"}


def test_word_vectors_are_a_control_where_the_profile_names_them(dry_run: Any, room: Path) -> None:
    features = set(dry_run[0].controls.frames["controls"]["features"])
    assert "static word vectors" in features
    without = Experiment(dry_run[0].profile.override({"word_vectors": None}), room / "without")
    assert "static word vectors" not in set(without.controls.frames["controls"]["features"])


def test_controls_of_all_sets_stand_beside_the_probe(dry_run: Any) -> None:
    rows = dry_run[0].controls.frames["controls"]
    counts = rows.group_by("set").agg(pl.len())
    assert dict(counts.iter_rows()) == {PLACE: 7, TIME: 7, ZIP: 7}
    probe = rows.filter(set=PLACE, features="language model, linear probe")["r2"].to_list()
    assert probe == dry_run[0].depth.values("place_r2")


def test_holdouts_leave_the_majority_kind_in(dry_run: Any) -> None:
    types = dry_run[0].holdouts.frames["types"].filter(set=PLACE)
    assert set(types["block"]) < set(KINDS.values())
    assert set(dry_run[0].holdouts.frames["blocks"]["set"]) == {PLACE, TIME, ZIP}


def test_the_sweep_asks_about_works_and_creators(dry_run: Any) -> None:
    sweep = dry_run[0].sweep.frames["sweep"]
    assert sweep["prompt"].n_unique() == pinning.SHOWN_WORKS
    assert sweep["prompt"].str.ends_with(" was written in 19").all()


def test_sizes_are_those_of_the_models(dry_run: Any, room: Path) -> None:
    sizes = dry_run[0].sizes.frames["sizes"].filter(source="measured", set=PLACE)
    expected = {
        str(folder): sum(p.numel() for p in load_causal_lm(folder).model.parameters())
        for folder in models_of(room)
    }
    assert dict(sizes.select("model", "parameters").iter_rows()) == expected
    gain = sizes["r2"][1] - sizes["r2"][0]
    assert dry_run[0].sizes.values("scale_gain") == pytest.approx([gain])


def test_too_few_entities_for_a_holdout_is_said(room: Path) -> None:
    profile = settings(models_of(room), holdout_min_rows=1000)
    experiment = Experiment(profile, room / "few")
    with pytest.raises(ParameterError, match="isles has too few entities"):
        _ = experiment.holdouts


def test_a_set_without_zip_codes_is_said(room: Path) -> None:
    lakes = {"lakes": replace(REGISTRY[PLACE], paper_set="us_place")}
    with mock.patch.dict(entities.REGISTRY, lakes):
        experiment = Experiment(settings(models_of(room), zip_set="lakes"), room / "no_zip")
        with pytest.raises(ParameterError, match="isles has no ZIP codes"):
            _ = experiment.controls


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"models.0.placement": "layerwise"}, "one model must be resident"),
        ({"models.0.quantization": "int8"}, "one model must be resident"),
        ({"models.1.quantization": "nf4"}, "takes plain weights"),
        ({"models.1.intervened": True}, "must be resident and unquantized"),
        ({"table_sets": [PLACE]}, "table_sets need place_set and time_set"),
        ({"models.0.named_neurons": [{"layer": 0, "neuron": 1, "set": ZIP}]}, "is not read for it"),
        ({"prompt_sets": [TIME]}, "need 'isles' in prompt_sets"),
        ({"prompts": ["empty"]}, "need 'empty', 'random' and 'ordinary'"),
        ({"steering.strengths": [0.25, 0.5]}, "the opposite of every push"),
        ({"steering.random_directions": 0}, "greater than or equal to 1"),
        ({"place_set": "iles"}, "There is no entity set 'iles'. Did you mean 'isles'"),
        ({"place_set": "us_place"}, "'us_place' is not among the sets"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(
    room: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        settings(models_of(room)).override(changes)


def test_all_components_explain_what_least_squares_does() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(200, 24))
    y = states @ rng.normal(size=(24, 2)) + rng.normal(0, 6, (200, 2))
    rows = Draw(np.arange(120), np.arange(120, 200))
    study = mock.MagicMock()
    study.profile.place_set, study.profile.table_sets = "world_place", ("world_place", "art")
    study.profile.probe.pca_dimensions = ()
    study.probe_seeds, study.profile.seeds = (0,), (0,)
    study.lambdas = LambdaGrid((-12.0, -12.0), 1)
    study.entities().y.return_value = y
    study.entities().test_mask.return_value = np.arange(200) >= 120
    study.entities().split_group = None
    study.entities().__len__.return_value = 200
    study.read().layer.return_value = states
    study.profile.probe.preprocess, study.device = "raw", torch.device("cpu")
    study.rows.return_value = rows
    frame = measure_components(study, {"world_place": 0, "art": 0}).frames["components"]

    known = np.column_stack([np.ones(200), states])
    weights, *_ = np.linalg.lstsq(known[rows.train], y[rows.train])
    true, predicted = y[rows.test], known[rows.test] @ weights
    wanted = r2_score(true, predicted)
    assert abs(wanted - r2_score(predicted, true)) > 0.05
    assert frame.filter(components=24)["r2"].to_list() == pytest.approx([wanted] * 2, abs=1e-6)


class NamedTokenizer:
    """A model that has a tokenizer only."""

    name, document_start, text_ids = "named", 0, LanguageModel.text_ids

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


def sentence_pieces() -> PreTrainedTokenizerFast:
    """Words after a blank, and a blank put in front of every text, as in Llama-2."""
    words = ["<unk>", "▁", "x", "▁x", "▁Asia", "▁North", "Asia", "North"]
    pieces = models.Unigram([(word, -float(len(words) - len(word))) for word in words], unk_id=0)
    tokenizer = Tokenizer(pieces)
    blanks = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(blanks)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_answers_are_read_as_they_follow_the_question() -> None:
    tokenizer = sentence_pieces()
    alone = [tokenizer(word, add_special_tokens=False)["input_ids"][0]
             for word in (steering.EAST, steering.WEST)]  # fmt: skip
    assert alone[0] == alone[1]  # the blank: what must not be compared
    found = steering._answers(NamedTokenizer(tokenizer))  # type: ignore[arg-type]
    assert tokenizer.convert_ids_to_tokens(list(found)) == ["▁Asia", "▁North"]


def test_answers_of_a_byte_pair_tokenizer_are_their_own_tokens() -> None:
    tokenizer = byte_tokenizer(["in Asia in Asia in North in North x"])
    found = steering._answers(NamedTokenizer(tokenizer))  # type: ignore[arg-type]
    assert [tokenizer.decode([token]) for token in found] == [" Asia", " North"]


def test_a_tokenizer_that_joins_what_is_asked_and_answered_is_refused() -> None:
    words = {word: number for number, word in enumerate(["<unk>", "x", "x Asia", "x North"])}
    joined = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joined, unk_token="<unk>")
    with pytest.raises(ParameterError, match="named does not split text before ' Asia'"):
        steering._answers(NamedTokenizer(tokenizer))  # type: ignore[arg-type]


def run_apart(room: Path, folder: Path, dies: str = "nowhere") -> int:
    """Run the experiment in a process of its own, which kills itself at ``dies``."""
    return run("tests.space_time.tiny_experiment", room, folder, dies).returncode


@pytest.fixture(scope="module")
def whole(room: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """The record of a run that nothing stopped, whose seeds draw names of their own."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_apart(room, folder) == 0
    return read_record(folder / "record.json")


@pytest.mark.slow
def test_seeds_that_draw_names_of_their_own_are_in_the_intervals(whole: RunRecord) -> None:
    drawn = ("place_", "time_", "mlp_", "pca20_", "prompt_", "random_", "neuron_", "steering_")
    decided = set()
    for claim, estimate in deciding_estimates(whole, OF_OTHER_SETS):
        assert estimate.interval is not None, claim.id
        if claim.metric is not None and claim.metric.startswith(drawn):
            assert list(estimate.values) == ["0", "1"], claim.id
            decided.add(claim.id)
    assert len(decided) > 12


def kept_in(folder: Path, name: str) -> dict[Path, int]:
    """Return when each file of a name was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob(name)}


@pytest.mark.slow
def test_a_run_that_is_killed_twice_goes_on_and_ends_with_the_same_numbers(
    room: Path, whole: RunRecord, tmp_path: Path
) -> None:
    # In the first pass, of which nothing is left.
    assert run_apart(room, tmp_path, "extraction") == -9
    first = kept_in(tmp_path, "step.json")
    assert [path.parents[1].name for path in first] == ["data"]
    assert not kept_in(tmp_path, "reading.json")

    assert run_apart(room, tmp_path, "holdouts") == -9
    steps, readings = kept_in(tmp_path, "step.json"), kept_in(tmp_path, "reading.json")
    assert first.items() <= steps.items()
    assert "depth" in {path.parents[1].name for path in steps}
    assert len(readings) > 5
    assert not (tmp_path / "record.json").exists()

    assert run_apart(room, tmp_path) == 0
    for kept, name in ((steps, "step.json"), (readings, "reading.json")):
        assert kept.items() <= kept_in(tmp_path, name).items()
    resumed = read_record(tmp_path / "record.json")
    assert resumed.metrics == whole.metrics
    assert resumed.tables == whole.tables


def test_a_spelled_region_is_hidden_from_the_last_token(room: Path) -> None:
    named = isles()
    spelled = pl.format("{}'s {}", pl.col("country").str.head(3), "entity")
    renamed = replace(named, frame=named.frame.with_columns(entity=spelled))
    registered = RegisteredSet(lambda: renamed, "world_place", DATA)
    with mock.patch.dict(entities.REGISTRY, {PLACE: registered}):
        study = Study(settings(models_of(room)), room / "spelled")
        result = measure_carrying(study)
        one = asked(study.profile.resident_model, PLACE)
        reading = study.read(one)
        tokens = study.tokens(study.language_model(one.model), PLACE, one.prompt)
    frame = result.frames["carrying"]
    assert frame["hidden"].to_list() == ["nothing", "region", "rest of the name", "question"]
    nothing, region, rest, question = frame["tokens"]
    asking = prompt(PLACE, "coords").prefix  # its blank is a token of its own here
    lm = study.language_model(study.profile.resident_model)
    assert nothing == 0
    assert question == len(lm.tokenizer(asking, add_special_tokens=False)["input_ids"])
    # Of a prompt the document start and the last token are left.
    tested = np.flatnonzero(renamed.test_mask())
    lengths = [len(tokens[int(at)]) for at in tested]
    assert region + rest + question + 2 == pytest.approx(np.mean(lengths))
    regions = [name[: name.index(" ")] for name in np.array(renamed.text())[tested]]
    spelled_out = lm.tokenizer(regions, add_special_tokens=False)["input_ids"]
    assert region == pytest.approx(np.mean([len(ids) for ids in spelled_out]))
    # Every name spells its region, so that R² of a layer is that of its curve.
    curves = dict(reading.frames["curves"].select("layer", "r2").iter_rows())
    assert frame["r2"][0] == pytest.approx(curves[1], abs=1e-3)
    assert frame["middle_r2"].to_list() == pytest.approx([curves[0]] * 4, abs=1e-9)
    for row in frame.iter_rows(named=True):
        suffix = HIDDEN[row["hidden"]]
        rise = result.metrics[f"late_rise{suffix}"].mean
        assert rise == pytest.approx(row["r2"] - row["middle_r2"])
        if suffix:
            loss = result.metrics[f"late_loss{suffix}"].mean
            assert loss == pytest.approx(frame["r2"][0] - row["r2"])
            assert loss != 0


def test_neurons_are_intervened_in_by_what_they_do(dry_run: Any) -> None:
    experiment, record, _ = dry_run
    found = experiment.neurons.frames["neurons"].filter(set=TIME)
    study = experiment.study
    lm = study.language_model(study.profile.resident_model)
    rows = study.rows(TIME, study.profile.seeds[0])
    years = study.entities(TIME).y()[:, 0]

    def rho(row: dict[str, Any], read: np.ndarray, lm: LanguageModel = lm) -> float:
        active = neuron_search.activations(study, lm, TIME, read, [row["layer"]])[row["layer"]]
        return float(stats.spearmanr(active[:, row["neuron"]], years[read]).statistic)

    for row in found.iter_rows(named=True):
        assert row["activation"] == pytest.approx(rho(row, rows.train), abs=1e-5)
    best = max(found.iter_rows(named=True), key=lambda row: abs(row["activation"]))
    shifts = experiment.sweep.frames["shifts"]
    assert shifts["neuron"][0] == f"L{best['layer']}.{best['neuron']}"
    on_test = np.sign(best["activation"]) * rho(best, rows.test, pinning._exact_model(study))
    assert record.metrics["swept_neuron_rho"].mean == pytest.approx(on_test, abs=1e-5)


def test_a_rise_on_a_topic_is_less_that_elsewhere_and_held_to_its_controls() -> None:
    rng = np.random.default_rng(0)
    about, elsewhere = rng.normal(size=(7, 4)), rng.normal(size=(5, 4))
    result = StepResult()
    pinning._beside_other_text(
        result, "rise", (about[:, 0], about[:, 1:]), (elsewhere[:, 0], elsewhere[:, 1:])
    )
    gaps = about.mean(axis=0) - elsewhere.mean(axis=0)
    assert result.metrics["rise_gap"].mean == pytest.approx(gaps[0])
    control = np.quantile(gaps[1:], 0.95)
    assert result.metrics["rise_gap_matched"].mean == pytest.approx(control)
    difference = result.differences["rise_gap"]["rise_gap_matched"]
    assert difference.mean == pytest.approx(gaps[0] - control)
    assert result.metrics["rise_elsewhere"].mean == pytest.approx(elsewhere[:, 0].mean())
