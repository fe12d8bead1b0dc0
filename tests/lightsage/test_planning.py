import pytest

from okml.lightsage.config import PROFILES
from okml.lightsage.datasets import synthetic_shop
from okml.lightsage.planning import plan, size_of
from okml.plan import fits_budget
from tests.lightsage.tiny import SHOP, changed, tiny
from tests.scales import modest


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_every_profile_fits_its_budget(name):
    profile = PROFILES[name]
    assert fits_budget(plan(profile), profile)
    assert modest(profile)


def test_the_size_of_a_synthetic_shop_follows_from_its_settings():
    expected = synthetic_shop(SHOP, 0).train.height
    assert size_of(tiny().data).events == pytest.approx(expected, rel=0.1)


def test_the_scores_of_a_batch_by_hand():
    item = next(i for i in plan(PROFILES["gpu"]).items if i.what == "scores of a batch")
    assert item.value == pytest.approx(4 * 4 * 8192 * (8192 + 2048) / 2**30)


def test_more_seeds_take_more_hours_and_the_same_memory():
    profile = PROFILES["gpu"]
    one, five = plan(changed(profile, seeds=(0,))), plan(profile)
    assert one.hours < five.hours
    assert one.memory_gib == five.memory_gib


def test_features_on_disk_are_counted_only_where_they_are_kept():
    profile = PROFILES["gpu"]
    assert plan(changed(profile, out_of_core=True)).disk_gib > plan(profile).disk_gib


def test_data_are_named_as_the_catalog_names_them():
    assert plan(PROFILES["gpu"]).data == ("coveo", "ml_100k", "ader_diginetica")
    assert plan(tiny()).data == ("ml_100k",)  # a shop that is drawn needs none
