"""The stream: windows, the prequential protocol, and what its strategies train on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, SampledSoftmaxSettings
from okml.seqrec.rows import all_rows
from okml.video_workshop.common.events import keep_events
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.config import PROFILES
from okml.video_workshop.settings.stream import (
    LaunchSettings,
    StrategyName,
    StreamTrainingSettings,
)
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream.arms import FIXED, LABELS, LONG
from okml.video_workshop.stream.distillation import (
    ExemplarDistillation,
    choose_exemplars,
    distill,
    distillation_weight,
    herd,
    quotas,
)
from okml.video_workshop.stream.periods import (
    DAY,
    Stream,
    TargetWindowBatches,
    before_period,
    of_period,
    sample_targets,
)
from okml.video_workshop.stream.prequential import Strategy, judge, run_prequential
from okml.video_workshop.stream.served import age_slices, simulate_launches
from okml.video_workshop.stream.strategies import (
    FullRetrain,
    Incremental,
    NoUpdate,
    Rehearsal,
    Repeat,
    Replay,
    train_base,
)
from okml.video_workshop.stream.trainer import Effort, StreamTrainer
from okml.video_workshop.users.batches import AskedBatches

ITEMS, USERS, FIRST, PERIODS = 20, 24, 2, 5
CPU = torch.device("cpu")
PROFILE = PROFILES["smoke"].model_copy(update={"device": "cpu"})
MODEL = UserModelSettings(length=6, width=8, layers=1, heads=1, dropout=0.1)
TRAINING = StreamTrainingSettings(
    model=MODEL, batch=8, update_batch=4, learning_rate=1e-2, base_epochs=2, update_epochs=2
)


def log(seed: int = 0, items: int = ITEMS) -> Interactions:
    """Return users who come at any time and choose at random."""
    rng = np.random.default_rng(seed)
    events = 30 * USERS
    return Interactions.from_frame(
        pl.DataFrame(
            {
                "user": rng.integers(USERS, size=events),
                "item": rng.integers(1, items + 1, size=events),
                "time": np.sort(rng.integers(PERIODS * 7 * DAY, size=events)),
            }
        )
    )


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Return the log in weeks."""
    return Stream.by_time(log(), 7, 0)


def user_model() -> UserModel:
    return UserModel(IdTable(ITEMS, MODEL.width), MODEL)


def trainer_of(
    stream: Stream,
    settings: StreamTrainingSettings = TRAINING,
    build: Callable[[], Any] = user_model,
) -> StreamTrainer:
    return StreamTrainer(PROFILE, stream, settings, build, 0, CPU)


@pytest.fixture(scope="module")
def base(stream: Stream) -> UserModel:
    """Return a model of the weeks before the fourth."""
    return train_base(trainer_of(stream), 3)[0]


