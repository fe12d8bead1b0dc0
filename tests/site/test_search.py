"""Search stems Russian as Russian and English as English."""

import pytest
from sphinx.search.en import SearchEnglish

from okml.site.search import SearchBoth

SEARCH = SearchBoth({})


@pytest.mark.parametrize(
    "forms",
    [
        ("рекомендация", "рекомендации", "рекомендаций", "рекомендациями"),
        ("зонд", "зонда", "зонды"),
        ("учёт", "учет"),
        ("СЛОЙ", "слой"),
    ],
)
def test_forms_of_a_russian_word_share_a_stem(forms):
    assert len({SEARCH.stem(form) for form in forms}) == 1


@pytest.mark.parametrize("word", ["recommendations", "probing", "layers", "claims"])
def test_english_words_get_the_english_stem(word):
    assert SEARCH.stem(word) == SearchEnglish({}).stem(word)
    assert SEARCH.stem(word) != word


def test_stop_words_of_both_languages_are_left_out():
    assert {"the", "and", "на", "что"} <= SEARCH.stopwords
