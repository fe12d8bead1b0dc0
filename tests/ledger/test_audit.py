"""The audit: what each verdict rests on, and all that may be missing."""

import datetime

import pytest

from okml.chapters import CHAPTERS
from okml.errors import RecordError
from okml.ledger import (
    Estimate,
    Outcome,
    Run,
    chapter_rows,
    load_claims,
    load_record,
    parse_claims,
    save_record,
)
from okml.ledger import audit as auditing
from okml.ledger.audit import RECORDED, audit, disagreements
from okml.ledger.staleness import Staleness

CLAIM = """
- id: space_time.quality
  text: {en: It is better., ru: Так лучше.}
  source: Table 1
  metric: quality
  expect: {cpu: "> 0.5"}
  set: 2020-01-01
  rests_on: real
  control: {metric: chance, margin: 0.1, text: {en: chance, ru: случайность}}
"""


def estimate(*values):
    return Estimate(
        values={str(seed): value for seed, value in enumerate(values)},
        low=min(values), high=max(values) + 0.01, n=9, over="names", estimator="by hand",
    )  # fmt: skip


MEASURED, DIFFERENCE = estimate(0.6, 0.7), estimate(0.2, 0.3)


@pytest.fixture
def missing(profile, tmp_path, monkeypatch):
    """Record a run and return what the audit of the claim misses."""
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    monkeypatch.setattr(auditing, "staleness", lambda record: None)
    stated = profile.override({"name": "cpu"})

    def record_and_audit(text=CLAIM, measured=MEASURED, difference=DIFFERENCE, then=CLAIM):
        claims = parse_claims(then, "space_time")
        monkeypatch.setattr("okml.ledger.run.load_claims", lambda _: claims)
        run = Run(stated, "cpu")
        run.measure("quality", measured)
        if difference is not None:
            run.compare("quality", "chance", difference)
        save_record(run.record(1.0), stated, tmp_path / "run")
        monkeypatch.setattr(auditing, "load_claims", lambda _: parse_claims(text, "space_time"))
        record, claim = audit("space_time")
        assert (record.subject, claim.subject) == ("space_time", "space_time.quality")
        return claim.missing

    return record_and_audit


def test_a_whole_claim_misses_nothing_and_says_what_it_rests_on(missing):
    assert missing() == ()
    _, claim = audit("space_time")
    sampled = "over 9 names x 2 seeds (by hand)"
    assert claim.facts[0] == f"quality 0.650 [0.600, 0.710] {sampled}; bar > 0.5"
    assert claim.facts[1].startswith("less chance: 0.250 [0.200, 0.310]")
    assert claim.facts[2].startswith("rests on real; bar set 2020-01-01, run 20")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  set: 2020-01-01\n", "set: when"),
        ("  rests_on: real\n", "rests_on: real"),
        ('  expect: {cpu: "> 0.5"}\n', "a bar for cpu"),
        (CLAIM.splitlines(keepends=True)[-1], "control: what would sink it"),
    ],
)
def test_what_a_claim_does_not_say(missing, line, message):
    text = CLAIM.replace(line, '  expect: {gpu: "> 0.5"}\n' if "expect" in line else "")
    assert any(lack.startswith(message) for lack in missing(text, then=text))


@pytest.mark.parametrize(
    ("measured", "difference", "message"),
    [
        (Estimate(values={"0": 0.6}), DIFFERENCE, "an interval of quality"),
        (Estimate(values={"0": None}), DIFFERENCE, "a value of quality for every seed"),
        (estimate(0.6), estimate(0.2), "one seed's interval covers names alone"),
        (MEASURED, None, "the paired difference of quality and chance"),
        (estimate(0.6, 0.7, 0.7), DIFFERENCE, "chance on all 3 seeds"),
        (MEASURED, Estimate(values={"0": 0.2, "1": 0.2}), "an interval of the differ"),
    ],
)
def test_what_a_run_did_not_measure(missing, measured, difference, message):
    assert any(message in lack for lack in missing(measured=measured, difference=difference))


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("It lost 0.45 of it.", "0.45 typed"),
        ("It lost {measured}`space_time.nothing@cpu`.", "no metric 'nothing'"),
    ],
)
def test_causes_quote_records(missing, cause, message):
    text = f"{CLAIM}  cause: {{cpu: {{en: '{cause}', ru: '{cause}'}}}}\n"
    assert any(message in lack for lack in missing(text))


