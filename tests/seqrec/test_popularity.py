"""Popularity, counted in training alone."""

from __future__ import annotations

from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.popularity import item_counts, popularity_scorer
from okml.seqrec.ranking import rank_rows
from okml.seqrec.splits import leave_one_out
from tests.seqrec.logs import of_rows


def test_popularity_by_hand() -> None:
    found = of_rows(
        [(0, item, time) for time, item in enumerate([1, 2, 3, 4])]
        + [(1, item, time) for time, item in enumerate([1, 2, 4, 3])]
        + [(2, item, time) for time, item in enumerate([1, 3, 4, 2])]
    )
    split = leave_one_out(found)
    counts = item_counts(found, split.train_end)
    assert counts.tolist() == [0, 3, 2, 1, 0]
    assert item_counts(found).tolist() == [0, 3, 3, 3, 3]
    source = LastTargetBatches(found, split.test, 2)
    # Targets 4, 3 and 2 of users 0, 1 and 2.
    assert rank_rows(popularity_scorer(counts), source).tolist() == [4, 3, 2]
    assert rank_rows(popularity_scorer(counts), source, limit=3).tolist() == [4, 3, 2]
    hidden = rank_rows(popularity_scorer(counts), source, hide_seen=True)
    assert hidden.tolist() == [1, 1, 1]
