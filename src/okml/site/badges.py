"""Verdicts as small badges of a shape, a label, and a color that repeats the label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from okml.ledger import LABELS, Outcome, Verdict
from okml.site.language import Lang, said
from okml.site.markup import Child, element, tag


def outcome_class(outcome: Outcome) -> str:
    """Return the CSS class of an outcome: ``okml-direction-holds``."""
    return "okml-" + outcome.value.replace(" ", "-")


def icon(outcome: Outcome) -> element:
    """Return the shape of an outcome, without text, since the label beside it says the same."""
    return tag(
        "span",
        classes=["okml-icon", outcome_class(outcome)],
        attrs={"aria-hidden": "true"},
    )


def badge(
    outcome: Outcome, lang: Lang, *more: Child | None, prefix: Child | None = None
) -> element:
    """Return the badge of an outcome: shape and label, with more text after or before it."""
    label = tag("span", said(LABELS[outcome], lang), classes=["okml-label"])
    classes = ["okml-badge", outcome_class(outcome)]
    return tag("span", prefix, icon(outcome), label, *more, classes=classes)


def verdict_badge(verdict: Verdict, lang: Lang) -> element:
    """Return the badge of a verdict with the scale it comes from: ``direction holds · cpu``."""
    scale = verdict.profile if verdict.outcome is not Outcome.NOT_RUN else None
    return badge(verdict.outcome, lang, f" · {scale}" if scale else None)


def counts(verdicts: Iterable[Verdict]) -> dict[Outcome, int]:
    """Return the number of verdicts with each outcome, 0 for an outcome that none has."""
    found = Counter(verdict.outcome for verdict in verdicts)
    return {outcome: found[outcome] for outcome in Outcome}


def count_badges(verdicts: Iterable[Verdict], lang: Lang) -> list[Child]:
    """Return a badge with a number for each outcome that occurs, and a space after each."""
    badges = (
        badge(outcome, lang, prefix=tag("span", str(count), classes=["okml-count"]))
        for outcome, count in counts(verdicts).items()
        if count
    )
    return spaced(badges)


def spaced(parts: Iterable[Child]) -> list[Child]:
    """Put a space after each part, so that a screen reader does not run them together."""
    return [each for part in parts for each in (part, " ")]
