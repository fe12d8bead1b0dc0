"""The context of every page: its language, the way to its translation, and its scripts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import docname_join

from okml.ledger.export import CLAIM_PAGES
from okml.site import view
from okml.site.language import (
    NOTEBOOK_PAGES,
    Lang,
    in_language,
    other,
    page_language,
    theme_word,
    twin,
    word,
)
from okml.site.markup import Child, element
from okml.site.repository import SOURCE_PAGES

FILTER_SCRIPT = "okml-tables.js"
HOME = "book/index"
# What Sphinx and MyST-NB write on pages in the language of the book.
HINT = re.compile(r'(?<= )(title|aria-label)="(Link to this \w+|Toggle hidden content)"')
LETTERS = {"en": re.compile("[A-Za-z]"), "ru": re.compile("[А-Яа-я]")}
CLAIMS = (CLAIM_PAGES, twin(CLAIM_PAGES))
IN_NO_CONTENTS = (*CLAIMS, SOURCE_PAGES)
MADE = (*IN_NO_CONTENTS, twin(NOTEBOOK_PAGES))  # the build makes these from other files


def page_in(env: BuildEnvironment, docname: str, lang: Lang) -> str:
    """Return the name of a page in a language, or unchanged if the book does not have it there."""
    page = in_language(docname, lang)
    return page if page in env.found_docs else docname


def doc_link(docname: str, text: str | None = None) -> pending_xref:
    """Return a link to a page, which shows ``text`` or, with None, the page's title."""
    return reference("doc", f"/{docname}", text)


def reference(kind: str, target: str, text: str | None) -> pending_xref:
    """Return the link that a role of Sphinx makes.

    Args:
        kind: The name of the role, such as ``doc`` or ``ref``.
        target: Its target, as a source would write it.
        text: The text of the link; None for the title of the target.
    """
    shown = nodes.inline("", "", *([nodes.Text(text)] if text is not None else []))
    return pending_xref(
        "", shown, refdomain="std", reftype=kind, reftarget=target,
        refexplicit=text is not None, refwarn=True,
    )  # fmt: skip


def digest_link(env: BuildEnvironment, chapter: str, lang: Lang, text: str | None = None) -> Child:
    """Return a link to a chapter's digest, or the chapter's name alone if the book lacks it.

    The link shows ``text`` or, with None, the title of the digest.
    """
    docname = view.digest_docname(chapter, lang)
    return doc_link(docname, text) if docname in env.found_docs else chapter


class RussianNotebookLinks(SphinxPostTransform):  # type: ignore[misc]
    """Links of Russian pages to a notebook lead to its Russian page.

    That page exists in the built book only, so a source links to the notebook itself, which can
    also be followed in the repository.
    """

    default_priority = 5  # links are resolved later

    def run(self, **_: Any) -> None:
        """Change the targets of the links."""
        page = self.env.docname
        if page_language(page) != "ru":
            return
        for ref in self.document.findall(pending_xref):
            if ref.get("reftype") == "doc":  # the role
                target, form = docname_join(page, ref["reftarget"]), "/{}"
            elif ref.get("refdomain") == "doc":  # a link to a file
                target, form = ref["reftarget"], "{}"
            else:
                continue
            if target.startswith(NOTEBOOK_PAGES):
                ref["reftarget"] = form.format(page_in(self.env, target, "ru"))


