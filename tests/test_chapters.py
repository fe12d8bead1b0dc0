import importlib

import pytest

from okml.chapters import CHAPTERS, chapter
from okml.errors import ParameterError
from okml.profile import PROFILE_NAMES


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
