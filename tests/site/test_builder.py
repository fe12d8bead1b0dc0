"""The processes that read and write pages: what they give, and that none is lost."""

import os
import signal
import sys
import time

import pytest
from sphinx.errors import SphinxParallelError

from okml.site.builder import Workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Sphinx forks its processes")


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ValueError("no such page")


def test_each_result_comes_once():
    workers, came = Workers(2), []
    for number in range(5):
        workers.add_task(lambda page: page * page, number, lambda page, square: came.append(square))
    workers.join()
    assert sorted(came) == [0, 1, 4, 9, 16]


def test_a_killed_process_ends_the_build():
    workers = Workers(2)
    workers.add_task(kill_self)
    workers.add_task(time.sleep, 1)
    with pytest.raises(SphinxParallelError, match="ended with -9"):
        workers.join()


def test_a_failure_while_pages_are_handed_out_is_told_in_the_end():
    workers = Workers(2)
    workers.add_task(fail)
    while not all(pipe.poll(0.01) for pipe in workers._precvs.values()):
        pass  # until it has failed
    workers.add_task(time.sleep, 0)
    with pytest.raises(SphinxParallelError, match="no such page"):
        workers.join()
