from pathlib import Path
from types import SimpleNamespace

import pytest
import sphinx_book_theme
from jinja2 import Template

from okml import site
from okml.paths import repository_root
from okml.site import extension
from okml.site.language import counted, place_in_paper, theme_word


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


def test_a_claim_of_our_own_says_so():
    assert place_in_paper("okml", "en") == "added by us"
    assert place_in_paper("okml", "ru") == "добавлено нами"


def test_hints_of_links_to_headings_are_in_the_language_of_the_page(built):
    for page, hint in (
        ("digests", "Link to this heading"),
        ("ru/digests", "Ссылка на этот раздел"),
    ):
        links = built.page(f"book/{page}/space_time").select("a.headerlink")
        assert {link["title"] for link in links} == {hint}


def test_titles_of_pages_that_both_languages_share_have_a_russian_form():
    for name in ("glossary", "bibliography"):
        text = (repository_root() / f"book/{name}.md").read_text("utf-8")
        title = text.partition("# ")[2].partition("\n")[0]
        assert theme_word(title, "ru") != title


def test_templates_of_ours_come_before_those_of_the_theme():
    config = SimpleNamespace(
        html_static_path=[], templates_path=["of the theme"], html_theme_options={}
    )
    extension._configure(None, config)
    assert config.templates_path == [str(extension.TEMPLATES), "of the theme"]


def test_a_template_of_ours_takes_the_place_of_one_of_the_theme():
    theme = Path(sphinx_book_theme.__file__).parent / "theme/sphinx_book_theme/components"
    for name in ("toggle-primary-sidebar.html", "toggle-secondary-sidebar.html"):
        title = (theme / name).read_text("utf-8").partition('title="')[2].partition('"')[0]
        assert f"""title="{{{{ _('{title}') }}}}\"""" in (
            Path(site.__file__).parent / "templates" / name
        ).read_text("utf-8")
        assert theme_word(title, "ru") != title


@pytest.mark.parametrize("removed", [True, False])
def test_a_page_without_a_side_bar_of_its_own_has_no_button_for_one(removed):
    source = (extension.TEMPLATES / "toggle-secondary-sidebar.html").read_text("utf-8")
    shown = Template(source).render(
        generate_toc_html=lambda: "<ul></ul>",
        meta={"html_theme.sidebar_secondary.remove": "true"} if removed else None,
        _=str,
    )
    assert ("<button" in shown) == (not removed)
