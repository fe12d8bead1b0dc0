"""The Russian labels of figures and tables: all there, and applied to labels alone."""

import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import polars as pl
import pytest
import yaml
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from okml.benchmark import AddTrials, BenchmarkRecord
from okml.chapters import CHAPTERS, Chapter
from okml.ledger import load_claims, load_record
from okml.ledger.report import RECORDED
from okml.lightsage import figures as lightsage
from okml.paths import build_dir, repository_root, results_dir
from okml.plotting import ROOM, Picture, diagram, style
from okml.site import labeled, labels
from okml.site.translation import untranslated
from okml.tables import Table
from okml.video_workshop.common import figures as video_workshop

NOTEBOOKS = [path for name in CHAPTERS for path in Chapter(name).notebooks]
STAGED = sorted((build_dir() / "stage" / "notebooks").glob("*.ipynb"))  # with what records show


@pytest.mark.parametrize("path", [*NOTEBOOKS, *STAGED], ids=lambda path: path.stem)
def test_every_label_that_a_notebook_shows_has_a_translation_or_is_a_name(path):
    notebook = nbformat.read(path, as_version=4)
    assert any("okml-figure" in str(cell.get("outputs", "")) for cell in notebook.cells)
    lacking = untranslated(notebook)
    parts = {part for label in lacking for part in labels.BETWEEN.split(label)[::2]}
    unknown = sorted(part for part in parts if labels.russian_label(part) is None)
    assert lacking == set(), f"{labels.LISTED} lacks {unknown}, of {sorted(lacking)}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_value_of_several_words_is_translated(path):
    # Settings as the code has them, tokens, prompts and titles.
    kept = re.compile(r"[({].*|.*\|.*|.*: an? .*|.*'s Signs|.* \(\d{4}\)")
    shown = [
        output.get("data", {}).get("text/html", "")
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    values = {
        labeled._label(found)
        for each in shown
        if labeled.OURS.match(each)
        for found in labeled.TEXT.finditer(each)
        if found["of"] == labeled.VALUE
    }
    long = {value for value in values if len(re.findall("[a-z]{2,}", value)) > 2}
    lacking = {value for value in long if labels.russian_label(value) is None}
    assert [value for value in lacking if not kept.fullmatch(value)] == []


@pytest.mark.parametrize("path", [*NOTEBOOKS, *STAGED], ids=lambda path: path.stem)
def test_every_picture_of_a_russian_page_is_described_in_russian(path, monkeypatch):
    monkeypatch.setattr(labeled, "_with_room", lambda shown: shown)  # measures every text
    notebook = nbformat.read(path, as_version=4)
    shown = [
        labeled.translated(output.get("data", {}).get("text/html", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    alternatives = [
        alt for each in shown for alt in re.findall(r' (?:aria-label|alt)="(.*?)"', each)
    ]
    assert alternatives
    assert [alt for alt in alternatives if not re.search("[А-яё]", alt)] == []
    english = re.compile("(?:[a-z]+ ){4}")  # more than the lower-case words of a title
    assert [alt for alt in alternatives if english.search(alt)] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_tooltips_say_of_the_number_of_a_claim_is_translated(chapter):
    metrics = {claim.metric for claim in load_claims(chapter)} - {None}
    records = [*filter(None, (load_record(chapter, name) for name in RECORDED))]
    if not records:
        pytest.skip("nothing is recorded of the chapter yet")
    said = set()
    for record in records:
        for metric in metrics & record.metrics.keys():
            estimates = [record.metrics[metric], *record.differences.get(metric, {}).values()]
            said |= {text for e in estimates for text in (e.unit, e.over, e.estimator)}
    assert said
    assert {text for text in said if labels.russian_label(text) is None} == set()


def test_what_records_note_is_translated():
    records = [load_record(chapter, name) for chapter in CHAPTERS for name in RECORDED]
    noted = {note for record in filter(None, records) for note in record.notes}
    assert noted
    assert {note for note in noted if labels.russian_label(note) is None} == set()


def width(text):
    found, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(), ismath=False)
    return found


@pytest.mark.parametrize("boxes", [lightsage.BOXES, video_workshop.BOXES])
def test_the_boxes_of_a_diagram_have_room_for_their_russian_text(boxes):
    for _, _, text, _ in boxes.values():
        lines = text.split("\n")
        russian = max(width(labels.russian_label(line)) for line in lines)
        assert russian <= ROOM * max(map(width, lines)) + 0.9 * FontProperties().get_size(), text


def test_the_lines_of_a_centered_text_stay_centered():
    picture = diagram(
        {"a": (0, 0, "shop log\nviews, clicks,", None)}, [], "One box with two lines of text.",
        height=1, xlim=(-1, 1), ylim=(-1, 1),
    )  # fmt: skip
    drawn = labeled.DRAWN.findall(labeled.translated(picture.html))
    assert [text for _, _, text in drawn] == ["лог магазина", "просмотры, клики,"]
    lefts = [float(labeled.PLACE.findall(place)[-1][0]) for _, place, _ in drawn]
    middles = [
        left + labeled._length(style, text) / 2
        for left, (style, _, text) in zip(lefts, drawn, strict=True)
    ]
    assert middles[0] == pytest.approx(middles[1], abs=0.1)


def test_the_lines_of_a_tick_end_at_its_axis_in_russian_too():
    with style():
        figure, axes = plt.subplots(figsize=(4, 1))
        axes.set_yticks([0], ["World\ncharacter n-grams"])
        picture = Picture(figure, "A tick of two lines.")
    ends = {}
    for language, shown in (("en", picture.html), ("ru", labeled.translated(picture.html))):
        drawn = [each for each in labeled.DRAWN.findall(shown) if "translate" in each[1]]
        ends[language] = [
            float(labeled.PLACE.findall(place)[-1][0]) + labeled._length(style, text)
            for style, place, text in drawn
        ]
    assert len(ends["ru"]) == 2
    assert ends["ru"] == pytest.approx([ends["en"][0]] * 2, abs=0.2)


RECORDS = sorted(results_dir().glob("benchmarks/*.json"))
TRIALS_OF_ADD = [path for path in RECORDS if path.stem.startswith("add_trials")]
OTHER_RECORDS = ("survival", "gpu_check", "tie_trial", *(path.stem for path in TRIALS_OF_ADD))
BENCHMARKS = [path for path in RECORDS if path.stem not in OTHER_RECORDS]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_recorded_benchmark_says_is_translated(path):
    record = BenchmarkRecord.read(path)
    said = {record.title, record.what, *(check.what for check in record.checks)}
    said |= {text for each in record.comparisons for text in (each.what, each.unit, each.peer)}
    assert {text for text in said if text and labels.russian_label(text) is None} == set()


@pytest.mark.parametrize("path", TRIALS_OF_ADD, ids=lambda path: path.stem)
def test_what_recorded_trials_changed_is_translated(path):
    titles = {trial.title for trial in AddTrials.read(path).trials}
    assert {title for title in titles if labels.russian_label(title) is None} == set()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_history_of_a_control_is_translated(chapter):
    changes = [change for claim in load_claims(chapter) for change in claim.changes()]
    values = [each for was, after in changes for each in (was.before, after) if each]
    values = [each for each in values if " than " in each]
    assert [value for value in values if " than " in labels.label_in(value, "ru")] == []
    assert [labels.label_in(value, "en") for value in values] == values


def test_a_translation_is_russian_and_keeps_every_number_and_every_place_in_its_order():
    text = (repository_root() / labels.LISTED).read_text("utf-8")
    odd = {
        english: russian
        for english, russian in yaml.load(text, yaml.CSafeLoader)["labels"].items()
        if not re.search("[А-яё]", re.sub(r"\{\w+\}", "", russian))
        or labels.PLACEHOLDER.findall(english) != labels.PLACEHOLDER.findall(russian)
    }
    assert odd == {}


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("query", "запрос"),
        ("layer 12", "слой 12"),
        ("F of the discriminator and c_img", "F дискриминатора и c_img"),
        ("a copy of https://x.org/period_0.txt and 16 more",
         "копия https://x.org/period_0.txt и ещё 16"),
        ("1,939", "1,939"),
        ("strong (1,939 edges)", "сильные (рёбер: 1,939)"),
        ("four, 249", "четыре, 249"),
        ("two → three", "два → три"),
        ("student, 4 steps", "ученик, 4 шагов"),
        ("SASRec, 1 negative", "SASRec, 1 негатив"),
        ("HR@10", "HR@10"),
        ("Star Trek: The Wrath of Khan (1982)", "Star Trek: The Wrath of Khan (1982)"),
        ("When Harry Met Sally... (1989)", "When Harry Met Sally... (1989)"),
        (
            "Related films. Casablanca (1942), features: When Harry Met Sally... (1989).",
            "Похожие фильмы. Casablanca (1942), признаки: When Harry Met Sally... (1989).",
        ),
        ("space_time.map", "space_time.map"),
        ("σ₁", "σ₁"),
        ("|x| < 0.05", "|x| < 0.05"),
        ("in [0.8, 1.25]", "в [0.8, 1.25]"),
        ("a label that nobody has translated", None),
        ("query, a label that nobody has translated", None),
        ("Query", None),
        # A sentence, of parts, of numbers and of places for other labels.
        (
            "HR@10 of each graph (shop (synthetic)): weak 0.293, weak, as few edges -0.345.",
            "HR@10 каждого графа (магазин (синтетический)): слабые 0.293, слабые, рёбер столько же "
            "-0.345.",
        ),
        (
            "The best is causal SASRec with 0.0267 at 0.37 MFLOP; the cheapest, recency 1-1-1, has "
            "0.0192 at 0.11.",
            "Лучшее – каузальный SASRec, 0.0267 при 0.37 MFLOP; самое дешёвое, новизна 1-1-1, "
            "0.0192 при 0.11.",
        ),
        ("R² of 0.2, random 0.1.", None),
        ("LightSAGE 0.661, random 0.002", "LightSAGE 0.661, случайно 0.002"),
        ("The best is nobody's label with 0.02 at 0.3 MFLOP", None),
        ("Oslo, Old Town (Norway): off by 1,074 km", "Oslo, Old Town (Норвегия): ошибка 1,074 км"),
        ("Alien (1979) (Horror, War), 6 days before the newest",
         "Alien (1979) (ужасы, военный), за 6 дн. до последнего"),
        ("Alien (1979) (Horror, Ballet), 6 days before the newest", None),
    ],
)  # fmt: skip
def test_a_label_is_listed_or_made_of_its_parts_or_a_name(english, russian):
    assert labels.russian_label(english) == russian


def test_the_texts_of_a_figure_change_and_nothing_else():
    with style():
        figure = plt.figure()
        axes = figure.add_subplot(title="query", xlabel="items & users")
        axes.semilogy([1, 1000], label="strong")
        axes.legend()
        hover = {axes.scatter([1, 2], [1, 2]): ["strong: 1", 'said "so" & so']}
        drawn = Picture(figure, "HR@10 of each graph: strong 0.5.", hover).html
    assert set(labeled.untranslated_labels(drawn)) == {"items & users", 'said "so" & so'}
    russian = labeled.translated(drawn)
    texts = [
        "".join(element.itertext())
        for element in ElementTree.fromstring(russian).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"запрос", "сильные", "items & users"} <= set(texts)
    root = ElementTree.fromstring(russian)[0]
    assert root.get("aria-label") == "HR@10 каждого графа: сильные 0,5."
    tooltips = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert tooltips == ["сильные: 1", 'said "so" & so']
    rest = [
        labeled.ALTERNATIVE.sub("", labeled.TEXT.sub("", labeled.FRAME.sub("", each)))
        for each in (russian, drawn)
    ]
    assert rest[0] == rest[1]


def test_an_alternative_without_a_translation_is_named():
    with style():
        drawn = Picture(plt.figure(), "Four words say it.").html
    assert list(labeled.untranslated_labels(drawn)) == ["Four words say it."]
    assert 'aria-label="Four words say it."' in labeled.translated(drawn)


def test_the_stops_of_a_slider_change():
    shown = (
        '<div class="okml-steps s1"><fieldset><legend>The same samples, one row at a time</legend>'
        '<label><input type="radio" name="s1row" class="row0" checked>teacher</label></fieldset>'
        '<img class="at0_0" alt="The same samples, one row at a time: teacher, seed 0" src="x">'
        "</div>"
    )
    russian = labeled.translated(shown)
    assert re.findall(r">([^<>]+)<", russian) == ["Те же картинки, по одной строке", "учитель"]
    assert 'alt="Те же картинки, по одной строке: учитель, запуск 0"' in russian
    assert list(labeled.untranslated_labels(shown)) == []


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
    monkeypatch.setattr(labels, "russian_label", lambda label: "слово" * 3)
    monkeypatch.setattr(labeled, "text_length", lambda text, size: 75.0)
    anchor, point, angle = place.split("|")
    x, y = point.split()
    drawn = (
        '<figure class="okml-figure"><svg width="100pt" height="80pt" viewBox="0 0 100 80">'
        f'<text style="font-size: 10px; {anchor}" x="{x}" y="{y}" '
        f'transform="rotate({angle} {point})">word</text></svg></figure>'
    )
    _, _, width, height = frame.split()
    assert f'<svg width="{width}pt" height="{height}pt" viewBox="{frame}">' in (
        labeled.translated(drawn)
    )


def test_heads_captions_and_known_words_of_a_table_change():
    frame = pl.DataFrame({"hr_at": [0.5], "arm": ["strong"], "film": ["A <b> (1990)"],
                          "prompt": ["more than 13,000 islands"],
                          "bar": ["|x| < 0.05"]})  # fmt: skip
    russian = labeled.translated(Table(frame, "The log.")._repr_html_())
    assert re.findall(r">([^<>]+)<", russian) == [
        "Лог.", "hr at", "вариант", "фильм", "промпт", "порог", "0,500", "сильные",
        "A &lt;b&gt; (1990)", "more than 13,000 islands", "|x| &lt; 0,05",
    ]  # fmt: skip
    assert labeled.translated("<p><td>strong</td></p>") == "<p><td>strong</td></p>"


def test_words_that_quote_a_label_quote_its_translation():
    said = "*Features alone* – контроль, *strong* нет, *важно*, **weak** и *never a label*."
    assert labels.with_russian_quotations(said) == (
        "*Только признаки* – контроль, *сильные* нет, *важно*, **weak** и *never a label*."
    )
