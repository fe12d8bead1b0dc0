"""Workers of a Ray cluster: the same trainings, spread over the cards of several machines.

Ray shows each worker its own card alone. All machines need okml, as the same checkout, and the data
folder; and they share the disk of the run's folder, into which workers save their trainings.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from okml import runlog
from okml.errors import ResourceError
from okml.lifeline import GRACE_S
from okml.training.ahead import (
    Done,
    Submit,
    carry_out,
    ended_from_outside,
    start,
    workers_of_a_card,
)

PROBE = ".shared-{}"  # file that shows whether a machine shares the disk of the run's folder


class Worker:
    """A process on a machine of the cluster, made by Ray."""

    def __init__(
        self, device: str, open_study: Callable[[], Any], place: runlog.Place | None
    ) -> None:
        start(torch.device(device), 1, open_study, place)

    def answer(self, folder: Path, probe: str) -> tuple[str, str, int]:
        """Look for the file of the probe and answer beside it; return where this worker is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        if (folder / PROBE.format(probe)).exists():
            (folder / PROBE.format(f"{probe}-{node}-{os.getpid()}")).touch()
        return ray.util.get_node_ip_address(), node, os.getpid()

    def carry_out(self, job: Any) -> Done:
        """Do a job."""
        return carry_out(job)


@contextmanager
def ray_workers(
    open_study: Callable[[], Any], folder: Path, device: torch.device, jobs: int
) -> Iterator[tuple[Submit, int]]:
    """Open workers of a Ray cluster: of ``RAY_ADDRESS``, else of this machine, else a new one.

    Args:
        open_study: A function that makes a study.
        folder: The folder of the run.
        device: The device of the run: workers take cards, or cores where it is a CPU.
        jobs: The largest number of workers that have something to do.

    Raises:
        ResourceError: If the cluster has no card, or a machine does not share the folder.
        TrainingError: If a worker was killed.
    """
    import ray
    import ray.util.scheduling_strategies

    variables = {name: value for name, value in os.environ.items() if name.startswith("OKML_")}
    ray.init(
        runtime_env={"env_vars": variables}, log_to_driver=False, include_dashboard=False,
        ignore_reinit_error=True, logging_level=logging.ERROR,
    )  # fmt: skip
    try:
        kind, each = ("CPU", 1.0) if device.type == "cpu" else ("GPU", 1 / workers_of_a_card())
        count = min(jobs, int(ray.cluster_resources().get(kind, 0) / each))
        if count == 0:
            raise ResourceError(
                f"The Ray cluster has no {kind}.", "Look at `ray status`; start nodes with cards."
            )
        needs = {"num_cpus": 1, "num_gpus": 0 if kind == "CPU" else each}
        place = runlog.place()
        if place is not None:
            place = runlog.Place(place.folder.absolute(), place.step)
        made = ray.remote(Worker).options(**needs)
        actors = [made.remote(device.type, open_study, place) for _ in range(count)]
        places = _check_the_disk(ray, actors, folder)
        yield from _work(ray, actors, places)
    finally:
        ray.shutdown()


def _work(
    ray: Any, actors: list[Any], places: list[tuple[str, str, int]]
) -> Iterator[tuple[Submit, int]]:
    """Yield how jobs reach actors that have none; an exception saves and ends those that have."""
    current: list[Future[Done] | None] = [None] * len(actors)

    def submit(job: Any) -> Future[Done]:
        idle = next(n for n, future in enumerate(current) if future is None or future.done())
        future: Future[Done] = actors[idle].carry_out.remote(job).future()
        current[idle] = future
        return future

    try:
        yield submit, len(actors)
    except BaseException as error:
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        for _, node, process in places:
            there = near(node, soft=False)
            asked = ray.remote(_stop).options(num_cpus=0, scheduling_strategy=there)
            asked.remote(process)
        wait(filter(None, current), GRACE_S)
        if isinstance(error, ray.exceptions.RayActorError):
            raise ended_from_outside() from None
        if isinstance(error, ray.exceptions.RayTaskError):
            raise error.cause from None
        raise


def _stop(process: int) -> None:
    """Let a worker on this machine save its training and end."""
    os.kill(process, signal.SIGTERM)


def _check_the_disk(ray: Any, actors: list[Any], folder: Path) -> list[tuple[str, str, int]]:
    """Return where workers are: address, node and process.

    Raises:
        ResourceError: If a worker does not see the folder, or this process not what it writes.
    """
    probe = uuid4().hex
    asked = folder / PROBE.format(probe)
    asked.touch()
    try:
        places = ray.get([actor.answer.remote(folder, probe) for actor in actors])
        alone = [
            address
            for address, node, process in places
            if not (folder / PROBE.format(f"{probe}-{node}-{process}")).exists()
        ]
    finally:
        for path in folder.glob(PROBE.format(f"{probe}*")):
            path.unlink()
    if alone:
        raise ResourceError(
            f"The folder of the run, {folder}, is not on a disk that {', '.join(alone)} shares.",
            "Name a folder that all machines of the cluster see under the same path, with --out or "
            "--run-dir.",
        )
    return list(places)
