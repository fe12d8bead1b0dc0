"""The check that a machine has the resources of a run, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from okml.accelerator import accelerator, advice
from okml.chapters import chapter
from okml.data import listed
from okml.data.inventory import Listed
from okml.errors import ResourceError
from okml.kept import trainings_in_use
from okml.ledger import folder_of
from okml.paths import data_roots
from okml.plan import Plan, sum_of
from okml.profile import Profile
from okml.runtime import GIB, environment, free_disk_gib, on_one_disk, used_disk_gib

CHECKED = ("night", "gpu")  # the smaller profiles fit any machine, and a plan takes seconds
SHARED = Path("/dev/shm")  # where Linux keeps memory that processes share; containers give it 64 MB


def shortfalls(plan: Plan, settings: Profile, run_dir: Path | None = None) -> list[str]:
    """Return what this machine lacks for a plan, as sentences; an empty list if it fits.

    Args:
        plan: The plan of the run.
        settings: The settings behind the plan.
        run_dir: The folder of finished steps; None for the settings' default.
    """
    if run_dir is None:
        run_dir = folder_of(settings, chapter(settings.chapter).profile(settings.name))
    machine = environment()
    gpu_gib = max((gpu.memory_gib for gpu in machine.gpus), default=0.0)
    data = [found for found in map(listed, plan.data) if found is not None]
    amounts = [
        ("memory", plan.memory_gib, machine.memory_gib),
        *_disks(plan, data, run_dir, trainings_in_use(settings, run_dir)),
        ("memory of one GPU", plan.gpu_memory_gib, gpu_gib),
    ]
    if SHARED.is_dir():
        shared = free_disk_gib(SHARED)
        amounts.append((f"shared memory ({SHARED})", plan.shared_gib, shared))
    lacks = [
        f"{what}: {needed:.1f} GiB needed, {present:.1f} GiB here"
        for what, needed, present in amounts
        if needed > present
    ]
    to_bring = [found for found in data if found.by_hand and found.state != "here"]
    lacks += [f"{found.name}, {found.instruction}" for found in to_bring]
    return lacks + [
        f"examples in {folder}: `{command}` writes them"
        for folder, command in plan.filled_first.items()
        if not any(Path(folder).glob("*"))
    ]


def _disks(
    plan: Plan, data: Sequence[Listed], run_dir: Path, kept: Sequence[Path]
) -> list[tuple[str, float, float]]:
    """Return the name, the GiB still needed and the free GiB of each file system.

    Files of data that any data folder holds, and trainings that the run continues, need no more.
    """
    data_dir = data_roots()[0]
    whole = sum_of(item for item in plan.items if item.in_data_folder)
    to_fetch = max(whole - sum(found.bytes_here for found in data) / GIB, 0.0)
    to_write = max(plan.disk_gib - whole - sum(map(used_disk_gib, kept)), 0.0)
    if on_one_disk(data_dir, run_dir):
        return [("free disk", to_fetch + to_write, free_disk_gib(data_dir))]
    return [
        (f"free disk for {data_dir}", to_fetch, free_disk_gib(data_dir)),
        (f"free disk for {run_dir}", to_write, free_disk_gib(run_dir)),
    ]


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
