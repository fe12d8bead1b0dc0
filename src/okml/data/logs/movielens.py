"""MovieLens: users' ratings of films, with times to the second (UTC).

The four fields come in four formats: the first releases' ``u.data`` (tabs) and ``ratings.dat``
(``::``), the later ones' ``ratings.csv`` (a header), and RecBole's atomic ``.inter`` (tabs and a
typed header). RecBole's 1M names films by title instead of number.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.movielens_titles import read_titles
from okml.data.logs.origin import origin_of
from okml.data.logs.schema import EventLog, TimeSpan
from okml.errors import ParameterError

U_DATA = Layout(
    separator="\t",
    fields=("user", "item", "value", "time"),
    kind="rating",
    span=TimeSpan.of_days("1995-01-01", "2019-12-31"),
    values=(0.5, 5),
)
RATINGS_DAT = replace(U_DATA, separator="::")
RATINGS_CSV = replace(U_DATA, separator=",", header="userId,movieId,rating,timestamp")
ATOMIC = replace(
    U_DATA,
    header="user_id:token\titem_id:token\trating:float\ttimestamp:float",
    numbered=False,  # 1m_1, Toy Story (1995)
)


def read_ratings(path: Path, *, member: str = "", repair: str = "") -> pl.DataFrame:
    """Return the ratings of a file in the format that its name implies.

    Args:
        path: ``u.data``, ``ratings.dat``, ``ratings.csv``, an ``.inter`` file, or a zip archive.
        member: The file inside the archive.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        ParameterError: If the name is none of these.
        DataError: If a line is not of that form.
    """
    file = TextFile.open(path, member=member, repair=repair)
    return read_events(file, _layout(Path(member or path)))


def _layout(path: Path) -> Layout:
    layouts = {"u.data": U_DATA, "ratings.dat": RATINGS_DAT, "ratings.csv": RATINGS_CSV}
    layout = ATOMIC if path.suffix == ".inter" else layouts.get(path.name)
    if layout is None:
        raise ParameterError(
            f"{path.name} is no file of MovieLens ratings.",
            f"Known: {', '.join(layouts)}, *.inter.",
        )
    return layout


def load_packaged(name: str) -> EventLog:
    """Return ``ml_100k`` or ``ml_1m``, from RecBole's atomic files."""
    stem = name.replace("_", "-")
    origin = origin_of(name, [f"{stem}.inter", f"{stem}.item"])
    return EventLog(
        name=name,
        frame=read_ratings(origin.paths[f"{stem}.inter"], repair=origin.repair),
        time_resolution_seconds=1,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
        titles=read_titles(origin.paths[f"{stem}.item"], repair=origin.repair),
    )


def load_archive(name: str) -> EventLog:
    """Return ``ml_20m`` or ``ml_25m``, read out of the archive that GroupLens publishes."""
    stem = name.replace("_", "-")
    origin = origin_of(name)
    archive = origin.paths[f"{stem}.zip"]
    repair = origin.repair
    return EventLog(
        name=name,
        frame=read_ratings(archive, member=f"{stem}/ratings.csv", repair=repair),
        time_resolution_seconds=1,
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
        titles=read_titles(archive, member=f"{stem}/movies.csv", repair=repair),
    )
