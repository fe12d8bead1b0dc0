"""Execution of the chapters by papermill, with checked parameters and one kernel each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode

from okml.accelerator import accelerator
from okml.chapters import CHAPTERS, Chapter
from okml.errors import BusyError, OkmlError, ParameterError
from okml.kernels import start_warm
from okml.ledger import folder_of
from okml.lifeline import end_children, stoppable
from okml.locks import held
from okml.paths import atomic_write, build_dir, writable
from okml.profile import Profile
from okml.runtime import total_memory_gib, usable_cores

START_TIMEOUT_S = 600  # the first kernel imports the libraries, on a busy machine for a minute
CELL_TIMEOUT_S = 24 * 3600  # limit for a hung kernel
STOPPED = ("SystemExit", "KeyboardInterrupt")  # exceptions that a signal raises in a cell
NO_TIMEOUT = ("night", "gpu")  # a cell may take days; a dead kernel is detected without a limit
PARAMETERS = {"profile", "overrides", "run_dir"}  # what a run sets; `seed` is for readers
OWN_METADATA = "okml"
INJECTED = "injected-parameters"  # papermill's tag of the cell with the parameters of a run
RUSSIAN = "ru"  # a cell's metadata holds its words in Russian, see `okml.site.translation`
# Errors of nbformat for a file that cannot be read, or is no JSON, or JSON of another schema.
NOT_A_NOTEBOOK = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
    nbformat.ValidationError,
)  # fmt: skip
# Sources that do not affect the output of a notebook.
NOT_SHOWN = (
    "site", "cli.py", "console.py", "run.py", "code_key", "kept", "notebooks.py", "benchmark.py",
    "resources.py", "lifeline.py", "locks.py", "runlog.py", "status.py", "kernels.py", "warm.py",
    "warm_server.py",
)  # fmt: skip
# Lines of `okml.steps.announced` and `okml.kept`, which depend on kept results and on the machine.
PROGRESS = re.compile(r"^(?:.+(?: …|: \d+\.\d s)|kept: .+)\n", re.MULTILINE)


class NotebookError(OkmlError):
    """A chapter whose cells did not all run."""


@dataclass(frozen=True)
class NotebookJob:
    """One notebook to execute, with its checked parameters and the resulting settings."""

    chapter: Chapter
    settings: Profile
    parameters: Mapping[str, Any]
    output: Path
    folder: Path  # of finished steps

    @property
    def notebook(self) -> Path:
        """The path of the notebook."""
        return self.chapter.notebook.with_name(self.output.name)

    @property
    def name(self) -> str:
        """The name of the notebook."""
        return self.output.stem

    @property
    def key(self) -> str:
        """A hash of all that determines the outputs: code, notebook and parameters.

        A notebook's outputs and counters do not count.
        """
        cells = [
            (cell.cell_type, cell.source, cell.metadata.get("tags", []))
            for cell in read_notebook(self.notebook).cells
        ]
        parts = (
            code_hash(self.chapter.name),
            hashlib.sha256(json.dumps(cells).encode()).hexdigest(),
            json.dumps(dict(self.parameters), sort_keys=True),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises:
        NotebookError: If the file is not a notebook.
    """
    try:
        found = nbformat.read(path, as_version=4)
        nbformat.validate(found)
    except NOT_A_NOTEBOOK as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise NotebookError(f"{path} is no notebook: {reason}.") from None
    return found


