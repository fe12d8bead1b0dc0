"""Numbers as the language of a page writes them: ``-1,234.5`` is ``−1234,5`` in Russian."""

from __future__ import annotations

import re

from okml.site.language import Lang

_BEFORE_VERSION = "".join(f"(?<!{name} )" for name in ("BY", "SD", "Diffusion", "Python", "torch"))
# A number as Python formats it, which is no part of a name, an address, a range, a date, a version
# or a tuple of one.
_NUMBER = (
    rf"{_BEFORE_VERSION}(?<![\w.,:@/+-])"
    r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?(?![.,]?\d|,\)|/)"
)
_LIST = re.compile(rf"{_NUMBER}(?:, {_NUMBER})*")
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def numbers_in(text: str, lang: Lang) -> str:
    """Return a text with the numbers that Python has formatted in it as a language writes them.

    Russian has a comma before the decimals, so a semicolon stands between two such numbers, and
    spaces in integers of five digits or more. A text must not be passed twice.
    """
    return text if lang == "en" else _LIST.sub(_russian_list, text)


def _russian_list(found: re.Match[str]) -> str:
    apart = "; " if "." in found[0] else ", "
    return apart.join(map(_russian, found[0].split(", ")))


def _russian(number: str) -> str:
    whole, point, decimals = number.partition(".")
    spaced = whole.replace(",", NO_BREAK_SPACE if len(whole.lstrip("+-")) > len("9,999") else "")
    return re.sub("^-", "−", spaced) + point.replace(".", ",") + decimals
