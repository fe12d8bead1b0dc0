from __future__ import annotations

import numpy as np
import pytest

from okml.lightsage.shop import ShopSettings, visits
from okml.lightsage.shop.catalog import draw_listings
from okml.lightsage.shop.visits import NOTHING, ByPopularity, similar_items

SETTINGS = ShopSettings(items=120, leaves=4, candidates=10)


def test_tables_hold_the_likeliest_of_the_leaf() -> None:
    listings = draw_listings(SETTINGS, np.random.default_rng(0))
    page, search = similar_items(listings, SETTINGS)
    for item in range(0, 120, 7):
        same = np.flatnonzero(listings.leaf == listings.leaf[item])
        squared = np.square(listings.position[same] - listings.position[item]).mean(axis=1)
        logits = 0.5 * np.log(listings.popularity[same]) - squared / 0.10
        for table, members, values in (
            (search, same, logits),
            (page, same[same != item], logits[same != item]),
        ):
            order = np.argsort(-values)[:10]
            chances = np.exp(values[order]) / np.exp(values[order]).sum()
            assert table.items[item, : len(order)].tolist() == members[order].tolist()
            assert np.diff(table.cumulative[item], prepend=0)[: len(order)] == pytest.approx(
                chances, abs=1e-5
            )


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    listings = draw_listings(SETTINGS, np.random.default_rng(0))
    whole = similar_items(listings, SETTINGS)
    monkeypatch.setattr(visits, "BLOCK_ENTRIES", 100)
    for one, other in zip(whole, similar_items(listings, SETTINGS), strict=True):
        assert np.array_equal(one.items, other.items)
        assert np.allclose(one.cumulative, other.cumulative)


def test_an_item_alone_in_its_leaf_has_a_search_and_no_page() -> None:
    settings = ShopSettings(items=8, leaves=200, listings_per_product=1, candidates=2)
    listings = draw_listings(settings, np.random.default_rng(3))
    page, search = similar_items(listings, settings)
    alone = np.flatnonzero(np.bincount(listings.leaf, minlength=200)[listings.leaf] == 1)
    assert len(alone)
    rng = np.random.default_rng(0)
    assert (page.draw(alone, rng) == NOTHING).all()
    assert (search.draw(alone, rng) == alone).all()


def test_draws_follow_the_weights_of_a_leaf_and_of_all() -> None:
    weights, leaf = np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 0, 2, 2], np.int32)
    draws = ByPopularity(weights, leaf, leaves=3)
    rng = np.random.default_rng(0)
    of_leaf = draws.of_leaf(np.zeros(20_000, np.int64), rng)
    assert np.bincount(of_leaf, minlength=4) / 20_000 == pytest.approx([0.25, 0.75, 0, 0], abs=0.02)
    of_all = np.bincount(draws.of_all(20_000, rng), minlength=4) / 20_000
    assert of_all == pytest.approx(weights / 8, abs=0.02)
    assert (draws.of_leaf(np.full(10, 1), rng) == NOTHING).all()
