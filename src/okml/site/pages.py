"""The context of every page: its language, its translation, and its scripts."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from okml.ledger.export import CLAIM_PAGES
from okml.site.language import RUSSIAN_PAGES, Lang, page_language, theme_word
from okml.site.markup import Child, element, tag

FILTER_SCRIPT = "okml-tables.js"


def digest_docname(chapter: str, lang: Lang) -> str:
    """Return the page of a chapter's digest."""
    return f"{RUSSIAN_PAGES if lang == 'ru' else 'book/'}digests/{chapter}"


def doc_link(docname: str, content: Child | None = None) -> pending_xref:
    """Return a link to a page: its title, or ``content``."""
    shown = nodes.inline("", "", *([nodes.Text(content)] if isinstance(content, str) else []))
    return pending_xref(
        "",
        shown,
        refdomain="std",
        reftype="doc",
        reftarget=f"/{docname}",
        refexplicit=content is not None,
        refwarn=True,
    )


def chapter_link(env: BuildEnvironment, chapter: str, lang: Lang) -> Child:
    """Return a link to a chapter's digest, or the chapter's name without a digest."""
    docname = digest_docname(chapter, lang)
    if docname in env.found_docs:
        return tag("span", doc_link(docname, chapter), classes=["okml-chapter"])
    return tag("code", chapter)


def twin(docname: str) -> str:
    """Return the name of the same page in the other language."""
    if page_language(docname) == "ru":
        return "book/" + docname.removeprefix(RUSSIAN_PAGES)
    return RUSSIAN_PAGES + docname.removeprefix("book/")


def page_context(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Add the page's language, its translation and its scripts to the template."""
    lang = page_language(pagename)
    context["language"] = lang
    if lang == "ru":  # the book's language is English, and so are the words of its theme
        context["_"] = lambda text: theme_word(text, lang)
    if pagename.startswith(CLAIM_PAGES):  # made by the build, so there is no source to edit
        context["page_source_suffix"] = ""
    other = twin(pagename)
    if app.env and other in app.env.found_docs:
        language = page_language(other)
        href = context["pathto"](other)
        link = f'<link rel="alternate" hreflang="{language}" href="{href}">'
        context["metatags"] = context.get("metatags", "") + link
    if doctree is not None and any("data-filters" in e["attrs"] for e in doctree.findall(element)):
        app.add_js_file(FILTER_SCRIPT, loading_method="defer")
