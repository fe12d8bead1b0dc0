import datetime as dt
import hashlib
import zipfile

import polars as pl
import pytest

from okml.data import catalog
from okml.data.logs import impression_names, load, names
from okml.errors import DataError, ParameterError


def test_every_log_is_in_the_catalog():
    # Of MicroLens no hash is known, so the catalog cannot vouch for it.
    elsewhere = {"gowalla_merged", "microlens_100k", "microlens_1m"}
    assert set(names()) - elsewhere <= set(catalog())
    assert set(impression_names()) <= set(catalog())


def test_an_unknown_log_lists_the_known_ones():
    with pytest.raises(ParameterError, match="no event log 'ml_10m'") as caught:
        load("ml_10m")
    assert "ml_20m" in caught.value.hint


def test_a_log_that_must_be_fetched_by_hand_says_how():
    with pytest.raises(DataError, match=r"7z x yoochoose-data\.7z"):
        load("yoochoose")


def test_a_log_read_out_of_an_archive(cache, use_catalog):
    folder = cache / "ml_20m"
    folder.mkdir(parents=True)
    path = folder / "ml-20m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        ratings = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,3,4.0,1112486027\n"
        archive.writestr("ml-20m/ratings.csv", ratings)
        archive.writestr("ml-20m/movies.csv", "movieId,title,genres\n2,Jumanji (1995),Fantasy\n")
    content = path.read_bytes()
    file = {"name": path.name, "md5": hashlib.md5(content).hexdigest(), "bytes": len(content)}
    source = {"kind": "https", "url": "https://example.org/{name}"}
    use_catalog({"ml_20m": {"files": [file], "sources": [source]}})
    log = load("ml_20m")
    assert log.frame["item"].to_list() == ["2", "3"]
    assert log.titles is not None
    assert log.titles.rows() == [("2", "Jumanji (1995)", ["Fantasy"])]
    assert log.source == "a copy of https://example.org/ml-20m.zip"
    assert log.tied_share == 1
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match="is damaged: expected md5:"):
        load("ml_20m")


def counts(log):
    frame = log.frame
    return frame["user"].n_unique(), frame["item"].n_unique(), frame.height


@pytest.mark.realdata
@pytest.mark.usefixtures("filled_cache")
def test_movielens_100k_has_its_published_counts():
    log = load("ml_100k")
    assert counts(log) == (943, 1682, 100_000)
    # The README: September 19th, 1997 (US time) through April 22nd, 1998.
    days = pl.from_epoch(log.frame["time"]).dt.date()
    assert (days.min(), days.max()) == (dt.date(1997, 9, 20), dt.date(1998, 4, 22))
    stars = dict(log.frame["value"].value_counts().iter_rows())
    assert stars == {1.0: 6_110, 2.0: 11_370, 3.0: 27_145, 4.0: 34_174, 5.0: 21_201}
    assert log.tied_share == pytest.approx(0.510, abs=5e-4)
    assert log.titles is not None
    assert set(log.frame["item"]) == set(log.titles["item"])
    assert log.titles.row(0) == ("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"])


@pytest.mark.realdata
@pytest.mark.usefixtures("filled_cache")
def test_movielens_1m_has_its_published_counts():
    log = load("ml_1m")
    assert counts(log) == (6040, 3706, 1_000_209)
    assert log.tied_share == pytest.approx(0.532, abs=5e-4)
    per_user = log.frame.group_by("user").len()["len"]
    assert per_user.min() == 20
    assert log.titles is not None
    assert log.titles.height == 3883
    assert set(log.frame["item"]) <= set(log.titles["item"])


@pytest.mark.realdata
@pytest.mark.usefixtures("filled_cache")
@pytest.mark.parametrize(
    ("name", "clicks", "length"),
    [("ader_diginetica", 993_483, 7 * 86_400), ("ader_yoochoose", 3_370_578, 86_400)],
)
def test_ader_has_a_click_a_line_in_17_periods(name, clicks, length):
    log = load(name)
    _, items, events = counts(log)
    assert events == clicks  # wc -l
    assert log.clock == "period"
    assert log.frame["time"].is_sorted()
    assert log.frame["time"].unique().sort().to_list() == [n * length for n in range(17)]
    # The authors numbered the items of all periods from 1 without a gap.
    assert log.frame["item"].cast(pl.Int64).max() == items
