"""Names of data sets as readers know them, where a figure or a table has the key of the catalog.

Records and frames hold the key, by which settings name a data set. It is replaced on the pages
only, so nothing is drawn or run again.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

from okml.site.labeled import ALTERNATIVE, TEXT

TABLE = '<table class="okml-table">'  # start of the HTML of a Table

NAMES = {
    "ader_diginetica": "DIGINETICA",
    "ader_yoochoose": "YOOCHOOSE",
    "amazon_electronics": "Amazon Electronics",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "complete_journey": "Complete Journey",
    "diginetica": "DIGINETICA",
    "fashion_mnist": "Fashion-MNIST",
    "gowalla": "Gowalla",
    "kuairand_1k": "KuaiRand-1K",
    "kuairand_27k": "KuaiRand-27K",
    "kuairand_pure": "KuaiRand-Pure",
    "ml_100k": "MovieLens-100K",
    "ml_1m": "MovieLens-1M",
    "ml_20m": "MovieLens-20M",
    "ml_25m": "MovieLens-25M",
    "movielens": "MovieLens-100K",
}
# A key counts as a word of its own only, and not within the path of a file.
KEY = re.compile(rf"(?<![\w/])({'|'.join(NAMES)})(?![\w/-]|\.\w)")


def name_data(app: Sphinx, doctree: nodes.document) -> None:
    """Replace the keys in the tables of a page; those in figures are replaced with the files."""
    for raw in list(doctree.findall(nodes.raw)):
        shown = raw.astext()
        if raw["format"] == "html" and shown.startswith(TABLE):
            raw.children = [nodes.Text(named(shown))]


def named(shown: str) -> str:
    """Return the HTML of a table or the SVG of a figure, with names of data sets for their keys."""

    def exchange(found: re.Match[str]) -> str:
        return found["before"] + KEY.sub(lambda key: NAMES[key[0]], found["label"])

    return ALTERNATIVE.sub(exchange, TEXT.sub(exchange, shown))
