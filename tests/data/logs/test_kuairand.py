import datetime as dt
import hashlib
from contextlib import contextmanager

import polars as pl
import pytest

from okml.data.logs import (
    IMPRESSION_SCHEMA,
    SIGNALS,
    impression_names,
    kuairand,
    load_impressions,
)
from okml.data.logs.kuairand import LOG_HEADER, join_logs, read_impressions, read_videos
from okml.errors import DataError, ParameterError
from tests.tools.image_files import tar_of

# The headers as the release has them.
HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
)
FIRST = (
    "3,1071,20220408,1600,1649408076860,1,0,0,0,0,0,1,175045,87433,0,0,0,0,1\n"
    "0,10,20220411,1900,1649675512388,0,0,0,0,0,0,0,1385,209900,0,0,0,0,1\n"
)
SECOND = (
    "0,20,20220423,1100,1650682528559,1,1,0,1,0,0,1,65400,65400,0,2000,0,0,4\n"
    "3,10,20220423,1100,1650682528000,0,0,0,0,0,1,0,0,209900,0,0,0,0,0\n"
)
RANDOM = "3,7,20220423,1100,1650682528000,0,0,0,0,0,0,0,900,9233,0,0,0,1,1\n"
VIDEOS = (
    "10,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    '20,456,AD,2022-04-10,Kmovie,0.0,218066.0,720.0,1280.0,6355810746,9.0,"12,65"\n'
    "7,789,NORMAL,2022-04-09,ShortImport,0.0,,720.0,1280.0,6618412736,4.0,\n"
)
STATISTIC = "video_id,counts,show_cnt\n10,66,75.212\n"


def rows(*lines: str) -> str:
    return HEADER + "".join(lines)


def test_the_header_is_that_of_the_release():
    assert LOG_HEADER + "\n" == HEADER


def test_an_impression_has_all_that_the_user_did(write):
    frame = read_impressions(write("log_standard_4_22_to_5_08_1k.csv", rows(SECOND)))
    assert frame.schema == IMPRESSION_SCHEMA
    first = frame.row(0, named=True)
    assert {signal for signal in SIGNALS if first[signal]} == {
        "click", "like", "comment", "long_view",
    }  # fmt: skip
    assert (first["user"], first["item"], first["time_ms"]) == (0, 20, 1650682528559)
    assert (first["play_ms"], first["duration_ms"], first["surface"]) == (65400, 65400, 4)
    assert frame.row(1, named=True)["hate"]
    assert not first["random"]


def test_files_are_joined_in_the_order_of_time_and_random_slots_are_marked(write):
    names = ("a.csv", "b.csv", "c.csv")
    parts = zip(names, (FIRST, SECOND, RANDOM), strict=True)
    joined = join_logs(read_impressions(write(name, rows(part))) for name, part in parts)
    assert joined["time_ms"].is_sorted()
    # Two share a millisecond: the standard log stands first.
    assert joined.select("user", "item", "random").rows() == [
        (3, 1071, False), (0, 10, False), (3, 10, False), (3, 7, True), (0, 20, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("3,1071,20220408", "does not have 19 fields"),
        (FIRST.splitlines()[0] + ",9", "does not have 19 fields"),
        ("", "does not have 19 fields"),
        (FIRST.splitlines()[0].replace("3,1071", "x,1071"), "user is missing or cannot be read"),
        (FIRST.splitlines()[0].replace("3,1071", "3,-1"), "item is missing or cannot be read"),
        (FIRST.splitlines()[0].replace("860,1,", "860,2,"), "click is missing or cannot be read"),
        (FIRST.splitlines()[0].replace("860,1,", "860,,"), "click is missing or cannot be read"),
        (FIRST.splitlines()[0].replace("175045", "nan"), "play_ms is missing or cannot be read"),
        (FIRST.splitlines()[0].replace("175045", "-175045"), "a time watched or a length is neg"),
        (FIRST.splitlines()[0].replace("1649408076860", "1649408076"), "time_ms is impossible"),
    ],
)
def test_a_corrupt_line_is_named(write, line, words):
    path = write("log_standard_4_08_to_4_21_pure.csv", rows(FIRST, line + "\n", SECOND))
    with pytest.raises(DataError) as caught:
        read_impressions(path, repair="Repair it.")
    assert caught.value.message.startswith(f"{path}, line 4: ")
    assert words in caught.value.message
    assert repr(line) in caught.value.message
    assert caught.value.hint == "Repair it."


