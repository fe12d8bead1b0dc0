from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from okml.errors import DataError
from okml.lightsage.datasets import ITEM_SCHEMA, PAIR_SCHEMA, coveo
from okml.lightsage.datasets.coveo import COLUMNS, read_coveo, with_searches
from okml.lightsage.graph import build_graph
from okml.lightsage.graph.events import CLEANED_SCHEMA
from tests.data.damage import DAMAGES, PLACES

MINUTE, DAY = 60_000, 86_400_000
START = 1_550_000_000_000 // DAY * DAY
SMALL = dict.fromkeys(COLUMNS, 1)


def hashed(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def vector(seed: int) -> str:
    return json.dumps(np.random.default_rng(seed).normal(size=50).tolist())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the three files in Coveo's spelling: 30 days, a session a day and place."""
    browsing, search = [], []
    for day in range(30):
        for place in range(4):
            visit, start = hashed(f"s{day}-{place}"), START + day * DAY + place * 3_600_000
            first = (day + place) % 6
            for step, product in enumerate((first, (first + 1) % 6)):
                at = start + step * MINUTE
                browsing.append((visit, "event_product", "detail", hashed(product), at, "u"))
                browsing.append((visit, "pageview", None, None, at, "u"))
            browsing.append((visit, "event_product", "add", hashed((first + 1) % 6),
                             start + 2 * MINUTE, "u"))  # fmt: skip
            browsing.append(
                (visit, "event_product", "remove", hashed(first), start + 3 * MINUTE, "u")
            )
            looked = START + day * DAY + place * 3_600_000 + 20 * MINUTE
            shown = [hashed((first + 3) % 6), hashed((first + 4) % 6)]
            search.append((visit, vector(first), str([shown[0]]), str(shown), looked))
            browsing.append((visit, "event_product", "detail", shown[1], looked + MINUTE, "u"))
    order = np.random.default_rng(0).permutation(len(browsing))  # the file is in no order
    pl.DataFrame([browsing[i] for i in order], schema=list(COLUMNS["browsing_train.csv"]),
                 orient="row").write_csv(tmp_path / "browsing_train.csv")  # fmt: skip
    pl.DataFrame(search, schema=list(COLUMNS["search_train.csv"]), orient="row").write_csv(
        tmp_path / "search_train.csv"
    )
    content = [
        (hashed(product), vector(product), f"{hashed('a')}/{hashed(product % 2)}",
         vector(90 + product), float(product + 1)) if product < 5
        else (hashed(product), None, None, None, None)
        for product in range(6)
    ]  # fmt: skip
    pl.DataFrame(content, schema=list(COLUMNS["sku_to_content.csv"]), orient="row").write_csv(
        tmp_path / "sku_to_content.csv"
    )
    return tmp_path


def test_the_three_files_become_one_data_set(folder: Path) -> None:
    data = read_coveo(folder, SMALL)
    assert data.items.schema == ITEM_SCHEMA
    assert data.train.schema == CLEANED_SCHEMA
    assert data.valid.schema == data.test.schema == PAIR_SCHEMA
    assert data.item_count == 6
    assert data.features.shape == (6, 50 + 50 + 11 + 32 + 2)
    # 30 days: 16 train, 7 validate, 7 test.
    assert data.train["session"].n_unique() == 16 * 4
    assert data.train["ts"].max() < START + 16 * DAY
    assert data.test["user"].n_unique() == 7 * 4
    assert (
        data.used["coveo/search_train.csv"].sha256
        == hashlib.sha256((folder / "search_train.csv").read_bytes()).hexdigest()
    )


def test_pages_carts_and_searches_are_told_apart(folder: Path) -> None:
    train = read_coveo(folder, SMALL).train
    first = train.filter(pl.col("session") == train["session"][0]).select("action", "source")
    assert first.rows() == [
        ("view", "other"),
        ("view", "other"),
        ("cart", "other"),
        ("click", "search"),  # clicked in the results, no page was recorded
        ("view", "search"),  # opened a minute after it was shown
    ]
    searched = train.filter(pl.col("source") == "search")
    assert searched["episode"].n_unique() == 16 * 4
    assert searched["query"].n_unique() == 6


def test_edges_of_all_kinds_come_out(folder: Path) -> None:
    data = read_coveo(folder, SMALL)
    graph = build_graph(data.train, data.item_count)
    ids = data.items["id"].to_list()
    number = {ids.index(hashed(product)): product for product in range(6)}
    steps: dict[str, set[int]] = {}
    for i, j, _, part in graph.edges.rows():
        steps.setdefault(part, set()).add((number[j] - number[i]) % 6)
    # A page and its neighbor on the ring are strong, both directions; so are two results. They come
    # first and the same pairs are in the search edges.
    assert steps["strong"] == {1, 5}


def test_missing_vectors_are_zero_and_marked(folder: Path) -> None:
    data = read_coveo(folder, SMALL)
    row = data.items["id"].to_list().index(hashed(5))
    marks = data.features[:, -2:]
    assert (marks[row] > 0).all()
    assert (np.delete(marks, row, axis=0) < 0).all()
    assert data.items["category"][row] == data.items["type"][row] == -1


def test_a_page_counts_for_the_query_that_showed_it_within_ten_minutes() -> None:
    queries = pl.DataFrame(
        {
            "visit": ["v", "v", "w"],
            "ts": [0, 5 * MINUTE, 0],
            "episode": pl.Series([0, 1, 2], dtype=pl.Int32),
            "query": [7, 8, 9],
            "shown": [["a", "b"], ["a"], ["c"]],
            "clicked": [[], [], ["c"]],
        },
        schema_overrides={"shown": pl.List(pl.String), "clicked": pl.List(pl.String)},
    )
    actions = pl.DataFrame(
        [("v", 4, "a", "view"), ("v", 6, "a", "view"), ("v", 10, "b", "view"),
         ("v", 11, "b", "view"), ("w", 1, "a", "view"), ("w", 2, "c", "cart")],
        schema=["visit", "ts", "sku", "action"], orient="row",
    ).with_columns(pl.col("ts") * MINUTE)  # fmt: skip
    found = with_searches(actions, queries).sort("visit", "ts")
    assert found.select("visit", "ts", "sku", "action", "episode").rows() == [
        ("v", 4 * MINUTE, "a", "view", 0),
        ("v", 6 * MINUTE, "a", "view", 1),  # the later query showed it again
        ("v", 10 * MINUTE, "b", "view", 0),
        ("v", 11 * MINUTE, "b", "view", -1),  # too late
        ("w", 0, "c", "click", 2),  # a click without a page
        ("w", 1 * MINUTE, "a", "view", -1),  # another visit's query
        ("w", 2 * MINUTE, "c", "cart", -1),
    ]


def test_missing_files_say_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKML_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"come by a form: https://www\.coveo\.com"):
        coveo()


