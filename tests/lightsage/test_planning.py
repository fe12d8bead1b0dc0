import pytest

from okml.lightsage.arms import all_jobs
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
