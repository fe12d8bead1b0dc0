"""The current time in the format of records."""

from __future__ import annotations

import datetime as dt


def now() -> str:
    """Return the current time in UTC, to the second, as ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
