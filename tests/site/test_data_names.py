"""Names of data sets on the pages: those that readers know, and nothing else changes."""

import json
import re

import matplotlib.pyplot as plt
import polars as pl
import pytest

from okml.chapters import CHAPTERS, Chapter
from okml.data.catalog import catalog
from okml.plotting import Picture, style
from okml.site.data_names import named
from okml.site.labeled import ALTERNATIVE, TEXT
from okml.tables import Table

NOTEBOOKS = [path for name in CHAPTERS for path in Chapter(name).notebooks]


def test_a_figure_names_data_sets_in_its_titles_and_its_alternative():
    with style():
        figure = plt.figure()
        figure.add_subplot(title="ml_1m")
        drawn = Picture(figure, "HR@10 of each arm on ml_1m: 0.5.").svg
    shown = named(drawn)
    assert ">MovieLens-1M</text>" in shown
    assert 'aria-label="HR@10 of each arm on MovieLens-1M: 0.5."' in shown
    assert shown.replace("MovieLens-1M", "ml_1m") == drawn


def test_a_table_names_data_sets_and_keeps_paths_of_their_files():
    rows = {"data": ["items around those of complete_journey", "ml_100k/ml-100k.user", "ml_100kg"]}
    shown = named(Table(pl.DataFrame(rows), "Logs: ml_100k.")._repr_html_())
    assert re.findall("<td>(.*?)</td>", shown) == [
        "items around those of Complete Journey", "ml_100k/ml-100k.user", "ml_100kg",
    ]  # fmt: skip
    assert "<caption>Logs: MovieLens-100K.</caption>" in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_figure_or_table_shows_a_key_of_the_catalog(path):
    keys = [re.escape(name) for name in catalog() if "_" in name]
    key = re.compile(rf"(?<![\w/])({'|'.join(keys)})(?![\w/-]|\.\w)")
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            shown = named("".join(output.get("data", {}).get("text/html", "")))
            for found in (*TEXT.finditer(shown), *ALTERNATIVE.finditer(shown)):
                assert not key.search(found["label"]), found["label"]