def test_another_file_of_the_release_is_recognized_by_its_header(write):
    with pytest.raises(DataError, match="begins with 'video_id,author_id"):
        read_impressions(write("log.csv", VIDEO_HEADER + VIDEOS))
    with pytest.raises(DataError, match="begins with 'video_id,counts,show_cnt'"):
        read_videos(write("video_features_statistic_1k.csv", STATISTIC))
    with pytest.raises(DataError, match="has no impressions"):
        read_impressions(write("empty.csv", HEADER))


def test_videos_are_known_by_what_was_true_before_anybody_saw_them(write):
    videos = read_videos(write("video_features_basic_1k.csv", VIDEO_HEADER + VIDEOS))
    assert videos.rows() == [
        (10, 123, False, dt.date(2022, 4, 10), 87433, ["39"]),
        (20, 456, True, dt.date(2022, 4, 10), 218066, ["12", "65"]),
        (7, 789, False, dt.date(2022, 4, 9), None, None),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x,1,NORMAL,2022-04-10,W,0.0,1.0,1.0,1.0,1,9.0,39", "line 5: the video is no number"),
        ("10,1,NORMAL,2022-04-10,W,0.0,1.0,1.0,1.0,1,9.0,39", "line 5: a second line about"),
        ("11,1,NORMAL,10.04.2022,W,0.0,1.0,1.0,1.0,1,9.0,39", "line 5: a field cannot be read"),
        ("11,1,NORMAL,2022-04-10,W,0.0,long,1.0,1.0,1,9.0,3", "line 5: a field cannot be read"),
        ("11,1,NORMAL,2022-04-10,W,0.0,1.0,1.0,1.0,1,9.0,12,65", "is not whole"),
        ("11,1,NORMAL,2022-04-10,W,0.0,NaN,1.0,1.0,1,9.0,3", "line 5: a field cannot be read"),
        ("11,1,NORMAL,2022-04-10,W,0.0,-inf,1.0,1.0,1,9.0,3", "line 5: a field cannot be read"),
        ("11,1,NORMAL,2022-04-10,W,0.0,1e30,1.0,1.0,1,9.0,3", "line 5: a field cannot be read"),
        ("11,1,NORMAL,2022-04-10,W,0.0,-5.0,1.0,1.0,1,9.0,3", "line 5: the length is negative"),
        ("11,NaN,NORMAL,2022-04-10,W,0.0,1.0,1.0,1.0,1,9.0,3", "line 5: a field cannot be read"),
    ],
)
def test_corrupt_videos(write, line, words):
    path = write("video_features_basic_1k.csv", f"{VIDEO_HEADER}{VIDEOS}{line}\n")
    with pytest.raises(DataError, match=words):
        read_videos(path)


@pytest.fixture
def put(cache, use_catalog):
    """Put an archive where the catalog expects it."""

    def put(name: str, size: str, files: dict[str, str]) -> None:
        content = tar_of(
            {f"KuaiRand-{size}/data/{name}": text.encode() for name, text in files.items()}
        )
        folder = cache / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"KuaiRand-{size}.tar.gz").write_bytes(content)
        file = {"name": f"KuaiRand-{size}.tar.gz", "md5": hashlib.md5(content).hexdigest()}
        source = {"kind": "https", "url": "https://example.org/{name}"}
        use_catalog({name: {"files": [file], "sources": [source]}})

    return put


