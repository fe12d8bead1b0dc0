import numpy as np
import polars as pl
import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.interactions import Interactions
from okml.seqrec.ranking import rank_rows
from okml.seqrec.rows import cut_windows
from okml.seqrec.scorers import among, product_scorer
from okml.video_workshop.items.cold_split import hold_out_items
from okml.video_workshop.settings.items import ItemsSettings

SETTINGS = ItemsSettings(held_out=0.3, least_events=5, test_share=0.2)


@pytest.fixture
def interactions():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": np.repeat([f"u{u}" for u in range(30)], 12),
            "item": [f"i{i}" for i in rng.integers(12, size=360)],
            "time": np.arange(360),
        }
    )
    return Interactions.from_frame(frame)


def test_held_out_items_are_in_no_history(interactions):
    split = hold_out_items(interactions, SETTINGS)
    gone = np.setdiff1d(interactions.items, split.log.items)
    assert len(gone) == round(0.3 * 12)
    assert split.cold[gone].all()
    assert not split.cold[0]


def test_histories_and_targets_are_those_of_a_walk_through_the_log(interactions):
    split = hold_out_items(interactions, SETTINGS)
    gone = set(np.setdiff1d(interactions.items, split.log.items).tolist())
    wanted, trained = [], np.zeros(interactions.item_count + 1, int)
    for user in range(interactions.user_count):
        first, last = interactions.offsets[user : user + 2]
        cut = last - int(np.ceil(0.2 * (last - first)))
        history: list[int] = []
        for place in range(first, last):
            item = int(interactions.items[place])
            if place >= cut and history:
                wanted.append((user, tuple(history), item))
            if item not in gone:
                history.append(item)
                trained[item] += place < cut
    found = []
    for user, end, target in zip(split.rows.user, split.rows.end, split.targets, strict=True):
        start = split.log.offsets[user]
        found.append((int(user), tuple(split.log.items[start:end].tolist()), int(target)))
    assert found == wanted
    np.testing.assert_array_equal(split.counts, trained)
    windows = cut_windows(split.log, split.train_end, 50)
    assert len(windows) == 30


def test_cold_targets_all_stay_when_warm_ones_are_drawn(interactions):
    whole = hold_out_items(interactions, SETTINGS)
    part = hold_out_items(interactions, SETTINGS.model_copy(update={"warm_targets": 10}))
    assert (~part.asked_cold).sum() == 10
    assert part.asked_cold.sum() == whole.asked_cold.sum()


def test_no_item_has_enough_events(interactions):
    with pytest.raises(ParameterError, match="No item with 500 events"):
        hold_out_items(interactions, SETTINGS.model_copy(update={"least_events": 500}))


def test_equal_scores_put_a_cold_target_in_the_middle_of_its_rivals(interactions):
    split = hold_out_items(interactions, SETTINGS)
    cold = np.flatnonzero(split.asked_cold)
    source = LastTargetBatches(
        split.log, split.rows.take(cold), 5, targets=split.targets[cold], padding_side="right"
    )
    constant = product_scorer(
        lambda batch: torch.ones(len(batch.items), 1), torch.ones(interactions.item_count + 1, 1)
    )
    ranks = rank_rows(
        among(constant, torch.from_numpy(split.cold)), source, hide_seen=True, ties="middle"
    )
    np.testing.assert_allclose(ranks, (split.cold.sum() + 1) / 2)
