from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from okml import tables
from okml.ledger import Run, estimate_mean, judge, load_claims, load_record
from okml.ledger.claims import parse_claims
from okml.tables import Table, decision_table, settings_table, verdict_table


def cells(table: Table) -> list[list[str]]:
    root = ElementTree.fromstring(table._repr_html_())
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def test_a_table_is_well_formed_with_caption_and_header() -> None:
    table = Table(pl.DataFrame({"a": ["x"], "n": [1]}), "What it shows")
    root = ElementTree.fromstring(table._repr_html_())
    assert root.find("caption").text == "What it shows"
    assert [cell.get("scope") for cell in root.iter("th")] == ["col", "col"]
    assert cells(table) == [["a", "n"], ["x", "1"]]


def test_text_is_escaped() -> None:
    table = Table(pl.DataFrame({"a<b": ["<script>&"]}), "1 < 2 & 3")
    assert "<script>" not in table._repr_html_()
    assert cells(table) == [["a<b"], ["<script>&"]]
    assert ElementTree.fromstring(table._repr_html_()).find("caption").text == "1 < 2 & 3"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12349, "0.123"),
        (12345.678, "12,346"),
        (12.3456, "12.35"),
        (1.0, "1.000"),
        (-7.0, "-7"),
        (math.inf, "inf"),
        (1984, "1984"),
        (39585, "39,585"),
        (-39585, "-39,585"),
        (math.nan, "—"),
        (None, "—"),
        (True, "True"),
    ],
)
def test_how_values_are_written(value: object, shown: str) -> None:
    assert cells(Table(pl.DataFrame({"v": [value]}), "One value"))[1] == [shown]


def test_a_column_has_the_digits_that_its_smallest_number_needs() -> None:
    frame = pl.DataFrame(
        {
            "share": [0.0, 1.0, None],
            "count": [3.0, 23791.0, 0.0],
            "mixed": [0.1234, 123.4, math.nan],
            "large": [23791.5, -432.15, 0.0],
        }
    )
    assert cells(Table(frame, "Four scales"))[1:] == [
        ["0.000", "3", "0.123", "23,791.5"],
        ["1.000", "23,791", "123.400", "-432.1"],
        ["—", "0", "—", "0.0"],
    ]


def test_a_heading_is_written_in_words() -> None:
    assert cells(Table(pl.DataFrame({"standard_error": [0.5]}), "One"))[0] == ["standard error"]


def test_an_interval_stands_behind_its_value() -> None:
    frame = pl.DataFrame(
        {
            "arm": ["ours", "theirs", "nobody's"],
            "gain": [0.1234, -0.5, None],
            "low": [0.02, None, None],
            "high": [0.25678, None, None],
            "seeds": [3, 1, 0],
        }
    )
    assert cells(Table(frame, "Gains", intervals={"gain": ("low", "high")})) == [
        ["arm", "gain", "seeds"],
        ["ours", "0.123 [0.020, 0.257]", "3"],
        ["theirs", "-0.500", "1"],
        ["nobody's", "—", "0"],
    ]


def test_digits_can_be_chosen() -> None:
    assert cells(Table(pl.DataFrame({"v": [0.129]}), "One value", digits=1))[1] == ["0.1"]


def test_numbers_are_aligned_right_and_text_is_not() -> None:
    root = ElementTree.fromstring(Table(pl.DataFrame({"a": ["x"], "n": [1]}), "T")._repr_html_())
    text, number = root.iter("td")
    assert text.get("style") is None
    assert "right" in (number.get("style") or "")


def test_plain_text_has_the_caption_and_the_rows() -> None:
    shown = repr(Table(pl.DataFrame({"a": ["Oslo"]}), "What it shows"))
    assert shown.startswith("What it shows\n")
    assert "Oslo" in shown


def test_settings_are_listed_in_the_order_asked_for() -> None:
    table = settings_table({"a": 1, "b": (1, 2), "c": None}, ["b", "a"], "Settings")
    assert cells(table) == [["setting", "value"], ["b", "(1, 2)"], ["a", "1"]]


def test_verdicts_stand_beside_paper_and_control(
    profile: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = parse_claims(
        """
- id: space_time.good
  text: {en: A, ru: Б}
  source: Table 1
  paper: {value: 0.9, unit: "R²"}
  metric: r2
  expect: {smoke: "> 0.5"}
  control: {metric: control, text: {en: c, ru: c}}
- id: space_time.bad
  text: {en: A, ru: Б}
  source: okml
  metric: gap
  rests_on: real
  expect: {smoke: "< 0.1"}
- id: space_time.later
  text: {en: A, ru: Б}
  source: okml
  metric: gap
  rests_on: real
  expect: {gpu: "< 0.1"}
""",
        "space_time",
    )
    monkeypatch.setattr(tables, "load_claims", lambda chapter: claims)
    run = Run(profile, "cpu")  # type: ignore[arg-type]
    run.measure("r2", estimate_mean(np.repeat([0.6, 0.8], 10), "names"))
    run.log("control", 0.3, exact=True)
    run.log("gap", 0.2, exact=True)
    table = verdict_table(run.record(1.0))
    assert "profile smoke, seeds 0, 1" in table.caption
    assert cells(table) == [
        ["claim", "paper", "bar", "got", "less control", "rests on", "verdict"],
        [
            "space_time.good",
            "0.9 R²",
            "> 0.5",
            "0.700 [0.652, 0.748]",
            "0.400 [0.352, 0.448]",
            "—",
            "direction holds",
        ],
        ["space_time.bad", "—", "< 0.1", "0.200", "—", "real", "not reproduced"],
        ["space_time.later", "—", "—", "0.200", "—", "real", "undecided"],
    ]


def test_every_claim_of_the_chapter_has_a_row(profile: object, tmp_path: Path) -> None:
    table = verdict_table(Run(profile, "cpu").record(1.0))  # type: ignore[arg-type]
    assert table.frame["claim"].to_list() == [claim.id for claim in load_claims("space_time")]
    assert set(table.frame["verdict"]) == {"not run here"}


def test_a_decision_shows_both_intervals_what_seeds_give_to_them_and_the_conditions():
    record = load_record("add", "night")
    (claim,) = (each for each in load_claims("add") if each.id == "add.one_step")
    shown = decision_table(record, "add.one_step")
    number, difference, *conditions = shown.frame.rows(named=True)
    verdict = judge(claim, record)
    assert (number["low"], number["high"]) == verdict.measured.interval
    assert (difference["low"], difference["high"]) == verdict.difference.interval
    assert (number["bar"], difference["bar"]) == ("< 0.6", "< 0")
    # Student's t of four degrees of freedom is 2.776.
    assert number["from seeds"] == pytest.approx(2.776 * number["sd over seeds"] / 5**0.5, rel=1e-3)
    assert all(row["from seeds"] <= row["half width"] * (1 + 1e-9) for row in (number, difference))
    assert [row["number"] for row in conditions] == [
        f"condition: {each.metric}" for each in claim.conditions_at("night")
    ]
    assert shown.caption.startswith("How add.one_step is decided at night: not reproduced.")


def test_a_decision_of_what_was_not_measured_has_blanks():
    (row, *_) = decision_table(load_record("add", "cpu"), "add.other_distillations").frame.rows(
        named=True
    )
    assert {row[name] for name in ("mean", "low", "high", "from seeds", "half width")} == {None}
