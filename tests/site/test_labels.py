"""The Russian labels of figures and tables: all there, and applied to labels alone."""

import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import polars as pl
import pytest
import yaml

from okml.chapters import CHAPTERS, Chapter
from okml.paths import build_dir, repository_root
from okml.plotting import Picture, style
from okml.site import labels
from okml.site.translation import untranslated
from okml.tables import Table

NOTEBOOKS = [path for name in CHAPTERS for path in Chapter(name).notebooks]
STAGED = sorted((build_dir() / "stage" / "notebooks").glob("*.ipynb"))  # with what records show
LISTED = yaml.safe_load((repository_root() / labels.LISTED).read_text("utf-8"))["labels"]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *STAGED], ids=lambda path: path.stem)
def test_every_label_that_a_notebook_shows_has_a_translation_or_is_a_name(path):
    notebook = nbformat.read(path, as_version=4)
    assert any("okml-figure" in str(cell.get("outputs", "")) for cell in notebook.cells)
    lacking = untranslated(notebook)
    assert lacking == set(), f"{labels.LISTED} lacks {sorted(lacking)}"


def test_a_translation_is_russian_and_keeps_every_number():
    odd = {
        english: russian
        for english, russian in LISTED.items()
        if not re.search("[А-яё]", russian) or english.count("#") != russian.count("#")
    }
    assert odd == {}


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("query", "запрос"),
        ("layer 12", "слой 12"),
        ("1,939", "1,939"),
        ("strong (1,939 edges)", "сильные (рёбер: 1,939)"),
        ("four, 249", "четыре, 249"),
        ("two → three", "два → три"),
        ("student, 4 steps", "ученик, 4 шагов"),
        ("SASRec, 1 negative", "SASRec, 1 негатив"),
        ("HR@10", "HR@10"),
        ("Star Trek: The Wrath of Khan (1982)", "Star Trek: The Wrath of Khan (1982)"),
        ("space_time.map", "space_time.map"),
        ("σ₁", "σ₁"),
        ("a label that nobody has translated", None),
        ("query, a label that nobody has translated", None),
        ("Query", None),
    ],
)
def test_a_label_is_listed_or_made_of_its_parts_or_a_name(english, russian):
    assert labels.in_russian(english) == russian


def test_the_texts_of_a_figure_change_and_nothing_else():
    with style():
        figure = plt.figure()
        axes = figure.add_subplot(title="query", xlabel="items & users")
        axes.semilogy([1, 1000], label="strong")
        axes.legend()
        drawn = Picture(figure, "Four words say it.").html
    assert set(labels.missing(drawn)) == {"items & users"}
    russian = labels.translated(drawn)
    texts = [
        "".join(element.itertext())
        for element in ElementTree.fromstring(russian).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"запрос", "сильные", "items & users"} <= set(texts)
    rest = [labels.TEXT.sub("", labels.FRAME.sub("", each)) for each in (russian, drawn)]
    assert rest[0] == rest[1]


@pytest.mark.parametrize(
    ("place", "frame"),
    [
        ("text-anchor: end|10 50|-0", "-65 0 165 80"),
        ("text-anchor: start|90 50|-0", "0 0 165 80"),
        ("text-anchor: middle|50 50|-0", "0 0 100 80"),
        ("text-anchor: middle|10 40|-90", "0 0 100 80"),
        ("text-anchor: start|10 10|-90", "0 -65 100 145"),
        ("text-anchor: end|10 50|-90", "0 0 100 125"),
    ],
)
def test_a_figure_is_widened_to_the_texts_that_got_longer(place, frame, monkeypatch):
    monkeypatch.setattr(labels, "in_russian", lambda label: "слово" * 3)
    monkeypatch.setattr(
        labels.text_to_path, "get_text_width_height_descent", lambda *_, **__: (75.0, 10.0, 2.0)
    )
    anchor, point, angle = place.split("|")
    x, y = point.split()
    drawn = (
        '<figure class="okml-figure"><svg width="100pt" height="80pt" viewBox="0 0 100 80">'
        f'<text style="font-size: 10px; {anchor}" x="{x}" y="{y}" '
        f'transform="rotate({angle} {point})">word</text></svg></figure>'
    )
    _, _, width, height = frame.split()
    assert f'<svg width="{width}pt" height="{height}pt" viewBox="{frame}">' in (
        labels.translated(drawn)
    )


def test_heads_captions_and_known_words_of_a_table_change():
    frame = pl.DataFrame({"hr_at": [0.5], "arm": ["strong"], "film": ["A <b> (1990)"]})
    russian = labels.translated(Table(frame, "The log.")._repr_html_())
    assert re.findall(r">([^<>]+)<", russian) == [
        "Лог.", "hr at", "вариант", "фильм", "0.500", "сильные", "A &lt;b&gt; (1990)",
    ]  # fmt: skip
    assert labels.translated("<p><td>strong</td></p>") == "<p><td>strong</td></p>"


def test_words_that_quote_a_label_quote_its_translation():
    said = "*Features alone* – контроль, *strong* нет, *важно*, **weak** и *never a label*."
    assert labels.quoted(said) == (
        "*Только признаки* – контроль, *сильные* нет, *важно*, **weak** и *never a label*."
    )
