import importlib

import pytest

from okml.chapters import CHAPTERS, Chapter, chapter, written_chapters
from okml.errors import ParameterError
from okml.profile import PROFILE_NAMES


def test_every_chapter_of_the_book_runs():
    assert [found.name for found in written_chapters()] == list(CHAPTERS)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_states_its_scales_in_order(name):
    stated = chapter(name).profiles()
    assert [profile.name for profile in stated.values()] == list(stated)
    assert [scale for scale in PROFILE_NAMES if scale in stated] == list(stated)
    assert {"smoke", "cpu", "gpu"} <= set(stated)


def test_a_scale_that_a_chapter_does_not_state_is_named(monkeypatch):
    config = importlib.import_module("okml.strec.config")
    stated = {name: profile for name, profile in config.PROFILES.items() if name != "night"}
    monkeypatch.setattr(config, "PROFILES", stated)
    with pytest.raises(ParameterError, match="strec states no profile 'night'") as caught:
        chapter("strec").profile("night")
    assert "smoke, cpu, gpu" in caught.value.hint
    with pytest.raises(ParameterError, match="Unknown profile 'nite'"):
        chapter("strec").profile("nite")


def test_a_chapter_that_lists_claims_and_cannot_run_yet_names_those_that_can():
    claims_alone = Chapter("ledger")  # a package of okml without an experiment
    with pytest.raises(ParameterError, match="'ledger' has no experiment yet") as caught:
        claims_alone.profile("smoke")
    assert all(name in caught.value.hint for name in CHAPTERS)