@cache
def code_hash(chapter: str) -> str:
    """Return the SHA-256 of the sources behind the output of the notebook of ``chapter``.

    Comments count, unlike in the key of a kept step, since a notebook shows source code. Other
    chapters' packages do not count.
    """
    root = Path(__file__).parent
    left_out = {*NOT_SHOWN, *CHAPTERS} - {chapter}
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[0] not in left_out:
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def prepare(
    chapter: Chapter,
    profile: str,
    changes: Mapping[str, str],
    out: Path | None = None,
    run_dir: Path | None = None,
    notebook: Path | None = None,
) -> NotebookJob:
    """Check the parameters of a run before it starts.

    ``changes`` are ``-p name=value`` pairs, and ``out`` is the folder for the executed notebook,
    which is the chapter's first if none is given. The folder of finished steps is ``run_dir``, or
    else ``run/CHAPTER`` in ``out``, or else the default.

    Raises:
        ParameterError: If a name is unknown, a value does not fit, nothing can be written to a
            folder, or the notebook would not take a parameter, of which papermill only warns.
        NotebookError: If the chapter's notebook cannot be read.
    """
    notebook = notebook or chapter.notebook
    settings = chapter.profile(profile, changes)
    read_notebook(notebook)  # raises if it is none
    try:
        named = set(papermill.inspect_notebook(str(notebook)))
    except ValueError as error:  # unknown language
        raise NotebookError(f"{notebook} cannot be run: {error}") from None
    if lacking := sorted(PARAMETERS - named):
        raise ParameterError(
            f"{notebook} has no parameter called {' or '.join(lacking)}.",
            "One cell has the tag 'parameters' and assigns profile, seed, overrides and run_dir.",
        )
    parameters: dict[str, Any] = {"profile": profile}
    if changes:
        parameters["overrides"] = dict(changes)
    if run_dir is None and out is not None:
        run_dir = out / "run" / chapter.name  # of its own, since the steps of chapters share names
    steps = folder_of(settings, chapter.profile(profile))
    if run_dir is not None:
        # Relative paths refer to this process's folder, but the kernel runs in the notebook's.
        steps = run_dir.absolute()
        parameters["run_dir"] = str(steps)
    folder = build_dir() / "notebooks" / profile
    if len(parameters) > 1:  # a trial must not replace the run that the site shows
        text = json.dumps(parameters, sort_keys=True)
        folder = folder.with_name(f"{profile}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    if out is not None:
        folder = writable(out)
    if run_dir is not None:
        writable(run_dir)
    return NotebookJob(chapter, settings, parameters, folder / notebook.name, steps)


def prepare_all(
    chapter: Chapter,
    profile: str,
    changes: Mapping[str, str],
    out: Path | None = None,
    run_dir: Path | None = None,
) -> list[NotebookJob]:
    """Return the jobs of a chapter's notebooks; arguments and errors as in :func:`prepare`."""
    return [prepare(chapter, profile, changes, out, run_dir, path) for path in chapter.notebooks]


def is_current(job: NotebookJob) -> bool:
    """Tell whether the executed notebook has the key of the current code and parameters."""
    if not job.output.exists():
        return False
    try:
        metadata = read_notebook(job.output).metadata
    except NotebookError:
        return False  # truncated or edited: execute again
    failed = metadata.get("papermill", {}).get("exception")
    return metadata.get(OWN_METADATA, {}).get("key") == job.key and not failed


@contextmanager
def reserved(jobs: Sequence[NotebookJob], say: Callable[[str], object]) -> Iterator[None]:
    """Lock the outputs of jobs, and check that no other process uses their run folders.

    The run folders are only checked: the kernels lock them later.

    Raises:
        BusyError: If another process writes one of the notebooks, or runs in one of the folders.
    """
    with ExitStack() as stack:
        for job in sorted(jobs, key=lambda job: job.output):  # a fixed order avoids deadlock
            lock = f".{job.output.name}.lock"
            stack.enter_context(held(job.output.parent, lock, say=say))
            with held(job.folder, say=say):
                pass
        yield


def execute(job: NotebookJob) -> None:
    """Execute one notebook and store the job's key in the result.

    Raises:
        NotebookError: If a cell fails or takes too long, the kernel dies, or a file cannot be
            written; what was executed so far is kept beside the output.
    """
    partial = job.output.with_suffix(".partial.ipynb")
    with _explained(job, f"The executed part is kept in {partial}."):
        job.output.parent.mkdir(parents=True, exist_ok=True)
        start_warm()
        papermill.execute_notebook(
            str(job.notebook),
            str(partial),
            parameters=dict(job.parameters),
            kernel_name="python3",
            # The kernel's working directory. With `cwd` papermill would change this process's.
            resources={"metadata": {"path": str(job.notebook.parent)}},
            start_timeout=START_TIMEOUT_S,
            execution_timeout=None if job.settings.name in NO_TIMEOUT else CELL_TIMEOUT_S,
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # the kernel takes them
            # A graceful shutdown would wait for a helper process of multiprocessing.
            shutdown_kernel="immediate",
        )
        notebook = read_notebook(partial)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = joined_streams(cell.outputs)
        notebook.metadata[OWN_METADATA] = {"key": job.key, "profile": job.settings.name}
        with atomic_write(job.output) as handle:
            nbformat.write(notebook, handle)
        partial.unlink()


@contextmanager
def _explained(job: NotebookJob, kept: str) -> Iterator[None]:
    """Raise what stops a notebook as an error that says what to do."""
    name, chapter, profile = job.name, job.chapter.name, job.settings.name
    try:
        yield
    except papermill.PapermillExecutionError as error:
        if error.ename == BusyError.__name__:
            raise BusyError(error.evalue, kept) from None
        if error.ename in STOPPED:
            raise NotebookError(
                f"Chapter {name} was stopped by a signal in cell {error.cell_index}.",
                "Finished steps and trainings are kept: the same command goes on.",
            ) from None
        raise NotebookError(
            f"Chapter {name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}",
            kept,
        ) from None
    except TimeoutError:  # its base class OSError is handled below
        raise NotebookError(
            f"Chapter {name}: a cell ran longer than {CELL_TIMEOUT_S:,} s.",
            f"{kept}\nWithout a limit: python -m okml.{chapter} --profile {profile}. The "
            "notebook then finds the finished steps.",
        ) from None
    except RuntimeError as error:  # nbclient's error for a dead kernel
        raise NotebookError(
            f"Chapter {name}: its kernel ended or did not start: {error}.",
            f"{kept}\nMemory may have run out: compare `okml plan {chapter} --profile {profile}` "
            "with `okml doctor`. The same command goes on after the last finished step.",
        ) from None
    except OSError as error:
        raise NotebookError(
            f"Chapter {name} could not read or write a file: {error}.",
            "Free some space, or name another folder with --out.",
        ) from None


def joined_streams(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with stdout and stderr merged into one stream each, as a terminal shows them.

    A kernel may send a line in pieces, and the two streams in any order.
    """
    # `coalesce_streams` of nbclient 0.11 does the same, but searches for a carriage return with
    # `.*\r(?=[^\n])`, whose time is quadratic in the length of a line.
    texts: dict[str, list[str]] = {}
    found: list[NotebookNode] = []
    for output in outputs:
        is_stream = output["output_type"] == "stream"
        if not is_stream or output["name"] not in texts:
            found.append(output)
        if is_stream:
            texts.setdefault(output["name"], []).append(output["text"])
    for place, output in enumerate(found):
        if output["output_type"] == "stream":
            lines = "".join(texts[output["name"]]).split("\n")
            # Text after a carriage return overwrites its line.
            output["text"] = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
            before = found[place - 1] if place else {}
            if output["name"] == "stdout" and before.get("name") == "stderr":
                found[place - 1 : place + 1] = output, before
    return found


def execute_all(jobs: Sequence[NotebookJob], say: Callable[[str], object] = print) -> None:
    """Execute chapters, some at a time; all are tried before a failure is raised.

    Those at a time have equal shares of the cores. The jobs of a chapter come together; its
    notebooks share the folder of its run, so they are executed one by one. ``say`` gets a message
    at the start and end of each notebook.

    Raises:
        NotebookError: If a chapter fails; it names all that failed with the reasons.
    """
    if not jobs:
        return
    chains = [list(own) for _, own in groupby(jobs, key=lambda job: job.chapter.name)]
    lanes = min(len(chains), side_by_side(jobs))
    share = str(max(1, usable_cores() // lanes))
    # Disable progress bars, libraries' own included, since outputs are read after the run.
    surroundings = changed_environment(OMP_NUM_THREADS=share, TQDM_DISABLE="1")
    with surroundings, stoppable(), ThreadPoolExecutor(lanes) as threads:
        started = [threads.submit(_execute_chain, chain, say) for chain in chains]
        try:
            wait(started)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            end_children()
            raise
    failures = [error for future in started if isinstance(error := future.exception(), OkmlError)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise NotebookError("\n".join(str(error) for error in failures))
    for future in started:
        future.result()  # raises an error that is not ours


def side_by_side(jobs: Sequence[NotebookJob]) -> int:
    """Return the number of chapters to run at a time.

    It is one for each core, as far as memory allows, since the networks are too small for several
    cores; and one in all on a GPU, whose memory they would share.
    """
    devices = {job.settings.device for job in jobs} - {"cpu"}
    if devices - {"auto"} or (devices and accelerator() is not None):
        return 1
    memory = max(job.settings.budget.memory_gib for job in jobs)
    return max(1, min(usable_cores(), int(total_memory_gib() // memory)))


@contextmanager
def changed_environment(**variables: str) -> Iterator[None]:
    """Set environment variables for the processes that a block starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _execute_chain(jobs: Sequence[NotebookJob], say: Callable[[str], object]) -> None:
    for job in jobs:
        started, outcome = time.monotonic(), "failed"
        say(f"{job.name} starts")
        try:
            execute(job)
            outcome = "done"
        finally:
            say(f"{job.name} ends: {outcome}, {time.monotonic() - started:.1f} s")


def refresh(chapter: Chapter) -> tuple[Path, ...]:
    """Store the outputs of the last ``smoke`` run in the committed notebooks.

    Cell timings, progress lines, execution metadata and the injected parameters are removed, so
    that a file changes only if its visible content does. Translations stay as they are committed.

    Raises:
        NotebookError: If there is no current ``smoke`` run.
    """
    jobs = prepare_all(chapter, "smoke", {})
    if not all(map(is_current, jobs)):
        raise NotebookError(
            f"There is no smoke run of {chapter.name} by today's code, settings and notebooks.",
            f"Run `okml run {chapter.name} --profile smoke` after the last change.",
        )
    for job in jobs:
        _store(read_notebook(job.output), job.notebook)
    return chapter.notebooks


def _store(executed: NotebookNode, notebook: Path) -> None:
    executed.cells = [
        cell for cell in executed.cells if INJECTED not in cell.metadata.get("tags", [])
    ]
    committed = read_notebook(notebook).cells  # its translations may be newer than the run
    russian = {cell.id: cell.metadata[RUSSIAN] for cell in committed if RUSSIAN in cell.metadata}
    for cell in executed.cells:
        tags = cell.metadata.get("tags", [])
        kept = {"tags": tags} if tags else {}
        if cell.id in russian:
            kept[RUSSIAN] = russian[cell.id]
        cell.metadata = nbformat.from_dict(kept)
    counted = (cell for cell in executed.cells if cell.cell_type == "code")
    for count, cell in enumerate(counted, start=1):
        cell.execution_count = count
        cell.outputs = without_progress(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    executed.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    with atomic_write(notebook) as handle:
        nbformat.write(executed, handle)


def without_progress(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return outputs without the lines of progress, which only a slow machine shows."""
    kept = []
    for output in outputs:
        if output["output_type"] == "stream":
            output["text"] = PROGRESS.sub("", output["text"])
        if output["output_type"] != "stream" or output["text"]:
            kept.append(output)
    return kept
