"""The check that a machine has the resources of a run, before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from okml.accelerator import accelerator, advice
from okml.chapters import chapter
from okml.data import listed
from okml.errors import ResourceError
from okml.kept import trainings_in_use
from okml.ledger import folder_of
from okml.paths import data_roots
from okml.plan import Plan, sum_of
from okml.profile import Profile
from okml.runtime import GIB, environment, free_disk_gib, on_one_disk, used_disk_gib
from okml.training.ahead import workers_of_a_card

CHECKED = ("night", "gpu")  # the smaller profiles fit any machine, and a plan takes seconds
SHARED = Path("/dev/shm")  # where Linux keeps memory that processes share; containers give it 64 MB

Run = tuple[Profile, Path | None]  # settings, and the folder of finished steps; None: the default


class Lack(NamedTuple):
    """What a machine lacks, as a sentence, and whether the run needs it for certain.

    It does not where only the upper bound of an amount exceeds what is here.
    """

    text: str
    certain: bool = True


class Written(NamedTuple):
    """GiB that a run still writes into a folder: by the plan, and without its upper bounds."""

    folder: Path
    planned: float
    certain: float


def shortfalls(plan: Plan, settings: Profile, run_dir: Path | None = None) -> list[str]:
    """Return what this machine lacks for a plan, as sentences; an empty list if it fits.

    ``run_dir`` is the folder of finished steps, by default that of the settings.
    """
    return [lack.text for lack in _lacks(plan, settings, _written(plan, settings, run_dir))]


def workers(plan: Plan, settings: Profile) -> int:
    """Return how many trainings of a plan run at a time on the cards of this machine."""
    if not settings.for_gpu or settings.device == "cpu":
        return 1
    places = len(environment().gpus) * workers_of_a_card()
    return max(1, min(places, plan.jobs))


def require(runs: Iterable[Run], say: Callable[[str], None]) -> None:
    """Refuse large runs that do not fit this machine, each alone and their files together.

    The runs follow one another. Where only an upper bound does not fit, ``say`` gets a warning.

    Raises:
        ResourceError: If they do not fit; it names all shortfalls of the first that does not.
    """
    checked = [(settings, run_dir) for settings, run_dir in runs if settings.name in CHECKED]
    written: list[Written] = []
    for settings, run_dir in checked:
        plan = chapter(settings.chapter).plan(settings)
        own = _written(plan, settings, run_dir)
        ask = f"okml plan {settings.chapter} --profile {settings.name}"
        what = f"what {settings.chapter} takes at {settings.name}"
        _refuse(_lacks(plan, settings, own), what, ask, say)
        written += own
    if len(checked) > 1:
        names = ", ".join(settings.chapter for settings, _ in checked)
        ask = f"okml plan CHAPTER --profile {checked[0][0].name}"
        _refuse(_full_disks(written), f"the disk that {names} take together", ask, say)


def _refuse(lacks: Sequence[Lack], what: str, ask: str, say: Callable[[str], None]) -> None:
    if not lacks:
        return
    listed = "\n".join(f"  - {lack.text}" for lack in lacks)
    if not any(lack.certain for lack in lacks):
        say(f"This machine may lack {what}; bounds are all that is known before it:\n{listed}")
        return
    no_gpu = "" if accelerator() else f"\n{advice()}"
    raise ResourceError(
        f"This machine lacks {what}:\n{listed}",
        f"`{ask}` shows the arithmetic, and `-p` changes the settings; --force starts all the "
        f"same.{no_gpu}",
    )


def _lacks(plan: Plan, settings: Profile, written: Sequence[Written]) -> list[Lack]:
    machine = environment()
    gpu_gib = max((gpu.memory_gib for gpu in machine.gpus), default=0.0)
    count = workers(plan, settings)
    of_all = f" of {count} workers" if count > 1 else ""
    on_card = min(workers_of_a_card(), count)
    amounts = [
        (f"memory{of_all}", count * plan.memory_gib, machine.memory_gib),
        ("memory of one GPU", on_card * plan.gpu_memory_gib, gpu_gib),
    ]
    if SHARED.is_dir():
        shared = free_disk_gib(SHARED)
        amounts.append((f"shared memory{of_all} ({SHARED})", count * plan.shared_gib, shared))
    lacks = [
        Lack(f"{what}: {needed:.1f} GiB needed, {present:.1f} GiB here")
        for what, needed, present in amounts
        if needed > present
    ]
    lacks += _full_disks(written)
    lacks += [
        Lack(f"{found.name}, {found.instruction}")
        for found in filter(None, map(listed, plan.data))
        if found.by_hand and found.state != "here"
    ]
    return lacks + [
        Lack(f"examples in {folder}: `{command}` writes them")
        for folder, command in plan.filled_first.items()
        if not any(Path(folder).glob("*"))
    ]


def _written(plan: Plan, settings: Profile, run_dir: Path | None) -> list[Written]:
    """Return what a run still writes into the data folder and into its own.

    Files of data that any data folder holds, and trainings that the run continues, need no more.
    """
    if run_dir is None:
        run_dir = folder_of(settings, chapter(settings.chapter).profile(settings.name))
    data = sum_of(item for item in plan.items if item.in_data_folder)
    here = sum(found.bytes_here for found in filter(None, map(listed, plan.data))) / GIB
    kept = sum(map(used_disk_gib, trainings_in_use(settings, run_dir)))
    to_fetch, to_write = max(data - here, 0.0), plan.disk_gib - data - kept
    return [
        Written(data_roots()[0], to_fetch, to_fetch),
        Written(run_dir, max(to_write, 0.0), max(to_write - plan.disk_bound_gib, 0.0)),
    ]


def _full_disks(written: Sequence[Written]) -> list[Lack]:
    """Return the file systems that have less free space than is written to them."""
    disks: list[list[Written]] = []
    for each in written:
        own = next((disk for disk in disks if on_one_disk(disk[0].folder, each.folder)), None)
        disks.append([each]) if own is None else own.append(each)
    lacks = []
    for disk in disks:
        planned, certain = sum(each.planned for each in disk), sum(each.certain for each in disk)
        free = free_disk_gib(disk[0].folder)
        if planned > free:
            what = "free disk" if len(disks) == 1 else f"free disk for {disk[0].folder}"
            bound = "at most " if certain < planned else ""
            text = f"{what}: {bound}{planned:.1f} GiB needed, {free:.1f} GiB here"
            lacks.append(Lack(text, certain > free))
    return lacks
