"""The stream: windows, the prequential protocol, and what its strategies train on."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from okml.errors import ParameterError
from okml.seqrec.batches import CausalBatch, LastTargetBatch
from okml.seqrec.interactions import Interactions
from okml.seqrec.losses import AnyLoss, ChunkedSoftmaxSettings, SampledSoftmaxSettings
from okml.seqrec.rows import all_rows
from okml.video_workshop.common.events import keep_events
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.settings.stream import LaunchSettings, StreamTrainingSettings
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.stream.distillation import (
    ElasticWeights,
    ExemplarDistillation,
    choose_exemplars,
    distill,
    distillation_weight,
    fisher,
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
from okml.video_workshop.stream.recommenders import (
    MatrixFactorization,
    Recommender,
    SequenceRecommender,
)
from okml.video_workshop.stream.served import (
    age_slices,
    days_to_first_hit,
    days_until_found,
    found_by,
    simulate_launches,
)
from okml.video_workshop.stream.strategies import (
    FullRetrain,
    Incremental,
    NoUpdate,
    Rehearsal,
    Replay,
    train_base,
)
from okml.video_workshop.stream.trainer import Effort, StreamTrainer

ITEMS, USERS, FIRST, PERIODS = 20, 24, 2, 5
CPU = torch.device("cpu")
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


def sequence_model(items: int = ITEMS) -> Callable[[], Recommender]:
    return lambda: SequenceRecommender(UserModel(IdTable(items, MODEL.width), MODEL))


def trainer_of(stream: Stream, seed: int = 0) -> StreamTrainer:
    return StreamTrainer(stream, TRAINING, sequence_model(), seed, CPU)


@pytest.fixture(scope="module")
def base(stream: Stream) -> Recommender:
    """Return a model of the weeks before the fourth."""
    return train_base(trainer_of(stream), 3)[0]


def weights(recommender: Recommender) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in recommender.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


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
        source = TargetWindowBatches(interactions, slices, "right", CPU)
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


def test_padding_side_does_not_change_what_counts(stream: Stream) -> None:
    slices = of_period(stream, 3, 6)
    rng, every = np.random.default_rng(0), np.arange(len(slices))
    right = TargetWindowBatches(stream.interactions, slices, "right", CPU).batch(every, rng)
    left = TargetWindowBatches(stream.interactions, slices, "left", CPU).batch(every, rng)
    assert right.count == left.count == int((right.targets != 0).sum()) > 0
    for a, b in zip(right.targets, left.targets, strict=True):
        assert a[a > 0].tolist() == b[b > 0].tolist()


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


class Memory(Recommender):
    """Knows by heart what followed each (user, number of events) that it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[int, ...], int] = {}
        self.matrix = nn.Parameter(torch.eye(ITEMS + 1))

    def forward(self, batch: CausalBatch) -> Tensor:
        raise NotImplementedError

    def query(self, batch: LastTargetBatch) -> Tensor:
        rows = torch.zeros(len(batch.items), ITEMS + 1)
        for row, (user, items) in enumerate(zip(batch.user, batch.items, strict=True)):
            rows[row, self.known.get((int(user), *items.tolist()), 0)] = 1
        return rows

    def item_matrix(self) -> Tensor:
        return self.matrix


class Memorize(Strategy):
    """Learns a period by heart."""

    def update(
        self, trainer: StreamTrainer, recommender: Recommender, period: int
    ) -> tuple[Recommender, Effort]:
        assert isinstance(recommender, Memory)
        rows = trainer.stream.targets(period)
        for user, end in zip(rows.user, rows.end, strict=True):
            start = max(end - MODEL.length, trainer.stream.interactions.offsets[user])
            history = trainer.stream.interactions.items[start:end].tolist()
            padding = [0] * (MODEL.length - len(history))
            target = int(trainer.stream.interactions.items[end])
            recommender.known[int(user), *history, *padding] = target
        return recommender, Effort()


