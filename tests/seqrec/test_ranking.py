"""Ranks: against counting by hand, in chunks of every size, with ties and seen items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from okml.errors import ParameterError, TrainingError
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import LastTargetBatch, LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.ranking import Ties, rank_rows
from okml.seqrec.rows import Rows, all_rows
from okml.seqrec.scorers import (
    ChunkScores,
    Scorer,
    among,
    encoder_scorer,
    product_scorer,
    score_function_scorer,
)
from okml.seqrec.settings import BackboneSettings
from tests.device import GPU
from tests.seqrec.logs import lengths, of_lengths, of_rows

LENGTH = 4


def rows_of(found: Interactions) -> LastTargetBatches:
    return LastTargetBatches(found, all_rows(found), LENGTH)


def scores_of_users(found: Interactions, seed: int) -> Tensor:
    """Small whole numbers, so that ties are frequent: a score of each user and item."""
    drawn = np.random.default_rng(seed).integers(-2, 3, (found.user_count, found.item_count + 1))
    return torch.from_numpy(drawn).float()


def look_up(table: Tensor) -> Scorer:
    return score_function_scorer(lambda batch: table[batch.user])


def counted(
    found: Interactions, table: Tensor, row: int, target: int, hide_seen: bool, ties: Ties
) -> float:
    """Return a rank by comparing with one item after the other."""
    rows = all_rows(found)
    user, end = rows.user[row], rows.end[row]
    seen = set(found.items[found.offsets[user] : end].tolist()) if hide_seen else set()
    rank = 1.0
    for item in range(1, found.item_count + 1):
        if item != target and item not in seen:
            difference = float(table[user, item] - table[user, target])
            rank += difference > 0
            rank += (difference == 0) * (1.0 if ties == "pessimistic" else 0.5)
    return rank


@given(
    lengths,
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from(["pessimistic", "middle"]),
    st.integers(1, 9),
    st.sampled_from([1, 4, 9, 20, 2**20]),
)
def test_ranks_are_counted(
    sizes: list[int], seed: int, hide_seen: bool, ties: Ties, batch_size: int, limit: int
) -> None:
    found = of_lengths(sizes)
    table = scores_of_users(found, seed)
    source = rows_of(found)
    ranks = rank_rows(
        look_up(table), source, hide_seen=hide_seen, ties=ties, batch_size=batch_size, limit=limit
    )
    targets = found.items[source.rows.end]
    expected = [
        counted(found, table, row, int(target), hide_seen, ties)
        for row, target in enumerate(targets)
    ]
    assert ranks.tolist() == expected


def test_ranks_by_hand() -> None:
    # The history is item 1; the target is item 3 of five.
    found = of_rows([(0, 1, 0), (0, 3, 1), (1, 2, 0), (2, 4, 0), (3, 5, 0)])
    source = rows_of(found)

    def rank(*scores: float, **options: bool) -> float:
        table = torch.tensor([[99.0, *scores]]).expand(4, -1)
        return float(rank_rows(look_up(table), source, **options)[0])

    assert rank(0, 1, 2, 3, 1) == 2  # one is above
    assert rank(2, 2, 2, 3, 1) == 4  # two more are as good
    assert rank(9, 1, 2, 3, 1) == 3
    assert rank(9, 1, 2, 3, 1, hide_seen=True) == 2
    assert rank(7, 7, 7, 7, 7) == 5  # constant scores are the last, not the first
    inf = float("inf")
    assert rank(-inf, -inf, -inf, 1, 2) == 5


def test_only_candidates_compete() -> None:
    found = of_rows([(0, 1, 0), (0, 3, 1), (1, 2, 0), (2, 4, 0), (3, 5, 0)])
    table = torch.tensor([[0.0, 9, 8, 2, 5, 1]]).expand(4, -1)
    candidates = torch.tensor([False, False, False, True, True, True])
    assert rank_rows(look_up(table), rows_of(found)).tolist() == [4]
    assert rank_rows(among(look_up(table), candidates), rows_of(found)).tolist() == [2]


def test_targets_that_are_no_events_of_the_log() -> None:
    found = of_rows([(0, 1, 0), (0, 3, 1), (1, 2, 0), (2, 4, 0), (3, 5, 0)])
    # After the whole history of the last user, where no event stands in the log.
    rows = Rows(np.array([0, 3], np.int32), np.array([2, len(found)]))
    source = LastTargetBatches(found, rows, LENGTH, targets=np.array([5, 4]))
    batch = source.batch(np.arange(2), np.random.default_rng(0))
    assert batch.items.tolist() == [[0, 0, 1, 3], [0, 0, 0, 5]]
    assert batch.target.tolist() == source.targets().tolist() == [5, 4]
    table = torch.tensor([[0.0, 9, 8, 7, 6, 1]]).expand(4, -1)
    assert rank_rows(look_up(table), source, hide_seen=True).tolist() == [3, 4]
    with pytest.raises(ParameterError, match="1 targets for 2 rows"):
        LastTargetBatches(found, rows, LENGTH, targets=np.array([5]))


def test_a_repeated_target_is_never_hidden() -> None:
    found = of_rows([(0, 1, 0), (0, 2, 1), (0, 1, 2), (1, 3, 0)])
    table = torch.tensor([[0.0, 1, 2, 3]]).expand(2, -1)
    ranks = rank_rows(look_up(table), rows_of(found), hide_seen=True)
    # 2 after 1, where 1 is hidden: below 3. Then 1 after 1 and 2: 2 is hidden, 1 itself is not.
    assert ranks.tolist() == [2, 2]


@pytest.mark.parametrize("limit", [1, 5, 9, 50, 10_000])
def test_no_more_scores_are_held_than_the_limit(limit: int) -> None:
    found = of_lengths([30, 20])
    table = scores_of_users(found, 0)
    held = []

    def scorer(batch: LastTargetBatch) -> ChunkScores:
        inner = look_up(table)(batch)

        def scores(rows: Tensor, first: int, last: int) -> Tensor:
            assert first >= 1
            assert last <= found.item_count + 1
            held.append(len(rows) * (last - first))
            return inner(rows, first, last)

        return scores

    rank_rows(scorer, rows_of(found), batch_size=16, limit=limit)
    assert max(held) <= limit
    # One row or chunk more would not have fitted.
    assert max(held) > limit / 2 or max(held) == 16 * found.item_count


@pytest.mark.parametrize("limit", [3, 2**20])
@pytest.mark.parametrize("place", [1, 9])
def test_scores_that_are_not_numbers_are_an_error(limit: int, place: int) -> None:
    found = of_lengths([5, 6])
    table = scores_of_users(found, 0)
    table[1, place] = float("nan")
    with pytest.raises(TrainingError, match="not numbers"):
        rank_rows(look_up(table), rows_of(found), limit=limit)


def test_products_are_taken_in_float32_under_autocast() -> None:
    found = of_rows([(0, 1, 0), (0, 2, 1), (1, 3, 0)])
    # In bfloat16 these three products are equal, and the target would be the last.
    matrix = torch.tensor([[0.0, 0.0], [1.0, 0.001], [1.0, 0.002], [1.0, 0.0015]])
    scorer = product_scorer(lambda batch: torch.ones(len(batch.user), 2), matrix)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rank_rows(scorer, rows_of(found)).tolist() == [1]


def test_items_with_one_vector_tie_in_every_chunking() -> None:
    generator = torch.Generator().manual_seed(0)
    found = of_lengths([40], items=30)
    one = torch.randint(-9, 10, (1, 7), generator=generator)
    histories = torch.randint(-9, 10, (len(all_rows(found)), 7), generator=generator)
    scorer = product_scorer(lambda batch: histories[: len(batch.user)], one.expand(31, 7))
    for limit in (4, 30, 90, 10_000):
        assert set(rank_rows(scorer, rows_of(found), limit=limit)) == {30}


def test_a_backbone_is_ranked_whatever_the_chunks() -> None:
    torch.manual_seed(0)
    found = of_lengths([25, 3, 14], items=12)
    backbone = Backbone(12, BackboneSettings(length=LENGTH, width=8, heads=2, hidden=16)).eval()
    source = LastTargetBatches(found, all_rows(found), LENGTH, padding_side=backbone.padding_side)
    whole = source.batch(np.arange(len(source)), np.random.default_rng(0))
    with torch.inference_mode():
        scores = backbone.last(whole.items) @ backbone.item_matrix().T
    own = scores.gather(1, whole.target[:, None])
    expected = 1 + (scores[:, 1:] > own).sum(1).numpy()
    for batch_size, limit in ((64, 2**20), (5, 30), (7, 5)):
        ranks = rank_rows(encoder_scorer(backbone), source, batch_size=batch_size, limit=limit)
        np.testing.assert_array_equal(ranks, expected)


def test_what_cannot_be_ranked_is_refused() -> None:
    found = of_lengths([5])
    scorer = look_up(scores_of_users(found, 0))
    with pytest.raises(ParameterError, match="at least 1"):
        rank_rows(scorer, rows_of(found), limit=0)
    none = LastTargetBatches(found, all_rows(found).take(np.array([], dtype=np.int64)), 4)
    with pytest.raises(ParameterError, match="no rows"):
        rank_rows(scorer, none)


@pytest.mark.gpu
@pytest.mark.parametrize("build_on", [torch.device("cpu"), GPU], ids=str)
def test_ranks_on_a_gpu_are_those_of_the_cpu(build_on: torch.device) -> None:
    found = of_lengths([30, 7, 12])
    table = scores_of_users(found, 0)
    expected = rank_rows(look_up(table), rows_of(found), hide_seen=True)
    source = LastTargetBatches(found, all_rows(found), LENGTH, device=build_on)
    for limit in (4, 2**20):
        ranks = rank_rows(look_up(table.to(GPU)), source, hide_seen=True, limit=limit, device=GPU)
        np.testing.assert_array_equal(ranks, expected)
