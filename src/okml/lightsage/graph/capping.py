"""The cap on users of an item: without it one item of 10^6 users makes 5·10^11 pairs.

Which users stay is decided by a hash of user and item, so that every engine keeps the same ones and
no user is favored at all items. The hash is built from 64-bit products that cannot overflow (Spark
treats an overflow as an error): all factors are below the prime 2^31 - 1.
"""

from __future__ import annotations

from typing import Any

PRIME = 2**31 - 1
USER_FACTOR, ITEM_FACTOR, SHIFT = 1_103_515_245, 1_664_525_573, 1_013_904_223


def place(user: Any, item: Any) -> Any:
    """Return the hash that users of an item are ordered by, ties by user.

    Works on whatever has ``*``, ``+`` and ``%`` on 64-bit integers: polars and ibis expressions,
    NumPy arrays, ints.
    """
    mixed = (user % PRIME * USER_FACTOR + item % PRIME * ITEM_FACTOR) % PRIME
    # Without the square, all items would order their users alike but for where they start.
    return mixed * ((mixed + SHIFT) % PRIME) % PRIME