def test_files_that_are_not_whole_are_errors(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"browsing_train\.csv has 840 rows, and at least 35,000,000"
    ):
        read_coveo(folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("browsing_train.csv", "product_sku_hash", "sku", "instead of"),
        (
            "browsing_train.csv",
            r"detail,(\w+),1550",
            r"detail,\1,x550",
            "whose ts is missing or cannot be read",
        ),
        ("search_train.csv", ",15500", ",x5500", "whose ts is missing or cannot be read"),
        ("sku_to_content.csv", r'"\[', '"[0.5, ', "no list of 50 numbers"),
        ("sku_to_content.csv", ",5.0", ",50.0", "deciles"),
    ],
)
def test_damaged_files_are_errors(folder: Path, file: str, old: str, new: str, words: str) -> None:
    text = (folder / file).read_text()
    damaged = re.sub(old, new, text, count=1)
    assert damaged != text
    (folder / file).write_text(damaged)
    with pytest.raises(DataError, match=words):
        read_coveo(folder, SMALL)


HARD = (
    "empty", "cut in the middle", "not UTF-8", "NaN", "infinity", "a negative number",
    "letters for a number", "a quote that stays open", "a line of a million fields",
    "one more field", "nested too deeply", "compressed", *PLACES,
)  # fmt: skip


@pytest.mark.parametrize("damage", HARD)
@pytest.mark.parametrize("file", COLUMNS)
def test_a_damaged_file_is_named_or_leaves_finite_numbers(
    folder: Path, file: str, damage: str
) -> None:
    path = folder / file
    content = path.read_bytes()
    path.unlink()
    if damage in PLACES:
        PLACES[damage](path)
    else:
        path.write_bytes(DAMAGES[damage](content))
    error = None
    try:
        data = read_coveo(folder, SMALL)
    except DataError as caught:
        error = caught
    if error is not None:
        assert file in error.message
        assert len(error.message) < 2_000
        return
    assert damage not in PLACES
    assert np.isfinite(data.features).all()
    assert data.train.schema == CLEANED_SCHEMA
