"""Jupyter Book's build in several processes, which its command line cannot ask for.

``python -m okml.site.builder STAGE OUTPUT JOBS``
"""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_book.sphinx import build_sphinx


def build(stage: Path, output: Path, jobs: int) -> bool:
    """Build the pages of a stage, warnings fatal, and tell whether all went well."""
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
