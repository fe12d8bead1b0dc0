"""Kinds of work to kill: how each is started, what it leaves, and what it must never leave."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import psutil
from safetensors.torch import load_file

from okml.data.download import CHUNK
from okml.errors import OkmlError
from okml.kept.results import LISTING, DamagedError, read_result
from okml.ledger import read_record
from okml.training.checkpoint import CheckpointStore
from tests.device import GPU
from tests.survival import programs, toy

Outcome = dict[str, str]  # by what it is: its hash, or its text
Work = Counter[str]  # units of work by their letter
SERVER_ROLE = "server"  # it hears SIGKILL alone, to outlive those that it has forked


class Scenario(ABC):
    """A program that is killed and started again.

    Attributes:
        name: As the table has it.
        program: Of :mod:`tests.survival.programs`.
        warm: Whether the program may be forked from a process that has imported the libraries.
    """

    name: str
    program: str
    warm = True

    def prepare(self, folder: Path) -> None:
        """Make what the program finds when it starts."""
        folder.mkdir(parents=True)

    def arguments(self, folder: Path) -> list[str]:
        return [str(folder / "run")]

    def command(self, folder: Path) -> list[str]:
        """Return the module to run and what it is given."""
        return ["tests.survival.programs", self.program, *self.arguments(folder)]

    def environment(self, folder: Path) -> dict[str, str]:
        return {}

    def role(self, process: psutil.Process, forks: int) -> str:
        """Say which process of the tree this is.

        Args:
            process: It.
            forks: How many in the line from the command to it have the command line of a server of
                warm processes: servers, and what they have forked.
        """
        return "command"

    @abstractmethod
    def outcome(self, folder: Path) -> Outcome:
        """Return what must be the same whether or not the program was killed."""

    @abstractmethod
    def broken(self, folder: Path) -> list[str]:
        """Return what is half-written where a reader looks, at any time."""

    def left(self, folder: Path) -> Work | None:
        """Return the work that is still to be done, by what is on disk; None: nobody knows."""
        return None

    def litter(self, folder: Path) -> list[str]:
        """Return what should be gone once the program has finished."""
        return [str(path) for path in folder.rglob("*") if is_litter(path)]


def is_litter(path: Path) -> bool:
    name = path.name
    return name.startswith(".") and name not in (".lock", ".locks") and not name.endswith(".lock")


class Fetch(Scenario):
    """Files from a server that is there all the time."""

    name = program = "fetch"

    def __init__(self, address: str) -> None:
        self.address = address

    def arguments(self, folder: Path) -> list[str]:
        return [str(folder / "cache"), self.address]

    def environment(self, folder: Path) -> dict[str, str]:
        return {"OKML_DATA": str(folder / "cache"), "OKML_OFFLINE": "0"}

    def outcome(self, folder: Path) -> Outcome:
        return {name: digest(self._path(folder, name)) for name in programs.FILES}

    def broken(self, folder: Path) -> list[str]:
        paths = {name: self._path(folder, name) for name in programs.FILES}
        return [
            name
            for name, path in paths.items()
            if path.exists() and path.read_bytes() != programs.FILES[name]
        ]

    def left(self, folder: Path) -> Work:
        chunks = 0
        for name, content in programs.FILES.items():
            path = self._path(folder, name)
            part = path.with_name(f"{name}.part")
            here = len(content) if path.exists() else part.stat().st_size if part.exists() else 0
            chunks += -((here - len(content)) // CHUNK)  # rounded up
        return Work(c=chunks)

    def litter(self, folder: Path) -> list[str]:
        parts = [path for path in folder.rglob("*") if path.suffix == ".part"]
        return [str(path) for path in parts]

    def _path(self, folder: Path, name: str) -> Path:
        return folder / "cache" / programs.SET / name


class Training(Scenario):
    """One training in one process."""

    name, program = "training", "train"
    processes = 1

    def outcome(self, folder: Path) -> Outcome:
        return trained(folder / "run")

    def broken(self, folder: Path) -> list[str]:
        return broken_checkpoints(folder)

    def left(self, folder: Path) -> Work:
        return Work(t=self.processes * steps_left(folder / "run"))


class Launch(Training):
    """One training in two processes that torchrun has started."""

    name = "two processes"
    processes = 2
    warm = False  # a process knows its launcher by the command line

    def command(self, folder: Path) -> list[str]:
        options = ["--standalone", "--nproc-per-node", str(self.processes), "-m"]
        return ["torch.distributed.run", *options, *super().command(folder)]

    def environment(self, folder: Path) -> dict[str, str]:
        return {"ACCELERATE_USE_CPU": "true"}

    def role(self, process: psutil.Process, forks: int) -> str:
        return "rank" if "-u" in process.cmdline() else "launcher"


class Ahead(Scenario):
    """A chapter whose trainings go side by side in workers, without its notebook."""

    name, program = "side by side", "ahead"

    def role(self, process: psutil.Process, forks: int) -> str:
        return ("command", SERVER_ROLE, "worker")[forks]

    def outcome(self, folder: Path) -> Outcome:
        return chapter(self.run(folder))

    def broken(self, folder: Path) -> list[str]:
        return broken_run(self.run(folder))

    def left(self, folder: Path) -> Work:
        return steps_to_come(self.run(folder))

    def run(self, folder: Path) -> Path:
        """Return the folder of the run."""
        return folder / "run"


class Steps(Ahead):
    """The same with its trainings one after another, in one process."""

    name, program = "steps", "alone"


class Recording(Steps):
    """A chapter whose steps are all kept, and that makes its record again and again."""

    name = "recording"

    def __init__(self, finished: Path) -> None:
        self.finished = finished  # the folder of a run of Steps

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.finished, folder)

    def arguments(self, folder: Path) -> list[str]:
        return [*super().arguments(folder), "10"]


class Gpu(Ahead):
    """The same on an accelerator, or on the second device of the tests."""

    name = program = "gpu"
    warm = False  # the second device comes before all that is imported

    @staticmethod
    def there() -> bool:
        return GPU.type != "cpu"


class Papermill(Ahead):
    """``okml run``: a command, a kernel, workers that train, and the servers that fork them."""

    name, program = "papermill", "okml"

    def prepare(self, folder: Path) -> None:
        toy.write_notebook(folder)

    def arguments(self, folder: Path) -> list[str]:
        return ["run", "space_time", "--out", str(folder / "out")]

    def environment(self, folder: Path) -> dict[str, str]:
        return {"OKML_ROOT": str(folder)}

    def role(self, process: psutil.Process, forks: int) -> str:
        return ("command", SERVER_ROLE, "kernel", SERVER_ROLE, "worker")[forks]

    def outcome(self, folder: Path) -> Outcome:
        book = nbformat.read(folder / "out" / "space_time.ipynb", as_version=4)
        shown = [cell.get("outputs", []) for cell in book.cells]
        return {**super().outcome(folder), "notebook": json.dumps(shown)}

    def broken(self, folder: Path) -> list[str]:
        executed = folder / "out" / "space_time.ipynb"
        unread = []
        if executed.exists():
            try:
                nbformat.read(executed, as_version=4)
            except Exception as error:  # whatever a reader would meet
                unread.append(f"{executed.name}: {error}")
        return [*unread, *super().broken(folder)]

    def run(self, folder: Path) -> Path:
        """Return the folder of the run."""
        return folder / "out" / "run" / "space_time"


class FirstSite(Scenario):
    """The build of a site where there is none."""

    name = program = "site"

    def prepare(self, folder: Path) -> None:
        programs.write_book(folder)

    def arguments(self, folder: Path) -> list[str]:
        return [str(folder)]

    def role(self, process: psutil.Process, forks: int) -> str:
        return "jupyter-book" if "okml.site.builder" in process.cmdline() else "command"

    def outcome(self, folder: Path) -> Outcome:
        return pages(folder)

    def broken(self, folder: Path) -> list[str]:
        return []

    def litter(self, folder: Path) -> list[str]:
        return [str(path) for path in (folder / "_build").glob(".site.*")]


class Site(FirstSite):
    """The build of a site where there is one already, from pages that have changed."""

    def __init__(self, built: Path) -> None:
        self.built = built  # a checkout whose site is built
        self.last = pages(built)

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.built, folder)
        page = folder / "book" / "page0.md"
        page.write_text(page.read_text() + "\nA new paragraph.\n")

    def broken(self, folder: Path) -> list[str]:
        found = pages(folder)
        new = {name for name, value in found.items() if self.last.get(name) != value}
        changed = "_build/site/book/page0.html" in new
        lost = self.last.keys() - found.keys()
        return [*sorted(lost), *(sorted(new) if new and not changed else [])]


def pages(root: Path) -> Outcome:
    """Return the hashes of a site's pages without what Sphinx writes in no order."""
    found = sorted((root / "_build" / "site").rglob("*.html"))
    return {str(path.relative_to(root)): digest(path) for path in found}


