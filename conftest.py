"""What all runs of pytest share: workers for the machine, the order of files, and marks."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter

import pytest

GIB_A_WORKER = 3  # what the largest tests take

gc.disable()  # until all is imported, a fifth of whose time it would take
# A shell lets programs in the background ignore SIGINT, which tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.fsync = lambda handle: None  # no test loses power; the real one takes milliseconds, each time


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of ``-n auto``: one a core this process may use; of one, none."""
    from okml.runtime import allotted_cores, total_memory_gib

    workers = min(allotted_cores(), int(total_memory_gib() // GIB_A_WORKER))
    return workers if workers > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run is not for, and start with the files that take longest.

    They are those with most slow tests, and of the others the largest: then no long file is the
    last one, for which all workers but its own would wait.
    """
    marks = {item: {mark.name for mark in item.iter_markers()} for item in items}
    if "nightly" not in config.option.markexpr:
        later = [item for item in items if "nightly" in marks[item]]
        items[:] = [item for item in items if "nightly" not in marks[item]]
        config.hook.pytest_deselected(items=later)
    if on_gpu := [item for item in items if "gpu" in marks[item]]:
        from tests.device import GPU  # not for pytest in a process of a test, whose time it takes

        for item in on_gpu if GPU.type == "cpu" else ():
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
    if "OKML_FILES_AS_GIVEN" not in os.environ:  # which tests.tools.shake sets for another order
        slow = Counter(item.path for item in items if "slow" in marks[item])
        size = {path: path.stat().st_size for path in {item.path for item in items}}
        items.sort(key=lambda item: (-slow[item.path], -size[item.path]))


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of all garbage collections, which would take 0.3 s each."""
    gc.freeze()
    gc.enable()
