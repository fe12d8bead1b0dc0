from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from okml.lightsage.graph import clean, cosine, swing
from okml.lightsage.graph.events import DAY, EVENT_SCHEMA
from okml.lightsage.graph.swing import user_items
from okml.lightsage.shop import Shop, ShopSettings, generate

SMALL = ShopSettings(items=1_000, leaves=8, users=800, sessions=4_000, rings=6)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generate(SMALL, seed=0)


def test_equal_seeds_give_equal_shops_and_others_do_not(shop: Shop) -> None:
    again, other = generate(SMALL, seed=0), generate(SMALL, seed=1)
    assert_frame_equal(again.events, shop.events)
    assert_frame_equal(again.catalog, shop.catalog)
    assert np.array_equal(again.features, shop.features)
    assert not other.events.equals(shop.events)


def test_the_log_has_the_form_that_the_graph_reads(shop: Shop) -> None:
    assert shop.events.schema == EVENT_SCHEMA
    cleaned = clean(shop.events)
    assert set(cleaned["user"]) == set(shop.events["user"])
    assert shop.catalog["item"].to_list() == list(range(SMALL.items))
    assert shop.features.shape == (SMALL.items, SMALL.features)
    assert shop.positions.shape == (SMALL.items, 16)


def test_a_feed_that_follows_the_item_in_view_stays_in_its_category(shop: Shop) -> None:
    def share_within(made: Shop) -> float:
        ordered = made.events.filter(action="click").sort("session", "ts")
        category = made.catalog["category"].gather(ordered["item"])
        after = (ordered["session"] == ordered["session"].shift()) & (ordered["source"] == "feed")
        return float((category == category.shift()).filter(after.fill_null(False)).mean())  # type: ignore[arg-type]

    follows = generate(SMALL.model_copy(update={"view_share": 0.5}), seed=0)
    # Half of them are near the item in view, and the other half as before.
    expected = 0.5 + 0.5 * share_within(shop)
    assert share_within(follows) == pytest.approx(expected, abs=0.03)


def test_shares_of_sources_follow_the_settings(shop: Shop) -> None:
    people = shop.events.filter(pl.col("action") == "click", pl.col("user") < SMALL.users)
    ordered = people.sort("session", "ts")
    # Outside of search, once there is a page, p_page of 1 - p_search steps are clicks on it.
    later = ordered.filter(
        pl.col("session") == pl.col("session").shift(), pl.col("source") != "search"
    )
    on_pages = (later["source"] == "pdp_rec").mean()
    assert on_pages == pytest.approx(SMALL.p_page / (1 - SMALL.p_search), abs=0.006)
    feed = shop.events.filter(pl.col("source") == "feed")
    assert feed.height > 0.6 * people.height


def test_carts_and_purchases_follow_clicks_that_were_meant(shop: Shop) -> None:
    by_action = {
        action: shop.events.filter(pl.col("action") == action) for action in ("cart", "purchase")
    }
    people = shop.events.filter(pl.col("user") < SMALL.users)
    meant = people.filter(pl.col("action") == "click", pl.col("source") != "feed")
    assert by_action["cart"].height / meant.height == pytest.approx(SMALL.p_cart, abs=0.02)
    assert "feed" not in set(by_action["cart"]["source"])
    bought, put = by_action["purchase"], by_action["cart"]
    assert bought.join(put, on=["session", "item", "episode"], how="anti").is_empty()


def test_an_episode_is_one_query_of_one_visit_about_one_leaf(shop: Shop) -> None:
    searched = shop.events.filter(pl.col("episode") >= 0).join(shop.catalog, on="item")
    of = searched.group_by("episode").agg(
        pl.col("session").n_unique(), pl.col("query").n_unique(), pl.col("category").n_unique()
    )
    assert of.select(pl.exclude("episode").max()).row(0) == (1, 1, 1)


def test_clicks_on_a_page_lead_to_its_neighborhood(shop: Shop) -> None:
    pages = shop.events.filter(pl.col("source") == "pdp_rec", pl.col("action") == "click")
    assert (pages["item"] != pages["from_item"]).all()
    leaf = shop.catalog["category"].to_numpy()
    here, there = pages["from_item"].to_numpy(), pages["item"].to_numpy()
    assert (leaf[here] == leaf[there]).all()
    moved = np.square(shop.positions[here] - shop.positions[there]).mean()
    others = np.random.default_rng(0).permutation(there)
    random = np.square(shop.positions[here] - shop.positions[others])
    assert moved < 0.2 * random.mean()


