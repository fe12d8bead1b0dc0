"""The form in which a model reads a name.

The probe reads one token, the last one. These rules keep that token from being the answer (a
state, a country) or noise (a closing parenthesis, a blank).
"""

from __future__ import annotations

import re

# The first "(X)" of a name, with something in it.
_PARENTHESES = re.compile(r"\(\s*([^()]*?\S)\s*\)")

_NYC_SMALL_WORDS = frozenset({"AND", "OR", "OF", "THE", "A", "AT", "&", "IN", "TO"})
_NYC_ACRONYMS = frozenset(
    {"FDNY", "NYCT", "YMCA", "LGA", "US", "NYC", "PS", "IS", "NYS"}
    | {"UN", "NY", "EMS", "JCC", "NYU", "CC", "NYPD", "NYPA", "DHS"}
)


def region_first(name: str) -> str:
    """Move the region of a place to the front, so that the last token is not the region.

    "Springfield (Illinois)" becomes "Illinois's Springfield". Without parentheses, the part
    after the last comma moves: "Dallas County, Iowa" becomes "Iowa's Dallas County". Outer
    blanks are stripped: the authors' code leaves one where parentheses stood at the end, and
    their probe then reads a blank. A name that is all region or has an empty part is kept.

    Source: Gurnee & Tegmark (2023), world places, and the authors' code.
    """
    name = name.strip()
    if found := _PARENTHESES.search(name):
        region, place = found[1], (name[: found.start()] + name[found.end() :]).strip()
    elif "," in name:
        place, region = (part.strip() for part in name.rsplit(",", 1))
    else:
        return name
    return f"{region}'s {place}" if region and place else name


def creation(creator: str, title: str) -> str:
    """Return "creator's title", with a bare apostrophe after a creator that ends in "s"."""
    creator, title = creator.strip(), title.strip()
    return f"{creator}'{'' if creator.endswith('s') else 's'} {title}"


def nyc_case(name: str) -> str:
    """Give an upper-case name of New York's register its usual capitals.

    Small words become lower case (the first word too, as in the authors' code), acronyms of the
    city's agencies stay, every other word is capitalized; blanks become single.
    """
    return " ".join(_nyc_word(word.upper()) for word in name.split())


def _nyc_word(word: str) -> str:
    if word in _NYC_SMALL_WORDS:
        return word.lower()
    return word if word in _NYC_ACRONYMS else word.capitalize()


def clean_title(title: str) -> str:
    """Strip blanks, a double quote at either end, and final full stops."""
    title = title.strip().removeprefix('"').removesuffix('"').strip()
    return title.rstrip(".").strip()


def with_period(headline: str) -> str:
    """End ``headline`` with a full stop, unless it has one."""
    headline = headline.strip()
    return headline if headline.endswith(".") else f"{headline}."


def without_period(headline: str) -> str:
    """Remove one final full stop."""
    return headline.removesuffix(".").rstrip()
