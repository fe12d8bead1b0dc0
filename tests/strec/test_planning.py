import pytest

from okml.plan import LOGS, over_budget
from okml.strec.config import PROFILES
from okml.strec.planning import plan, size_of
from tests.profiles import changed
from tests.scales import beyond_scale


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_fits_its_budget(name):
    profile = PROFILES[name]
    assert over_budget(plan(profile), profile) == []
    assert beyond_scale(profile) == []


def test_hours_follow_from_the_arithmetic_of_the_spec():
    # One backbone epoch on MovieLens-20M: 9 million rows, (150.2 + 6.8) MFLOP, three passes.
    made = plan(PROFILES["gpu"])
    item = next(
        item for item in made.items
        if item.what == "ml_20m: faithful, 50-50-50-50-50-50-50-1"
    )  # fmt: skip
    # Three seeds, and the first with each rate of the grid.
    epochs, runs, rows = 160, 2 + len(PROFILES["gpu"].recipes[1].learning_rates), 10_000_000
    by_hand = runs * epochs * rows * 3 * (150.2e6 + 6.85e6) / 60e12 / 3600
    assert item.value == pytest.approx(by_hand, rel=0.01)


def test_a_filter_bounds_rows_and_items_by_hand():
    _, gowalla, amazon = PROFILES["gpu"].datasets
    # The published 5-core of Amazon Electronics; of Gowalla's 1,280,969 places each that is dropped
    # has an event, and each that is kept five: 5 n + (1,280,969 - n) <= 3,981,334.
    assert size_of(amazon).items == 63_001
    assert size_of(amazon).rows == 1_689_188 * 8 // 11
    kept = (3_981_334 - 1_280_969) // 4
    assert size_of(gowalla).items == kept
    assert size_of(gowalla).kept == 3_981_334 - (1_280_969 - kept)
    for data in (gowalla, amazon):
        assert size_of(data).events == size_of(changed(data, k_core=None)).kept
        assert size_of(changed(data, k_core=(4, 4))).items == LOGS[data.log].items
    items = {item.what: item for item in plan(PROFILES["gpu"]).items}
    bounds = ("training rows of gowalla_merged", "checkpoints on disk")
    assert all(items[what].at_most for what in bounds)
    assert not items["training rows of ml_20m"].at_most


def test_more_seeds_take_more_hours_and_the_same_memory():
    profile = PROFILES["gpu"]
    one, three = plan(changed(profile, seeds=(0,))), plan(profile)
    assert one.hours < three.hours
    assert one.gpu_memory_gib == three.gpu_memory_gib


def test_larger_batches_take_more_memory():
    profile = PROFILES["gpu"]
    larger = tuple(changed(recipe, batch=2 * recipe.batch) for recipe in profile.recipes)
    assert plan(changed(profile, recipes=larger)).gpu_memory_gib > plan(profile).gpu_memory_gib


def test_data_are_named_as_the_catalog_names_them():
    assert plan(PROFILES["gpu"]).data == ("ml_20m", "gowalla", "amazon_electronics")


def test_memory_is_that_of_the_largest_encoder():
    # Bytes that autograd kept in a real pass in float32, times the batch of 6000: Reformer 62 GiB,
    # TiSASRec 52, Informer 45. In bfloat16 most tensors take half.
    def activations(**changes):
        items = plan(changed(PROFILES["gpu"], **changes)).items
        [item] = [item for item in items if item.what == "activations of a step"]
        return item

    largest = activations()
    assert "counted of the largest encoder, reformer" in largest.follows_from
    assert 62 / 2 < largest.value / 1.25 < 62 * 0.7
    whole = activations(mixed_precision="no", mixers=("reformer", "informer"))
    assert whole.value / 1.25 == pytest.approx(62, rel=0.05)  # and what dropout keeps
