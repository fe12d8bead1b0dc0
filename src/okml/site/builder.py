"""Jupyter Book's build in several processes, which its command line cannot ask for.

``python -m okml.site.builder STAGE OUTPUT JOBS``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sphinx.builders
from jupyter_book.sphinx import build_sphinx
from sphinx.errors import SphinxParallelError
from sphinx.util.parallel import ParallelTasks

from okml.lifeline import end_with_parent


class Workers(ParallelTasks):  # type: ignore[misc]
    """Sphinx's processes for pages; the build fails if one of them fails or is killed.

    Sphinx itself waits forever for a process that was killed, and leaves out the pages of one that
    fails while others are still at work.
    """

    _failure: Exception | None = None

    def _join_one(self) -> bool:
        try:
            self._name_the_dead()
            try:
                return bool(super()._join_one())
            except EOFError:  # a killed process closes its pipe before it has an exit code
                for each in self._procs.values():
                    each.join(1)
                self._name_the_dead()
                raise
        except Exception as failure:
            self._failure = failure
            raise

    def _name_the_dead(self) -> None:
        if codes := [each.exitcode for each in self._procs.values() if each.exitcode]:
            raise SphinxParallelError(f"A process of the build ended with {codes[0]}.", "")

    def join(self) -> None:
        """Wait for all processes.

        Raises:
            SphinxParallelError: If a process failed or was killed.
        """
        super().join()
        if self._failure is not None:
            raise self._failure


def build(stage: Path, output: Path, jobs: int) -> bool:
    """Build the pages of a stage.

    Args:
        stage: The folder of the staged configuration, pages and notebooks.
        output: The folder for the pages.
        jobs: The number of processes.

    Returns:
        Whether the build ended without an error and without a warning.
    """
    sphinx.builders.ParallelTasks = Workers
    os.register_at_fork(after_in_child=end_with_parent)
    done = build_sphinx(
        stage,
        output,
        noconfig=True,
        path_config=stage / "_config.yml",
        confoverrides={
            "external_toc_path": str(stage / "_toc.yml"),
            "latex_individualpages": False,
            "nitpicky": True,
        },
        warningiserror=True,
        keep_going=True,
        jobs=jobs,
    )
    return bool(done == 0)  # else an exit code or an exception, which is in the log


if __name__ == "__main__":
    stage, output, jobs = sys.argv[1:]
    sys.exit(not build(Path(stage), Path(output), int(jobs)))
