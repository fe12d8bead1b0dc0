"""Tables of content on a stream: what they are fitted on, and what their gate is told."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import torch

from okml.seqrec.interactions import Interactions
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.config import PROFILES
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.shared_rows import SharedRows
from okml.video_workshop.settings.stream import StreamTrainingSettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream.periods import DAY, Stream, sample_targets
from okml.video_workshop.stream.prequential import Strategy, run_prequential
from okml.video_workshop.stream.strategies import Incremental
from okml.video_workshop.stream.trainer import Effort, StreamTrainer

ITEMS, FIRST = 12, 2
CPU = torch.device("cpu")
MODEL = UserModelSettings(length=6, width=8, layers=1, heads=1)
TRAINING = StreamTrainingSettings(model=MODEL, batch=8, update_batch=4, update_epochs=2)


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Return four weeks of users who choose at random."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": rng.integers(20, size=400),
            "item": rng.integers(1, ITEMS + 1, size=400),
            "time": np.sort(rng.integers(4 * 7 * DAY, size=400)),
        }
    )
    return Stream.by_time(Interactions.from_frame(frame), 7, 0)


def hybrid(stream: Stream) -> UserModel:
    """Return a model whose items share three rows besides their own."""
    places = torch.arange(ITEMS + 1)[:, None] % 3 + 1
    places[0] = 0
    table = HybridTable(SharedRows(places, 3, MODEL.width), stream.counts(FIRST - 1))
    return UserModel(table, MODEL)


def trainer_of(stream: Stream) -> StreamTrainer:
    profile = PROFILES["smoke"].model_copy(update={"device": "cpu"})
    return StreamTrainer(profile, stream, TRAINING, lambda: hybrid(stream), 0, CPU)


def table_of(model: UserModel) -> HybridTable:
    assert isinstance(model.table, HybridTable)
    return model.table


class Watch(Strategy):
    """Notes the evidence at each call."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}

    def update(
        self, trainer: StreamTrainer, model: UserModel, period: int
    ) -> tuple[UserModel, Effort]:
        self.seen[period] = table_of(model).evidence.tolist()
        return model, Effort()


def test_the_gate_is_told_of_a_period_when_it_is_over(stream: Stream) -> None:
    """The oracle counts the events of the periods one by one."""
    watch, trainer = Watch(), trainer_of(stream)
    rows, model = sample_targets(stream, FIRST, 5), trainer.fresh()
    before = table_of(model).evidence.tolist()
    run_prequential(trainer, watch, model, rows, FIRST)
    for last, evidence in {FIRST - 1: before, **watch.seen}.items():
        expected = [0] * (ITEMS + 1)
        for item, when in zip(stream.interactions.items, stream.period, strict=True):
            expected[item] += int(when <= last)
        assert evidence == expected
    assert sorted(watch.seen) == [2, 3]


def test_each_step_plays_other_items_new(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """P17: without it a hybrid never learns to do without own rows; serving plays nobody new."""
    trainer = trainer_of(stream)
    model, draws = trainer.fresh(), []
    redraw = HybridTable.redraw

    def noted(table: HybridTable) -> None:
        redraw(table)
        draws.append(tuple(table.played.tolist()))

    monkeypatch.setattr(HybridTable, "redraw", noted)
    _, effort = Incremental().update(trainer, model, FIRST)
    assert len(draws) == effort.steps > 10
    assert len(set(draws)) > effort.steps / 2
    served = copy.deepcopy(model).eval()
    vectors = served.item_matrix()
    table_of(served).played.fill_(True)
    assert torch.equal(served.item_matrix(), vectors)
