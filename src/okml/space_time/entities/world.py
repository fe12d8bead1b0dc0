"""World places: the released set, and how it is built from DBpedia and Wikipedia's page views."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.filters import last_part, most_specific, with_page_views
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import uniform_split
from okml.space_time.entities.tables import read_csv
from okml.space_time.names import region_first

ROWS = 39_585  # of the released file; Table 1
MAX_POPULATION = 10**9  # a place said to have more is an error of the source

COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "entity_subtype": pl.String,
    "country": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "page_views": pl.Float64,
    "entity_type": pl.String,
    "population": pl.Float64,
    "is_test": pl.Boolean,
}

# One page of one class. Fill in `place_class` (below), and `offset` in steps of 5,000 until a
# page comes back empty. Send it to https://dbpedia.org/sparql, which returns CSV with the columns
# that `build_world_places` reads.
DBPEDIA_CLASSES = {
    "structure": "ArchitecturalStructure",
    "populated_place": "PopulatedPlace",
    "natural_place": "NaturalPlace",
}
DBPEDIA_QUERY = """
PREFIX dbo: <http://dbpedia.org/ontology/>
PREFIX foaf: <http://xmlns.com/foaf/0.1/>
PREFIX geo: <http://www.w3.org/2003/01/geo/wgs84_pos#>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
SELECT ?name ?type ?country ?latitude ?longitude ?wikipedia
       (BOUND(?thumbnail) AS ?has_thumbnail) ?total_area ?population
WHERE {{
  ?place a dbo:{place_class}, ?type ; rdfs:label ?name ; dbo:country ?country ;
         geo:lat ?latitude ; geo:long ?longitude ; foaf:isPrimaryTopicOf ?wikipedia .
  FILTER (LANG(?name) = "en")
  FILTER (STRSTARTS(STR(?type), STR(dbo:)))
  OPTIONAL {{ ?place dbo:thumbnail ?thumbnail }}
  OPTIONAL {{ ?place dbo:areaTotal ?total_area }}
  OPTIONAL {{ ?place dbo:populationTotal ?population }}
}}
ORDER BY ?place ?type LIMIT 5000 OFFSET {offset}
"""


def load_world_place(path: Path | None = None, rows: int | None = ROWS) -> EntitySet:
    """Load the paper's World set.

    Args:
        path: A CSV of the released form; by default the released file itself.
        rows: How many rows it must have; None for a set of your own.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("world_place"), COLUMNS, rows)
    rewritten = pl.col("name").map_elements(region_first, return_dtype=pl.String)
    return EntitySet(
        name="world_place",
        kind="space",
        frame=frame.with_columns(entity=rewritten),
        targets=SPACE_TARGETS,
        region="country",
        entity_type="entity_type",
        split_group=None,
        source=RELEASE if path is None else path.name,
        unit="degrees",
    )


def build_world_places(
    places: dict[str, pl.DataFrame], views: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Build a table of the released form from query results (Table 1 and the authors' code).

    Names are made unique within each class, pages must be read enough, and populated places
    need a credible population.

    Args:
        places: Results of ``DBPEDIA_QUERY`` by entity type, a key of ``DBPEDIA_CLASSES``.
        views: Columns ``page`` and ``page_views``, as ``total_page_views`` returns them.
        seed: Of the random fifth that is held out.
    """
    parts = [_one_class(frame, views, entity_type) for entity_type, frame in places.items()]
    table = pl.concat(parts, how="diagonal_relaxed")
    return table.with_columns(is_test=pl.Series(uniform_split(table.height, seed)))


def _one_class(frame: pl.DataFrame, views: pl.DataFrame, entity_type: str) -> pl.DataFrame:
    kept = with_page_views(most_specific(frame), views).drop("page")
    if entity_type == "populated_place":
        # An unknown population drops the place too, as in the authors' code.
        kept = kept.filter(pl.col("population") < MAX_POPULATION)
    return kept.select(
        pl.exclude("type", "country"),
        country=last_part("country"),
        entity_subtype=last_part("type"),
        entity_type=pl.lit(entity_type),
    )
