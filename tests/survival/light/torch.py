"""Takes torch's place in trees of processes that compute nothing, since its import takes seconds.

The server of warm processes imports it, and each process of a tree may start a server.
"""

from types import SimpleNamespace

version = SimpleNamespace(hip=None)


class Tensor:
    """A name for annotations."""


def set_num_threads(number: int) -> None:
    """Do nothing, since there are no threads."""
