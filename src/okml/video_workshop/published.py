"""Published tables shown beside the results, each with its source and comparability."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import polars as pl
import yaml
from pydantic import ValidationError, model_validator

from okml.errors import ParameterError, RecordError
from okml.settings import Frozen
from okml.tables import Table

Comparability = Literal[
    "same data and protocol", "same data, other protocol", "other data: direction only"
]
SAME: Comparability = "same data and protocol"
OTHER: Comparability = "other data: direction only"
Cell = str | int | float | None


class Published(Frozen):
    """One table of a paper; an empty cell is unknown.

    Its comparability holds for a run on the same data; for other data only the direction compares.
    """

    id: str
    theme: Literal["items", "users", "goals", "stream"]
    title: str
    source: str
    comparability: Comparability
    log: str | None = None  # the data, in okml.data.logs, where it has the same protocol
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Published:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.id} has {len(row)} cells: {row}")
        if (self.log is None) == (self.comparability == SAME):
            raise ValueError(f"{self.id} names a log, or is not of the same data and protocol")
        return self

    def frame(self) -> pl.DataFrame:
        """Return the rows."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return pl.DataFrame(rows, strict=False, infer_schema_length=None)

    def caption(self, log: str | None = None) -> str:
        """Return the title, the source and the comparability with a run on ``log``."""
        allowed = OTHER if self.log not in (None, log) else self.comparability
        return f"Published: {self.title}. {self.source}; {allowed}."


@cache
def all_published() -> dict[str, Published]:
    """Return the tables by their ids.

    Raises:
        RecordError: If the file of tables does not follow its schema.
    """
    text = (resources.files("okml.video_workshop") / "published.yml").read_text("utf-8")
    try:
        tables = [Published.model_validate(table) for table in yaml.safe_load(text)]
    except ValidationError as error:
        raise RecordError("published.yml is not valid.", str(error)) from error
    return {table.id: table for table in tables}


def published(name: str, digits: int = 4, log: str | None = None) -> Table:
    """Return a published table for the notebook.

    Args:
        name: Identifier of the table.
        digits: Number of decimals of numbers below ten; columns of larger ones have fewer.
        log: Name of the log of the run that it is shown beside.

    Raises:
        ParameterError: If there is no such table; the message lists the ids.
    """
    tables = all_published()
    if name not in tables:
        raise ParameterError(
            f"There is no published table {name!r}.", f"Known: {', '.join(tables)}."
        )
    found = tables[name]
    return Table(found.frame(), found.caption(log), digits)
