"""The host waits for the device once in a phase of a step: when the loop reads the losses.

Trainings of sequential models have one phase. Tests of LightSAGE count the waits of sampled hops.
"""

import numpy as np
import pytest
import torch

from okml.seqrec.batches import CausalBatches, LastTargetBatches
from okml.seqrec.losses import (
    BinarySettings,
    ChunkedSoftmaxSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    build_loss,
)
from okml.seqrec.models import BERT4Rec, ClozeBatches
from okml.seqrec.tasks import EveryPosition, LastTarget
from okml.strec.model import STRec
from okml.strec.sampler import SamplerSettings
from okml.training import fit
from tests.waits import Waits

from . import cycle

LOSSES = [
    SoftmaxSettings(),
    ChunkedSoftmaxSettings(),
    BinarySettings(),
    SampledSoftmaxSettings(negatives=4),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_a_training_on_windows_waits_for_nothing_else(loss):
    task, source = cycle.sasrec(loss)
    task._evaluate = None
    run = cycle.SHORT_RUN.model_copy(update={"evaluate_every": None, "monitor": None})
    with Waits() as waits:
        fit(task, source, run)
    assert waits.seen == []


def test_a_training_with_masked_items_waits_for_nothing_else():
    loss = ChunkedSoftmaxSettings()
    model = BERT4Rec(cycle.ITEMS, cycle.settings(causal=False, padding_side="left"))
    windows = cycle.SPLIT.training_windows(cycle.LOG, cycle.LENGTH - 1)
    source = ClozeBatches(cycle.LOG, windows, model.mask, jitter=True)
    objective = EveryPosition(model, build_loss(loss, cycle.COUNTS))
    with Waits() as waits:
        batch = source.batch(np.arange(len(source)), np.random.default_rng(0))
        objective(batch).backward()
    assert waits.seen == []
    assert batch.count == int((batch.targets != 0).sum())


@pytest.mark.parametrize("stage", ["relaxed", "hard"])
def test_a_step_of_strec_waits_for_nothing_else(stage):
    options = cycle.settings(causal=False, padding_side="left", layers=2)
    model = STRec(cycle.ITEMS, options, (3, 1), SamplerSettings())
    model.stage = stage
    objective = LastTarget(model, build_loss(ChunkedSoftmaxSettings(), cycle.COUNTS))
    rows = LastTargetBatches(cycle.LOG, cycle.SPLIT.train, cycle.LENGTH)
    with Waits() as waits:
        batch = rows.batch(np.arange(len(rows)), np.random.default_rng(0))
        objective(batch).backward()
    assert waits.seen == []


def test_targets_are_counted_as_they_are():
    for jitter in (False, True):
        source = CausalBatches(
            cycle.LOG, cycle.SPLIT.training_windows(cycle.LOG, cycle.LENGTH), jitter=jitter
        )
        batch = source.batch(np.arange(len(source)), np.random.default_rng(0))
        assert batch.count == int((batch.targets != 0).sum()) > 0


def test_the_count_of_waits_sees_them():
    values = torch.arange(4.0)
    with Waits() as waits:
        float(values[0]), values[values > 1], values.nonzero()
    assert waits.seen == ["aten::_local_scalar_dense", "aten::index", "aten::nonzero"]
