import pytest

from okml.chapters import CHAPTERS, Chapter, chapter, written_chapters
from okml.errors import ParameterError
from okml.profile import PROFILE_NAMES


def test_every_chapter_of_the_book_runs():
    assert [found.name for found in written_chapters()] == list(CHAPTERS)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_its_three_scales(name):
    assert [chapter(name).profile(scale).name for scale in PROFILE_NAMES] == list(PROFILE_NAMES)


def test_a_chapter_that_lists_claims_and_cannot_run_yet_names_those_that_can():
    claims_alone = Chapter("ledger")  # a package of okml without an experiment
    with pytest.raises(ParameterError, match="'ledger' has no experiment yet") as caught:
        claims_alone.profile("smoke")
    assert all(name in caught.value.hint for name in CHAPTERS)
