import pytest

from okml.add.config import PROFILES
from okml.add.full_scale.settings import TABLE_1
from okml.add.planning import PROCESS_GIB, plan
from okml.plan import CARD_PROCESS_GIB, over_budget
from tests.scales import beyond_scale


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_fits_its_budget(name):
    assert over_budget(plan(PROFILES[name]), PROFILES[name]) == []
    assert beyond_scale(PROFILES[name]) == []


def test_the_rows_of_table_1_are_what_the_gpu_spends_its_hours_on():
    found = plan(PROFILES["gpu"])
    rows = [item for item in found.items if item.what.startswith("Table 1")]
    assert [item.what for item in rows] == [f"Table 1, {name}" for name in TABLE_1]
    released = next(item for item in found.items if item.what.startswith("Table 2"))
    assert sum(item.value for item in (*rows, released)) > 0.8 * found.hours
    assert {"stable_diffusion_2.1_base", "sdxl_base_1.0", "coco_val2017"} <= set(found.data)


def test_the_plan_says_what_to_bring_before_published_models_are_distilled():
    items = {item.what: item for item in plan(PROFILES["gpu"]).items}
    assert "torch-fidelity" in items["packages to install first"].follows_from
    assert "OKML_ACCEPT=sai-nc-community" in items["licenses to accept first"].follows_from
    images = "captioned images to train published models"
    assert items[images].follows_from.startswith("600,000 examples")
    one_family = PROFILES["gpu"].override({"published.rows": ["default", "e.teacher_sdxl"]})
    other = next(item for item in plan(one_family).items if item.what == images)
    assert items[images].value == pytest.approx(2 * other.value)
    for name in ("smoke", "cpu"):
        assert not any(item.what.endswith("first") for item in plan(PROFILES[name]).items)


def test_memory_outside_the_card_is_that_of_the_largest_moment():
    found = plan(PROFILES["gpu"])
    moments = [item.value for item in found.items if ": memory while" in item.what]
    assert len(moments) == 4
    assert found.memory_gib == pytest.approx(CARD_PROCESS_GIB + max(moments))
    assert plan(PROFILES["smoke"]).memory_gib == 3 * PROCESS_GIB


def test_twice_the_steps_take_twice_the_hours_of_training():
    profile = PROFILES["cpu"]
    doubled = profile.override(
        {
            "sets.0.distillation.steps": 2 * profile.main.distillation.steps,
            "sets.0.teacher.steps": 2 * profile.main.teacher.steps,
        }
    )
    before, after = (plan(each).items for each in (profile, doubled))
    what = next(item.what for item in before if item.what.endswith("trainings on digits"))
    hours = [next(i.value for i in items if i.what == what) for items in (before, after)]
    assert hours[1] == pytest.approx(2 * hours[0])
