"""The check that a machine has the resources of a run, before it starts."""

from __future__ import annotations

from pathlib import Path

from okml.accelerator import accelerator, advice
from okml.chapters import chapter
from okml.errors import ResourceError
from okml.kept import trainings_in_use
from okml.ledger import folder_of
from okml.paths import data_roots
from okml.plan import Plan
from okml.profile import Profile

CHECKED = ("night", "gpu")  # the smaller profiles fit any machine, and a plan takes seconds


def shortfalls(plan: Plan, settings: Profile, run_dir: Path | None = None) -> list[str]:
    """Return what this machine lacks for a plan of these settings, as sentences.

    Args:
        plan: The plan of the run.
        settings: The settings behind the plan.
        run_dir: The folder of finished steps; None for the settings' default.
    """
    if run_dir is None:
        run_dir = folder_of(settings, chapter(settings.chapter).profile(settings.name))
    return plan.shortfalls(data_roots()[0], run_dir, trainings_in_use(settings, run_dir))


def require(settings: Profile, run_dir: Path | None = None) -> None:
    """Refuse a large run that does not fit this machine.

    Raises:
        ResourceError: If it does not fit; it names all shortfalls.
    """
    if settings.name not in CHECKED:
        return
    lacks = shortfalls(chapter(settings.chapter).plan(settings), settings, run_dir)
    if not lacks:
        return
    no_gpu = "" if accelerator() else f"\n{advice()}"
    raise ResourceError(
        f"This machine lacks what {settings.chapter} takes at {settings.name}:\n"
        + "\n".join(f"  - {lack}" for lack in lacks),
        f"`okml plan {settings.chapter} --profile {settings.name}` shows the arithmetic, and "
        f"`-p` changes the settings; --force starts all the same.{no_gpu}",
    )
