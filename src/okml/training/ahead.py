"""Many trainings at a time: one on each card of the machine, or one on each core of a CPU.

A training is planned for one card (``okml plan``), and the kernels of one are too small to occupy
several: so each worker process has a card to itself, and takes one training after the other. On a
CPU the kernels of a small network do not occupy several cores either, and a worker has a core. Each
worker saves its trainings in the folder of the run, where the experiment then finds them finished.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from graphlib import TopologicalSorter
from importlib.util import find_spec
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import torch
from threadpoolctl import threadpool_limits

from okml import runlog
from okml.accelerator import cards_of, release_memory, take_card
from okml.errors import ParameterError, ResourceError, TrainingError
from okml.lifeline import WorkerPool, stoppable
from okml.runtime import note_workers, process_peak_gib, progress, usable_cores
from okml.warm import warm_context

Job = TypeVar("Job")
Result = TypeVar("Result")

ENGINE_VARIABLE = "OKML_ENGINE"  # place of the workers, as `okml run --engine` sets it
PER_CARD_VARIABLE = "OKML_PER_CARD"  # workers of a card, as `okml run --per-card` sets it


class Trains(Protocol[Job]):
    """A study that can do each training of its chapter, or load it if it is finished.

    Its class takes the profile and the folder of the run, so that each worker opens its own.
    """

    profile: Any
    run_dir: Path

    @property
    def device(self) -> torch.device:
        """The device of the trainings."""
        ...

    def train(self, job: Job, /) -> object:
        """Return the finished training of a job."""
        ...

    def needs(self, job: Job, /) -> Iterable[Job]:
        """Return the jobs that a job starts from."""
        ...


class Done(NamedTuple):
    """What a worker tells of itself after a job: its name, and its peak memory so far."""

    worker: str
    peak_gib: float


Submit = Callable[[Any], "Future[Done]"]  # gives a job to a worker that has none
Crew = AbstractContextManager[tuple[Submit, int]]  # open workers, and how many


def train_ahead(
    study: Trains[Job], jobs: Iterable[Job], places: Sequence[torch.device] | None = None
) -> None:
    """Train jobs in parallel, and before them all that they start from.

    Where there is one place or one job it does nothing: the experiment trains what it needs.

    Args:
        study: The study of the run, of which each worker opens a copy.
        jobs: The jobs, hashable, in the order in which they shall start.
        places: A device for each worker; None for each card of this machine, or each core.

    Raises:
        Exception: The first exception of a job; the other trainings are saved and stopped.
        TrainingError: If a worker was killed.
    """
    graph = with_needs(study, jobs)
    crew = _crew(study, len(graph), places)
    if crew is None:
        return
    release_memory()  # a worker will share the card with this process
    peaks: dict[str, float] = {}
    with stoppable(), crew as (submit, count):
        finished = in_order(graph, submit, count)
        for number, done in enumerate(progress(finished, "training ahead", len(graph)), 1):
            peaks[done.worker] = done.peak_gib
            runlog.event("jobs", done=number, of=len(graph))
    note_workers(peaks.values())


def with_needs(study: Trains[Job], jobs: Iterable[Job]) -> dict[Job, list[Job]]:
    """Return jobs and all that they need, each once and after its needs, with these needs."""
    graph: dict[Job, list[Job]] = {}

    def add(job: Job) -> None:
        if job not in graph:
            needs = list(study.needs(job))
            for need in needs:
                add(need)
            graph[job] = needs

    for job in jobs:
        add(job)
    return graph


def in_order(
    graph: Mapping[Job, Iterable[Job]], submit: Callable[[Job], Future[Result]], at_once: int
) -> Iterator[Result]:
    """Submit each job once its needs are done, and yield results as they come.

    Args:
        graph: The jobs with their needs; of those that can start, the first starts.
        submit: A function that starts a job.
        at_once: The largest number of jobs that run at a time.
    """
    turn = {job: number for number, job in enumerate(graph)}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[Job] = []
    running: dict[Future[Result], Job] = {}
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=turn.__getitem__)
        while ready and len(running) < at_once:
            job = ready.pop(0)
            running[submit(job)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            result = future.result()
            sorter.done(running.pop(future))
            yield result


def _crew(study: Trains[Any], jobs: int, places: Sequence[torch.device] | None) -> Crew | None:
    """Return at most as many workers as there are jobs; None where one would be alone."""
    open_study: Callable[[Any, Path], Any] = cast(Any, type(study))
    if os.environ.get(ENGINE_VARIABLE) == "ray" and jobs:
        from okml.training.cluster import ray_workers

        folder = study.run_dir.absolute()  # workers are started in other folders
        return ray_workers(partial(open_study, study.profile, folder), folder, study.device, jobs)
    if places is None:
        on_cpu = study.device.type == "cpu"
        cores = [study.device] * usable_cores()
        places = cores if on_cpu else cards_of(study.device) * workers_of_a_card()
    if min(len(places), jobs) < 2:
        return None
    opened = partial(open_study, study.profile, study.run_dir)
    return _local_workers(opened, places[:jobs], open_study.__module__)


def choose_workers(engine: str | None, per_card: int | None) -> None:
    """Let this process and those that it starts spread trainings so; None leaves it as it is.

    Raises:
        ResourceError: If the engine is Ray, which is not installed.
    """
    if engine == "ray" and find_spec("ray") is None:
        raise ResourceError("Ray is not installed.", "Run `pip install 'okml[ray]'` first.")
    if engine is not None:
        os.environ[ENGINE_VARIABLE] = engine
    if per_card is not None:
        os.environ[PER_CARD_VARIABLE] = str(per_card)


def workers_of_a_card() -> int:
    """Return the number of trainings that a card carries at a time.

    It is one unless ``OKML_PER_CARD`` says otherwise. The plan is that of one training, and two may
    not find their memory; each would also take the other's time, which records keep.

    Raises:
        ParameterError: If the variable holds no positive number.
    """
    stated = os.environ.get(PER_CARD_VARIABLE, "1")
    if not stated.isdecimal() or int(stated) < 1:
        raise ParameterError(f"{PER_CARD_VARIABLE} is {stated!r}.", "Set it to a number from 1 on.")
    return int(stated)


@contextmanager
def _local_workers(
    open_study: Callable[[], Any], places: Sequence[torch.device], module: str
) -> Iterator[tuple[Submit, int]]:
    """Open worker processes of this machine, one for each place, which have imported a module."""
    queue = warm_context(module).SimpleQueue()
    for place in places:
        queue.put(str(place))
    given = (queue, len(places), open_study, runlog.place())
    try:
        with WorkerPool(len(places), _start, given, (module,)) as pool:
            yield lambda job: pool.submit(carry_out, job), len(places)
    except BrokenProcessPool:
        raise ended_from_outside() from None


def ended_from_outside() -> TrainingError:
    """Return the error for a worker that was killed."""
    return TrainingError(
        "A process that trained ahead was ended from outside.",
        "Memory may have run out: compare `okml plan` with `okml doctor`. The same run goes on "
        "with what its trainings have saved.",
    )


def _start(places: SimpleQueue[str], workers: int, *given: Any) -> None:
    """Take one of the places, and with it a share of the cores."""
    device = torch.device(places.get())
    start(device, 1 if device.type == "cpu" else max(1, usable_cores() // workers), *given)


_study: Callable[[], Any]  # a worker's study; its first job opens it and would raise the error


def start(
    device: torch.device, threads: int, open_study: Callable[[], Any], place: runlog.Place | None
) -> None:
    """Make this process a worker; it takes its card before anything is built."""
    global _study
    take_card(device)
    torch.set_num_threads(threads)
    runlog.write_to(place)
    # The parent reports progress; lines of several workers would be interleaved.
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the worker lives
    _study = cache(partial(_opened, open_study, threads))


def _opened(open_study: Callable[[], Any], threads: int) -> Any:
    study = open_study()
    # The threads of NumPy's BLAS, which is loaded by now, would spin while they wait for a core.
    threadpool_limits(threads)
    return study


def carry_out(job: Any) -> Done:
    """Do a job with the study of this worker."""
    _study().train(job)
    return Done(f"{socket.gethostname()} {os.getpid()}", process_peak_gib())