def test_a_model_that_memorizes_gains_nothing_from_the_period_it_is_judged_on(
    stream: Stream,
) -> None:
    """P14: with training first, its hit rate at 1 would be 1, as the second half shows."""
    rows = sample_targets(stream, FIRST, 1_000)
    trainer, memory = trainer_of(stream), Memory()
    passage = run_prequential(trainer, Memorize(), memory, rows, FIRST, hide_seen=False)
    assert (passage.ranks == 1).mean() < 0.1
    last = stream.targets(PERIODS - 1)
    after = judge(memory, stream, last, MODEL.length, hide_seen=False)
    assert (after == 1).all()


def test_each_row_is_judged_by_what_was_served_then(stream: Stream, base: Recommender) -> None:
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
    model = MatrixFactorization(2, 5, 2)
    with torch.no_grad():  # the items to come have the best scores of all
        model.item.weight[:, -1] = torch.tensor([0.0, 1.0, 2.0, 0.0, 8.0, 9.0])
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
    model = MatrixFactorization(USERS, many, 2)
    score = np.append(0, rng.permutation(many)).astype(np.float32)
    with torch.no_grad():
        model.item.weight[:, -1] = torch.from_numpy(score)
    rows = sample_targets(Stream.by_time(interactions, 7, 0), FIRST, 1_000)
    found = []
    for shards in (0.25, 1, 4):
        stream = Stream.by_time(interactions, 7, 0, FIRST, shards)
        trainer = StreamTrainer(stream, TRAINING, lambda: model, 0, CPU)
        passage = run_prequential(trainer, NoUpdate(), model, rows, FIRST, hide_seen=False)
        found.append(passage.ranks.tolist())
    expected = []
    for end in rows.end:
        earlier = interactions.times <= interactions.times[end]
        there = set(interactions.items[earlier].tolist())
        expected.append(1 + sum(score[j] > score[interactions.items[end]] for j in there))
    assert found == [expected] * 3


def test_full_retraining_is_training_from_scratch(stream: Stream, base: Recommender) -> None:
    """`FullRetrain(1)` after a week: the same weights as never having had the old model."""
    model, _ = FullRetrain(1, FIRST).update(trainer_of(stream), copy.deepcopy(base), 3)
    scratch, _ = train_base(trainer_of(stream), 4)
    assert same(weights(model), weights(scratch))


