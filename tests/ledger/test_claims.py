import re

import pytest

from okml.chapters import CHAPTERS
from okml.errors import RecordError
from okml.ledger import Bar, Control, load_claims, parse_claims
from okml.paths import repository_root

GOOD = """
- id: demo.memory
  text: {en: It takes less memory., ru: Памяти нужно меньше.}
  source: Table 3
  metric: memory_ratio
  expect: {smoke: "< 1.0", gpu: "<= 0.35"}
"""


@pytest.mark.parametrize(
    ("bar", "allowed", "refused"),
    [
        ("< 1.0", [0.99, -5], [1.0, 2, float("nan")]),
        ("<= 0.35", [0.35], [0.351]),
        ("> -1e-3", [0], [-1e-3]),
        (">= 2", [2], [1.99]),
        ("|x| <= 0.05", [0.05, -0.05, 0], [0.051, -0.051, float("nan")]),
        ("|x| < 0.05", [0.049], [0.05, -0.05]),
        ("in [-0.02, 0.1]", [-0.02, 0.1], [-0.03, 0.11]),
    ],
)
def test_bars_allow_what_they_say(bar, allowed, refused):
    read = Bar.parse(bar)
    assert all(map(read.allows, allowed))
    assert not any(map(read.allows, refused))


def test_a_scale_without_a_bar_of_its_own_has_that_of_any():
    (claim,) = parse_claims(GOOD.replace("smoke:", "any:"), "demo")
    assert [claim.bar(name) for name in ("cpu", "gpu")] == ["< 1.0", "<= 0.35"]
    (claim,) = parse_claims(GOOD, "demo")
    assert claim.bar("cpu") is None


def test_what_a_claim_rests_on_may_differ_by_scale():
    (claim,) = parse_claims(GOOD + "  rests_on: {any: synthetic, gpu: real}\n", "demo")
    assert [claim.basis(name) for name in ("cpu", "gpu")] == ["synthetic", "real"]
    (claim,) = parse_claims(GOOD + "  rests_on: simulator\n", "demo")
    assert claim.basis("gpu") == "simulator"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  metric: memory_ratio\n", "", "names a metric"),
        ('"< 1.0"', '"below one"', "no bar such as"),
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
    ("better", "margin", "gain", "beaten"),
    [
        ("higher", 0.0, 0.1, True),
        ("higher", 0.1, 0.05, False),
        ("lower", 0.0, -0.1, True),
        ("lower", 0.0, 0.0, False),
        ("higher", 0.0, float("nan"), False),
    ],
)
def test_a_control_must_be_beaten_by_the_margin(better, margin, gain, beaten):
    made = Control(
        metric="c", better=better, margin=margin, text={"en": "chance", "ru": "случайность"}
    )
    assert Bar.parse(made.bar).allows(gain) is beaten


def test_a_control_or_none_but_not_both():
    text = GOOD + (
        "  control: {metric: c, text: {en: chance, ru: случайность}}\n"
        "  no_control: {en: Nothing cheap explains it., ru: Дешёвого объяснения нет.}\n"
    )
    with pytest.raises(RecordError, match="has a control, or says why"):
        parse_claims(text, "demo")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_claims_of_every_chapter_load(chapter):
    claims = load_claims(chapter)
    written = (repository_root() / "src/okml" / chapter / "claims.yml").read_text("utf-8")
    assert len(claims) == len(re.findall("^- id: ", written, re.MULTILINE)) > 0
    assert all(claim.chapter == chapter for claim in claims)
    # The name of a metric says too little on the claim's page.
    assert [claim.id for claim in claims if claim.metric and not claim.measures] == []


@pytest.mark.parametrize(
    "text",
    [
        "- [",
        "just text",
        "{a: b}",
        "- 7",
        "- [1]",
        "\x00",
        "[" * 20_000,
        "- id: 1\n  id: [",
        "- {}",
    ],
)
def test_what_is_no_list_of_claims_is_refused(text):
    with pytest.raises(RecordError, match=r"demo/claims\.yml"):
        parse_claims(text, "demo")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_claims_that_cannot_be_read_are_named(tmp_path, monkeypatch, content):
    monkeypatch.setattr("okml.ledger.claims.resources.files", lambda package: tmp_path)
    if content is not None:
        (tmp_path / "claims.yml").write_bytes(content)
    with pytest.raises(RecordError, match=r"claims\.yml cannot be read"):
        load_claims("demo")
