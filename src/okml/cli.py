"""The command line: ``okml run``, ``book``, ``data``, ``status`` and others.

Every command ends with 0, or prints one message on standard error and ends with the exit code of
its :class:`okml.errors.OkmlError`. Heavy imports happen inside the commands, so that ``--help``
answers at once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from okml import __version__
from okml.chapters import CHAPTERS, Chapter, chapter
from okml.console import (
    AdoptOption,
    DeviceOption,
    EngineOption,
    ParameterOption,
    PerCardOption,
    ProfileOption,
    RunDirOption,
    WaitOption,
    err,
    pairs,
    report_errors,
    say,
)
from okml.errors import RecordError
from okml.profile import PROFILE_NAMES, ProfileName

if TYPE_CHECKING:
    from okml.data.inventory import Listed
    from okml.notebooks import NotebookJob
    from okml.runtime import Commit
    from okml.settings import Frozen

app = typer.Typer(
    help="Run the digests of the reading group.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="List, fetch and verify data sets and models.", no_args_is_help=True)
app.add_typer(data_app, name="data")

out = Console(highlight=False)

LIVE_S = 2.0  # seconds between two reads of the logs of runs
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ChaptersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHAPTER…", help=f"Some of {', '.join(CHAPTERS)}; all chapters if none."
    ),
]


def main() -> None:
    """Run the command line."""
    with report_errors():
        app()


@contextmanager
def _live(folders: Sequence[Path]) -> Iterator[None]:
    """Show the status of runs in one line of a terminal; print nothing elsewhere."""
    from okml.status import one_line, status

    over = threading.Event()

    def watch(show: Callable[[str], object]) -> None:
        while not over.wait(LIVE_S):
            found = filter(None, map(status, folders))
            if running := [one_line(each) for each in found if each.state == "running"]:
                show(escape(" | ".join(running)))

    with err.status("Executing notebooks …") as line:
        watcher = threading.Thread(target=watch, args=(line.update,), daemon=True)
        if err.is_terminal:
            watcher.start()
        try:
            yield
        finally:
            over.set()


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"okml {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _one_a_run(jobs: Sequence[NotebookJob]) -> list[NotebookJob]:
    """Return one job for each run folder, which the notebooks of a chapter share."""
    return list({job.folder: job for job in jobs}.values())


def _print_json(rows: Iterable[Frozen]) -> None:
    out.print_json(json.dumps([row.model_dump(mode="json") for row in rows]))


def _print_by_hand(rows: Iterable[Listed]) -> None:
    """Print where a person gets those of the data sets and models that `fetch` cannot get."""
    for row in rows:
        if row.by_hand:
            out.print(f"{row.name} ({row.state}), {row.instruction}", soft_wrap=True)


def _chosen(names: list[str] | None) -> list[Chapter]:
    return [chapter(name) for name in names or CHAPTERS]


@app.command()
def run(
    chapters: ChaptersArgument = None,
    profile: ProfileOption = "smoke",
    parameter: ParameterOption = None,
    device: DeviceOption = None,
    seed: Annotated[int | None, typer.Option(help="Run this one seed.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for the notebook and the run's files.")
    ] = None,
    run_dir: RunDirOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Execute even if current, or if the plan does not fit this machine."
        ),
    ] = False,
    adopt: AdoptOption = False,
    wait: WaitOption = False,
    engine: EngineOption = None,
    per_card: PerCardOption = None,
) -> None:
    """Execute chapters; those whose outputs are current are left alone."""
    from okml import locks, notebooks, resources
    from okml.kept import offer
    from okml.training.ahead import choose_workers

    changes = pairs(parameter, device, seed)
    jobs = [
        job
        for found in _chosen(chapters)
        for job in notebooks.prepare_all(found, profile, changes, out_dir, run_dir)
    ]
    if wait:
        os.environ[locks.WAIT_VARIABLE] = "1"  # kernels inherit the environment
    stale = [job for job in jobs if force or not notebooks.is_current(job)]
    choose_workers(engine, per_card)
    if not force:
        resources.require([(job.settings, job.folder) for job in _one_a_run(stale)], say)
    with notebooks.reserved(stale, say):
        # Another command may have executed the chapters while this one waited.
        stale = [job for job in stale if force or not notebooks.is_current(job)]
        for job in jobs:
            state = "running" if job in stale else "current"
            out.print(f"{state}  {job.name}  {profile}  → {job.output}")
        runs = _one_a_run(stale)
        for job in runs:
            offer(job.settings, job.folder, adopt)
        with _live([job.folder for job in runs]):
            notebooks.execute_all(
                stale, say=lambda text: out.print(f"{time.strftime('%H:%M:%S')}  {text}")
            )


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="CHAPTER")],
    profile: ProfileOption = "smoke",
    parameter: ParameterOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder of the networks; _build/exports if none.")
    ] = None,
    run_dir: RunDirOption = None,
) -> None:
    """Write the networks of a finished run: safetensors, configuration and model card."""
    from okml.export import export_networks
    from okml.paths import build_dir

    found = chapter(name)
    settings = found.profile(profile, pairs(parameter))
    place = to or build_dir() / "exports" / name / profile
    for folder in export_networks(found, settings, place, run_dir):
        out.print(f"exported {folder}")


@app.command()
def refresh(chapters: ChaptersArgument = None) -> None:
    """Store the outputs of the last smoke run in the committed notebooks."""
    from okml import notebooks

    for found in _chosen(chapters):
        for path in notebooks.refresh(found):
            out.print(f"refreshed {path}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name in snake_case.")],
    title: Annotated[str, typer.Option(help="The title of the paper.")] = "The title of the paper",
) -> None:
    """Start a digest: write the skeleton of its pages, notebook, package and tests."""
    from okml.paths import repository_root
    from okml.skeleton import new_digest

    for path in new_digest(name, title, repository_root()):
        out.print(f"written {path}", soft_wrap=True)
    out.print(
        f"Then: make format && okml run {name} && okml refresh {name} && "
        "okml report --into README.md",
        soft_wrap=True,
    )


@app.command()
def book(profile: ProfileOption = "smoke") -> None:
    """Build the site from the executed notebooks of a profile, and check it."""
    from okml.site import stage

    index = stage.build(profile)
    out.print(f"The site is ready: open {index}")


@app.command()
def plan(
    name: Annotated[str, typer.Argument(metavar="CHAPTER")],
    profile: ProfileOption = "gpu",
    parameter: ParameterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run takes: parameters, memory, disk, data and hours, before it starts."""
    from okml.data import listed
    from okml.plan import over_budget
    from okml.resources import shortfalls, workers

    found = chapter(name)
    settings = found.profile(profile, pairs(parameter))
    made = found.plan(settings)
    if as_json:
        out.print_json(made.model_dump_json())
        return
    table = Table("what", "value", "follows from", title=f"{name} at {profile}")
    for item in made.items:
        value = f"{'at most ' * item.at_most}{item.value:,.4g} {item.unit}"
        table.add_row(item.what, value, item.follows_from)
    table.add_section()
    disk = f"{'at most ' * (made.disk_bound_gib > 0)}{made.disk_gib:,.4g} GiB"
    alone = ", with one card" * settings.for_gpu
    for what, value, follows_from in (
        ("memory of one GPU", f"{made.gpu_memory_gib:,.4g} GiB", "the largest held at a time"),
        ("memory", f"{made.memory_gib:,.4g} GiB", f"the largest held at a time{alone}"),
        ("disk", disk, "the sum, at the end"),
        ("time", f"{made.hours:,.4g} h", f"the sum{alone}"),
    ):
        table.add_row(what, value, follows_from)
    if (count := workers(made, settings)) > 1:
        memory = f"{count * made.memory_gib:,.4g} GiB"
        table.add_row(f"memory of {count} workers", memory, "as much for each")
        why = "an equal share for each; what follows the trainings has one card"
        table.add_row(f"time of {count} workers", f"at least {made.hours / count:,.4g} h", why)
    out.print(table)
    data = {name: listed(name) for name in made.data}
    states = (f"{name} ({row.state})" if row else name for name, row in data.items())
    out.print(f"Data and models: {', '.join(states)}")
    # The others are among the shortfalls.
    _print_by_hand(row for row in data.values() if row is not None and row.state == "here")
    lacks = (f"not on this machine: {lack}" for lack in shortfalls(made, settings))
    for warning in (*lacks, *over_budget(made, settings)):
        out.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)


