"""Small files of the true formats, and what can happen to a file before it is read."""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from okml.data.images import read_cifar, read_idx
from okml.data.logs import kuairand, microlens, readers
from okml.data.logs import movielens_titles as films_of_movielens
from okml.data.logs.lines import read_events
from okml.space_time.entities import REGISTRY, cities, events, films, people, us_towns
from okml.space_time.entities.released import COLUMNS
from tests.tools.image_files import cifar


@dataclass(frozen=True)
class Sample:
    """A whole file.

    Attributes:
        file: Its name, which some readers go by.
        content: Its bytes.
        read: Returns what is in it; the files that belong to it are written beside it.
        beside: Content of other files, by name.
    """

    file: str
    content: bytes
    read: Callable[[Path], pl.DataFrame]
    beside: dict[str, bytes]


def sample(
    file: str, content: str | bytes, read: Callable[[Path], pl.DataFrame], **beside: str
) -> Sample:
    data = content.encode() if isinstance(content, str) else content
    return Sample(file, data, read, {n.replace("__", "."): c.encode() for n, c in beside.items()})


CLICKS = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
BUYS = "1,2014-04-07T10:54:09.500Z,214536502,12462,1\n2,2014-04-07T13:57:19.373Z,214662742,0,0\n"
CHECK_INS = (
    "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
    "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
)
IMPRESSIONS = (
    f"{kuairand.LOG_HEADER}\n"
    "3,1071,20220408,1600,1649408076860,1,0,0,0,0,0,1,175045,87433,0,0,0,0,1\n"
    "0,10,20220411,1900,1649675512388,0,0,0,0,0,0,0,1385,209900,0,0,0,0,1\n"
)
VIDEOS = (
    f"{kuairand.VIDEO_HEADER}\n"
    "10,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    '20,456,AD,2022-04-10,Kmovie,0.0,218066.0,720.0,1280.0,6355810746,9.0,"12,65"\n'
)
RATINGS = "userId,movieId,rating,timestamp\n1,2,3.5,881250949\n2,2,4,881250950\n"
ATOMIC = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t2\t3\t881250949\n2\t2\t4\t881250950\n"
)
ATOMIC_FILMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Comedy\n2\tHeat\t1995\tAction\n"
)
TOWNS = (
    "zip_code,latitude,longitude,city,state,county\n"
    "10001,40.7,-73.9,New York,NY,New York\n90001,33.9,-118.2,Los Angeles,CA,Los Angeles\n"
    "60601,41.8,-87.6,Chicago,IL,Cook\n77001,29.8,-95.4,Houston,TX,Harris\n"
)
CITIES = json.dumps(
    {
        str(number): {
            "name": f"City {number}", "latitude": 40.5 + number, "longitude": -73.5 + number,
            "countrycode": ("US", "FR")[number % 2], "admin1code": "NY", "timezone": "x",
            "population": 200_000 + number,
        }
        for number in range(5)
    }
)  # fmt: skip
COUNTRIES = json.dumps(
    {
        code: {"name": name, "continentcode": continent}
        for code, name, continent in (("US", "United States", "NA"), ("FR", "France", "EU"))
    }
)
SYNSETS = "".join(
    [
        "  1 the license\n",
        "00000001 18 n 01 poet 0 000 | a writer of poems  \n",
        *(
            f"{number:08d} 18 n 02 Name{number} 0 First_Name{number} 0 001 @i 00000001 n 0000 | "
            f"English poet (18{number}-18{number + 50})  \n"
            for number in range(10, 30)
        ),
    ]
)
EVENTS = "".join(
    f"01/{day:02d}\tEvent {chr(64 + day)} of {{0}} happens, {1900 + day}\n" for day in range(1, 21)
)
OTHER_EVENTS = {name.replace(".", "__"): EVENTS.format(name) for name in events.FILES[1:]}


def zipped(member: str, content: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **how) as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=np.float32).reshape(4, 3))
    return buffer.getvalue()


def films_database() -> bytes:
    with TemporaryDirectory() as folder:
        connection = sqlite3.connect(f"{folder}/movies.db")
        connection.execute("CREATE TABLE omdb (ID, Title, Year INTEGER, Director, Genre)")
        connection.executemany(
            "INSERT INTO omdb VALUES (?, ?, ?, ?, ?)",
            [(n, f"Film of {n}", 1950 + n, f"Director {n}", "Drama, War") for n in range(30)],
        )
        connection.commit()
        connection.close()
        return (Path(folder) / "movies.db").read_bytes()


