import zipfile

import pytest

from okml.data.logs.lines import read_events
from okml.data.logs.movielens_titles import read_titles
from okml.data.logs.readers import ATOMIC, MOVIELENS
from okml.errors import DataError

U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
RATINGS_CSV = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,0.5,1112484676\n"
INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
    "1m_1\tOne Flew Over the Cuckoo's Nest (1975)\t5\t978300760\r\n"
    '1m_1\t"Great Performances" Cats (1998)\t3\t978302109\r\n'
)


def rows(frame):
    return frame.select("user", "item", "time", "value").rows()


@pytest.mark.parametrize(
    ("layout", "content", "expected"),
    [
        (MOVIELENS, RATINGS_CSV, ("1", "2", 1112486027, 3.5)),
        (ATOMIC, INTER, ("1m_1", "One Flew Over the Cuckoo's Nest (1975)", 978300760, 5.0)),
    ],
)
def test_both_spellings(write, layout, content, expected):
    frame = read_events(write("ratings", content), layout)
    assert rows(frame)[0] == expected
    assert frame.height == content.count("\n") - 1
    assert set(frame["kind"]) == {"rating"}


def test_quotes_are_part_of_a_title(write):
    assert (
        rows(read_events(write("x.inter", INTER), ATOMIC))[1][1]
        == '"Great Performances" Cats (1998)'
    )


def test_rows_keep_the_files_order(write):
    lines = [f"{n % 7},{n},3,{900_000_000 - n}" for n in range(5_000)]
    content = "\n".join([MOVIELENS.header, *lines, ""])
    items = read_events(write("ratings.csv", content), MOVIELENS)["item"].to_list()
    assert items == [str(n) for n in range(5_000)]


def test_ratings_inside_the_published_archive(tmp_path):
    path = tmp_path / "ml-20m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-20m/ratings.csv", RATINGS_CSV + "x,1,3.0,1112486027\n")
    with pytest.raises(DataError, match=r"ml-20m\.zip:ml-20m/ratings\.csv, line 4: the user is no"):
        read_events(path, MOVIELENS, member="ml-20m/ratings.csv")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("22,377,1.0", "does not have 4 fields"),
        ("22,377,1.0,878887116,9", "does not have 4 fields"),
        ("", "does not have 4 fields"),
        ("22,,1.0,878887116", "item is no number"),
        (",377,1.0,878887116", "user is no number"),
        ("22,abc,1.0,878887116", "item is no number"),
        ("22,377,good,878887116", "value is missing or no number"),
        ("22,377,,878887116", "value is missing or no number"),
        ("22,377,nan,878887116", "value is impossible"),
        ("22,377,50,878887116", "value is impossible, it must lie in 0.5 to 5"),
        ("22,377,1.0,yesterday", "time is missing or cannot be read"),
        ("22,377,1.0,87888711", "time is impossible, it must lie in 1995-01-01"),  # a digit short
        ("22,377,1.0,878887116000", "time is impossible"),  # milliseconds
        ("22,377,1.0,-878887116", "time is impossible"),
    ],
)
def test_a_corrupt_line_is_named(write, line, words):
    path = write("ratings.csv", f"{RATINGS_CSV}{line}\n1,2,3.5,1112486027\n")
    with pytest.raises(DataError) as caught:
        read_events(path, MOVIELENS, repair="Repair it.")
    assert caught.value.message.startswith(f"{path}, line 4: ")
    assert words in caught.value.message
    assert repr(line) in caught.value.message
    assert caught.value.hint == "Repair it."


def test_another_data_sets_file_is_recognized_by_its_header(write):
    path = write("ratings.csv", "userId,productId,Rating,timestamp\nA,B,5.0,1365811200\n")
    with pytest.raises(DataError, match="begins with 'userId,productId,Rating,timestamp'"):
        read_events(path, MOVIELENS)
    path = write("ratings.csv", U_DATA)
    with pytest.raises(DataError, match=r"begins with '196\\t242\\t3\\t881250949' instead of"):
        read_events(path, MOVIELENS)


def test_a_file_that_ends_after_its_header(write):
    with pytest.raises(DataError, match="has no events"):
        read_events(write("ratings.csv", f"{MOVIELENS.header}\n"), MOVIELENS)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "movies.csv",
            "movieId,title,genres\n1,Heat (1995),Action|Crime\n",
            ("1", "Heat (1995)", ["Action", "Crime"]),
        ),
        (
            "movies.csv",
            'movieId,title,genres\n11,"American ""P"", The (1995)",(no genres listed)\n',
            ("11", 'American "P", The (1995)', []),
        ),
        (
            "ml-100k.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tToy Story\t1995\tAnimation Children's Comedy\n",
            ("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"]),
        ),
        (
            "ml-1m.item",
            "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\r\n"
            "Toy Story (1995)\tToy Story\t1995\tSci-Fi\r\n",
            ("Toy Story (1995)", "Toy Story (1995)", ["Sci-Fi"]),
        ),
        (
            "odd.item",  # RecBole's 100K has two films without a year
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1412\tLand Before Time III: The Time of the Great Giving (1995)\tV\t"
            "Animation Children's\n",
            (
                "1412",
                "Land Before Time III: The Time of the Great Giving (1995)",
                ["Animation", "Children's"],
            ),
        ),
    ],
)
def test_films_of_both_spellings(write, name, content, expected):
    assert read_titles(write(name, content)).rows() == [expected]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("movieId,title,genres\n1,Heat\n", "line 2: it does not have 3 fields"),
        ("movieId,title,genres\n1,Heat,Action\n\n", "line 3: it does not have 3 fields"),
        ('movieId,title,genres\n1,"Heat,Action\n2,Up,Action\n', "line 2: it does not have 3"),
        ("movieId,title,genres\n1,,Action\n", "line 2: the film's id or title is missing"),
        ("movieId,title,genres\n1,A,B\n1,B,C\n", "line 3: a second line about the film '1'"),
        ("userId,movieId,rating,timestamp\n", "begins with 'userId,movieId,rating,timestamp'"),
    ],
)
def test_corrupt_films(write, content, words):
    with pytest.raises(DataError, match=words):
        read_titles(write("movies.csv", content))
