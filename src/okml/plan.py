"""Plans: predictions of a run's memory, disk, data and hours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from pydantic import Field

from okml.data import catalog
from okml.profile import Profile, ProfileName
from okml.runtime import GIB
from okml.settings import Frozen
from okml.training.recent import RECENT

CPU_WORKERS = 2  # processes that train on the two cores of the smaller scales
PROCESS_GIB = 0.52  # interpreter, torch and frames: 0.45 to 0.58 after the first step at smoke
CARD_PROCESS_GIB = 2.0  # a process with a card holds the card's libraries; an estimate
PASSES = 3  # a forward pass, and a backward pass that costs twice as much
ACTIVATIONS = 34  # numbers that a block keeps for a token and a unit of width, as in GPT-2
RANKING_BYTES = 2**26  # a chunk of the scores of a ranking


class LogSize(NamedTuple):
    """The counts of a log, known before it is read."""

    events: int
    items: int
    users: int = 0  # users or sessions; 0 if unknown
    kept: int = 0  # events after the filters
    rows: int = 0  # training rows, or windows, of an epoch
    tests: int = 0  # test rows
    features: int = 0  # features of an item
    days: int = 0  # from first to last event, or periods of a log without dates; 0 if unknown
    exact: bool = True  # whether the numbers were counted; otherwise they are published, or bounds


# Counts of the files; chapters replace those that their protocols change.
LOGS = {
    "ml_100k": LogSize(100_000, 1_682, 943, days=215),
    "ml_1m": LogSize(1_000_209, 3_706, 6_040, days=1_039),
    "ml_20m": LogSize(20_000_263, 26_744, 138_493, days=7_386),
    "ml_25m": LogSize(25_000_095, 59_047, 162_541, days=9_082),
    "ader_yoochoose": LogSize(3_370_578, 25_958, 816_019, days=17),
    "gowalla_merged": LogSize(3_981_334, 1_280_969),
    "amazon_electronics": LogSize(7_824_482, 476_002),
}


class Item(Frozen):
    """One quantity of a plan with its formula."""

    what: str
    value: float
    unit: str
    follows_from: str  # the formula with its numbers
    in_data_folder: bool = False  # whether files are in the data folder, not in the run's
    at_most: bool = False  # whether it is an upper bound, which a run may stay far below

    @classmethod
    def gib(cls, what: str, size: float, why: str, *, in_data_folder: bool = False) -> Self:
        """Return an amount of memory or disk, of a size in bytes."""
        return cls(what=what, value=size / GIB, unit="GiB", follows_from=why,
                   in_data_folder=in_data_folder)  # fmt: skip

    @classmethod
    def hours(cls, what: str, seconds: float, why: str) -> Self:
        """Return a time in seconds."""
        return cls(what=what, value=seconds / 3600, unit="h", follows_from=why)

    @classmethod
    def number(cls, what: str, value: float, why: str, unit: str = "") -> Self:
        """Return a number, such as that of parameters or of rows."""
        return cls(what=what, value=value, unit=unit, follows_from=why)

    @classmethod
    def product(cls, what: str, **factors: float) -> Self:
        """Return an amount that is a product of named factors, bytes among them."""
        formula = " · ".join(f"{value:,} {name}" for name, value in factors.items())
        return cls.gib(what, math.prod(factors.values()), formula.replace("_", " "))

    @classmethod
    def sum(cls, what: str, **sizes: float) -> Self:
        """Return an amount that is a sum of named sizes in bytes."""
        formula = " + ".join(f"{size / GIB:.3g} GiB of {name}" for name, size in sizes.items())
        return cls.gib(what, sum(sizes.values()), formula.replace("_", " "))

    def bounded(self, is_bound: bool = True) -> Self:
        """Return the item, marked as an upper bound if it is one."""
        return self.model_copy(update={"at_most": is_bound})


def sum_of(items: Iterable[Item]) -> float:
    """Return the sum of items of one unit."""
    return sum(item.value for item in items)


class Plan(Frozen):
    """Parameters, memory, disk, data and hours of one chapter at one profile.

    ``gpu_memory_gib``, ``memory_gib`` and ``disk_gib`` are the largest amounts held at one time;
    ``shared_gib`` is the part of the memory in which processes hand each other tensors, which a
    container may bound; ``hours`` assumes the sustained throughput that its item names;
    ``filled_first`` are folders that a person fills before, each with the command that does it.
    On a GPU memory and hours are those of one card; ``jobs`` trainings can be shared out to more,
    and each worker then takes as much memory again. ``disk_bound_gib`` is the part of the disk of
    which only an upper bound is known.
    """

    chapter: str
    profile: ProfileName
    gpu_memory_gib: float
    memory_gib: float
    disk_gib: float
    hours: float
    items: tuple[Item, ...]
    data: tuple[str, ...]  # names of the catalog, of data fetched by hand, or of local folders
    shared_gib: float = 0.0
    filled_first: dict[str, str] = Field(default_factory=dict)
    jobs: int = 1
    disk_bound_gib: float = 0.0

    @classmethod
    def of(
        cls,
        profile: Profile,
        *,
        hours: Sequence[Item],
        device: Sequence[Item],
        disk: Sequence[Item],
        data: Iterable[str],
        beside: Sequence[Item] = (),
        device_gib: float | None = None,
        memory_gib: float | None = None,
        sizes: Sequence[Item] = (),
        first: Sequence[Item] = (),
        shared_gib: float = 0.0,
        filled_first: Mapping[str, str] | None = None,
        jobs: int = 1,
    ) -> Self:
        """Return the plan that items add up to.

        ``device`` is what trainings hold on their device, of which ``device_gib`` is held at one
        time; None: all of it. ``beside`` is what processes hold besides, and ``memory_gib`` is what
        they hold together; None: it follows from the other two. ``sizes`` are what other items
        follow from, such as parameters, and ``first`` is what a person has to do before.
        """
        if device_gib is None:
            device_gib = sum_of(device)
        if memory_gib is None:
            memory_gib = processes_gib(profile, device_gib) + sum_of(beside)
        return cls(
            chapter=profile.chapter,
            profile=profile.name,
            gpu_memory_gib=device_gib if profile.for_gpu else 0.0,
            memory_gib=memory_gib,
            disk_gib=sum_of(disk),
            hours=sum_of(hours),
            items=(*sizes, *hours, *device, *beside, *disk, *first),
            data=tuple(dict.fromkeys(data)),
            shared_gib=shared_gib,
            filled_first=dict(filled_first or {}),
            jobs=jobs,
            disk_bound_gib=sum_of(item for item in disk if item.at_most),
        )


def processes_gib(profile: Profile, device_gib: float) -> float:
    """Return the memory of the process of a run and of its workers, one of them for a card.

    What a training holds on its device is in this memory on a CPU.
    """
    if profile.for_gpu:
        return PROCESS_GIB + CARD_PROCESS_GIB
    return PROCESS_GIB + CPU_WORKERS * (PROCESS_GIB + device_gib)


def training_memory(
    parameters: int, *, copies: int = 4, finished: int, chunk: int, scores: int | None = None
) -> list[Item]:
    """Return what a training holds on its device beside the activations of a step.

    A parameter of the largest training has a gradient and two moments of Adam, and may have a copy
    in a target network. Those of finished trainings are summed over the kinds of trainings, each of
    which keeps its latest ones. A step holds three matrices of scores, of ``chunk`` bytes each; a
    ranking has matrices too. ``scores`` are the bytes of all scores of the largest step or ranking,
    where these may be fewer.
    """
    matrix = max(chunk, RANKING_BYTES)
    return [
        Item.product("weights, gradients and Adam", bytes=4, copies=copies, parameters=parameters),
        Item.product("the latest finished trainings", of_each=RECENT, bytes=4, parameters=finished),
        Item.product("scores of a chunk", matrices=3, bytes=min(matrix, scores or matrix)),
    ]


def over_budget(plan: Plan, profile: Profile) -> list[str]:
    """Return what exceeds the budget of a profile, as sentences; an empty list if the plan fits."""
    budget = profile.budget
    bounds = {
        "minutes": (plan.hours * 60, budget.minutes),
        "GiB of memory": (plan.memory_gib, budget.memory_gib),
        "GiB of disk": (plan.disk_gib, budget.disk_gib),
        "GiB of GPU memory": (plan.gpu_memory_gib, budget.gpu_memory_gib),
    }
    return [
        f"{plan.chapter} plans {planned:,.1f} {what} at {profile.name}; its budget is {bound:g}. "
        "Pick fewer arms, seeds or epochs in config.py."
        for what, (planned, bound) in bounds.items()
        if planned > bound
    ]


def downloads(names: Iterable[str], what: str = "data on disk") -> Item:
    """Return the disk space of entries of the catalog, each counted once."""
    sizes = {name: catalog()[name].bytes or 0 for name in names}
    told = ", ".join(f"{name} {size / GIB:.2f}" for name, size in sizes.items())
    why = f"sizes in the catalog: {told or 'none is needed'}"
    return Item.gib(what, sum(sizes.values()), why, in_data_folder=True)


def reading(events: int, bytes_an_event: int, processes: int = 1) -> Item:
    """Return the memory needed to read the largest log, in each of several processes."""
    factors = {"processes": processes} if processes > 1 else {}
    factors |= {"events": events, "bytes": bytes_an_event}
    return Item.product("the largest log while it is read", **factors)
