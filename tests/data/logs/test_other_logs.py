import datetime as dt
import gzip
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.data.logs import EVENT_SCHEMA
from okml.data.logs.lines import read_events
from okml.data.logs.readers import ADER, AMAZON, DAY, GOWALLA, merge_visits, read_shop
from okml.errors import DataError

RATINGS = "AKM1MP6P0OYPR,0132793040,5.0,1365811200\nA2CX7LUOHB2NDG,059400232X,1.0,1341100800\n"
CHECK_INS = (
    "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
    "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
    "0\t2010-10-17T23:42:03Z\t30.2557309927\t-97.7633857727\t22847\n"
    "1\t2010-10-17T19:26:05Z\t30.2634181234\t-97.7575966669\t22847\n"
)
CLICKS = (
    "1,2014-04-07T10:51:09.277Z,214536502,0\n"
    "1,2014-04-07T10:54:09.868Z,214536500,S\n"
    "2,2014-04-07T13:56:37.614Z,214662742,0\n"
)
BUYS = "1,2014-04-07T10:54:09.500Z,214536502,12462,1\n2,2014-04-07T13:57:19.373Z,214662742,0,0\n"


def test_amazon_has_letters_in_its_ids_and_no_header(write):
    frame = read_events(write("ratings_Electronics.csv", RATINGS), AMAZON)
    assert frame.rows() == [
        ("AKM1MP6P0OYPR", "0132793040", 1365811200, "rating", 5.0),
        ("A2CX7LUOHB2NDG", "059400232X", 1341100800, "rating", 1.0),
    ]
    assert frame.schema == EVENT_SCHEMA
    assert set(frame["time"] % DAY) == {0}


def test_amazon_with_a_header_is_a_copy_that_somebody_changed(write):
    path = write("ratings_Electronics.csv", "userId,productId,Rating,timestamp\n" + RATINGS)
    with pytest.raises(DataError, match="line 1: the time is missing or cannot be read"):
        read_events(path, AMAZON)


def utc(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize("compressed", [False, True])
def test_gowalla_times_are_utc(tmp_path, monkeypatch, compressed):
    monkeypatch.setenv("TZ", "America/New_York")
    path = tmp_path / ("check_ins.txt.gz" if compressed else "check_ins.txt")
    path.write_bytes(gzip.compress(CHECK_INS.encode()) if compressed else CHECK_INS.encode())
    frame = read_events(path, GOWALLA)
    assert frame["time"].to_list()[:2] == [
        utc("2010-10-19T23:55:27+00:00"),
        utc("2010-10-18T22:17:43+00:00"),
    ]
    assert frame["item"].to_list() == ["22847", "420315", "22847", "22847"]
    assert frame["value"].null_count() == 4


def test_merged_gowalla_keeps_the_last_visit_and_counts_all(write):
    merged = merge_visits(read_events(write("c.txt", CHECK_INS), GOWALLA))
    assert merged.select("user", "item", "value").rows() == [
        ("0", "22847", 2.0),
        ("0", "420315", 1.0),
        ("1", "22847", 1.0),
    ]
    assert merged["time"][0] == utc("2010-10-19T23:55:27+00:00")
    assert merged.schema == EVENT_SCHEMA


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 4)), min_size=1
    )
)
def test_merging_visits_against_a_loop(rows):
    full = [(*row, "check_in", None) for row in rows]
    merged = merge_visits(pl.DataFrame(full, schema=EVENT_SCHEMA, orient="row"))
    counts = Counter((user, item) for user, item, _ in rows)
    first_newest: dict[tuple[str, str], int] = {}
    for place, (user, item, time) in enumerate(rows):
        best = first_newest.get((user, item))
        if best is None or time > rows[best][2]:
            first_newest[user, item] = place
    expected = [(*rows[place], counts[rows[place][:2]]) for place in sorted(first_newest.values())]
    assert merged.select("user", "item", "time", "value").rows() == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0\t2010-10-18T22:17:43\t30.2\t-97.7\t420315", "time is missing or cannot be read"),
        ("0\t2010-13-18T22:17:43Z\t30.2\t-97.7\t420315", "time is missing or cannot be read"),
        ("0\t2030-10-18T22:17:43Z\t30.2\t-97.7\t420315", "time is impossible"),
        ("0\t2010-10-18T22:17:43Z\t30.2\t420315", "does not have 5 fields"),
        ("0\t2010-10-18T22:17:43Z\t30.2\t-97.7\t", "item is no number"),
    ],
)
def test_corrupt_check_ins(write, line, words):
    with pytest.raises(DataError, match=f"line 5: .*{words}"):
        read_events(write("c.txt", f"{CHECK_INS}{line}\n"), GOWALLA)


