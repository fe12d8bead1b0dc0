"""Numbers inside prose: recorded ones are looked up, typed ones are marked by their source.

Digests, notebooks, guides and ``claims.yml`` may hold three roles:

* ``{measured}`add.fd_ratio@cpu``` is a recorded value with its interval;
* ``{measured}`add.fd-teacher_fd@cpu``` is a recorded difference of a metric and its control;
* ``{paper}`54 %``` and ``{setting}`0.5``` are typed: a figure of a paper, a setting of the run.

A decimal or a percentage outside of them may be a result that someone typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, cast

from okml.errors import RecordError
from okml.ledger.estimates import Estimate
from okml.ledger.records import RunRecord, load_record
from okml.ledger.report import format_estimate
from okml.profile import PROFILE_NAMES, ProfileName

ROLE = re.compile(r"\{(measured|paper|setting)\}`([^`]+)`")
QUOTE = re.compile(
    rf"^([a-z_]+)\.([a-z0-9_]+)(?:-([a-z0-9_]+))?@({'|'.join(PROFILE_NAMES)})(?::(\d))?$"
)
# Parts that are not prose: front matter, code, formulas, roles, addresses of links, names such as
# MovieLens-20M, versions, and the confidence level of all intervals.
NO_PROSE = re.compile(
    r"\A---\n.*?\n---$|```.*?```|\$\$.*?\$\$|\$[^$]+\$|\{[\w:-]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|<[^>]*>"
    r"|(?:Diffusion|SD|Python|torch|CUDA) \d+\.\d+|95\s%|[^\W\d][\w.-]*",
    re.DOTALL | re.MULTILINE,
)
RESULT = re.compile(r"[-−+]?\d+(?:[.,]\d+)?\s?%|[-−+]?\d+(?:\.\d+|,\d{1,2}(?!\d))")


class Quote(NamedTuple):
    """A reference to a recorded number: ``chapter.metric@profile``.

    ``-control`` after the metric selects the paired difference; ``:2`` at the end sets the
    decimals.
    """

    chapter: str
    metric: str
    control: str | None
    profile: ProfileName
    digits: int | None

    @classmethod
    def parse(cls, text: str) -> Quote:
        """Parse a quote.

        Raises:
            RecordError: If the text has another form.
        """
        found = QUOTE.match(text)
        if found is None:
            raise RecordError(
                f"{text!r} is not chapter.metric@profile, with a profile of {PROFILE_NAMES}."
            )
        chapter, metric, control, profile, digits = found.groups()
        decimals = None if digits is None else int(digits)
        return cls(chapter, metric, control, cast("ProfileName", profile), decimals)

    def look_up(self, record: RunRecord) -> Estimate:
        """Return the quoted estimate.

        Raises:
            RecordError: If the record does not have it.
        """
        known = record.metrics if self.control is None else record.differences.get(self.metric, {})
        name = self.metric if self.control is None else self.control
        if name not in known:
            what = "metric " if self.control is None else f"difference of {self.metric!r} and "
            raise RecordError(f"The {self.profile} record of {self.chapter} has no {what}{name!r}.")
        return known[name]


def parts(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield each part of a text: the name of its role, None for plain text, and its content."""
    end = 0
    for found in ROLE.finditer(text):
        if found.start() > end:
            yield None, text[end : found.start()]
        yield found[1], found[2]
        end = found.end()
    if end < len(text):
        yield None, text[end:]


def plain(text: str) -> str:
    """Return a text for a terminal: recorded numbers filled in, marks of typed ones removed.

    Raises:
        RecordError: If a quote is malformed, or a record cannot be read or lacks the number.
    """
    return "".join(
        _filled(Quote.parse(content)) if role == "measured" else content
        for role, content in parts(text)
    )


def _filled(quote: Quote) -> str:
    record = load_record(quote.chapter, quote.profile)
    if record is None:
        return f"(not run at {quote.profile})"
    return format_estimate(quote.look_up(record), quote.digits)


def typed_results(text: str) -> list[str]:
    """Return the decimals and percentages of a Markdown text that no role accounts for."""
    return [found[0].strip() for found in RESULT.finditer(NO_PROSE.sub(" ", text))]
