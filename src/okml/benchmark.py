"""Benchmarks of okml and its peers: measuring in turns, and records of ratios from one run."""

from __future__ import annotations

import gc
import json
import math
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, ParamSpec, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass

from okml.clock import now
from okml.errors import RecordError
from okml.ledger import Estimate, Outcome
from okml.paths import atomic_write
from okml.runtime import Commit, Environment, commit, environment, progress
from okml.settings import Frozen

P = ParamSpec("P")
T = TypeVar("T")
Figures = dict[str, float]  # measured numbers by the keys of their quantities


class PeerComparison(Frozen):
    """One quantity, measured for okml and for a peer in the same run."""

    what: str
    unit: str
    peer: str  # name and version of the library that okml is compared with
    okml_value: float
    peer_value: float
    better: Literal["lower", "higher"] = "lower"
    repeats: int = Field(default=1, ge=1)  # number of alternating measurements of each contestant

    @property
    def ratio(self) -> float:
        """The factor by which okml is better; below 1 it is worse."""
        if self.better == "lower":
            return self.peer_value / self.okml_value
        return self.okml_value / self.peer_value


class Check(Frozen):
    """A check that okml and a peer computed the same result."""

    what: str
    difference: float  # largest absolute difference, relative to the largest value
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


class MachineRecord(Frozen):
    """A record with the time, commit and machine of its measurement."""

    command: ClassVar[str]  # the command that measures it

    started: str  # UTC, ISO 8601
    commit: Commit
    environment: Environment

    @classmethod
    def write(cls, path: Path, **measured: object) -> Self:
        """Write what was measured with the commit and the machine, atomically."""
        record = cls.model_validate(
            {**measured, "started": now(), "commit": commit(), "environment": environment()}
        )
        with atomic_write(path) as handle:
            handle.write(record.model_dump_json(indent=1) + "\n")
        return record

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            RecordError: If the file is damaged or of another form.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise RecordError(
                f"{path} is no recorded benchmark: {error}", f"Run `{cls.command}`."
            ) from None


