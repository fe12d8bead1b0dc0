import pytest

from okml.site.language import counted, place_in_paper


@pytest.mark.parametrize(
    ("n", "english", "russian"),
    [
        (1, "1 core", "1 ядро"),
        (2, "2 cores", "2 ядра"),
        (5, "5 cores", "5 ядер"),
        (11, "11 cores", "11 ядер"),
        (21, "21 cores", "21 ядро"),
        (112, "112 cores", "112 ядер"),
        (124, "124 cores", "124 ядра"),
    ],
)
def test_nouns_agree_with_their_number(n, english, russian):
    assert counted(n, "cores", "en") == english
    assert counted(n, "cores", "ru") == russian


@pytest.mark.parametrize(
    ("source", "russian"),
    [
        ("Figure 2, Table 1d", "рисунок 2, таблица 1d"),
        ("Figures 11-12", "рисунки 11-12"),
        ("abstract", "аннотация"),
        ("Chen et al. (2019)", "Chen et al. (2019)"),
    ],
)
def test_places_in_a_paper_are_told_in_the_language_of_the_page(source, russian):
    assert place_in_paper(source, "en") == source
    assert place_in_paper(source, "ru") == russian