def released(name: str) -> str:
    """Return a table of the form that the paper's authors released."""
    values = {
        pl.Float64: lambda name, row: {"latitude": f"{40 + row / 10}"}.get(name, f"-{70 + row}.5"),
        pl.Int64: lambda name, row: f"{1900 + row}",
        pl.Boolean: lambda name, row: str(row % 4 == 0),
        pl.Date: lambda name, row: f"19{50 + row}-01-02",
        pl.String: lambda name, row: {"entity_type": "city"}.get(name, f"{name} {row}"),
    }
    columns = COLUMNS[name]
    rows = [[values[kind](name, row) for name, kind in columns.items()] for row in range(12)]
    return "".join(",".join(row) + "\n" for row in ([*columns], *rows))


def folder_of(load: Callable[[Path], object]) -> Callable[[Path], pl.DataFrame]:
    return lambda path: load(path.parent).frame  # type: ignore[attr-defined]


def frame_of(load: Callable[[Path], object]) -> Callable[[Path], pl.DataFrame]:
    return lambda path: load(path).frame  # type: ignore[attr-defined]


@cache
def samples() -> dict[str, Sample]:
    check_ins = partial(read_events, layout=readers.GOWALLA)
    idx = b"\0\0\x08\x02" + bytes((0, 0, 0, 3, 0, 0, 0, 4)) + bytes(range(12))
    ratings = "".join(f"{n},{7 * n},3.5,{881250949 + n * n}\n" for n in range(1, 500))
    rest = {
        name: sample(f"{name}.csv", released(name), frame_of(REGISTRY[name].load))
        for name in COLUMNS
    }
    return {
        "amazon": sample(
            "ratings_Electronics.csv",
            "AKM1MP6P0OYPR,0132793040,5.0,1365811200\nA2CX7LUOHB2NDG,059400232X,1.0,1341100800\n",
            partial(read_events, layout=readers.AMAZON),
        ),
        "gowalla": sample("c.txt", CHECK_INS, check_ins),
        "gowalla, compressed": sample(
            "c.txt.gz", gzip.compress(CHECK_INS.encode()), check_ins
        ),
        "yoochoose clicks": sample(
            "clicks.dat",
            CLICKS,
            lambda path: readers.read_shop(path, path.with_name("buys.dat")),
            buys__dat=BUYS,
        ),
        "yoochoose buys": sample(
            "buys.dat",
            BUYS,
            lambda path: readers.read_shop(path.with_name("clicks.dat"), path),
            clicks__dat=CLICKS,
        ),
        "ader": sample(
            "period_3.txt",
            "1 5\n1 7\n2 5\n",
            partial(read_events, layout=replace(readers.ADER, time=3 * 86_400)),
        ),
        "kuairand log": sample("log.csv", IMPRESSIONS, kuairand.read_impressions),
        "kuairand videos": sample("videos.csv", VIDEOS, kuairand.read_videos),
        "movielens .csv": sample(
            "ratings.csv", RATINGS, partial(read_events, layout=readers.MOVIELENS)
        ),
        "movielens .inter": sample(
            "a.inter", ATOMIC, partial(read_events, layout=readers.ATOMIC)
        ),
        "movielens .zip": sample(
            "ml-20m.zip",
            zipped("ml-20m/ratings.csv", f"userId,movieId,rating,timestamp\n{ratings}"),
            partial(read_events, layout=readers.MOVIELENS, member="ml-20m/ratings.csv"),
        ),
        "films .csv": sample(
            "movies.csv",
            'movieId,title,genres\n1,Toy Story (1995),Comedy\n2,"Heat, The (1995)",Action\n',
            films_of_movielens.read_titles,
        ),
        "films .item": sample("a.item", ATOMIC_FILMS, films_of_movielens.read_titles),
        "microlens .csv": sample(
            "pairs.csv",
            "user,item,timestamp\n1,5,1583378629552\n2,5,1583378629553\n",
            microlens.read_pairs,
        ),
        "microlens .tsv": sample("pairs.tsv", "1\t5 6 7\n2\t5 8\n", microlens.read_pairs),
        "microlens titles": sample(
            "t.csv", "1,a title, with comma\n2,another\n", microlens.read_titles
        ),
        "microlens tags": sample(
            "tags.csv",
            "1,cats\n2,dogs\n",
            lambda path: microlens.read_titles(path.with_name("t.csv"), path),
            t__csv="1,a title\n2,b\n",
        ),
        "microlens features": sample(
            "f.npy",
            array(),
            lambda path: pl.DataFrame(microlens.read_features(path, pl.Series(["1", "4"]))),
        ),
        "towns": sample("zipcodes.csv", TOWNS, frame_of(us_towns.load_us_towns)),
        "cities": sample(
            "cities15000.json", CITIES, folder_of(cities.load_cities), countries__json=COUNTRIES
        ),
        "countries": sample(
            "countries.json", COUNTRIES, folder_of(cities.load_cities), cities15000__json=CITIES
        ),
        "films": sample("movies.db", films_database(), frame_of(films.load_films)),
        "people": sample("data.noun", SYNSETS, frame_of(people.load_people)),
        "events": sample(
            events.FILES[0],
            EVENTS.format(events.FILES[0]),
            folder_of(events.load_events),
            **OTHER_EVENTS,
        ),
        "images": sample(
            "x.gz", gzip.compress(idx), lambda path: pl.DataFrame(read_idx(path).copy())
        ),
        "cifar": sample(
            "c.tar.gz",
            cifar("cifar10", 1)[0],
            lambda path: pl.DataFrame(read_cifar(path, "cifar10")[1].copy()),
        ),
        **rest,
    }  # fmt: skip


