import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from okml.chapters import chapter
from okml.errors import ParameterError
from okml.profile import Budget
from okml.seqrec.losses.settings import GeneralizedBinarySettings


def test_override_parses_text_as_the_command_line_gives_it(profile):
    changed = profile.override({"width": "16", "layers": "[3, 4]", "budget.minutes": "2.5"})
    assert (changed.width, changed.layers, changed.budget.minutes) == (16, (3, 4), 2.5)
    assert profile.width == 8  # the original is frozen


def test_override_reaches_into_a_list(profile):
    assert profile.override({"layers.1": "7"}).layers == (1, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": "16"}, "no field 'widht'. Did you mean 'width'"),
        ({"budget.hours": "1"}, "budget has no field 'hours'"),
        ({"width": "wide"}, "width: Input should be a valid integer"),
        ({"layers": "[1,"}, "not valid JSON"),
        ({"width.depth": "1"}, "has no fields of its own"),
        ({"seeds": "[]"}, "seeds"),
        ({"memory": "7"}, "no field 'memory'. Did you mean 'budget.memory_gib'"),
        ({"hours": "7"}, "no field 'hours'.\n"),
        ({"budget": '{"hours": 1}'}, "budget has no field 'hours'"),
        ({"budget.minutes": "inf"}, "budget.minutes: Input should be a finite number"),
    ],
)
def test_bad_overrides_say_what_is_wrong(profile, changes, message):
    with pytest.raises(ParameterError) as caught:
        profile.override(changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["seeds", "budget"])
def test_a_list_or_an_object_that_is_none_is_answered_with_how_to_write_it(profile, name):
    with pytest.raises(ParameterError) as caught:
        profile.override({name: "1"})
    written = re.search(r"-p '(\w+)=(.*)'", caught.value.message)
    assert profile.override({written[1]: written[2]}) == profile  # what it says can be copied


def test_a_name_further_inside_is_found_in_lists_too():
    profile = chapter("space_time").profile("gpu")
    for name in ("quantization", "quantisation"):
        with pytest.raises(ParameterError, match=r"Did you mean 'models\.0\.quantization'"):
            profile.override({name: "int8"})
    with pytest.raises(ParameterError) as caught:
        profile.override({"models": "llama2_7b"})
    (first, *_) = profile.models
    written = re.search(r"-p 'models=(.*)'", caught.value.message)
    assert profile.override({"models": written[1]}).models == (first,)


def test_an_object_changes_what_it_names_and_keeps_the_rest():
    profile = chapter("video_workshop").profile("smoke")
    changed = profile.override({"users": '{"downstream": {"steps": 7}}'})
    assert changed.users.downstream.steps == 7
    assert changed == profile.override({"users.downstream.steps": "7"})
    assert changed.override({"users.downstream.steps": profile.users.downstream.steps}) == profile


def test_an_object_of_another_kind_takes_the_place_of_what_was_there():
    profile = chapter("strec").profile("smoke")
    assert profile.recipe.loss.kind == "chunked_softmax"
    changed = profile.override({"recipes.0.loss": '{"kind": "gbce", "t": 0.5}'})
    assert changed.recipe.loss == GeneralizedBinarySettings(t=0.5)
    assert changed.recipe.batch == profile.recipe.batch


def test_a_dictionary_is_replaced_whole_so_that_its_entries_can_go():
    profile = chapter("lightsage").profile("gpu")
    assert len(profile.losses) > 1
    assert list(profile.override({"losses": '{"one": {"name": "bpr"}}'}).losses) == ["one"]


def test_changes_are_checked_together():
    profile = chapter("strec").profile("smoke")
    sizes = {"network.width": "24", "network.heads": "3", "causal.heads": "3"}
    assert profile.override(sizes).network.heads == 3


def test_each_wrong_field_has_a_line(profile):
    with pytest.raises(ParameterError) as caught:
        profile.override({"budget": {"minutes": "NaN", "disk_gib": "-1"}, "seeds": [0, 0]})
    assert [line.partition(":")[0] for line in caught.value.message.splitlines()] == [
        "budget.minutes", "budget.disk_gib", "seeds",
    ]  # fmt: skip


def test_unknown_field_lists_the_known_ones(profile):
    with pytest.raises(ParameterError) as caught:
        profile.override({"zzz": 1})
    for name in type(profile).model_fields:
        assert name in caught.value.hint


def test_profiles_are_frozen(profile):
    with pytest.raises(ValidationError):
        profile.width = 3


def test_fingerprint_is_the_hash_of_canonical_json(profile):
    text = json.dumps(profile.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert profile.fingerprint() == hashlib.sha256(text.encode()).hexdigest()


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_equal_settings_have_equal_fingerprints_and_only_those(first, second):
    from tests.conftest import TinyProfile

    made = [
        TinyProfile(
            name="cpu", budget=Budget(minutes=1, memory_gib=1, disk_gib=1), seeds=(0,), width=width
        ).fingerprint()
        for width in (first, second)
    ]
    assert (made[0] == made[1]) == (first == second)