FILES = {
    "log_random_4_22_to_5_08_pure.csv": rows(RANDOM),
    "log_standard_4_08_to_4_21_pure.csv": rows(FIRST),
    "log_standard_4_22_to_5_08_pure.csv": rows(SECOND),
    "video_features_basic_pure.csv": VIDEO_HEADER + VIDEOS,
    "video_features_statistic_pure.csv": STATISTIC,
}


def test_the_log_is_read_out_of_its_archive_without_the_monthly_statistics(cache, put):
    put("kuairand_pure", "Pure", FILES)
    log = load_impressions("kuairand_pure")
    assert log.frame.height == 5
    assert log.frame["random"].sum() == 1
    assert log.videos["item"].to_list() == [10, 20, 7]
    unpacked = sorted(path.name for path in cache.glob("kuairand_pure/unpacked-*/*"))
    assert unpacked == sorted(set(FILES) - {"video_features_statistic_pure.csv"})
    first = {path: path.stat().st_mtime_ns for path in cache.glob("kuairand_pure/unpacked-*/*")}
    load_impressions("kuairand_pure")
    assert {path: path.stat().st_mtime_ns for path in first} == first  # unpacked once


def test_files_that_another_process_unpacks_meanwhile_are_read(cache, put, monkeypatch):
    put("kuairand_pure", "Pure", FILES)
    whole = load_impressions("kuairand_pure").frame
    (folder,) = cache.glob("kuairand_pure/unpacked-*")
    aside = folder.rename(folder.with_name("aside"))

    @contextmanager
    def after_another(name, cache):  # the wait for the lock, in which the other one finishes
        aside.rename(folder)
        yield

    monkeypatch.setattr(kuairand, "exclusive", after_another)
    assert load_impressions("kuairand_pure").frame.equals(whole)


def test_the_largest_log_comes_in_parts(put):
    put("kuairand_27k", "27K", {
        "log_standard_4_08_to_4_21_27k_part1.csv": rows(FIRST.splitlines(keepends=True)[0]),
        "log_standard_4_08_to_4_21_27k_part2.csv": rows(FIRST.splitlines(keepends=True)[1]),
        "log_standard_4_22_to_5_08_27k_part1.csv": rows(SECOND.splitlines(keepends=True)[0]),
        "log_standard_4_22_to_5_08_27k_part2.csv": rows(SECOND.splitlines(keepends=True)[1]),
        "log_random_4_22_to_5_08_27k.csv": rows(RANDOM),
        "video_features_basic_27k.csv": VIDEO_HEADER + VIDEOS,
    })  # fmt: skip
    found = load_impressions("kuairand_27k").frame
    assert found.height == 5
    assert found["time_ms"].is_sorted()


def test_an_archive_without_a_log_says_which_one_is_missing(cache, put):
    files = {name: text for name, text in FILES.items() if "random" not in name}
    put("kuairand_pure", "Pure", files)
    with pytest.raises(DataError, match=r"no KuaiRand-Pure/data/log_random_4_22_to_5_08_pure\.csv"):
        load_impressions("kuairand_pure")
    assert not list(cache.glob("kuairand_pure/unpacked-*/*.csv"))


def test_an_unknown_log_of_impressions_lists_the_known_ones():
    with pytest.raises(ParameterError, match="no log of impressions 'kuairec'") as caught:
        load_impressions("kuairec")
    assert all(name in caught.value.hint for name in impression_names())


def test_a_table_of_another_form_is_refused(put):
    put("kuairand_pure", "Pure", FILES)
    log = load_impressions("kuairand_pure")
    with pytest.raises(DataError, match="The impressions of x must have the columns"):
        type(log)("x", log.frame.drop("click"), log.videos, "", "")
    with pytest.raises(DataError, match="has no impressions"):
        type(log)("x", pl.DataFrame(schema=IMPRESSION_SCHEMA), log.videos, "", "")