LAST = re.compile(rb"\d+(?:\.\d+)?(?!.*\d)")
FIRST = re.compile(rb"\d+(?:\.\d+)?")


def in_the_middle(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return a damage to one line: the second, or the only one."""

    def damage(content: bytes) -> bytes:
        lines = content.split(b"\n")
        place = 1 if len(lines) > 2 else 0
        lines[place] = change(lines[place])
        return b"\n".join(lines)

    return damage


def number(which: re.Pattern[bytes], written: bytes) -> Callable[[bytes], bytes]:
    return in_the_middle(lambda line: which.sub(written, line, count=1))


def flipped(place: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + bytes((content[at] ^ 0x55,)) + content[at + 1 :]

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "a line end alone": lambda content: b"\n",
    "the first line alone": lambda content: content.split(b"\n")[0] + b"\n",
    "cut in the middle": lambda content: content[: 2 * len(content) // 3],
    "its last byte cut": lambda content: content[:-1],
    "random bytes": lambda content: bytes(range(256)) * 8,
    "not UTF-8": in_the_middle(lambda line: line[:3] + b"\xff\xfe" + line[3:]),
    "in Latin-1": in_the_middle(lambda line: line[:3] + b"\xe9" + line[3:]),
    "a web page": lambda content: b"<!DOCTYPE html><html><body>404</body></html>\n",
    "a Git LFS pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid 0\n",
    "a zero byte": in_the_middle(lambda line: line[:2] + b"\0" + line[2:]),
    "NaN": number(LAST, b"NaN"),
    "infinity": number(LAST, b"inf"),
    "a negative number": number(LAST, b"-5"),
    "a number of 40 digits": number(LAST, b"9" * 40),
    "letters for a number": number(LAST, b"abc"),
    "no number": number(LAST, b""),
    "NaN for an id": number(FIRST, b"NaN"),
    "no id": number(FIRST, b""),
    "a line twice": lambda content: content + content.split(b"\n")[-2] + b"\n"
    if content.count(b"\n") else content * 2,
    "a blank line": in_the_middle(lambda line: line + b"\n"),
    "line ends of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "a byte-order mark": lambda content: b"\xef\xbb\xbf" + content,
    "a quote that stays open": in_the_middle(lambda line: b'"' + line),
    "a line of a megabyte": in_the_middle(lambda line: line + b"x" * 1_000_000),
    "a line of a million fields": in_the_middle(lambda line: line + b",\t|: " * 200_000),
    "other separators": lambda content: re.sub(rb"::|[,\t| ]", b";", content),
    "one more field": lambda content: b"\n".join(
        line + b",7" if line else line for line in content.split(b"\n")
    ),
    "nested too deeply": lambda content: b"[" * 100_000,
    "a list of JSON": lambda content: b"[]\n",
    "an object of JSON": lambda content: b"{}\n",
    "a value of another type": lambda content: re.sub(rb"200001|\"NA\"", b"[1]", content),
    "a field of another name": lambda content: re.sub(
        rb"population|continentcode|latitude|_id\b", b"x", content, count=1
    ),
    "null": lambda content: re.sub(rb"200001|\"France\"", b"null", content),
    "compressed": gzip.compress,
    "a zip archive": lambda content: zipped("x", "y"),
    "a changed byte": flipped(0.5),
    "another changed byte": flipped(0.3),
}  # fmt: skip
PLACES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
}


def put(whole: Sample, damage: str | None, folder: Path) -> Path:
    """Write a file, damaged or not, and what belongs to it; return its path."""
    for name, content in whole.beside.items():
        (folder / name).write_bytes(content)
    path = folder / whole.file
    if damage in PLACES:
        PLACES[damage](path)
    else:
        path.write_bytes(DAMAGES[damage](whole.content) if damage else whole.content)
    return path