def weights(model: UserModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_each_strategy_has_words_for_readers() -> None:
    assert set(LABELS) == set(get_args(StrategyName)) > {*FIXED, *LONG}
    assert len(set(LABELS.values())) == len(LABELS)


def test_each_target_belongs_to_one_period(stream: Stream) -> None:
    parts = [stream.targets(period).end for period in range(stream.count)]
    assert sorted(np.concatenate(parts)) == all_rows(stream.interactions).end.tolist()
    for period, ends in enumerate(parts):
        weeks = stream.interactions.times[ends] // (7 * DAY)
        assert set(weeks) == {period}


def test_shards_cut_served_periods_only(stream: Stream) -> None:
    quarters = Stream.by_time(stream.interactions, 7, 0, FIRST, 4)
    base = stream.period < FIRST
    assert (quarters.period[base] == stream.period[base]).all()
    since = (stream.interactions.times[~base] - FIRST * 7 * DAY) / (7 * DAY / 4)
    assert (quarters.period[~base] == FIRST + since.astype(np.int64)).all()
    whole = Stream.by_time(stream.interactions, 7, 0, FIRST, 0.25)
    assert set(whole.period[~base]) == {FIRST}


def test_a_period_that_falls_within_a_history_is_an_error() -> None:
    interactions = log()
    with pytest.raises(ParameterError, match="earlier period"):
        Stream(interactions, -interactions.times)


def test_slices_train_on_each_target_of_a_period_once(stream: Stream) -> None:
    """The oracle counts, in Python, the events of the period that have a history."""
    interactions = stream.interactions
    for period in range(stream.count):
        slices = of_period(stream, period, 6)
        source = TargetWindowBatches(interactions, slices, CPU)
        batch = source.batch(np.arange(len(slices)), np.random.default_rng(0))
        found = sorted(
            (int(user), int(item))
            for user, row in zip(batch.user, batch.targets, strict=True)
            for item in row
            if item
        )
        expected = sorted(
            (user, int(interactions.items[event]))
            for user in range(interactions.user_count)
            for event in range(interactions.offsets[user] + 1, interactions.offsets[user + 1])
            if stream.period[event] == period
        )
        assert found == expected
        assert slices.target_count(interactions) == len(expected)
        # A target is preceded by its true predecessor.
        assert (batch.items[batch.targets > 0] > 0).all()


def test_slices_before_a_period_see_nothing_of_it(stream: Stream) -> None:
    slices = before_period(stream, 3, 6)
    start, stop = slices.windows.bounds(stream.interactions, np.arange(len(slices)))
    for first, last in zip(start, stop, strict=True):
        assert (stream.period[first:last] < 3).all()


def test_the_loss_of_a_period_knows_no_later_item() -> None:
    frame = pl.DataFrame(
        {"user": [1] * 5, "item": range(1, 6), "time": [0, 1, 2, 7 * DAY, 7 * DAY]}
    )
    trainer = trainer_of(Stream.by_time(Interactions.from_frame(frame), 7, 0))
    hidden, matrix = torch.ones(3, MODEL.width), torch.randn(6, MODEL.width)
    targets = torch.tensor([1, 3, 2])
    value = trainer.loss(0)(hidden, matrix, targets)
    matrix[4:] += 100  # the items of the second week
    assert torch.equal(trainer.loss(0)(hidden, matrix, targets), value)
    assert not torch.equal(trainer.loss(1)(hidden, matrix, targets), value)


class Fixed(nn.Module):
    """Has the same scores of items for every request."""

    padding_side = "right"

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.table = IdTable(len(scores) - 1, 1)

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        return torch.ones(len(items), 1)

    def item_matrix(self) -> Tensor:
        return self.scores[:, None]


class Memory(Fixed):
    """Knows by heart what followed each history that it was trained on."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(ITEMS + 1))
        self.known: dict[bytes, int] = {}

    def last(self, items: Tensor, times: Tensor | None = None, padded: bool = True) -> Tensor:
        assert times is not None
        followers = [self.known.get(key(*row), 0) for row in zip(items, times, strict=True)]
        return nn.functional.one_hot(torch.tensor(followers), ITEMS + 1).float()

    def item_matrix(self) -> Tensor:
        return torch.eye(ITEMS + 1)


def key(items: Tensor, times: Tensor) -> bytes:
    return bytes(str((items.tolist(), (times * (items > 0)).tolist())), "ascii")


class Memorize(Strategy):
    """Learns a period by heart."""

    def update(self, trainer: StreamTrainer, model: Any, period: int) -> tuple[Any, Effort]:
        rows = trainer.stream.targets(period)
        source = AskedBatches(trainer.stream.interactions, rows, MODEL.length, padding_side="right")
        batch = source.batch(np.arange(len(rows)), np.random.default_rng(0))
        for items, times, target in zip(batch.items, batch.times, batch.target, strict=True):
            model.known[key(items, times)] = int(target)
        return model, Effort()


def test_a_model_that_memorizes_gains_nothing_from_the_period_it_is_judged_on(
    stream: Stream,
) -> None:
    """P14: with training first, its hit rate at 1 would be 1, as the second half shows."""
    rows = sample_targets(stream, FIRST, 1_000)
    trainer = trainer_of(stream)
    memory: Any = Memory()
    passage = run_prequential(trainer, Memorize(), memory, rows, FIRST, hide_seen=False)
    assert (passage.ranks == 1).mean() < 0.1
    last = stream.targets(PERIODS - 1)
    after = judge(memory, stream, last, MODEL.length, hide_seen=False)
    assert (after == 1).all()


def test_each_row_is_judged_by_what_was_served_then(stream: Stream, base: UserModel) -> None:
    rows = sample_targets(stream, FIRST, 7, seed=1)
    assert np.bincount(stream.period[rows.end])[FIRST:].tolist() == [7] * (PERIODS - FIRST)
    trainer = trainer_of(stream)
    passage = run_prequential(trainer, NoUpdate(), base, rows, FIRST)
    assert len(passage.efforts) == PERIODS - FIRST
    assert passage.effort.steps == passage.effort.samples == 0
    here = rows.take(stream.period[rows.end] == 3)
    expected = judge(base.eval(), stream, here, MODEL.length)
    assert (passage.ranks[stream.period[rows.end] == 3] == expected).all()


def test_items_that_have_not_appeared_are_no_candidates() -> None:
    """Item 5 appears in the week of the request, a second after it, and item 4 a week later."""
    week = 7 * DAY
    interactions = Interactions.from_frame(
        pl.DataFrame(
            {
                "user": [1, 1, 1, 1, 2],
                "item": [1, 2, 3, 4, 5],
                "time": [0, 1, week, 2 * week, week + 1],
            }
        )
    )
    stream = Stream.by_time(interactions, 7, 0)
    # The items to come have the best scores of all.
    model: Any = Fixed(torch.tensor([0.0, 1.0, 2.0, 0.0, 8.0, 9.0]))
    rows = stream.targets(1)
    assert judge(model, stream, rows, 4).tolist() == [1]  # items 1 and 2 are seen
    assert judge(model, stream, rows, 4, hide_seen=False).tolist() == [3]
    assert judge(model, stream, stream.targets(2), 4).tolist() == [2]  # by then item 5 is there


def test_candidates_do_not_depend_on_how_often_a_model_is_updated() -> None:
    """A model that nobody updates ranks the same at each interval, and as counting does.

    Items appear all the time: of those that end a row's period, many came after its request.
    """
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(PERIODS * 7 * DAY, size=400))
    items = [int(rng.integers(1, 2 + place // 8)) for place in range(400)]
    interactions = Interactions.from_frame(
        pl.DataFrame({"user": rng.integers(USERS, size=400), "item": items, "time": times})
    )
    many = interactions.item_count
    score = np.append(0, rng.permutation(many)).astype(np.float32)
    model: Any = Fixed(torch.from_numpy(score))
    rows = sample_targets(Stream.by_time(interactions, 7, 0), FIRST, 1_000)
    found = []
    for shards in (0.25, 1, 4):
        stream = Stream.by_time(interactions, 7, 0, FIRST, shards)
        trainer = trainer_of(stream, build=lambda: model)
        passage = run_prequential(trainer, NoUpdate(), model, rows, FIRST, hide_seen=False)
        found.append(passage.ranks.tolist())
    expected = []
    for end in rows.end:
        earlier = interactions.times <= interactions.times[end]
        there = set(interactions.items[earlier].tolist())
        expected.append(1 + sum(score[j] > score[interactions.items[end]] for j in there))
    assert found == [expected] * 3


def test_full_retraining_is_training_from_scratch(stream: Stream, base: UserModel) -> None:
    """`FullRetrain(1)` after a week: the same weights as never having had the old model."""
    model, _ = FullRetrain(1, FIRST).update(trainer_of(stream), copy.deepcopy(base), 3)
    scratch, _ = train_base(trainer_of(stream), 4)
    assert same(weights(model), weights(scratch))


def test_retraining_waits_for_its_turn(stream: Stream) -> None:
    trainer, strategy = trainer_of(stream), FullRetrain(2, FIRST)
    model = trainer.fresh()
    assert strategy.update(trainer, model, FIRST) == (model, Effort())
    other, effort = strategy.update(trainer, model, FIRST + 1)
    assert other is not model
    assert effort.samples > 0


@pytest.mark.parametrize(
    "strategy",
    [
        Incremental(),
        Replay(1.0),
        Repeat(1.0),
        Rehearsal(FIRST),
        ExemplarDistillation(0.8, 30, FIRST),
        ExemplarDistillation(0.8, None, FIRST),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_an_update_learns_only_from_what_is_over(
    strategy: Incremental, stream: Stream, base: UserModel
) -> None:
    """Changing all that comes after a period changes nothing that its update learns."""
    interactions = stream.interactions
    rng = np.random.default_rng(5)
    items = interactions.items.copy()
    later = stream.period > 3
    items[later] = rng.permutation(items[later])
    changed = Stream(
        Interactions(
            items, interactions.times, None, interactions.offsets,
            interactions.user_ids, interactions.item_ids,
        ),
        stream.period,
    )  # fmt: skip
    found = []
    for version in (stream, changed):
        trainer = trainer_of(version)
        model = copy.deepcopy(base)
        if isinstance(strategy, ExemplarDistillation):
            strategy.exemplars = None
        before = weights(model)
        model, effort = strategy.update(trainer, model, 3)
        assert not same(before, weights(model))
        assert effort.steps > 0
        found.append(weights(model))
    assert same(*found)


def test_efforts_count_targets_and_epochs(stream: Stream) -> None:
    trainer = trainer_of(stream)
    model = trainer.fresh()
    _, plain = Incremental().update(trainer, model, 3)
    assert plain.samples == 2 * len(stream.targets(3))
    assert plain.steps == 2 * -(-len(of_period(stream, 3, MODEL.length)) // 4)
    _, replay = Replay(1.0).update(trainer, model, 3)
    assert replay.steps == 2 * -(-2 * len(of_period(stream, 3, MODEL.length)) // 4)
    _, repeat = Repeat(1.0).update(trainer, model, 3)
    assert (repeat.steps, repeat.samples) == (replay.steps, 2 * plain.samples)
    _, rehearsal = Rehearsal(FIRST).update(trainer, model, 3)
    assert rehearsal.steps == plain.steps


def test_the_control_sees_nothing_new(stream: Stream) -> None:
    slices = Rehearsal(FIRST).slices(trainer_of(stream), 4)
    start, stop = slices.windows.bounds(stream.interactions, np.arange(len(slices)))
    for first, last in zip(start, stop, strict=True):
        assert (stream.period[first:last] < FIRST).all()


@pytest.mark.parametrize(
    "loss", [ChunkedSoftmaxSettings(), SampledSoftmaxSettings(negatives=50, alpha=0.5)]
)
def test_the_control_does_not_push_new_items_down(loss: AnyLoss) -> None:
    """Rows of items that appear in served weeks stay as they are; an update does move them."""
    interactions = log()
    new = [ITEMS - 1, ITEMS]
    launched = ~np.isin(interactions.items, new) | (interactions.times >= FIRST * 7 * DAY)
    stream = Stream.by_time(keep_events(interactions, launched), 7, 0)
    assert not np.isin(new, stream.existing(FIRST - 1)).any()
    assert np.isin(new, stream.existing(FIRST)).all()
    settings = TRAINING.model_copy(update={"loss": loss})
    trainer = trainer_of(stream, settings)
    moved = {}
    for strategy in (Rehearsal(FIRST), Incremental()):
        model = trainer.fresh()
        before = model.item_matrix().detach().clone()
        for period in range(FIRST, PERIODS):
            strategy.update(trainer, model, period)
        moved[type(strategy)] = (model.item_matrix() != before).any(1)
    assert not moved[Rehearsal][new].any()
    assert moved[Rehearsal][1 : ITEMS - 1].all()
    assert moved[Incremental][new].all()


def test_distillation_weight_is_that_of_ader() -> None:
    # sqrt((400 / 500) * (30,000 / 60,000)) = sqrt(0.4)
    assert distillation_weight(0.8, 400, 500, 30_000, 60_000) == pytest.approx(0.8 * 0.4**0.5)


def test_distillation_is_least_for_the_teacher_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    old, other = (torch.randn(3, 5, generator=generator) for _ in range(2))
    entropy = torch.distributions.Categorical(logits=old).entropy().mean()
    torch.testing.assert_close(distill(old, old), entropy)
    assert distill(other, old) > entropy


@pytest.fixture
def taught(stream: Stream, base: UserModel) -> tuple[Any, UserModel]:
    """Return a distillation term on 24 exemplars, and a student without dropout."""
    strategy = ExemplarDistillation(0.8, 24, FIRST)
    strategy.exemplars = stream.targets(0).take(np.arange(24))
    term = strategy.penalty(trainer_of(stream), base, 3)
    student = copy.deepcopy(base)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return term, student.eval()


@pytest.mark.parametrize("height", [1, 5, 24])
def test_distillation_in_parts_is_that_of_all_exemplars(
    height: int, taught: tuple[Any, UserModel]
) -> None:
    term, student = taught
    term.batch, term.chunk_bytes = 24, 4 * len(term.items) * height
    rows = copy.deepcopy(term.rng).choice(24, 24, replace=False)
    batch = term.source.batch(rows, term.rng)

    def logits(model: UserModel) -> Tensor:
        return model.last(batch.items, padded=batch.padded) @ model.item_matrix()[term.items].T

    def gradients(loss: Tensor) -> list[Tensor]:
        named = dict(student.named_parameters()).values()
        return [grad for grad in torch.autograd.grad(loss, named, allow_unused=True)
                if grad is not None]  # fmt: skip

    expected = term.weight * distill(logits(student), logits(term.teacher).detach())
    found = term(student)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found), gradients(expected))


def test_distillation_keeps_no_logits_of_more_exemplars(taught: tuple[Any, UserModel]) -> None:
    """Of further parts the backward pass has their numbers and no activations."""
    term, student = taught
    row = 4 * len(term.items)

    def kept(exemplars: int, chunk_bytes: int) -> int:
        saved: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            saved[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        term.batch, term.chunk_bytes = exemplars, chunk_bytes
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            term(student).backward()
        return sum(saved.values())

    assert kept(24, 4 * row) - kept(8, 4 * row) < row
    assert kept(24, 24 * row) - kept(8, 24 * row) > 16 * row  # at once


def test_herding_keeps_the_mean() -> None:
    """The best pair of four points, by hand: (1, 0) alone is closest to the mean (0.5, 0)."""
    vectors = np.array([[1, 0], [0, 1], [0, -1], [1, 0.0]], np.float32)
    assert herd(vectors, 1)[0] in (0, 3)
    rng = np.random.default_rng(0)
    many = rng.normal(size=(200, 4)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    herded = np.linalg.norm(many[herd(many, 20)].mean(0) - many.mean(0))
    drawn = [
        np.linalg.norm(many[rng.choice(200, 20, replace=False)].mean(0) - many.mean(0))
        for _ in range(50)
    ]
    assert herded < np.mean(drawn) / 4
    assert sorted(herd(many, 500)) == list(range(200))


def test_exemplars_follow_how_often_items_occur() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8], [300, 100])
    vectors = rng.normal(size=(400, 4)).astype(np.float32)
    chosen = choose_exemplars(vectors, labels, 100, rng)
    assert len(set(chosen)) == 100
    assert (labels[chosen] == 3).sum() == pytest.approx(75, abs=15)
    assert (quotas(np.array([1, 2]), 100, rng) == [1, 2]).all()


def test_launched_items_have_no_event_before_their_launch() -> None:
    interactions = log()
    settings = LaunchSettings(share=0.5, least_events=10, first=1, last=3)
    launched = simulate_launches(interactions, settings, 7)
    assert len(launched.chosen) == ITEMS // 2
    start = interactions.times.min()
    weeks = (launched.born[launched.chosen] - start) / (7 * DAY)
    assert set(weeks) <= {1.0, 2.0, 3.0}
    kept = launched.interactions
    assert (kept.times >= launched.born[kept.items]).all()
    expected = sum(
        item not in launched.chosen or time >= launched.born[item]
        for item, time in zip(interactions.items, interactions.times, strict=True)
    )
    assert len(kept) == expected == kept.offsets[-1]
    users = interactions.users()[interactions.times >= launched.born[interactions.items]]
    assert (kept.users() == users).all()


def test_ages_by_hand() -> None:
    ages = np.array([0.5, 3.0, 9.0, 40.0, 2.0])
    slices = age_slices(ages)
    assert [part.sum() for part in slices.values()] == [3, 1, 1]
