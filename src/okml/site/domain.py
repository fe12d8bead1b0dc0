"""The Sphinx domain of claims: the places that state, test and list each claim, and their links.

A digest sentence links to the cell that tests it, or without one to the claim's row on the
scoreboard; a cell links back to the sentence in its own language. Every place exists once in each
language, and a page links to the place in its own language first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from okml.site import view
from okml.site.language import LANGUAGES, Lang, page_language

CELL = "cell"
DIGEST = "digest"
ROW = "row"
PAGE = "page"
# The target of each kind of link is the first of these places that exists, in the language of the
# page that has the link or else in the other.
TARGETS = {
    "claim": (CELL, ROW),
    "cell": (CELL, PAGE),
    "page": (PAGE, CELL, ROW),
}
IN_ONE_LANGUAGE = {f"{DIGEST}.{lang}": (DIGEST, lang) for lang in LANGUAGES}


def _wanted(kind: str, lang: Lang) -> list[tuple[str, Lang]]:
    """Return the places, each with its language, to which a kind of link leads on a page."""
    if kind in IN_ONE_LANGUAGE:
        return [IN_ONE_LANGUAGE[kind]]
    languages = sorted(LANGUAGES, key=lambda each: each != lang)
    return [(place, each) for place in TARGETS[kind] for each in languages]


class ClaimDomain(Domain):  # type: ignore[misc]
    """Places of claims: digest, cell, row and page, in each language."""

    name = "okml"
    label = "Claims"
    object_types = {"claim": ObjType("claim", "claim")}  # noqa: RUF012 - as Sphinx declares it
    initial_data: dict[str, Any] = {"places": {}}  # noqa: RUF012
    data_version = 4

    @property
    def places(self) -> dict[tuple[str, str, Lang], set[str]]:
        """The pages that have a place of each (claim, kind, language); the first by name counts.

        A page is read in a process that knows some of the pages that were read before, whichever
        were ready. So what a page registers must not depend on other pages.
        """
        return self.data["places"]  # type: ignore[no-any-return]

    def claim_place(self, claim: str, kind: str, docname: str) -> str | None:
        """Register this page as a place of a claim and return the anchor; None if it has one."""
        pages = self.places.setdefault((claim, kind, page_language(docname)), set())
        if docname in pages:
            return None
        pages.add(docname)
        return _anchor(claim, kind)

    def clear_doc(self, docname: str) -> None:
        """Remove the entries of a page that is read again or deleted."""
        for key in [key for key, pages in self.places.items() if docname in pages]:
            self.places[key].remove(docname)
            if not self.places[key]:
                del self.places[key]

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        """Add what a parallel reader found on its pages."""
        for key, pages in otherdata["places"].items():
            if read := pages.intersection(docnames):
                self.places.setdefault(key, set()).update(read)

    def resolve_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Any,
        typ: str,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> nodes.Element:
        """Link to the claim's place; without one, return the content, or nothing if optional."""
        for place in _wanted(typ, page_language(fromdocname)):
            if (target, *place) in self.places:
                page, anchor = min(self.places[target, *place]), _anchor(target, place[0])
                link = make_refnode(builder, fromdocname, page, anchor, contnode)
                link["classes"] += node["classes"]
                return link
        return nodes.inline() if node.get("optional") else contnode

    def resolve_any_xref(self, *_: Any) -> list[tuple[str, nodes.Element]]:
        """Return no targets, since claims are linked by their own roles only."""
        return []

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """Yield each claim once for the search: its cell, else its digest, else its row."""
        for claim in sorted({claim for claim, *_ in self.places}):
            for kind in (CELL, PAGE, DIGEST, ROW):
                if (claim, kind, "en") in self.places:
                    page = min(self.places[claim, kind, "en"])
                    yield claim, claim, "claim", page, _anchor(claim, kind), 1
                    break


def _anchor(claim: str, kind: str) -> str:
    return str(nodes.make_id(f"{kind}-{claim}"))


def domain_of(env: BuildEnvironment) -> ClaimDomain:
    """Return the claim domain of a build."""
    found = env.get_domain(ClaimDomain.name)
    assert isinstance(found, ClaimDomain)
    return found


def link(claim: str, kind: str, content: nodes.Element, *, optional: bool = False) -> pending_xref:
    """Return a link to a place of a claim, resolved when all pages have been read.

    Args:
        claim: Id of the claim.
        kind: A key of ``TARGETS`` or of ``IN_ONE_LANGUAGE``.
        content: The content of the link.
        optional: Whether to show nothing, not the bare content, if the place does not exist.
    """
    return pending_xref(
        "", content, refdomain=ClaimDomain.name, reftype=kind, reftarget=claim, optional=optional
    )


def is_digest(docname: str, claim: str) -> bool:
    """Tell whether a page is the digest of a claim's chapter."""
    return docname.split("/")[-2:] == ["digests", view.chapter_of(claim)]
