"""Counts on MovieLens-100K that were found independently, with RecBole's rules."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from okml.data import fetch
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.metrics import mean_metrics
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.ranking import rank_rows
from okml.seqrec.rows import full_only, most_recent
from okml.seqrec.splits import last_events, leave_one_out, per_user_ratio, user_holdout

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def ml_100k() -> Interactions:
    path = fetch("ml_100k", ["ml-100k.inter"])["ml-100k.inter"]
    frame = pl.read_csv(
        path,
        separator="\t",
        skip_rows=1,
        has_header=False,
        new_columns=["user", "item", "value", "time"],
        schema_overrides=[pl.String, pl.String, pl.Float32, pl.Int64],
    )
    return Interactions.from_frame(frame)


def test_sizes_and_numbers(ml_100k: Interactions) -> None:
    sizes = len(ml_100k), ml_100k.user_count, ml_100k.item_count
    assert sizes == (100_000, 943, 1_682)
    # Its ids have no gaps, so they are the numbers.
    assert ml_100k.item_ids.to_list() == [str(number) for number in range(1, 1_683)]
    lengths = ml_100k.lengths
    assert (lengths.min(), np.median(lengths), lengths.max()) == (20, 65, 737)
    same_user = np.diff(ml_100k.users()) == 0
    ties = (np.diff(ml_100k.times) == 0)[same_user]
    assert ties.mean() == pytest.approx(0.510, abs=5e-4)


def test_the_split_of_strec(ml_100k: Interactions) -> None:
    split = per_user_ratio(ml_100k)
    parts = [split.train, split.valid, split.test]
    assert [len(rows) for rows in parts] == [72_911, 17_583, 8_563]
    short = [len(rows) - len(full_only(ml_100k, rows, 50)) for rows in parts]
    assert short == [35_553, 2_526, 907]


def test_the_split_for_two_cores(ml_100k: Interactions) -> None:
    split = last_events(ml_100k, valid=5, test=5, least=61)
    train = most_recent(full_only(ml_100k, split.train, 50), 40)
    assert [len(rows) for rows in (train, split.valid, split.test)] == [16_654, 2_470, 2_470]
    assert len(np.unique(split.test.user)) == 494
    assert len(full_only(ml_100k, split.test, 50)) == len(split.test)
    ranks = rank_rows(
        popularity_scorer(item_counts(ml_100k, split.train_end)),
        LastTargetBatches(ml_100k, split.test, 50),
        ties="middle",
    )
    # Of a pilot that let no tie stand before the target; all stand there in the main rule.
    means = mean_metrics(ranks)
    assert (round(means["hr@10"], 3), round(means["ndcg@10"], 3)) == (0.028, 0.013)


def test_other_splits(ml_100k: Interactions) -> None:
    split = leave_one_out(ml_100k)
    assert [len(split.train), len(split.valid), len(split.test)] == [97_171, 943, 943]
    held_out = user_holdout(ml_100k)
    assert len(np.unique(held_out.test.user)) == 94
