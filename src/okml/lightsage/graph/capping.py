"""The cap on users of an item, without which one item of 10^6 users has 5·10^11 pairs.

A hash of user and item selects the users, so that every engine keeps the same ones and no user is
favored at all items. The hash uses 64-bit products that cannot overflow (an error in Spark),
because all factors are below the prime 2^31 - 1.
"""

from __future__ import annotations

from typing import Any

PRIME = 2**31 - 1
USER_FACTOR, ITEM_FACTOR, SHIFT = 1_103_515_245, 1_664_525_573, 1_013_904_223


def place(user: Any, item: Any) -> Any:
    """Return the hash by which the users of an item are ordered, with ties by user.

    The arguments are 64-bit integers with ``*``, ``+`` and ``%``: polars and ibis expressions,
    NumPy arrays or ints.
    """
    mixed = (user % PRIME * USER_FACTOR + item % PRIME * ITEM_FACTOR) % PRIME
    # Without the square, the orders of all items would differ by a rotation only.
    return mixed * ((mixed + SHIFT) % PRIME) % PRIME
