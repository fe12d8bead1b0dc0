"""The run of an executed notebook, from its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sphinx.environment import BuildEnvironment

from okml.profile import PROFILE_NAMES, ProfileName
from okml.site import view


@dataclass(frozen=True)
class NotebookRun:
    """The last execution of a notebook, from the metadata that papermill leaves in it."""

    profile: ProfileName
    started: str | None  # UTC, ISO 8601; None for a committed notebook that this build did not run
    seconds: float | None
    failed: bool
    cells: int  # code cells


def notebook_run(env: BuildEnvironment, page: str) -> NotebookRun | None:
    """Return the run behind the page of a notebook; None without such a page.

    A committed notebook counts as ``smoke``.
    """
    path = Path(env.srcdir) / f"{page}.ipynb"
    if not path.exists():
        return None
    notebook = view.notebook(path)
    papermill = notebook["metadata"].get("papermill", {})
    profile = notebook["metadata"].get("okml", {}).get("profile", PROFILE_NAMES[0])
    return NotebookRun(
        profile=profile,
        started=papermill.get("start_time"),
        seconds=papermill.get("duration"),
        failed=bool(papermill.get("exception")),
        cells=sum(cell["cell_type"] == "code" for cell in notebook["cells"]),
    )
