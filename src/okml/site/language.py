"""The two languages of the book: the language of a page, and words and numbers in either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from babel import Locale

from okml.ledger import Text
from okml.yaml_text import parse_yaml

Lang = Literal["en", "ru"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)
RUSSIAN_PAGES = "book/ru/"
NOTEBOOK_PAGES = "notebooks/"

_LISTED = parse_yaml(Path(__file__).with_name("words.yml").read_text("utf-8"))
_WORDS: Mapping[str, Mapping[Lang, str]] = _LISTED["words"]
_COUNTED: Mapping[str, Mapping[Lang, Mapping[str, str]]] = _LISTED["counted"]
_THEME: Mapping[str, str] = _LISTED["theme"]
_PLACES: Mapping[str, str] = _LISTED["places"]
_BEFORE_VERSION = "".join(f"(?<!{name} )" for name in ("BY", "SD", "Diffusion", "Python", "torch"))
# A number as Python formats it, which is no part of a name, an address, a range, a date, a version
# or a tuple of one.
_NUMBER = (
    rf"{_BEFORE_VERSION}(?<![\w.,:@/+-])"
    r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?(?![.,]?\d|,\)|/)"
)
_LIST = re.compile(rf"{_NUMBER}(?:, {_NUMBER})*")
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def page_language(docname: str) -> Lang:
    """Return the language of a page by its path."""
    return "ru" if docname.startswith(RUSSIAN_PAGES) else "en"


def twin(docname: str) -> str:
    """Return the name of the same page in the other language, whether or not it exists."""
    if page_language(docname) == "en":
        return RUSSIAN_PAGES + docname.removeprefix("book/")
    name = docname.removeprefix(RUSSIAN_PAGES)
    return name if name.startswith(NOTEBOOK_PAGES) else f"book/{name}"


def in_language(docname: str, lang: Lang) -> str:
    """Return the name of a page in a language, whether or not it exists."""
    return docname if page_language(docname) == lang else twin(docname)


def other(lang: Lang) -> Lang:
    """Return the other language."""
    return "en" if lang == "ru" else "ru"


def word(key: str, lang: Lang) -> str:
    """Return one of the site's own words or phrases, by its key in ``words.yml``.

    Raises:
        KeyError: If the key is not listed.
    """
    return _WORDS[key][lang]


def words(lang: Lang, *keys: str) -> list[str]:
    """Return some of the site's own words, such as the titles of columns, by their keys."""
    return [word(key, lang) for key in keys]


def place_in_paper(source: str, lang: Lang) -> str:
    """Return the source of a claim, such as ``Table 2``, in the words of a language."""
    if lang == "en":
        return "added by us" if source == "okml" else source
    return re.sub(r"[A-Za-z]+", lambda found: _PLACES.get(found[0], found[0]), source)


def theme_word(text: str, lang: Lang) -> str:
    """Return a text of the theme in a language, or unchanged without a translation."""
    return _THEME.get(text, text) if lang == "ru" else text


def counted(n: int, key: str, lang: Lang) -> str:
    """Return a number with the plural form of its noun that the language requires.

    English has two forms; Russian has three: 1 ядро, 2 ядра, 5 ядер, but 11 ядер, 21 ядро.

    Args:
        n: The number.
        key: The key of the noun among those that ``words.yml`` lists as counted.
        lang: The language.
    """
    return f"{n} {_COUNTED[key][lang][Locale(lang).plural_form(n)]}"


def said(text: Text, lang: Lang) -> str:
    """Return a bilingual text in one language."""
    return text.ru if lang == "ru" else text.en


def numbers_in(text: str, lang: Lang) -> str:
    """Return a text whose numbers, as Python formats them, are written as in a language.

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
