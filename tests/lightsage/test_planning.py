import pytest

from okml.lightsage.arms import all_jobs, shops_of_coverage
from okml.lightsage.config import PROFILES
from okml.lightsage.datasets import synthetic_shop
from okml.lightsage.planning import plan, size_of
from okml.plan import over_budget
from tests.lightsage.tiny import SHOP, tiny
from tests.profiles import changed
from tests.scales import beyond_scale


@pytest.mark.parametrize("name", ["smoke", "cpu", "night", "gpu"])
def test_every_profile_fits_its_budget(name):
    profile = PROFILES[name]
    assert over_budget(plan(profile), profile) == []
    assert beyond_scale(profile) == []


def test_the_size_of_a_synthetic_shop_follows_from_its_settings():
    expected = synthetic_shop(SHOP, 0).train.height
    assert size_of(tiny().data).events == pytest.approx(expected, rel=0.1)


def test_the_scores_of_a_batch_by_hand():
    item = next(i for i in plan(PROFILES["gpu"]).items if i.what == "scores of a batch")
    assert item.value == pytest.approx(4 * 4 * 8192 * (8192 + 2048) / 2**30)


def test_weeks_without_a_limit_are_ranked_whole():
    """DIGINETICA's validations: 20 of 55,000 pairs against 43,105 items, at 31.25e9 a second."""
    profile = PROFILES["gpu"]
    few = changed(profile, real=[
        changed(data, valid_pairs=1) if data.name == "diginetica" else data
        for data in profile.real
    ])  # fmt: skip
    what = "trainings of item2vec on diginetica"
    whole, none = (next(i for i in plan(p).items if i.what == what) for p in (profile, few))
    seconds = 20 * (55_000 - 1) * 43_105 / 31.25e9
    count = int(whole.follows_from.split()[0])
    assert whole.value - none.value == pytest.approx(count * seconds / 3600)


def test_more_seeds_take_more_hours_and_the_same_memory():
    profile = PROFILES["gpu"]
    one, five = plan(changed(profile, seeds=(0,))), plan(profile)
    assert one.hours < five.hours
    assert one.memory_gib == five.memory_gib


def test_rates_that_are_tried_take_trainings_of_the_first_seed():
    profile = changed(PROFILES["night"], rate_factors=(1.0,), index_items=None)
    counts = [
        sum(int(item.follows_from.split()[0]) for item in plan(planned).items
            if item.what.startswith("trainings"))
        for planned in (profile, changed(profile, rate_factors=(0.3, 1.0)))
    ]  # fmt: skip
    assert counts[0] == len(all_jobs(profile))
    assert counts[1] * 3 == counts[0] * 4  # three seeds, and the first once more


def test_data_are_named_as_the_catalog_names_them():
    assert plan(PROFILES["gpu"]).data == ("coveo", "ml_100k", "ader_diginetica")
    assert plan(tiny()).data == ("ml_100k",)  # a shop that is drawn needs none


def test_a_shop_beside_the_main_one_is_ranked_and_has_its_graphs():
    """Two graphs of a shop, each with five seeds: 5,000 pairs and 8,000 items in three passes."""
    profile = PROFILES["cpu"]
    without = changed(profile, scarce_search=None)
    what = ("ranking", "graphs", "features, graphs and vectors")
    more = [
        next(i.value for i in plan(profile).items if i.what == name)
        - next(i.value for i in plan(without).items if i.what == name)
        for name in what
    ]
    assert more[0] == pytest.approx(10 * 3 * 5_000 * 8_000 / 2e8 / 3600)
    assert more[1] == pytest.approx(10 * size_of(profile.scarce_search).events / 150_000 / 3600)
    assert more[2] == pytest.approx(8_000 * (8 * 32 + 41 * 15 * 2 + 4 * 4 * 64) / 2**30)


def test_shops_on_which_coverage_alone_is_measured_have_their_graphs():
    """Two graphs of each of three seeds, of a shop as large as the main one and of three times."""
    profile = PROFILES["cpu"]
    graphs = next(i for i in plan(profile).items if i.what == "graphs")
    events = size_of(profile.data).events
    assert "6 of synthetic, 6 of synthetic" in graphs.follows_from
    longer = shops_of_coverage(profile)["swing_coverage_gain_of_a_longer_log"]
    assert size_of(longer).events > 2.9 * events
    assert shops_of_coverage(PROFILES["night"]) == {}