def test_late_items_are_not_clicked_before_they_start(shop: Shop) -> None:
    late = shop.events.join(shop.catalog, on="item").filter(pl.col("launch_ts") > 0)
    assert late.height > 0
    assert (late["ts"] >= late["launch_ts"]).all()
    assert shop.catalog["launch_ts"].max() == SMALL.launch_day * DAY
    assert (shop.catalog["launch_ts"] > 0).mean() == pytest.approx(SMALL.late_share)


def test_features_are_noisier_in_the_tail_and_blind_to_the_hidden_part(shop: Shop) -> None:
    rank = shop.catalog["popularity"].rank("ordinal", descending=True).to_numpy() - 1
    head = rank < 0.2 * SMALL.items
    visible, features = shop.positions[:, :12], shop.features.astype(float)
    projection, *_ = np.linalg.lstsq(visible[head], features[head], rcond=None)
    left = features - visible @ projection
    assert left[head].std() == pytest.approx(0.5 * SMALL.head_noise, rel=0.1)
    assert left[~head].std() == pytest.approx(0.5 * SMALL.tail_noise, rel=0.1)
    quality = shop.positions[:, 12:]
    hidden, *_ = np.linalg.lstsq(features, quality, rcond=None)
    explained = 1 - (quality - features @ hidden).var() / quality.var()
    assert explained < 0.1


def test_ads_have_their_share_and_lean_to_the_tail(shop: Shop) -> None:
    ads = shop.catalog["is_ad"]
    assert ads.mean() == pytest.approx(SMALL.ad_share)
    popularity = shop.catalog["popularity"]
    assert popularity.filter(ads).mean() < popularity.filter(~ads).mean()


def test_observed_types_are_wrong_for_some() -> None:
    right = generate(SMALL.model_copy(update={"wrong_type_share": 0.0}), 0).catalog
    wrong = generate(SMALL.model_copy(update={"wrong_type_share": 0.4}), 0).catalog
    share = (right["type"] != wrong["type"]).mean()
    assert share == pytest.approx(0.4 * 7 / 8, abs=0.05)  # a random type is right by chance


def test_rings_fool_cosine_and_not_swing(shop: Shop) -> None:
    """What rings are for: accounts that share all they have vouch for unrelated items."""
    leaf = shop.catalog["category"].to_numpy()
    pairs = user_items(clean(shop.events))

    def precision(edges: pl.DataFrame) -> float:
        i, j, weight = (edges[name].to_numpy() for name in ("item", "neighbor", "weight"))
        return float(weight[leaf[i] == leaf[j]].sum() / weight.sum())

    assert precision(swing(pairs)) > precision(cosine(pairs)) + 0.2


def test_ring_accounts_click_alone(shop: Shop) -> None:
    ring = shop.events.filter(pl.col("user") >= SMALL.users)
    assert ring["user"].max() < SMALL.users + SMALL.rings * SMALL.ring_accounts
    assert ring["session"].n_unique() == ring["episode"].n_unique() == ring.height
    per_account = ring.group_by("user").len()["len"].mean()
    assert per_account == pytest.approx(SMALL.ring_items * SMALL.ring_share, rel=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": 0},
        {"rings": 0},
        {"items": 8, "leaves": 8, "ring_items": 4},  # leaves without a listing, or with one
        {"leaves": 1, "types": 1},
        {"late_share": 0.0},
        {"p_search": 0.0, "p_page": 0.0},
        {"p_search": 1.0},
        {"p_page": 0.9, "p_search": 0.0},
        {"mean_extra_steps": 0.0, "users": 1},
    ],
)
def test_extreme_settings_give_a_shop(change: dict[str, float]) -> None:
    small = SMALL.model_copy(update={"sessions": 200, "items": 60, "users": 30} | change)
    shop = generate(ShopSettings.model_validate(small.model_dump()), seed=0)
    assert shop.events.schema == EVENT_SCHEMA
    assert shop.events["item"].max() is None or shop.events["item"].is_between(0, 59).all()
    if shop.events.height:
        clean(shop.events)
