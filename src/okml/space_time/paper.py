"""Numbers of the paper and constants of its code: Tables 2 to 4, their blocks and prompts.

The blocks and entity types are those of the authors' code, by the labels of the released files;
a century is named by its first year.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SETS = ("world_place", "us_place", "nyc_place", "historical_figure", "art", "headline")
Cells = tuple[float, float, float, float, float, float]  # one for each set

# Test R² at 60 % of the depth, by model and probe.
TABLE_2: Mapping[str, Mapping[str, Cells]] = {
    "llama2_7b": {
        "linear": (0.881, 0.799, 0.219, 0.785, 0.788, 0.564),
        "MLP": (0.897, 0.819, 0.204, 0.775, 0.746, 0.467),
    },
    "llama2_13b": {
        "linear": (0.896, 0.825, 0.237, 0.804, 0.806, 0.645),
        "MLP": (0.916, 0.824, 0.230, 0.818, 0.808, 0.656),
    },
    "llama2_70b": {
        "linear": (0.911, 0.864, 0.359, 0.835, 0.885, 0.746),
        "MLP": (0.926, 0.869, 0.312, 0.839, 0.884, 0.739),
    },
}
# Mean proximity error over blocks. The code that made the columns of places took longitude for
# latitude and latitude for longitude.
TABLE_3: Mapping[str, Mapping[str, Cells]] = {
    "llama2_7b": {
        "nominal": (0.071, 0.144, 0.331, 0.129, 0.147, 0.258),
        "heldout": (0.170, 0.192, 0.473, 0.133, 0.158, 0.264),
    },
    "llama2_13b": {
        "nominal": (0.068, 0.144, 0.319, 0.121, 0.141, 0.223),
        "heldout": (0.156, 0.189, 0.470, 0.126, 0.152, 0.235),
    },
    "llama2_70b": {
        "nominal": (0.071, 0.121, 0.262, 0.115, 0.105, 0.182),
        "heldout": (0.164, 0.188, 0.433, 0.119, 0.122, 0.200),
    },
}
# Mean proximity error over entity types.
TABLE_4: Mapping[str, Mapping[str, Cells]] = {
    "llama2_7b": {
        "nominal": (0.120, 0.206, 0.313, 0.164, 0.224, 0.199),
        "heldout": (0.151, 0.262, 0.367, 0.168, 0.305, 0.289),
    },
    "llama2_13b": {
        "nominal": (0.117, 0.197, 0.310, 0.153, 0.207, 0.171),
        "heldout": (0.147, 0.259, 0.377, 0.159, 0.283, 0.266),
    },
    "llama2_70b": {
        "nominal": (0.113, 0.173, 0.266, 0.149, 0.159, 0.144),
        "heldout": (0.147, 0.203, 0.322, 0.149, 0.271, 0.219),
    },
}
TABLES = {"Table 2": TABLE_2, "Table 3": TABLE_3, "Table 4": TABLE_4}

STATES = (
    "AL AR AZ CA CO CT DC DE FL GA IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM "
    "NV NY OH OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY"
)
COUNTRIES = (
    "United_States United_Kingdom India Australia Italy Canada South_Africa Syria Japan Poland "
    "China Philippines Brazil Mexico Sweden Indonesia Switzerland Pakistan Argentina Netherlands"
)
# Regions and periods of Table 3.
BLOCKS: Mapping[str, tuple[Any, ...]] = {
    "world_place": tuple(COUNTRIES.split()),
    "us_place": tuple(STATES.split()),
    "nyc_place": ("Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island"),
    "historical_figure": tuple(range(0, 2000, 100)),
    "art": tuple(range(1950, 2020, 10)),
    "headline": tuple(range(2010, 2021)),
}
# Entity types of Table 4. None: all types of the set. Populated places, songs and foreign news are
# the majority of their sets and never held out.
TYPES: Mapping[str, tuple[str, ...] | None] = {
    "world_place": ("structure", "natural_place"),
    "us_place": ("city", "zip", "county", "college", "structure", "natural_place"),
    "nyc_place": None,
    "historical_figure": (
        "artist", "politician", "researcher", "religious figure", "military personnel",
        "aristocrat", "monarch", "teacher", "athlete", "sovereign", "ruler", "architect",
        "feudatory", "physician", "nun", "monk", "condottiero", "engineer", "philosopher",
        "explorer",
    ),
    "art": ("movie", "book"),
    "headline": ("National", "Washington", "Obits", "Politics"),
}  # fmt: skip


def printed(table: str, model: str, name: str, row: str) -> float | None:
    """Return a number of Tables 2 to 4; None where the paper has none.

    Args:
        table: ``Table 2``, ``Table 3`` or ``Table 4``.
        model: The catalog's name of the model.
        name: The name of the entity set.
        row: ``linear`` or ``MLP`` (Table 2), ``nominal`` or ``heldout`` (Tables 3 and 4).
    """
    rows = TABLES[table].get(model)
    return rows[row][SETS.index(name)] if rows is not None and name in SETS else None