def chapter(run: Path) -> Outcome:
    """Return the numbers of a run of the toy chapter: its record, steps and trainings."""
    record = read_record(run / "record.json")
    frames = [str(pl.read_parquet(path).to_dict()) for path in (run / "steps").rglob("*.parquet")]
    found = {
        "metrics": str(record.metrics),
        "tables": str(record.tables),
        "frames": "\n".join(sorted(frames)),
    }
    for log in sorted((run / "training").rglob("metrics.jsonl")):
        name = str(log.parent.relative_to(run / "training"))
        found |= {f"{name}/{key}": value for key, value in trained(log.parent).items()}
    return found


def trained(folder: Path) -> Outcome:
    """Return the weights of a training's last checkpoint and its numbers."""
    store = CheckpointStore(folder)
    last = store.path(store.steps()[-1])
    weights = {
        path.name: hashlib.sha256(
            b"".join(value.numpy().tobytes() for _, value in sorted(load_file(path).items()))
        ).hexdigest()
        for path in sorted(last.glob("*.safetensors"))
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return {**weights, "step": last.name, "numbers": json.dumps(numbers, sort_keys=True)}


def steps_to_come(run: Path) -> Work:
    """Return the work that a run of the toy chapter has left, by its kept steps and checkpoints."""
    found = Work()
    for step, (letter, amount) in toy.UNITS.items():
        found[letter] = 0 if kept(run / "steps" / step) else amount
    if not kept(run / "steps" / "training"):
        names = enumerate([*toy.JOBS, "alone"])
        folders = [run / "training" / name / f"seed{seed}" for seed, name in names]
        found[toy.TRAINING] = sum(map(steps_left, folders))
    return found


def kept(step: Path) -> bool:
    return any(step.glob(f"[!.]*/{LISTING}"))


def steps_left(folder: Path) -> int:
    """Return the steps that a training has to take after its last checkpoint."""
    return toy.STEPS_OF_A_TRAINING - max(CheckpointStore(folder).steps(), default=0)


def broken_run(run: Path) -> list[str]:
    """Return the parts of a run's folder that are there and cannot be read."""
    found = broken_checkpoints(run)
    found += _unreadable(
        read_result, (path.parent for path in run.glob(f"steps/*/[!.]*/{LISTING}"))
    )
    return found + _unreadable(read_record, run.glob("record.json"))


def broken_checkpoints(folder: Path) -> list[str]:
    found = []
    for checkpoints in folder.rglob("checkpoints"):
        store = CheckpointStore(checkpoints.parent)
        found += _unreadable(store.manifest, store.steps())
    return found


def _unreadable(reader: Any, things: Iterable[Any]) -> list[str]:
    found = []
    for thing in things:
        try:
            reader(thing)
        except (OkmlError, DamagedError) as error:
            found.append(f"{thing}: {error}")
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def server() -> Iterator[str]:
    """Serve the files to fetch, byte ranges included; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = programs.FILES[self.path.strip("/")]
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if start:
                end = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:])

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # the program was killed
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()