def test_a_record_may_be_stale_or_of_a_dirty_checkout(missing, monkeypatch):
    missing()
    changed = Staleness(settings=True, code=True, commits=7)
    monkeypatch.setattr(auditing, "staleness", lambda record: changed)
    record, _ = audit("space_time")
    assert "a run of today's settings and code (7 commits to the chapter since)" in record.missing


@pytest.mark.parametrize(
    ("change", "revision", "message"),
    [
        (('"> 0.5"', '"> 0.4"'), 'profile: cpu, from: "> 0.5"', "the bar was '> 0.5'"),
        (('"> 0.5"', '"> 0.4"'), 'from: "> 0.5"', "the bar was"),
        (("quality\n  expect", "other\n  expect"), "what: metric, from: quality", "the metric was"),
        (("0.1,", "0.0,"), "what: control, from: higher than chance by 0.1", "the control was"),
    ],
)
def test_what_changed_after_a_run_needs_a_dated_reason(change, revision, message):
    (then,) = parse_claims(CLAIM, "space_time")
    day = datetime.date(2026, 11, 25)
    stood = then.as_it_stands("cpu")
    assert not list(disagreements(then, "cpu", stood, day))
    text = CLAIM.replace(*change)
    (now,) = parse_claims(text, "space_time")
    (found,) = disagreements(now, "cpu", stood, day)
    assert message in found

    def explained(date, said=revision):
        why = "why: {en: A reason., ru: Причина.}"
        lines = f"  revised:\n    - {{date: {date}, {said}, {why}}}\n"
        (claim,) = parse_claims(text + lines, "space_time")
        return not list(disagreements(claim, "cpu", stood, day))

    assert explained("2026-11-25")
    assert not explained("2026-11-24")  # before the run: about another change
    assert not explained("2026-11-25", revision.replace("from: ", "from: x"))


def test_a_claim_set_before_a_run_is_in_its_record():
    (claim,) = parse_claims(CLAIM, "space_time")
    (lack,) = disagreements(claim, "cpu", None, datetime.date(2020, 1, 2))
    assert "in the record" in lack


@pytest.mark.parametrize("known", [True, False])
def test_bars_are_set_before_a_run(known):
    (claim,) = parse_claims(CLAIM, "space_time")
    stood = claim.as_it_stands("cpu") if known else None
    (lack,) = disagreements(claim, "cpu", stood, datetime.date(2019, 12, 31))
    assert "that of 2019-12-31 came first" in lack


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_claims_are_those_of_the_records_or_say_what_changed(chapter):
    compared = 0
    for profile in RECORDED:
        record = load_record(chapter, profile)
        if record is None or record.schema_version == 1:
            continue
        date = datetime.date.fromisoformat(record.provenance.started[:10])
        for claim in load_claims(chapter):
            if claim.metric in record.metrics:
                stood = record.claims.get(claim.id)
                assert not list(disagreements(claim, profile, stood, date)), claim.id
                compared += 1
    assert compared > 0


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_bar_has_a_date(chapter):
    assert [claim.id for claim in load_claims(chapter) if claim.metric and not claim.set] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_causes_type_no_result(chapter):
    lacks = [lack for claim in load_claims(chapter) for lack in auditing._of_claim(claim)]
    assert [lack for lack in lacks if "cause" in lack] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_does_not_reproduce_names_a_cause_and_nothing_else_does(chapter):
    for row in chapter_rows(chapter):
        failed = {p for p in RECORDED if row.verdicts[p].outcome is Outcome.NOT_REPRODUCED}
        assert set(row.claim.cause) == failed, row.claim.id


def test_a_malformed_revision_is_refused():
    text = f"{CLAIM}  revised: [{{date: soon, from: null, why: {{en: a, ru: a}}}}]\n"
    with pytest.raises(RecordError, match="date"):
        parse_claims(text, "space_time")
