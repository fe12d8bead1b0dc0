"""What frames a notebook's page: verdicts on its claims, what runs took, what figures show."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from okml.errors import OkmlError
from okml.profile import PROFILE_NAMES
from okml.site import view
from okml.site.badges import count_badges
from okml.site.dependencies import note_chapters
from okml.site.directives import warn
from okml.site.language import Lang, counted, page_language, word
from okml.site.markup import Child, definitions, element, paragraph, tag
from okml.site.pages import doc_link, page_in, reference
from okml.site.provenance import duration_in, footer, memory, notebook_run
from okml.site.roles import MARK

SCOREBOARD = "book/scoreboard"
GUIDE = "book/guides/gpu"
ONE_FIGURE: dict[Lang, str] = {"en": "run-one-figure", "ru": "run-one-figure-ru"}  # its labels


def frame_notebook(app: Sphinx, doctree: nodes.document) -> None:
    """Put the opening of a notebook before its first section, and its provenance at its end."""
    env = app.env
    chapter = view.chapter_of_notebook(env.docname)
    top = next(iter(doctree.findall(nodes.section)), None)
    if chapter is None or top is None:
        return
    note_chapters(env, chapter)
    lang, run = page_language(env.docname), notebook_run(env, env.docname)
    marks = {mark["claim"] for mark in doctree.findall(element) if MARK in mark["classes"]}
    parts: list[nodes.Node] = []
    try:
        parts.append(tag("div", _facts(chapter, marks, lang), classes=["okml-opening"]))
        if run is not None:
            top.append(footer(chapter, run, lang))
    except OkmlError as error:
        warn(error, env.docname, "provenance")
    if run is not None and run.profile == "smoke":
        parts.append(_banner(env, lang))
    places = (n for n, child in enumerate(top) if isinstance(child, nodes.section))
    place = next(places, len(top))
    top[place:place] = parts


def _facts(chapter: str, claims: set[str], lang: Lang) -> element:
    """Return the verdicts on the claims of a page, counted, and what a run took at each scale."""
    rows = [row for row in view.rows(chapter) if row.claim.id in claims]
    found = count_badges((row.best for row in rows), lang)
    took: list[Child | None] = []
    for name in PROFILE_NAMES:
        record = view.record(chapter, name)
        if record is None:
            continue
        made = record.provenance
        cores = counted(made.environment.cores, "cores", lang)
        said = f" {duration_in(made.seconds, lang)}, {memory(record, lang)}, {cores}"
        took += ["; " if took else None, tag("code", name), said]
    return definitions(
        [
            (word("opening.verdicts", lang), found or ["—"]),
            (word("opening.took", lang), took or ["—"]),
        ]
    )


def _banner(env: BuildEnvironment, lang: Lang) -> nodes.Node:
    """Return a note that the figures of a page come from a smoke run."""
    told: list[Child] = [f"{word('smoke_banner', lang)} "]
    if (scoreboard := page_in(env, SCOREBOARD, lang)) in env.found_docs:
        told.append(doc_link(scoreboard))
    if (guide := one_figure(env, lang)) is not None:
        told += [" · ", guide]
    return tag("div", paragraph(*told), classes=["okml-banner"], attrs={"role": "note"})


def one_figure(env: BuildEnvironment, lang: Lang) -> pending_xref | None:
    """Return a link to the guide on running one figure again; None in a book without it."""
    if page_in(env, GUIDE, lang) not in env.found_docs:
        return None
    return reference("ref", ONE_FIGURE[lang], word("one_figure", lang))
