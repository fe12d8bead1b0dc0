import pytest

from okml.offline_rl.config import PROFILES
from okml.offline_rl.planning import plan
from okml.plan import over_budget
from tests.profiles import changed
from tests.scales import beyond_scale


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_profile_fits_its_budget(name):
    profile = PROFILES[name]
    assert over_budget(plan(profile), profile) == []
    assert beyond_scale(profile) == []


def test_hours_of_stage_1_follow_from_parameters():
    # Six operations a parameter and token: 42.5 million in the blocks and 45.4 in the catalog,
    # and attention over a window of 100.
    made = plan(PROFILES["gpu"])
    item = next(item for item in made.items if item.what == "ml_25m: stage 1 alone")
    blocks, catalog = 6 * 12 * 768**2, 59_047 * 769
    attention = 6 * 2 * 768 * 100  # of six layers: two products, half of the pairs
    # Three seeds at each of two rates and at most a third, and with the other order of ties at the
    # best of them.
    trainings, epochs, tokens = 3 * 3 + 3, 30, 25_000_095
    flops = 3 * (2 * (blocks + catalog) + attention)
    by_hand = trainings * epochs * tokens * flops / 200e12 / 3600
    assert item.value == pytest.approx(by_hand, rel=0.01)


def test_a_step_takes_as_long_as_its_loop():
    """Stage 1 of the simulator's log: 6,400 rows in batches of 64, of hardly any arithmetic."""
    item = next(i for i in plan(PROFILES["gpu"]).items if i.what == "funnel: stage 1 alone")
    trainings, epochs = item.follows_from.split(" · ")[:2]
    steps = int(trainings.split()[0]) * int(epochs.split()[0]) * 100
    assert item.value == pytest.approx(steps * 0.02 / 3600)


def test_every_training_and_every_fit_is_counted():
    """By hand for cpu: an arm has two learning rates and at most a third, each with three seeds.

    Such arms are 10 on MovieLens and 7 on the simulator's log; on MovieLens also a shorter stage 1,
    and CRR and its control after that. Three trainings have a rate that another arm's search sets:
    two arms with dealt weights, and stage 1 with the other order of ties. On the simulator's log
    three arms are trained at two more rates.
    Critics are fitted to the actor of each log, and on that of the simulator for another γ, too, as
    arms are trained: at three rates with three seeds. After the shorter stage 1 they have the rate
    of the others.
    """
    counted = {"trainings": 0, "fits": 0}
    for item in plan(PROFILES["cpu"]).items:
        count, what = item.follows_from.split()[:2]
        if what in counted:
            counted[what] += int(count)
    searched, at_rate_of_another, at_further_rates = 10 + 7 + 3, 3, 3 * 2
    trainings = 3 * (3 * searched + at_rate_of_another + at_further_rates)
    assert counted == {"trainings": trainings, "fits": 3 * 3 * 3 + 3}


def test_more_seeds_take_more_hours_and_the_same_memory():
    profile = PROFILES["gpu"]
    one, three = plan(changed(profile, seeds=(0,))), plan(profile)
    assert one.hours < three.hours
    assert one.gpu_memory_gib == three.gpu_memory_gib


def test_no_matrix_of_positions_and_items_is_planned():
    """Such a matrix alone would be larger than all that is held."""
    profile = PROFILES["gpu"]
    positions = profile.main.stage2.batch * profile.main.length
    assert plan(profile).gpu_memory_gib < 6 * positions * 59_047 * 4 / 2**30


def test_data_are_named_as_the_catalog_names_them():
    assert plan(PROFILES["gpu"]).data == ("ml_25m", "yoochoose")