def page_context(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Add the page's language, its translation and its scripts to the template."""
    lang = page_language(pagename)
    context["language"] = lang
    if lang == "ru":  # the book's language is English, and so are the words of its theme
        context["_"] = lambda text: theme_word(text, lang)
        context["body"] = HINT.sub(
            lambda hint: f'{hint[1]}="{theme_word(hint[2], lang)}"', context.get("body", "")
        )
        context["root_doc"] = page_in(app.env, HOME, lang)
        context["author"] = word("author", lang)
    if pagename.startswith(MADE):  # there is no source of this name to edit or to run
        context["page_source_suffix"] = ""
    context["okml_switch"] = _switch(app.env, pagename, context)
    up = "../" * pagename.count("/")
    feed = f'<link rel="alternate" type="application/atom+xml" href="{up}{feed_name(lang)}">'
    context["metatags"] = context.get("metatags", "") + feed
    if (there := twin(pagename)) in app.env.found_docs:
        base = site_address(app)  # search engines ask for it
        href = f"{base}/{there}.html" if base else context["pathto"](there)
        context["metatags"] += f'<link rel="alternate" hreflang="{other(lang)}" href="{href}">'
    context["okml_classes"] = []  # a page with headings of its own size or a wide article has some
    if pagename in (HOME, twin(HOME)):
        context["okml_classes"].append("okml-home-page")
    elif pagename.startswith(CLAIMS):
        context["okml_classes"].append("okml-claim-page")
    if doctree is not None and any("data-filters" in e["attrs"] for e in doctree.findall(element)):
        app.add_js_file(FILTER_SCRIPT, loading_method="defer")


def site_address(app: Sphinx) -> str:
    """Return the address of the site without a slash at the end; empty if it is not known."""
    return str(app.config.html_baseurl or "").rstrip("/")


def feed_name(lang: Lang) -> str:
    """Return the path of the feed in a language, from the root of the site."""
    return f"verdicts.{lang}.atom"


def _switch(env: BuildEnvironment, pagename: str, context: dict[str, Any]) -> dict[str, str] | None:
    """Return the link to the page in the other language, or else to the home page there."""
    lang = other(page_language(pagename))
    choices = {"same": twin(pagename), "home": in_language(HOME, lang)}
    found = next((name for name, page in choices.items() if page in env.found_docs), None)
    if found is None:
        return None
    return {
        "lang": lang,
        "href": context["pathto"](choices[found]),
        "name": word("this_language", lang),
        "title": word(f"switch.{found}", lang),
    }


def _in_language(tree: Any, lang: Lang, home: str) -> Any:
    """Return a table of contents with the parts and words of a language, without the home page."""
    for link in tree.select("a"):
        if link.string:
            link.string = theme_word(link.string, lang)
    for caption in tree.find_all("p", class_="caption"):
        if not LETTERS[lang].search(caption.get_text()):
            caption.find_next_sibling("ul").decompose()
            caption.decompose()
    for link in tree.select(f'li > a[href="{home}"]'):
        link.parent.decompose()
    for summary in tree.select("li > details > summary"):  # an arrow without words
        title = summary.find_previous("a").get_text()
        summary["aria-label"] = f"{word('pages_of', lang)} {title}"
    return tree


@lru_cache(maxsize=1)
def _shared(builder: Any) -> dict[Any, Any]:
    """Return the tables of contents that pages of a build share."""
    return {}


def keep_to_the_language(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Show the parts of the table of contents, and the neighbors, in the language of a page.

    A part is in the language of its caption; one with a caption in both is shown everywhere.
    """
    lang = page_language(pagename)
    generate = context.get("generate_toctree_html")
    if generate is None:  # the theme has no table of contents
        return

    # Pages that are in no table of contents have the same if they lie at one depth of folders.
    shared = _shared(app.builder) if pagename.startswith(IN_NO_CONTENTS) else {}

    home = context["pathto"](context["root_doc"])

    def of_language(kind: str, **options: Any) -> Any:
        key = (lang, pagename.count("/"), kind, *sorted(options.items()))
        if key not in shared:
            shared[key] = _in_language(generate(kind, **options), lang, home)
        return shared[key]

    context["generate_toctree_html"] = of_language
    removed = "html_theme.sidebar_secondary.remove" in (context.get("meta") or {})
    if removed or not context.get("secondary_sidebar_items"):
        # The article takes the room of a table of contents of its own. The body has the class: the
        # side bar, which a style could test for, comes after a long article.
        context["okml_classes"].append("okml-wide-page")
    context["root_title"] = app.env.titles[context["root_doc"]].astext()
    if lang == "ru":
        context["translate"] = lambda text: theme_word(str(text), lang)
        for button in context.get("header_buttons", []):
            if button["type"] == "group":  # the theme does not translate it
                button["tooltip"] = theme_word(button["tooltip"], lang)
    _, *neighbors = getattr(app.builder, "relations", {}).get(pagename, (None, None, None))
    for name, neighbor in zip(("prev", "next"), neighbors, strict=True):
        if neighbor is not None and page_language(neighbor) != lang:
            context[name] = None
