"""The provenance of a page's numbers: the footer of every notebook, and its parts elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sphinx.environment import BuildEnvironment

from okml.errors import OkmlError
from okml.ledger import RunRecord
from okml.profile import PROFILE_NAMES, ProfileName
from okml.runtime import Environment
from okml.site import view
from okml.site.labels import label_in
from okml.site.language import Lang, counted, numbers_in, word
from okml.site.markup import Child, abbreviation, definitions, element, tag

SHORT_HASH = 10

Fact = tuple[str, list[Child | None]]


@dataclass(frozen=True)
class NotebookRun:
    """The last execution of a notebook, from the metadata that papermill leaves in it."""

    profile: ProfileName
    started: str | None  # UTC, ISO 8601; None for a committed notebook that this build did not run
    seconds: float | None  # wall time; None as above
    failed: bool
    cells: int  # code cells


def notebook_run(env: BuildEnvironment, page: str) -> NotebookRun | None:
    """Return the run behind the page of a notebook; None if the stage has no such notebook.

    A notebook that names no profile, such as a committed one, counts as ``smoke``.
    """
    path = Path(env.srcdir) / f"{page}.ipynb"
    if not path.exists():
        return None
    notebook = view.notebook(path)
    papermill = notebook["metadata"].get("papermill", {})
    profile = notebook["metadata"].get("okml", {}).get("profile", PROFILE_NAMES[0])
    return NotebookRun(
        profile=profile,
        started=papermill.get("start_time"),
        seconds=papermill.get("duration"),
        failed=bool(papermill.get("exception")),
        cells=sum(cell["cell_type"] == "code" for cell in notebook["cells"]),
    )


def footer(chapter: str, run: NotebookRun, lang: Lang) -> element:
    """Return the facts of the run behind a notebook's page.

    Raises:
        OkmlError: If the notebook was executed and no record of the run exists.
    """
    record = view.record(chapter, run.profile)
    if record is None and run.started:
        raise OkmlError(
            f"The notebook of {chapter} ran at {run.profile} but left no record; "
            f"run `okml run {chapter} --profile {run.profile} --force`."
        )
    facts: list[Fact] = [(word("profile", lang), [run.profile])]
    if run.started:
        executed = f"{when(run.started)}, {duration_in(run.seconds or 0, lang)}"
        facts.append((word("notebook", lang), [executed]))
    if record is None:
        facts.append((word("run", lang), [word("not_run", lang)]))
    else:
        facts += record_facts(record, lang)
    title = tag("p", word("provenance", lang), classes=["okml-footer-title"])
    attrs = {"aria-label": word("provenance", lang)}
    return tag("aside", title, definitions(facts), classes=["okml-provenance"], attrs=attrs)


def record_facts(record: RunRecord, lang: Lang) -> list[Fact]:
    """Return the provenance of a record: terms, each with the children of its definition."""
    made = record.provenance
    files: list[Child | None] = [
        tag(
            "li",
            f"{name}: {used.source} ",
            abbreviation(f"sha256 {used.sha256[:SHORT_HASH]}…", used.sha256, ["okml-hash"]),
        )
        for name, used in made.data.items()
    ]
    facts: list[Fact] = [
        (word("seeds", lang), [", ".join(map(str, record.seeds))]),
        (word("code", lang), [commit_node(record, lang)]),
        (word("settings", lang), [short_hash(record.settings_sha256)]),
        (word("started", lang), [f"{when(made.started)}, {duration_in(made.seconds, lang)}"]),
        (word("hardware", lang), [hardware(made.environment, lang)]),
        (word("peak_memory", lang), [memory(record, lang)]),
        (word("software", lang), [software(made.environment)]),
        (word("data", lang), [tag("ul", *files)] if files else ["—"]),
    ]
    if record.notes:
        notes = (tag("li", label_in(each, lang)) for each in record.notes)
        facts.append((word("notes", lang), [tag("ul", *notes)]))
    return facts


def commit_node(record: RunRecord, lang: Lang) -> element:
    """Return the commit of a record, with a note if files differed from it."""
    made = record.provenance.commit
    dirty = f" {word('dirty', lang)}" if made.dirty else None
    return tag("span", short_hash(made.sha), dirty)


def short_hash(value: str) -> element:
    """Return the first digits of a hash, with the whole hash as a tooltip."""
    return abbreviation(value[:SHORT_HASH], value, ["okml-hash"])


def when(iso: str) -> str:
    """Format an ISO 8601 time to the minute, in its own time zone: ``2023-12-28 14:00``."""
    return iso[:16].replace("T", " ")


def duration_in(seconds: float, lang: Lang) -> str:
    """Format a duration: seconds below 2 minutes, minutes below 2 hours, else hours."""
    if seconds < 120:
        return f"{seconds:.0f} {word('unit.s', lang)}"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} {word('unit.min', lang)}"
    return numbers_in(f"{seconds / 3600:.1f} {word('unit.h', lang)}", lang)


def memory(record: RunRecord, lang: Lang) -> str:
    """Format the peak memory of a run, in GiB."""
    return numbers_in(f"{record.provenance.peak_memory_gib:.1f} GiB", lang)


def hardware(machine: Environment, lang: Lang) -> str:
    """Return the processor, cores, memory and GPUs in one line."""
    gpus = [f"{gpu.name} {gpu.memory_gib:.0f} GiB" for gpu in machine.gpus]
    cores = counted(machine.cores, "cores", lang)
    return ", ".join([machine.cpu, cores, f"{machine.memory_gib:.0f} GiB", *gpus])


def software(machine: Environment) -> str:
    """Return the versions of Python and packages in one line."""
    packages = (f"{name} {version}" for name, version in machine.packages.items())
    return ", ".join([f"Python {machine.python}", *packages])
