"""Tables of content on a stream: what they are fitted on, and what their gate is told."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.items.hybrid import HybridTable
from okml.video_workshop.items.shared_rows import SharedRows
from okml.video_workshop.settings.stream import StreamTrainingSettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream.new_rows import RowInitializer
from okml.video_workshop.stream.periods import DAY, Stream, sample_targets
from okml.video_workshop.stream.prequential import Strategy, judge, run_prequential
from okml.video_workshop.stream.recommenders import (
    MatrixFactorization,
    Recommender,
    SequenceRecommender,
)
from okml.video_workshop.stream.strategies import Incremental, NoUpdate
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


def hybrid(stream: Stream) -> Recommender:
    """Return a model whose items share three rows besides their own."""
    places = torch.arange(ITEMS + 1)[:, None] % 3 + 1
    places[0] = 0
    table = HybridTable(SharedRows(places, 3, MODEL.width), stream.counts(FIRST - 1))
    return SequenceRecommender(UserModel(table, MODEL))


def trainer_of(stream: Stream) -> StreamTrainer:
    return StreamTrainer(stream, TRAINING, lambda: hybrid(stream), 0, CPU)


def table_of(recommender: Recommender) -> HybridTable:
    assert isinstance(recommender, SequenceRecommender)
    assert isinstance(recommender.encoder, UserModel)
    assert isinstance(recommender.encoder.table, HybridTable)
    return recommender.encoder.table


class Watch(Strategy):
    """Notes the evidence at each call."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        self.seen[period] = table_of(recommender).evidence.tolist()
        return recommender, Effort()


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


def test_only_rows_of_single_items_can_be_given(stream: Stream) -> None:
    trainer, rows = trainer_of(stream), sample_targets(stream, FIRST, 5)
    first = RowInitializer("mean_noise")
    with pytest.raises(ParameterError, match="a row for each item"):
        run_prequential(trainer, NoUpdate(), trainer.fresh(), rows, FIRST, new_rows=first)


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


def test_ranks_among_some_items_by_hand() -> None:
    """Item 4 stands behind 2 and 3, of which 2 does not compete within the group."""
    times = [0, 1, 2, 7 * DAY, 14 * DAY]
    frame = pl.DataFrame({"user": [2, 2, 2, 2, 2], "item": [1, 2, 3, 4, 5], "time": times})
    other = pl.DataFrame({"user": [1, 1], "item": [1, 4], "time": [0, 7 * DAY]})
    stream = Stream.by_time(Interactions.from_frame(pl.concat([frame, other])), 7, 0)
    model = MatrixFactorization(2, 5, 2)
    with torch.no_grad():
        model.item.weight[:, -1] = torch.tensor([0.0, 1.0, 9.0, 8.0, 7.0, 10.0])
    rows = stream.targets(1)
    rows = rows.take(rows.user == 0)
    assert judge(model, stream, rows, 4).tolist() == [3]
    group = np.array([3, 4, 5])  # 5 has not appeared
    assert judge(model, stream, rows, 4, candidates=group).tolist() == [2]


def test_a_passage_ranks_a_group_within_itself(stream: Stream) -> None:
    trainer, rows = trainer_of(stream), sample_targets(stream, FIRST, 30)
    model, group = trainer.fresh().eval(), np.array([2, 3, 7])
    passage = run_prequential(trainer, NoUpdate(), model, rows, FIRST, hide_seen=False, group=group)
    inside = np.isin(stream.interactions.items[rows.end], group)
    assert inside.any()
    assert (np.isfinite(passage.among) == inside).all()
    assert passage.among[inside].max() <= 3
    assert (passage.among[inside] <= passage.ranks[inside]).all()
