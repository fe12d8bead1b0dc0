"""Running out of memory anywhere is a value of the table, and loses no other value."""

from __future__ import annotations

from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from torch._subclasses import FakeTensor

from okml.seqrec.mixers.attention import Attention
from okml.seqrec.mixers.reformer import Reformer
from okml.strec.experiments import efficiency
from okml.strec.experiments.candidates import FULL as EVERY_QUERY
from okml.strec.experiments.candidates import LAST
from okml.strec.experiments.efficiency import measure_efficiency, measure_lengths
from okml.strec.figures import costs
from okml.strec.schedule import RELEASED
from okml.strec.study import Study
from tests.strec.tiny import FULL, in_few_calls, put_logs, tiny


def limited(mixer, forward, tokens, *given, most):
    """Run the forward pass of a mixer, on a device with memory for some tokens."""
    if tokens.shape[0] > most and not isinstance(tokens, FakeTensor):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return forward(mixer, tokens, *given)


def short_of_memory(kind, most):
    forward = kind.forward
    return mock.patch.object(
        kind, "forward", lambda mixer, *given: limited(mixer, forward, *given, most=most)
    )


@pytest.fixture
def study(own_data, tmp_path):
    put_logs(own_data)
    sizes = {"batch": 6, "serving_batches": [1], "lengths": [50, 100], "tokens": 600}
    profile = tiny(
        mixers=["reformer"], sweep=[FULL], sweep_learned=[],
        **{f"efficiency.{name}": value for name, value in sizes.items()},
    )  # fmt: skip
    with in_few_calls():
        yield Study(profile, tmp_path / "run")


def values(frame: pl.DataFrame, name: str, key: str = "encoder") -> list[dict[str, object]]:
    return frame.filter(pl.col(key) == name).drop(key).to_dicts()


def test_an_encoder_that_is_too_large_is_named_and_the_others_are_measured(study):
    with short_of_memory(Reformer, 5):
        result, lengths = measure_efficiency(study), measure_lengths(study).frames["lengths"]
    frames = result.frames
    for name in ("published", "inference", "training"):
        [row] = values(frames[name], "reformer")
        assert row["failed"] == "out of memory at batch 6"
        others = frames[name].filter(pl.col("encoder") != "reformer")
        assert others["failed"].is_null().all()
        timed = [column for column in others.columns if column.startswith("ms")]
        assert others.select(timed).null_count().sum_horizontal().item() == 0
    [published] = values(frames["published"], "reformer")
    assert published["ms"] is None
    assert published["saved MiB"] > values(frames["published"], LAST)[0]["saved MiB"]
    assert "failed" not in frames["serving"].columns  # of batches of 1
    assert [row["failed"] for row in values(lengths, "reformer")] == [
        "out of memory at batch 12", "out of memory at batch 6",
    ]  # fmt: skip
    assert lengths["saved MiB a history"].null_count() == 0
    assert {"inference_time_saved_pct", "causal_targets_per_second_ratio"} <= set(result.metrics)
    drawn = costs.measured(frames["published"], frames["inference"])
    assert "out of memory at batch 6" in drawn.svg
    assert "reformer (out of memory at 50 items)" in costs.length_curve(lengths).svg
    drawn = costs.training(frames["training"])
    assert "reformer" in drawn.svg
    assert "reformer" not in drawn.alt
    assert drawn.alt.endswith("causal SASRec 1.0.")


def test_a_table_without_any_time_has_its_bytes(study):
    with short_of_memory(Attention, 0):
        result = measure_efficiency(study)
    published = result.frames["published"]
    assert published.filter(pl.col("ms").is_not_null())["encoder"].to_list() == ["reformer"]
    assert published["saved MiB"].null_count() == 0
    assert "inference_time_saved_pct" not in result.metrics
    assert result.metrics["activation_memory_saved_pct"].mean > 0
    assert set(result.frames["serving"]["failed"].drop_nulls()) == {"out of memory at batch 1"}
    drawn = costs.measured(published, result.frames["inference"])
    assert "E1: time, as the authors measure out of memory at batch 6" in drawn.alt
    assert EVERY_QUERY in drawn.svg
    assert EVERY_QUERY in costs.training(result.frames["training"]).svg


def test_the_memory_of_the_authors_network_does_not_depend_on_the_profile(study, tmp_path):
    sizes = {"network.width": 16, "network.heads": 1, "network.hidden": 48, "efficiency.batch": 3}
    other = Study(study.profile.override(sizes), tmp_path / "other")
    names = {"released_memory_saved_pct", "released_last_query_memory_saved_pct"}
    found = []
    for each in (study, other):
        metrics = measure_efficiency(each).metrics
        found.append({name: metrics[name].mean for name in names})
    assert found[0] == found[1]
    # What a layer keeps for each query and key is at least that of the residual stream; the tokens
    # that are written say how much of it is left.
    schedule = RELEASED[50]
    tokens = sum(schedule) / (50 * len(schedule))
    saved = found[0]["released_memory_saved_pct"] / 100
    assert 0.5 < saved < 1 - tokens + 0.1


def test_a_time_is_of_one_history_and_in_ms(study):
    """Each pass takes two seconds, and reads 600 tokens."""
    with mock.patch.object(
        efficiency, "time_turns", lambda calls, *_: dict.fromkeys(calls, np.full(3, 2.0))
    ):
        lengths = measure_lengths(study).frames["lengths"]
    of_a_history = dict(lengths.select("length", "ms a history").unique().iter_rows())
    assert of_a_history == {50: pytest.approx(2000 / 12), 100: pytest.approx(2000 / 6)}