def test_a_short_retraining_has_the_steps_of_an_update(stream: Stream) -> None:
    """It starts from scratch all the same, and sees all there is."""
    trainer = trainer_of(stream)
    steps = {}
    for epochs in (4, 12):
        settings = TRAINING.model_copy(update={"update_epochs": epochs})
        longer = StreamTrainer(stream, settings, sequence_model(), 0, CPU)
        _, update = Incremental().update(longer, longer.fresh(), 3)
        model, effort = FullRetrain(1, FIRST, short=True).update(longer, longer.fresh(), 3)
        epoch = -(-len(before_period(stream, 4, MODEL.length)) // TRAINING.batch)
        assert abs(effort.steps - update.steps) <= epoch / 2
        assert effort.steps % epoch == 0
        scratch, _ = train_base(trainer, 4, epochs=effort.steps // epoch)
        assert same(weights(model), weights(scratch))
        steps[epochs] = effort.steps
    assert steps[4] < steps[12]
    assert FullRetrain(2, FIRST, short=True).update(trainer, model, FIRST) == (model, Effort())


def test_labels_of_exemplars_by_hand(stream: Stream) -> None:
    """The log-probability, among old items, of what followed each exemplar: one at a time."""
    strategy, trainer = ExemplarDistillation(0.8, None, FIRST, labels=True), trainer_of(stream)
    model = trainer.fresh().eval()
    strategy.exemplars = stream.targets(1)
    penalty = strategy.penalty(trainer, model, FIRST)
    assert penalty is not None
    penalty.batch = len(strategy.exemplars)  # type: ignore[attr-defined]
    old, total = stream.existing(FIRST - 1), 0.0
    for user, end in zip(strategy.exemplars.user, strategy.exemplars.end, strict=True):
        start = max(stream.interactions.offsets[user], end - MODEL.length)
        history = torch.zeros(1, MODEL.length, dtype=torch.int64)
        items = torch.from_numpy(stream.interactions.items[start:end].astype(np.int64))
        history[0, : len(items)] = items
        ends = LastTargetBatch(history, history, torch.tensor([1]), torch.tensor([0]), True)
        scores = (model.query(ends) @ model.item_matrix().T)[0].tolist()
        weights_of = {int(item): np.exp(scores[item]) for item in old}
        target = int(stream.interactions.items[end])
        total -= np.log(weights_of[target] / sum(weights_of.values()))
    new = len(stream.targets(FIRST))
    share = len(old) / len(stream.existing(FIRST))
    weight = distillation_weight(0.8, 1, 1, len(strategy.exemplars), new) * share**0.5
    expected = weight * total / len(strategy.exemplars)
    assert penalty(model).item() == pytest.approx(expected, rel=1e-4)


def test_without_a_limit_all_that_is_over_is_an_exemplar(stream: Stream) -> None:
    strategy, trainer = ExemplarDistillation(0.8, None, FIRST), trainer_of(stream)
    model = trainer.fresh()
    for period in (FIRST, FIRST + 1):
        strategy.update(trainer, model, period)
        assert strategy.exemplars is not None
        past = np.concatenate([stream.targets(number).end for number in range(period + 1)])
        assert sorted(strategy.exemplars.end) == sorted(past)


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
        Incremental(dropout=False),
        Replay(1.0),
        Rehearsal(FIRST),
        ExemplarDistillation(0.8, 30, FIRST),
        ExemplarDistillation(0.8, None, FIRST),
        ExemplarDistillation(0.8, 30, FIRST, labels=True),
        ElasticWeights(10.0, batches=2),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_an_update_learns_only_from_what_is_over(
    strategy: Incremental, stream: Stream, base: Recommender
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
    trainer = StreamTrainer(stream, settings, sequence_model(), 0, CPU)
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


def test_fisher_information_of_a_linear_model() -> None:
    """Of the biases, with one target a batch: the square of (probability - 1) or (probability)."""
    interactions = Interactions.from_frame(
        pl.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "time": [0, 1, 7 * DAY]})
    )
    stream = Stream.by_time(interactions, 7, 0)
    build = lambda: MatrixFactorization(1, 3, 2, std=0.0)  # noqa: E731
    trainer = StreamTrainer(stream, TRAINING, build, 0, CPU)
    model = trainer.fresh()
    found = dict(zip(dict(model.named_parameters()), fisher(trainer, model, 1, 3), strict=True))
    # Items 1 and 2 exist, equally likely; the target is 2.
    torch.testing.assert_close(found["item.weight"][:, -1], torch.tensor([0.0, 0.25, 0.25, 0.0]))


def test_elastic_weights_stay_closer_to_the_old_ones(stream: Stream, base: Recommender) -> None:
    trainer = trainer_of(stream)
    moved = []
    for strategy in (Incremental(), ElasticWeights(1e6, batches=4)):
        model = copy.deepcopy(base)
        before = weights(model)
        model, _ = strategy.update(trainer, model, 3)
        after = weights(model)
        moved.append(sum(float((after[n] - before[n]).square().sum()) for n in before))
    assert moved[1] < moved[0]


def test_a_user_row_knows_nothing_of_new_events(stream: Stream) -> None:
    """P15: a stale factorization answers a user the same whatever they did; a sequence does not."""
    factors = MatrixFactorization(USERS, ITEMS, 4)
    sequence = trainer_of(stream).fresh().eval()
    items = torch.tensor([[1, 2, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0]])
    batch = LastTargetBatch(items, items, torch.tensor([4, 4]), torch.tensor([0, 0]), True)
    a, b = factors.query(batch)
    assert torch.equal(a, b)
    a, b = sequence.query(batch)
    assert not torch.equal(a, b)


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


def test_ages_and_first_hits_by_hand() -> None:
    ages = np.array([0.5, 3.0, 9.0, 40.0, 2.0])
    slices = age_slices(ages)
    assert [part.sum() for part in slices.values()] == [3, 1, 1]
    hits = np.array([False, True, True, True, False])
    items = np.array([5, 5, 5, 6, 7])
    found = days_to_first_hit(hits, ages, items, np.array([5, 6, 7, 9]))
    assert found.tolist() == [3.0, 40.0, np.inf, np.inf]
    assert [found_by(found, age) for age in (3, 7, np.inf)] == [0, 0.25, 0.5]
    assert [days_until_found(found, share) for share in (0.25, 0.5, 0.75)] == [3, 40, None]
