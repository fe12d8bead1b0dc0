"""Findings: a sentence for each verdict, and numbers from the record alone."""

import re

import pytest
from pydantic import ValidationError

from okml.ledger import Estimate, Outcome, Text, Verdict, load_claims
from okml.ledger.findings import Finding, filled, load_findings

NUMBER = Estimate(values={"0": 0.5}, low=0.4, high=0.6)
LESS = Estimate(values={"0": 0.1}, low=-0.1, high=0.3)
SENTENCES = {
    "holds": {"en": "It holds by {measured}, {difference} more.", "ru": "Да: {measured}."},
    "fails": {"en": "It fails: {measured}.", "ru": "Нет: {measured}."},
    "undecided": {"en": "It is open: {measured}.", "ru": "Не решено: {measured}."},
}


def finding(**changes):
    return Finding.model_validate({"claim": "add.one_step", **SENTENCES, **changes})


def verdict(outcome):
    return Verdict(
        claim="add.one_step", profile="cpu", outcome=outcome, measured=NUMBER, difference=LESS
    )


@pytest.mark.parametrize(
    ("outcome", "start"),
    [
        (Outcome.REPRODUCED, "It holds"),
        (Outcome.DIRECTION_HOLDS, "It holds"),
        (Outcome.IN_SIMULATOR, "It holds"),
        (Outcome.NOT_REPRODUCED, "It fails"),
        (Outcome.UNDECIDED, "It is open"),
    ],
)
def test_the_sentence_is_that_of_the_verdict(outcome, start):
    assert finding().sentence(verdict(outcome)).en.startswith(start)


@pytest.mark.parametrize("outcome", [Outcome.NOT_RUN, Outcome.UNTESTABLE])
def test_nothing_is_found_without_a_run(outcome):
    assert finding().sentence(verdict(outcome)) is None


def test_the_numbers_are_those_of_the_verdict():
    parts = filled(SENTENCES["holds"]["en"], verdict(Outcome.REPRODUCED))
    assert list(parts) == ["It holds by ", NUMBER, ", ", LESS, " more."]


@pytest.mark.parametrize(
    "text", ["It holds.", "It holds by 0.5, {measured}.", "By 5 %: {measured}"]
)
def test_a_sentence_without_a_recorded_number_or_with_a_typed_one_is_refused(text):
    with pytest.raises(ValidationError, match="a sentence has"):
        finding(holds=Text(en=text, ru="Да: {measured}."))


def test_each_finding_of_the_landing_page_rests_on_a_claim_that_can_be_compared():
    findings = load_findings()
    assert 8 <= sum(not each.digest_only for each in findings) <= 12
    assert len({each.claim for each in findings}) == len(findings)
    for each in findings:
        [claim] = [c for c in load_claims(each.claim.partition(".")[0]) if c.id == each.claim]
        used = each.model_dump_json()
        assert claim.control is not None or "{difference}" not in used


def test_no_word_gives_a_number_of_either_sign_a_direction():
    directed = re.compile(r"\b(by|на) \{|\b(adds?|добавляет)\b[^:,.{]* \{|\} раза? больше")
    for each in load_findings():
        for text in (each.fails, each.undecided):
            assert not directed.search(text.en), text.en
            assert not directed.search(text.ru), text.ru
