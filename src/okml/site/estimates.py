"""Recorded numbers on a page: in tables, and quoted inside texts."""

from __future__ import annotations

from docutils import nodes

from okml.errors import OkmlError
from okml.ledger import Estimate, Text, format_estimate
from okml.ledger.quoting import Quote, parts
from okml.profile import ProfileName
from okml.site import view
from okml.site.labels import label_in
from okml.site.language import Lang, counted, numbers_in, said, word
from okml.site.markup import Child, abbreviation, element, missing, note, tag, with_code


def estimate_in(estimate: Estimate | None, lang: Lang, digits: int | None = None) -> str:
    """Return a number with its interval as the language writes it.

    Args:
        estimate: The number; None is written as an em dash.
        lang: The language.
        digits: The number of decimals; with None, see :func:`okml.ledger.format_estimate`.
    """
    return numbers_in(format_estimate(estimate, digits), lang)


def estimate_node(
    estimate: Estimate, lang: Lang, *about: str, digits: int | None = None
) -> nodes.Node:
    """Return a number with its interval, and its sample and estimator as a tooltip.

    Args:
        estimate: The number.
        lang: The language of the page.
        about: Texts that the tooltip begins with.
        digits: The number of decimals; with None, see :func:`okml.ledger.format_estimate`.
    """
    title = "; ".join(filter(None, (*about, explained(estimate, lang))))
    number, interval, ends = estimate_in(estimate, lang, digits).partition("[")
    shown = abbreviation(number, title, ["okml-number"])
    if interval:  # in a narrow column it stands below the number, in one piece
        shown.append(tag("span", interval + ends, classes=["okml-nowrap"]))
    return shown


def explained(estimate: Estimate, lang: Lang) -> str:
    """Return the unit, sample, estimator and standard deviation of a number as text."""
    if estimate.exact:
        how = word("exact", lang)
    elif estimate.interval is None:
        how = word("bare", lang)
    else:
        how = f"{word('interval', lang)}: {label_in(estimate.estimator, lang)}"
    known = estimate.sd is not None and not estimate.undefined
    spread = f"{word('sd', lang)} {numbers_in(f'{estimate.sd:.3g}', lang)}" if known else ""
    unit = label_in(estimate.unit, lang)
    return "; ".join(filter(None, (unit, sampled(estimate, lang), how, spread)))


def sampled(estimate: Estimate, lang: Lang) -> str:
    """Return the number of units and seeds as text: ``users: 494, seeds: 3``."""
    count = numbers_in(f"{estimate.n:,}", lang)
    counts = [f"{label_in(estimate.over, lang)}: {count}"] if estimate.n else []
    if estimate.seeds:
        counts.append(f"{word('seeds', lang).lower()}: {estimate.seeds}")
    return ", ".join(counts)


def stale_note(chapter: str, profile: ProfileName | None, lang: Lang) -> element | None:
    """Return a note that settings or code have changed since a record was made.

    The result is None if neither has changed, if there is no record, or if the profile is None.
    """
    stale = view.stale_since(chapter, profile) if profile else None
    if stale is None:
        return None
    what = word("stale.settings" if stale.settings else "stale.code", lang)
    count = "" if stale.commits is None else f" ({counted(stale.commits, 'commits', lang)})"
    return note(what, count, classes=["okml-stale"])


def measured_node(text: str, lang: Lang) -> nodes.Node:
    """Return a recorded number, or a note that its scale was not run.

    Args:
        text: A quote of the number; see :class:`okml.ledger.quoting.Quote`.
        lang: The language of the page.

    Raises:
        OkmlError: If the quote is malformed, or the ledger does not have the number.
    """
    quote = Quote.parse(text)
    view.rows(quote.chapter)  # raises for an unknown chapter
    record = view.record(quote.chapter, quote.profile)
    if record is None:
        return missing(word("not_run", lang))
    date = record.provenance.started[:10]
    found = estimate_node(quote.look_up(record), lang, text, date, digits=quote.digits)
    found["classes"] = ["okml-measured"]
    return found


def typed(role: str, text: str, lang: Lang) -> nodes.Node:
    """Return a typed number, with its source as a tooltip.

    Args:
        role: The source: ``paper`` or ``setting``.
        text: The number as it is typed.
        lang: The language of the page.
    """
    return abbreviation(numbers_in(text, lang), word(f"typed.{role}", lang), ["okml-typed"])


def prose(text: Text, lang: Lang) -> list[Child | None]:
    """Return a text of the ledger: the numbers that it quotes filled in, names of code as code.

    Raises:
        OkmlError: If it quotes a number that the ledger does not have.
    """
    return [
        child
        for role, content in parts(said(text, lang))
        for child in (with_code(content) if role is None else [_number(role, content, lang)])
    ]


def _number(role: str, content: str, lang: Lang) -> Child:
    try:
        return measured_node(content, lang) if role == "measured" else typed(role, content, lang)
    except OkmlError as error:
        raise OkmlError(f"A text of the claims quotes what is not there: {error.message}") from None
