"""Single changes of the recipe of ADD, on the chapter's page."""

from __future__ import annotations

import pytest

from tests.site.conftest import cells, save_benchmark


def curve(*distances: float, ratio: float | None = 500.0, right: float | None = 0.9) -> list[dict]:
    accuracy = {} if right is None else dict.fromkeys(("real_seen", "drawn_seen"), right)
    return [
        {
            "updates": 10 * (place + 1), "fd": fd, "fd_unaveraged": fd + 1.0,
            "gradient_ratio": ratio, "accuracy": accuracy,
        }
        for place, fd in enumerate(distances)
    ]  # fmt: skip


def trial(name: str, title: str, *curves: list[dict]) -> dict[str, object]:
    runs = [{"seed": seed, "seconds": 1.0, "curve": one} for seed, one in enumerate(curves)]
    return {"name": name, "title": title, "changes": {}, "runs": runs}


@pytest.fixture(autouse=True)
def _pages(book):
    book.write_twins("digests/add.md", "# ADD\n\n```{add-trials} add_trials\n```\n")


def test_a_row_has_the_last_distance_over_seeds_the_least_on_the_way_and_what_the_heads_tell(book):
    book.build()
    assert "has not been recorded yet" in book.page("book/digests/add").get_text()
    save_benchmark(
        book, "add_trials", profile="night", settings_sha256="0", images="emoji", networks=[],
        seeds=[0, 1], student_rate=1.0, updates=20, samples=100,
        teacher={"1": [30.0, 32.0], "25": [1.0, 1.0]}, start=[40.0, 42.0],
        trials=[
            trial("recipe", "the recipe", curve(8.0, 10.0), curve(9.0, 12.0)),
            trial(
                "distillation_alone", "no discriminator",
                curve(7.0, 6.0, ratio=None, right=None), curve(7.0, 5.0, ratio=None, right=None),
            ),
        ],
    )  # fmt: skip
    book.build()
    assert book.warnings == ""
    head, one, many, untrained, recipe, alone = map(cells, book.page("book/digests/add")("tr"))
    assert len(head) == 7
    # The standard deviation of two values is their difference over the root of two.
    assert one[:2] == ["the teacher, DDIM steps: 1", "31.00 ± 1.41"]
    assert many[:2] == ["the teacher, DDIM steps: 25", "1.00 ± 0.00"]
    assert untrained[1] == "41.00 ± 1.41"
    assert recipe == ["the recipe", "11.00 ± 1.41", "8.5 after 10", "500", "90 %", "–", "90 %"]
    assert alone[1:] == ["5.50 ± 0.71", "5.5 after 20", "–", "–", "–", "–"]
    light, dark = book.page("book/digests/add")("img", alt=True)
    assert light["alt"] == dark["alt"]
    assert light["alt"].endswith("the dashed line is one step of the teacher, 31.0.")
    russian = [cells(each) for each in book.page("book/ru/digests/add")("tr")]
    assert russian[4][:2] == ["без изменений", "11,00 ± 1,41"]


def test_a_slower_average_has_a_column_and_a_line_where_it_was_taken(book):
    book.write_twins("digests/add.md", "# ADD\n\n```{add-trials} add_trials_long\n```\n")
    slow = [[point | {"fd_slow": fd} for point in curve(8.0, 9.0)] for fd in (2.0, 4.0)]
    save_benchmark(
        book, "add_trials_long", profile="night", settings_sha256="0", images="emoji", networks=[],
        seeds=[0, 1], student_rate=1.0, updates=20, samples=100,
        teacher={"1": [30.0, 32.0]}, start=[40.0, 42.0],
        trials=[trial("recipe", "the recipe", *slow)],
    )  # fmt: skip
    book.build()
    assert book.warnings == ""
    head, one, untrained, recipe = map(cells, book.page("book/digests/add")("tr"))
    assert head[2] == "Averaged over some 200 updates"
    assert {len(each) for each in (head, one, untrained, recipe)} == {8}
    assert recipe[1:4] == ["9.00 ± 0.00", "3.00 ± 1.41", "8.0 after 10"]
    assert "Green lines" in book.page("book/digests/add")("img", alt=True)[0]["alt"]