def test_a_corrupt_line_of_a_compressed_file_is_quoted(tmp_path):
    path = tmp_path / "c.txt.gz"
    path.write_bytes(gzip.compress(f"{CHECK_INS}nonsense\n".encode()))
    with pytest.raises(DataError, match=r"line 5: it does not have 5 fields.*'nonsense'"):
        read_events(path, GOWALLA)


def test_yoochoose_is_ordered_to_the_millisecond(write):
    frame = read_shop(write("clicks.dat", CLICKS), write("buys.dat", BUYS))
    assert frame.schema == EVENT_SCHEMA
    assert frame.select("user", "item", "kind", "value").rows() == [
        ("1", "214536502", "click", None),
        ("1", "214536502", "purchase", 12462.0),  # .500, before the click at .868
        ("1", "214536500", "click", None),
        ("2", "214662742", "click", None),
        ("2", "214662742", "purchase", 0.0),
    ]
    assert frame["time"][0] == utc("2014-04-07T10:51:09+00:00")
    assert frame["time"][1] == frame["time"][2]


def test_a_click_comes_before_a_purchase_of_the_same_millisecond(write):
    clicks = write("clicks.dat", "1,2014-04-07T10:51:09.277Z,7,0\n")
    buys = write("buys.dat", "1,2014-04-07T10:51:09.277Z,7,10,1\n")
    assert read_shop(clicks, buys)["kind"].to_list() == ["click", "purchase"]


@pytest.mark.parametrize(
    ("clicks", "buys", "words"),
    [
        (BUYS, BUYS, "clicks.dat, line 1: it does not have 4 fields"),
        (CLICKS, CLICKS, "buys.dat, line 1: it does not have 5 fields"),
        (CLICKS + "3,2014-04-07T10:51:09Z,7,0\n", BUYS, "clicks.dat, line 4: the time is missing"),
        (CLICKS, BUYS + "3,2014-04-07T10:51:09.277Z,7,-5,1\n", "buys.dat, line 3: the value is"),
    ],
)
def test_swapped_and_corrupt_yoochoose_files(write, clicks, buys, words):
    with pytest.raises(DataError, match=words):
        read_shop(write("clicks.dat", clicks), write("buys.dat", buys))


def test_ader_periods_are_all_that_time_says(write):
    frame = read_events(
        write("period_3.txt", "262692 10\n296250 80\n262692 5\n"), replace(ADER, time=3 * DAY)
    )
    assert frame.rows() == [
        ("262692", "10", 3 * DAY, "click", None),
        ("296250", "80", 3 * DAY, "click", None),
        ("262692", "5", 3 * DAY, "click", None),
    ]
    assert frame.schema == EVENT_SCHEMA


@pytest.mark.parametrize(
    ("line", "words"),
    [("12", "does not have 2 fields"), ("1 2 3", "does not have 2"), ("1 x", "item is no number")],
)
def test_corrupt_ader_lines(write, line, words):
    with pytest.raises(DataError, match=f"line 2: .*{words}"):
        read_events(write("period_0.txt", f"1 2\n{line}\n"), replace(ADER, time=0))
