import pytest

from okml.chapters import CHAPTERS
from okml.errors import RecordError
from okml.ledger import Control, load_claims, parse_claims

GOOD = """
- id: demo.memory
  text: {en: It takes less memory., ru: Памяти нужно меньше.}
  source: Table 3
  metric: memory_ratio
  expect: {smoke: "< 1.0", gpu: "<= 0.35"}
"""


def test_bars_compare_as_written():
    (claim,) = parse_claims(GOOD, "demo")
    assert claim.meets_bar("smoke", 0.99)
    assert not claim.meets_bar("smoke", 1.0)
    assert claim.meets_bar("gpu", 0.35)
    assert not claim.meets_bar("gpu", float("nan"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  metric: memory_ratio\n", "", "names a metric"),
        ('"< 1.0"', '"below one"', "not a comparison"),
        ("source:", "sauce:", "sauce"),
        ("demo.memory", "other.memory", "other chapters"),
        ("smoke:", "huge:", "huge"),
        (", ru: Памяти нужно меньше.", "", "ru"),
        ("- id", "id", "malformed"),
    ],
)
def test_malformed_claims_are_refused(old, new, message):
    with pytest.raises(RecordError) as caught:
        parse_claims(GOOD.replace(old, new), "demo")
    assert message in str(caught.value)


def test_repeated_ids_are_refused():
    with pytest.raises(RecordError, match=r"repeats the ids demo\.memory"):
        parse_claims(GOOD + GOOD.lstrip("\n"), "demo")


def test_untestable_claims_carry_no_bar():
    text = GOOD + "  untestable: {en: No A/B test here., ru: Здесь нет A/B.}\n"
    with pytest.raises(RecordError, match="untestable claim has no metric"):
        parse_claims(text, "demo")


@pytest.mark.parametrize(
    ("better", "margin", "result", "control", "beaten"),
    [
        ("higher", 0.0, 0.5, 0.4, True),
        ("higher", 0.1, 0.5, 0.45, False),
        ("lower", 0.0, 0.2, 0.3, True),
        ("lower", 0.0, 0.3, 0.3, False),
        ("higher", 0.0, 0.5, float("nan"), False),
    ],
)
def test_a_control_must_be_beaten_by_the_margin(better, margin, result, control, beaten):
    made = Control(
        metric="c", better=better, margin=margin, text={"en": "chance", "ru": "случайность"}
    )
    assert made.beaten_by(result, control) is beaten


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_claims_of_every_chapter_load(chapter):
    claims = load_claims(chapter)
    assert len(claims) >= 5
    assert all(claim.chapter == chapter for claim in claims)
