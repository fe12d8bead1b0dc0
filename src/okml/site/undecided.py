"""What would decide an undecided claim, as a sentence for each comparison that is open."""

from __future__ import annotations

from decimal import Decimal

from okml.ledger import ClaimRow
from okml.ledger.deciding import OpenComparison, open_comparisons
from okml.site import view
from okml.site.labels import label_in
from okml.site.language import Lang, numbers_in, word


def what_would_decide(found: ClaimRow, lang: Lang) -> list[str]:
    """Return what a sample larger than that of the largest scale that was run would show.

    Mean and spread are taken to stay the same.
    """
    profile = found.best.profile
    record = view.record(found.claim.chapter, profile) if profile else None
    if record is None:
        return []
    return [_sentence(each, lang) for each in open_comparisons(found.claim, record)]


def _sentence(comparison: OpenComparison, lang: Lang) -> str:
    number, needed = comparison.number, comparison.needed
    counts = (
        (label_in(number.over, lang), number.n, needed.n),
        (word("seeds", lang).lower(), number.seeds, needed.seeds),
    )
    more = [
        word("open.more", lang).format(name, f"{_rounded_up(new):,}", f"{old:,}")
        for name, old, new in counts
        if new > old
    ]
    sentence = word("open.clears" if comparison.clears else "open.misses", lang).format(
        against=word(f"open.{comparison.against}", lang),
        end=word(f"open.{comparison.end}", lang),
        by=f"{Decimal(f'{comparison.by:.2g}'):,f}",
        sample=", ".join(more),
    )
    return numbers_in(sentence, lang)


def _rounded_up(count: int) -> int:
    """Return a count rounded up to two significant digits."""
    step: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
