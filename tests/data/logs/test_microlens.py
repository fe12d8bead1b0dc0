import numpy as np
import polars as pl
import pytest

from okml.data.logs import EVENT_SCHEMA, TITLE_SCHEMA, load
from okml.data.logs.microlens import (
    load_features,
    read_features,
    read_pairs,
    read_titles,
)
from okml.errors import DataError

PAIRS_CSV = (
    "user,item,timestamp\n"
    "1,7,1661735593066\n"
    "1,3,1660883466915\n"
    "2,7,1660883466915\n"
    "1,5,1660883466900\n"
)
PAIRS_TSV = "1\t5 3 7\n2\t7\n"
TITLES = '3,Cats, "great and small\n5,\n7,Tea with grandma\n'
TAGS = "3,Pets\n7,Family\n"


def test_interactions_are_ordered_to_the_millisecond(write):
    frame = read_pairs(write("MicroLens-100k_pairs.csv", PAIRS_CSV))
    assert frame.schema == EVENT_SCHEMA
    assert frame.select("user", "item", "time").rows() == [
        ("1", "5", 1660883466),
        ("1", "3", 1660883466),
        ("2", "7", 1660883466),
        ("1", "7", 1661735593),
    ]
    assert set(frame["kind"]) == {"comment"}


def test_both_layouts_have_the_same_histories(write):
    by_row = read_pairs(write("a_pairs.csv", PAIRS_CSV))
    by_user = read_pairs(write("a_pairs.tsv", PAIRS_TSV))
    assert by_user.schema == EVENT_SCHEMA
    assert by_user["time"].to_list() == [0, 1, 2, 0]
    histories = [
        frame.group_by("user", maintain_order=True).agg("item").sort("user")
        for frame in (by_row, by_user)
    ]
    assert histories[0].equals(histories[1])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p_pairs.csv", PAIRS_CSV + "1,9\n", "line 6: it does not have 3 fields"),
        ("p_pairs.csv", PAIRS_CSV + "1,x,1661735593066\n", "line 6: the item is no number"),
        ("p_pairs.csv", PAIRS_CSV + "1,9,1661735593\n", "line 6: the time is impossible"),  # s
        ("p_pairs.csv", PAIRS_CSV + "1,9,soon\n", "line 6: the time is missing or cannot"),
        ("p_pairs.csv", PAIRS_TSV, r"begins with '1\\t5 3 7' instead of 'user,item,timestamp'"),
        ("p_pairs.tsv", PAIRS_CSV, "line 1: it does not have 2 fields"),
        ("p_pairs.tsv", PAIRS_TSV + "3\t7 x\n", "line 3: an item is no number"),
        ("p_pairs.tsv", PAIRS_TSV + "3\t7  8\n", "line 3: an item is no number"),
        ("p_pairs.tsv", PAIRS_TSV + "3\t7\t8\n", "line 3: it does not have 2 fields"),
        ("p_pairs.tsv", PAIRS_TSV + "x\t7\n", "line 3: the user is no number"),
    ],
)
def test_corrupt_lines_and_the_wrong_file(write, name, content, words):
    with pytest.raises(DataError, match=words):
        read_pairs(write(name, content))


def test_titles_hold_commas_and_unpaired_quotes(write):
    titles = read_titles(write("t.csv", TITLES), write("tags_to_summary.csv", TAGS))
    assert titles.schema == TITLE_SCHEMA
    assert titles.rows() == [
        ("3", 'Cats, "great and small', ["Pets"]),
        ("5", "", []),
        ("7", "Tea with grandma", ["Family"]),
    ]
    assert read_titles(write("t.csv", TITLES))["genres"].to_list() == [[], [], []]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("9", "line 4: it does not have 2 fields"),
        ("video,title", "line 4: the item is no number"),
        ("7,Again", "line 4: a second line about a video"),
    ],
)
def test_corrupt_titles(write, line, words):
    with pytest.raises(DataError, match=words):
        read_titles(write("t.csv", f"{TITLES}{line}\n"))


def test_features_are_taken_by_the_number_of_the_video(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, np.arange(14, dtype=np.float64).reshape(7, 2))
    found = read_features(path, pl.Series(["7", "1"]))
    assert found.dtype == np.float32
    assert found.tolist() == [[12, 13], [0, 1]]
    with pytest.raises(DataError, match=r"has the shape \(7, 2\): it has no row for each"):
        read_features(path, pl.Series(["8"]))
    path.write_text("not an array\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_features(path, pl.Series(["1"]))


def test_a_folder_that_was_filled_by_hand(cache):
    folder = cache / "microlens_100k"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"no MicroLens-100k_pairs\.csv or") as caught:
        load("microlens_100k")
    assert "https://recsys.westlake.edu.cn/MicroLens-100k-Dataset/" in caught.value.hint
    assert str(folder) in caught.value.hint
    (folder / "MicroLens-100k_pairs.tsv").write_text(PAIRS_TSV)
    (folder / "MicroLens-100k_title_en.csv").write_text(TITLES)
    log = load("microlens_100k")
    assert log.clock == "order"
    (folder / "MicroLens-100k_pairs.csv").write_text(PAIRS_CSV)
    log = load("microlens_100k")  # the layout with times is preferred
    assert log.clock == "unix"
    assert log.titles is not None
    with pytest.raises(DataError, match="no MicroLens-100k_image_features_CLIPRN50"):
        load_features("microlens_100k", "image", pl.Series(["1"]))
    with pytest.raises(DataError, match="no features of 'image'"):
        load_features("microlens_1m", "image", pl.Series(["1"]))