@app.command()
def status(
    chapters: ChaptersArgument = None,
    lines: Annotated[int, typer.Option(min=0, help="Last lines of each log.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Show what runs and what ran: steps, trainings, the time left and the last lines."""
    from okml.status import status_lines, statuses

    found = statuses([each.name for each in _chosen(chapters)], lines)
    if as_json:
        _print_json(found)
        return
    if not found:
        out.print("Nothing has run here yet.")
    for each in found:
        for line in status_lines(each):
            out.print(escape(line), soft_wrap=True)


@app.command()
def report(
    chapters: ChaptersArgument = None,
    format: Annotated[
        Literal["table", "markdown", "json"], typer.Option("--format", help="How to print it.")
    ] = "table",
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Write findings and counts of verdicts into this file instead.",
        ),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit", help="Show what each verdict rests on; end with 6 if anything is missing."
        ),
    ] = False,
) -> None:
    """Show the ledger: each claim, what the paper says, and what was measured at each scale."""
    from okml.ledger import chapter_rows, format_estimate
    from okml.ledger.summary import put_summary

    names = [each.name for each in _chosen(chapters)]
    if into is not None:
        put_summary(into, names)
        return
    if audit:
        _audit(names)
        return
    rows = [row for name in names for row in chapter_rows(name)]
    if format == "json":
        _print_json(rows)
        return
    header = ("claim", "paper", *PROFILE_NAMES, "verdict")
    lines = [
        (
            row.claim.id,
            f"{row.claim.paper.value:g} {row.claim.paper.unit}" if row.claim.paper else "—",
            *(format_estimate(row.verdicts[name].measured) for name in PROFILE_NAMES),
            row.best.outcome.value,
        )
        for row in rows
    ]
    if format == "markdown":
        for cells in (header, ("---",) * len(header), *lines):
            typer.echo("| " + " | ".join(cells) + " |")
        return
    table = Table()
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=name == "claim")
    for cells in lines:
        table.add_row(*map(escape, cells))
    out.print(table)