class BenchmarkRecord(MachineRecord):
    """The output of ``benchmarks/NAME.py --out results/benchmarks/NAME.json``."""

    command = "make bench"

    name: str
    title: str
    what: str  # the task of all contestants, with its sizes
    comparisons: tuple[PeerComparison, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = Field(min_length=1)  # agreement of the contestants' results

    def __str__(self) -> str:
        return "\n".join(f"{one.what}: {one.ratio:.2f}x {one.peer}" for one in self.comparisons)


class Quantity(NamedTuple):
    """A measured quantity: its key in the contestants' figures, its name and its unit."""

    key: str
    what: str
    unit: str
    better: Literal["lower", "higher"] = "lower"


def compare(
    ours: Mapping[str, float],
    peers: Mapping[str, Mapping[str, float]],
    quantities: Sequence[Quantity],
    repeats: int,
) -> tuple[PeerComparison, ...]:
    """Return one comparison for each peer, by its name and version, and each quantity.

    The figures are named by the keys of the quantities, and ``repeats`` is the number of
    alternating measurements of each contestant.
    """
    return tuple(
        PeerComparison(
            what=quantity.what,
            unit=quantity.unit,
            peer=peer,
            okml_value=ours[quantity.key],
            peer_value=figures[quantity.key],
            better=quantity.better,
            repeats=repeats,
        )
        for peer, figures in peers.items()
        for quantity in quantities
    )


def write_benchmark(
    path: Path,
    title: str,
    what: str,
    comparisons: Sequence[PeerComparison],
    checks: Sequence[Check],
) -> BenchmarkRecord:
    """Write a benchmark's record with the commit and the machine it comes from, atomically.

    Raises:
        RecordError: If a check failed: the contestants did not compute the same thing.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        raise RecordError(
            f"{failed[0].what}: the results differ by {failed[0].difference:.3g}, more than "
            f"{failed[0].tolerance:g}; nothing was recorded."
        )
    return BenchmarkRecord.write(
        path, name=path.stem, title=title, what=what, comparisons=comparisons, checks=checks
    )


def parser_of(description: str) -> ArgumentParser:
    """Return the parser of a script's options with ``--out``; the first line describes it."""
    parser = ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the result goes (JSON)")
    return parser


def alone(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Return what a function returns in a new process, whose memory is that of the work alone."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *arguments, **options).result()


def taken(work: Callable[[], T]) -> tuple[T, Figures]:
    """Return what a function returns, with its ``seconds`` and ``cpu_seconds``."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return result, {"seconds": seconds, "cpu_seconds": cpu_seconds}


def taken_with_memory(work: Callable[[], T]) -> tuple[T, Figures]:
    """Return what :func:`taken` does, with the ``memory_gib`` that the work adds; Linux only.

    It is the peak during the work over what the process held before.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
    before = _memory_gib("VmRSS")
    result, figures = taken(work)
    return result, figures | {"memory_gib": _memory_gib("VmHWM") - before}


def _memory_gib(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kib) / 2**20


def medians(rounds: Sequence[Mapping[str, float]]) -> Figures:
    """Return the median of each figure over rounds with the same figures."""
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def in_turns(
    contestants: Mapping[str, Callable[[], T]], repeats: int, warm: int = 0
) -> tuple[dict[str, Figures], dict[str, T]]:
    """Let contestants take turns, so that what else the machine does slows all of them down.

    Libraries load in ``warm`` turns before the ``repeats`` that are measured. Return the medians of
    the figures of :func:`taken`, and what each contestant returned last.
    """
    rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
    last: dict[str, T] = {}
    for turn in progress(range(warm + repeats), "turns"):
        for name, work in contestants.items():
            last[name], figures = taken(work)
            if turn >= warm:
                rounds[name].append(figures)
    return {name: medians(of) for name, of in rounds.items()}, last


def _if_defined(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GpuNumber:
    """A number of ``make gpu-check``, and what stands beside it.

    A number that is undefined, such as a slope of too few points, becomes None: JSON has no NaN.
    """

    what: str
    value: Annotated[float | None, AfterValidator(_if_defined)]
    unit: str
    beside: Annotated[float | None, AfterValidator(_if_defined)] = None
    beside_is: str = ""  # the source of ``beside``, such as "the digest"


class GpuPart(Frozen):
    """A part of ``make gpu-check``, with what it measured before it ended."""

    name: str
    what: str
    seconds: float
    limit_s: float
    failed: str = ""  # why it did not end well; empty if it did
    measured: tuple[GpuNumber, ...] = ()


class GpuCheck(MachineRecord):
    """The output of ``make gpu-check``."""

    command = "make gpu-check"

    tiny: bool  # whether the sizes were the smallest, to try the parts
    parts: tuple[GpuPart, ...] = Field(min_length=1)


class Kills(Frozen):
    """The effect of kills by one signal on one kind of work."""

    work: str
    signal: str
    kills: int = Field(ge=1)
    processes: dict[str, int]  # number of kills of each role in the run
    gone: int  # kills after which no process was left in time
    whole: int  # kills after which nothing was half-written, repeated or left behind
    equal: int  # kills after which the resumed work ended like an uninterrupted one
    slowest_s: float  # longest time from a kill to the end of the last process


class Survival(MachineRecord):
    """The output of ``make kills``."""

    command = "make kills"

    seed: int
    kills: tuple[Kills, ...] = Field(min_length=1)


# The accuracies of the heads that tables show.
HEADS_SHOWN = ("real_seen", "real_unseen", "drawn_seen")


class TrialPoint(Frozen):
    """A training, stopped after some updates of the student."""

    updates: int
    fd: float  # the distance of one step of the averaged student
    fd_unaveraged: float  # that of the student as it is
    fd_slow: float | None = None  # that of an average over some 200 updates; None: none was taken
    # The median, since the point before, of the adversarial gradient over that of weighted
    # distillation; None where one of them is off.
    gradient_ratio: float | None
    # The shares of images that the heads put on the right side of zero: ``real_seen`` and
    # ``drawn_seen`` of training images and of the student's from them, ``real_unseen`` and
    # ``drawn_unseen`` of held-out ones; empty without heads.
    accuracy: dict[str, float]


class TrialRun(Frozen):
    """The training of a trial with one seed."""

    seed: int
    seconds: float
    curve: tuple[TrialPoint, ...] = Field(min_length=1)


class TrialResult(Frozen):
    """A trial with all seeds."""

    name: str
    title: str
    changes: dict[str, JsonValue]
    runs: tuple[TrialRun, ...] = Field(min_length=1)

    def fd(self) -> list[float]:
        """Return the distance after the last update, of each seed."""
        return [run.curve[-1].fd for run in self.runs]

    def fd_slow(self) -> list[float]:
        """Return the same of the slower average; empty where none was taken."""
        found = [run.curve[-1].fd_slow for run in self.runs]
        return [fd for fd in found if fd is not None]

    def nearest(self) -> tuple[int, float]:
        """Return where the mean distance is least, in updates, and this mean.

        It is chosen by the same samples, so it flatters the trial.
        """
        means = [statistics.mean(point.fd for point in at) for at in self._points()]
        best = means.index(min(means))
        return self.runs[0].curve[best].updates, means[best]

    def gradient_ratio(self) -> float | None:
        """Return the median over points and seeds."""
        measured = [point.gradient_ratio for at in self._points() for point in at]
        known = [ratio for ratio in measured if ratio is not None]
        return statistics.median(known) if known else None

    def accuracy(self, name: str) -> float | None:
        """Return one of the accuracies after the last update, mean over seeds."""
        known = [run.curve[-1].accuracy.get(name) for run in self.runs]
        found = [share for share in known if share is not None]
        return statistics.mean(found) if found else None

    def _points(self) -> list[tuple[TrialPoint, ...]]:
        return list(zip(*(run.curve for run in self.runs), strict=True))


class AddTrials(MachineRecord):
    """The output of ``benchmarks/trials/add.py``; values by seed are in the order of ``seeds``."""

    command = "python -m benchmarks.trials.add"

    profile: str
    settings_sha256: str  # of the profile
    images: str
    networks: tuple[str, ...]  # the folders of the kept run that hold them
    seeds: tuple[int, ...] = Field(min_length=1)
    student_rate: float  # the factor on the learning rate of all students
    updates: int
    samples: int  # behind each distance
    teacher: dict[int, tuple[float, ...]]  # the distance of its samples by number of DDIM steps
    start: tuple[float, ...]  # that of one step of the student before its training
    trials: tuple[TrialResult, ...] = Field(min_length=1)

    def reached(self, trial: TrialResult) -> int:
        """Return the most steps of the teacher to which a trial is not behind with any seed.

        It is 0 if even one is nearer to the real images.
        """
        matched = [
            steps
            for steps, teacher in self.teacher.items()
            if all(own <= other for own, other in zip(trial.fd(), teacher, strict=True))
        ]
        return max(matched, default=0)

    def __str__(self) -> str:
        lines = [
            f"{self.images} at {self.profile}, {self.updates} updates, seeds {self.seeds}",
            *(f"teacher, {steps} steps: FD {mean_sd(fd)}" for steps, fd in self.teacher.items()),
            f"student before its training: FD {mean_sd(self.start)}",
            f"{'trial':44} {'FD, 1 step':16} {'least (updates)':18} {'reaches':8} "
            f"{'gradients':10} heads right: real, unseen, drawn",
        ]
        for trial in self.trials:
            at, least = trial.nearest()
            shares = (trial.accuracy(name) for name in HEADS_SHOWN)
            lines.append(
                f"{trial.title:44} {mean_sd(trial.fd()):16} {f'{least:.2f} ({at})':18} "
                f"{self.reached(trial):<8} {_or_dash(trial.gradient_ratio(), '.3g'):10} "
                + ", ".join(_or_dash(share, ".2f") for share in shares)
            )
        return "\n".join(lines)


class UpdateRate(Frozen):
    """What a recommender on a stream finds, if its updates have one factor of the learning rate."""

    order: Literal["file", "drawn"]  # of tied events
    updates: float  # a period
    factor: float
    chosen: bool  # whether the early periods chose this factor
    hr10: tuple[float, ...] = Field(min_length=1)  # by seed, over the served periods


class TieTrial(MachineRecord):
    """The output of ``benchmarks/trials/ties.py``: a chapter with tied events in two orders."""

    command = "python -m benchmarks.trials.ties"

    profile: str
    settings_sha256: str  # of the profile
    file_commit: str  # of the record with the file's order
    log: str
    tied: float  # the share of events that have the second of another event of their user
    draw: int  # the seed of the drawn order
    # Of tied neighbors whose items are so for ten users or more: the share in the order of most.
    one_way: tuple[float | None, float | None]  # in the file's order, and in the drawn one
    # Of retrieval on the frozen base with the first seed, in both orders.
    frozen_ndcg10: tuple[float | None, float | None]
    in_file: dict[str, Estimate]  # the metrics in the file's order
    in_drawn: dict[str, Estimate]  # the same metrics in the drawn order
    outcomes: dict[str, tuple[Outcome, Outcome]]  # of each claim in both orders, the file's first
    rates: tuple[UpdateRate, ...]  # in both orders

    def __str__(self) -> str:
        lines = [f"{self.log} at {self.profile}, {self.tied:.0%} of events tied"]
        lines += [f"{claim}: {file} / {drawn}" for claim, (file, drawn) in self.outcomes.items()]
        return "\n".join(lines)


def extrapolated(less: float, more: float, times: float) -> float:
    """Return a figure for once more ``times`` as much as that for which it is ``more``.

    What grew from ``less`` faster than in proportion is taken to go on as fast, anything else to
    grow in proportion.
    """
    return more * max(times, more / less if less else times)


def two_digits(value: float) -> str:
    """Return a number with two significant digits and no exponent, such as 0.071 or 260."""
    return f"{float(f'{value:.2g}'):,g}"


def mean_sd(values: Sequence[float], digits: int = 2) -> str:
    """Format the mean of values over seeds, with their standard deviation if there are some."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
