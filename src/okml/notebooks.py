"""Running the chapters: parameters checked first, then papermill, each in a process of its own."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode

from okml.chapters import Chapter
from okml.errors import OkmlError, ParameterError
from okml.paths import atomic_write, build_dir
from okml.runtime import usable_cores
from okml.steps import code_hash

CELL_TIMEOUT_S = 24 * 3600  # a full-scale cell may take hours; a hung kernel still ends
OWN_METADATA = "okml"
# What `okml.steps.announced` prints; whether it does depends on what was kept and on the machine.
PROGRESS = re.compile(r"^.+(?: …|: \d+\.\d s)\n", re.MULTILINE)


class NotebookError(OkmlError):
    """A chapter whose cells did not all run."""


@dataclass(frozen=True)
class Job:
    """One chapter to execute with checked parameters."""

    chapter: Chapter
    profile: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output: Path = Path()

    @property
    def key(self) -> str:
        """A hash of everything that decides the outputs: code, notebook and parameters."""
        parts = (
            code_hash(self.chapter.name, pictures=True),
            source_hash(self.chapter.notebook),
            json.dumps(dict(self.parameters), sort_keys=True),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def source_hash(path: Path) -> str:
    """Return the SHA-256 of a notebook's cells without outputs and counters."""
    cells = [
        (cell.cell_type, cell.source, cell.metadata.get("tags", []))
        for cell in nbformat.read(path, as_version=4).cells
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def prepare(
    chapter: Chapter,
    profile: str,
    changes: Mapping[str, str],
    seed: int | None = None,
    out: Path | None = None,
) -> Job:
    """Check everything a run was given before anything starts.

    Papermill only warns of a parameter the notebook does not have, and a misspelt one inside is
    an unused variable; here both are errors.

    Args:
        chapter: The chapter to run.
        profile: ``smoke``, ``cpu`` or ``gpu``.
        changes: ``-p name=value`` pairs: parameters of the notebook or fields of the profile.
        seed: Run this one seed instead of the profile's.
        out: Folder for the executed notebook and the run's files; None for the usual places.

    Raises:
        ParameterError: If a name is unknown or a value does not fit.
    """
    if not chapter.notebook.exists():
        raise ParameterError(f"The chapter {chapter.name!r} has no notebook yet.")
    known = set(papermill.inspect_notebook(str(chapter.notebook)))
    parameters: dict[str, Any] = {"profile": profile}
    overrides: dict[str, str] = {}
    for name, value in changes.items():
        if name in known - {"profile", "overrides"}:
            parameters[name] = int(value) if name == "seed" else value
        else:
            overrides[name] = value
    if seed is not None:
        parameters["seed"] = seed
    if overrides:
        parameters["overrides"] = overrides
    try:
        chapter.profile(profile, overrides)
    except ParameterError as error:
        hint = f"{error.hint}\nParameters of the notebook: {', '.join(sorted(known))}."
        raise ParameterError(error.message, hint) from None
    folder = build_dir() / "notebooks" / profile
    if len(parameters) > 1:  # a trial never takes the place of the run that the site shows
        text = json.dumps(parameters, sort_keys=True)
        folder = folder.with_name(f"{profile}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    if out is not None:
        folder = out
        parameters.setdefault("run_dir", str(out.resolve() / "run"))
    return Job(chapter, profile, parameters, folder / f"{chapter.name}.ipynb")


def is_current(job: Job) -> bool:
    """Tell whether the executed notebook comes from this very code, notebook and parameters."""
    if not job.output.exists():
        return False
    metadata = nbformat.read(job.output, as_version=4).metadata
    failed = metadata.get("papermill", {}).get("exception")
    return metadata.get(OWN_METADATA, {}).get("key") == job.key and not failed


def execute(job: Job) -> Path:
    """Execute one chapter and mark the result with the key it was made from.

    Raises:
        NotebookError: If a cell fails; the notebook executed so far is kept beside the output.
    """
    job.output.parent.mkdir(parents=True, exist_ok=True)
    partial = job.output.with_suffix(".partial.ipynb")
    try:
        papermill.execute_notebook(
            str(job.chapter.notebook),
            str(partial),
            parameters=dict(job.parameters),
            kernel_name="python3",
            cwd=str(job.chapter.notebook.parent),
            execution_timeout=CELL_TIMEOUT_S,
            progress_bar=False,
            coalesce_streams=True,  # a kernel may send a line in pieces
            extra_arguments=["--log-level=ERROR"],  # of the kernel, which listens locally only
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookError(
            f"Chapter {job.chapter.name} failed in cell {error.cell_index}: "
            f"{error.ename}: {error.evalue}",
            f"The executed part is kept in {partial}.",
        ) from None
    notebook = nbformat.read(partial, as_version=4)
    notebook.metadata[OWN_METADATA] = {"key": job.key, "profile": job.profile}
    with atomic_write(job.output) as handle:
        nbformat.write(notebook, handle)
    partial.unlink()
    return job.output


def execute_all(jobs: Sequence[Job], workers: int | None = None) -> list[Path]:
    """Execute chapters, at most ``workers`` at a time; all are tried before a failure is raised.

    Args:
        jobs: The checked jobs.
        workers: Processes at once; by default one for each two cores, since torch uses several.

    Raises:
        NotebookError: Naming every chapter that failed and why.
    """
    if not jobs:
        return []
    workers = min(len(jobs), workers or max(1, usable_cores() // 2))
    failures: list[OkmlError] = []
    paths = []
    # A fresh process each: papermill changes the working directory of the whole process.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=spawn, max_tasks_per_child=1, initializer=_without_bars
    ) as pool:
        for future in [pool.submit(execute, job) for job in jobs]:
            try:
                paths.append(future.result())
            except OkmlError as error:
                failures.append(error)
    if failures:
        raise NotebookError("\n".join(str(error) for error in failures))
    return paths


def _without_bars() -> None:
    """Silence progress bars, libraries' own included: an output is read when all is over."""
    os.environ["TQDM_DISABLE"] = "1"


def refresh(chapter: Chapter) -> Path:
    """Store the outputs of the last ``smoke`` run in the committed notebook.

    Cell timings, lines of progress, execution metadata and the injected parameters stay out, so
    that a difference in the file is a difference in what a reader sees.

    Raises:
        NotebookError: If there is no current ``smoke`` run.
    """
    job = prepare(chapter, "smoke", {})
    if not is_current(job):
        raise NotebookError(
            f"There is no current smoke run of {chapter.name}.",
            f"Run `okml run {chapter.name} --profile smoke` first.",
        )
    executed = nbformat.read(job.output, as_version=4)
    executed.cells = [
        cell
        for cell in executed.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for cell in executed.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    counted = (cell for cell in executed.cells if cell.cell_type == "code")
    for count, cell in enumerate(counted, start=1):
        cell.execution_count = count
        cell.outputs = [shown for output in cell.outputs if (shown := _without_progress(output))]
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    executed.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    with atomic_write(chapter.notebook) as handle:
        nbformat.write(executed, handle)
    return chapter.notebook


def _without_progress(output: NotebookNode) -> NotebookNode | None:
    """Return an output without lines of progress; None if it had nothing else."""
    if output["output_type"] != "stream":
        return output
    output["text"] = PROGRESS.sub("", output["text"])
    return output if output["text"] else None