def _audit(names: list[str]) -> None:
    """Print the evidence for each claim's verdict, and the gaps in it.

    Raises:
        RecordError: If anything is missing.
    """
    from okml.ledger.audit import audit

    found = [entry for name in names for entry in audit(name)]
    for entry in found:
        head = (entry.subject, entry.profile, entry.outcome and entry.outcome.value)
        typer.echo("  ".join(filter(None, head)))
        for fact in entry.facts:
            typer.echo(f"    {fact}")
        for lack in entry.missing:
            typer.echo(f"    missing: {lack}")
    if incomplete := [entry for entry in found if entry.missing]:
        raise RecordError(f"{len(incomplete)} of {len(found)} entries of the audit lack something.")


@data_app.command("list")
def list_data(as_json: JsonOption = False) -> None:
    """List the data sets and models: size, license, and whether the files are here."""
    from okml.data import listing
    from okml.data.progress import human_bytes

    rows = listing()
    if as_json:
        _print_json(rows)
        return
    table = Table(box=None, padding=(0, 1, 0, 0))  # room for titles on 80 columns
    for heading in ("name", "size", "license", "here", "title"):
        # Names must not be wrapped, since they are copied into `data fetch`.
        table.add_column(heading, overflow="fold", no_wrap=heading in ("name", "size"))
    for row in rows:
        size = "unknown" if row.bytes is None else human_bytes(row.bytes)
        license = f"{row.license} (accept first)" if row.gated else row.license
        state = f"{row.state} (by hand)" if row.by_hand else row.state
        table.add_row(*map(escape, (row.name, size, license, state, row.title)))
    out.print(table)
    _print_by_hand(rows)


@data_app.command("fetch")
def fetch_data(
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    force: Annotated[bool, typer.Option("--force", help="Fetch damaged files anew.")] = False,
) -> None:
    """Fetch data sets or models into the cache and verify them."""
    from okml.data import entry, fetch
    from okml.data.by_hand import UNVOUCHED

    for name in set(names) - UNVOUCHED.keys():
        entry(name)  # raises for a misspelled name before anything is fetched
    for name in names:
        for file, path in fetch(name, force=force).items():
            out.print(f"{name}/{file}  {path}")


@data_app.command("verify")
def verify_data(names: Annotated[list[str], typer.Argument(metavar="NAME…")]) -> None:
    """Read every file again and compare it with its hash."""
    from okml.data import DataError, verify

    wrong = []
    for name in names:
        for check in verify(name):
            out.print(f"{check.state:8} {name}/{check.file}")
            if check.state == "damaged":
                wrong.append(f"{name}/{check.file}: expected {check.expected}, got {check.found}")
            elif check.state == "missing":
                wrong.append(f"{name}/{check.file} is not here")
    if wrong:
        raise DataError("\n".join(wrong), "Bring them with `okml data fetch NAME --force`.")


def _fits(found: Chapter, profile: ProfileName) -> str:
    """Return "yes" if a profile of a chapter fits this machine, or what is missing."""
    from okml.resources import shortfalls

    if profile not in found.profiles():
        return "not stated"
    settings = found.profile(profile)
    missing = shortfalls(found.plan(settings), settings)
    return "yes" if not missing else "no: " + "; ".join(missing)


def stated(commit: Commit) -> str:
    """Return what a record would say of its code."""
    if commit.sha == "unknown":
        return "unknown: git does not answer here, so records would not name their code"
    return commit.sha[:7] + ", with uncommitted changes" * commit.dirty


@app.command()
def doctor() -> None:
    """Show this machine, and which chapters and profiles it can run."""
    from okml.accelerator import advice
    from okml.data import listing
    from okml.paths import build_dir, data_roots
    from okml.runtime import commit, environment, free_disk_gib

    machine = environment()
    root = data_roots()[0]
    facts: Mapping[str, Any] = {
        "okml": __version__,
        "commit": stated(commit()),
        "python": machine.python,
        **machine.packages,
        "processor": f"{machine.cpu}, {machine.cores} cores usable",
        "memory": f"{machine.memory_gib} GiB",
        "GPU": ", ".join(f"{g.name} {g.memory_gib:.0f} GiB" for g in machine.gpus)
        or f"none; {advice()}",
        "data cache": f"{root}, {free_disk_gib(root):.1f} GiB free",
        "runs": f"{build_dir()}, {free_disk_gib(build_dir()):.1f} GiB free",
    }
    table = Table("what", "here", title="This machine")
    for what, here in facts.items():
        table.add_row(what, str(here))
    out.print(table)
    table = Table(title="What it can run")
    for heading in ("chapter", *PROFILE_NAMES):
        table.add_column(heading, overflow="fold")
    for name in CHAPTERS:
        table.add_row(name, *(escape(_fits(chapter(name), scale)) for scale in PROFILE_NAMES))
    out.print(table)
    _print_by_hand(listing())
