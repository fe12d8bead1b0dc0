"""The scales of a notebook's figures: the best recorded one first, the others one click away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

from okml.ledger import RunRecord
from okml.ledger.report import RECORDED
from okml.plotting import EMPTY
from okml.profile import ProfileName
from okml.site import view
from okml.site.estimates import stale_note
from okml.site.language import Lang, page_language, word
from okml.site.markup import Child, element, tag
from okml.site.pictures import BUILD, FOLDED, KEY
from okml.site.provenance import hardware, short_hash, when
from okml.site.replay import Shown, replay
from okml.site.repository import drawn_by, imported, source_link

logger = logging.getLogger(__name__)


def records_of(chapter: str) -> dict[ProfileName, RunRecord]:
    """Return the committed records of a chapter, that of the largest scale first."""
    found = {name: view.record(chapter, name) for name in reversed(RECORDED)}
    return {name: record for name, record in found.items() if record is not None}


def show_records(notebook: NotebookNode, records: Mapping[ProfileName, RunRecord]) -> None:
    """Put what records show into an executed notebook, before what this build's run shows.

    The metadata of a cell that shows a run say what its outputs are: ``shows`` has the scale of
    each, in order, and the reason if no record shows it; ``own`` is the number of those before the
    folded ones; ``drawn``, if there is one, has the lines of code that draw the figures.

    Args:
        notebook: The executed notebook, whose cells are changed in place.
        records: The records of its chapter, that of the largest scale first.
    """
    replayed = {name: replay(notebook, record) for name, record in records.items()}
    names = imported(notebook)
    for number in sorted({cell for cells in replayed.values() for cell in cells}):
        cell = notebook.cells[number]
        by_scale = {name: cells[number] for name, cells in replayed.items() if number in cells}
        _show_scales(cell, by_scale)
        if places := drawn_by(cell.source, names):
            cell.metadata[KEY]["drawn"] = places


def _show_scales(cell: NotebookNode, by_scale: Mapping[ProfileName, list[Shown]]) -> None:
    """Put the best record of each output into its place, and the other scales behind all outputs.

    Args:
        cell: The cell as this build ran it, which is changed in place.
        by_scale: What each record shows for each output, that of the largest scale first.
    """
    built = cell.outputs
    outputs: list[NotebookNode] = []
    labels: list[list[str]] = []  # scale and reason of each output
    others: dict[str, list[NotebookNode]] = {name: [] for name in [*by_scale, BUILD]}
    for place, of_build in enumerate(built):
        drawn = {
            name: output
            for name, shown in by_scale.items()
            if (output := shown[place].output) is not None
        }
        if not drawn:
            reasons = [shown[place].reason for shown in by_scale.values() if shown[place].reason]
            outputs.append(of_build)
            labels.append([BUILD, reasons[0]] if reasons else ["", ""])
            continue
        best = next((name for name in drawn if not _is_empty(drawn[name])), next(iter(drawn)))
        of_best = drawn.pop(best)
        outputs.append(of_best)
        labels.append([best, ""])
        for name, output in [*drawn.items(), (BUILD, of_build)]:
            if not _is_empty(output) and _html(output) != _html(of_best):
                others[name].append(output)
    for name, of_scale in others.items():
        outputs += of_scale
        labels += [[name, ""]] * len(of_scale)
    cell.outputs = outputs
    cell.metadata[KEY] = {"shows": labels, "own": len(built)}


def _is_empty(output: NotebookNode) -> bool:
    """Tell whether an output is a figure that only says that it has nothing to draw."""
    return EMPTY in _html(output)


def _html(output: NotebookNode) -> str:
    return str(output["data"].get("text/html", ""))


def frame_scales(app: Sphinx, doctree: nodes.document) -> None:
    """Caption what each cell shows with its scale, and fold the other scales away."""
    page = app.env.docname
    chapter = view.chapter_of_notebook(page)
    if chapter is None:
        return
    lang = page_language(page)
    for cell in doctree.findall(nodes.container):
        scales = (cell.get("cell_metadata") or {}).get(KEY)
        if scales is None:
            continue
        box = cell.children[-1]
        assert isinstance(box, nodes.container)
        parts = box.children
        if len(parts) != len(scales["shows"]):
            logger.warning("A cell shows another number of outputs.", location=page, type="okml")
            continue
        code = [source_link(app.env, *place) for place in scales.get("drawn", [])]
        labelled = list(zip(scales["shows"], parts, strict=True))
        box.children = []
        for (scale, reason), shown in _by_scale(labelled[: scales["own"]]):
            if scale:
                box += caption(chapter, scale, lang, reason, code)
                code = []  # it is linked once in a cell
            box += shown
        for (scale, _), shown in _by_scale(labelled[scales["own"] :]):
            summary = tag("summary", word("other_scale", lang).format(_named(scale, lang)))
            said = [] if scale == BUILD else [caption(chapter, scale, lang)]
            box += tag("details", summary, *said, *shown, classes=[FOLDED])


def _by_scale(
    labelled: list[tuple[list[str], nodes.Node]],
) -> Iterator[tuple[list[str], list[nodes.Node]]]:
    """Yield the parts of a cell that follow one another with one scale and reason together."""
    for label, group in groupby(labelled, key=itemgetter(0)):
        yield label, [part for _, part in group]


def _named(scale: str, lang: Lang) -> str:
    return word("this_build", lang) if scale == BUILD else scale


def caption(
    chapter: str, scale: str, lang: Lang, reason: str = "", code: Sequence[element] = ()
) -> element:
    """Return the origin of a figure or a table: scale, seeds, date, commit, machine and code.

    The origin of what this build's own run shows is the scale alone.

    Args:
        chapter: The chapter.
        scale: The profile of the run; ``BUILD`` for this build's own.
        lang: The language of the page.
        reason: The reason why no record shows the same; empty if there is none.
        code: Links to the code that draws the figure.
    """
    record = next((view.record(chapter, name) for name in RECORDED if name == scale), None)
    facts: list[Child | None] = [tag("strong", _named(scale, lang))]
    if record is not None:
        facts += [" · ", *made_by(record, lang)]
    elif reason:
        facts.append(f" · {word('no_record_shows', lang)} {reason}")
    facts += [part for link in code for part in (" · ", link)]
    return tag("p", *facts, classes=["okml-scale"])


def made_by(record: RunRecord, lang: Lang) -> list[Child | None]:
    """Return seeds, date, commit and machine of a recorded run, and a note if it is stale."""
    made = record.provenance
    seeds = f"{word('seeds', lang).lower()}: {len(record.seeds)}"
    return [
        f"{seeds} · {when(made.started)[:10]} · ",
        short_hash(made.commit.sha),
        f" · {hardware(made.environment, lang)}",
        stale_note(record.chapter, record.profile, lang),
    ]
