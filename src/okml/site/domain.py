"""The Sphinx domain of claims: the places that state, test and list each claim, and their links.

A digest sentence links to the cell that tests it, or without one to the claim's row on the
scoreboard; a cell links back to the sentence in its own language. Every place exists once in each
language, and a page links to the place in its own language first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from okml.site.language import Lang, other, page_language

CELL = "cell"
DIGEST = "digest"
ROW = "row"
PAGE = "page"
# The target of each kind of link is the first of these places that exists, in the language of the
# page that has the link or else in the other. A link to a digest names its language.
TARGETS = {
    "claim": (CELL, ROW),
    "cell": (CELL, PAGE),
    "page": (PAGE, CELL, ROW),
    "digest": (DIGEST,),
}


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

    def claim_place(self, claim: str, kind: str, docname: str) -> list[str]:
        """Register a page as a place of a claim.

        Args:
            claim: The id of the claim.
            kind: The kind of place: ``CELL``, ``DIGEST``, ``ROW`` or ``PAGE``.
            docname: The name of the page.

        Returns:
            The HTML id of the place, as the list of ids of a node; empty if the page already has
            such a place.
        """
        pages = self.places.setdefault((claim, kind, page_language(docname)), set())
        if docname in pages:
            return []
        pages.add(docname)
        return [_anchor(claim, kind)]

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
        """Return a link to the claim's place.

        Without such a place, return the content alone, or nothing if it links to a digest.
        """
        own = page_language(fromdocname)
        languages = [node["lang"]] if node["lang"] else [own, other(own)]
        for kind, lang in product(TARGETS[typ], languages):
            if pages := self.places.get((target, kind, lang)):
                anchor = _anchor(target, kind)
                link = make_refnode(builder, fromdocname, min(pages), anchor, contnode)
                link["classes"] += node["classes"]
                return link
        return nodes.inline() if typ == DIGEST else contnode

    def resolve_any_xref(self, *_: Any) -> list[tuple[str, nodes.Element]]:
        """Return no targets, since claims are linked by their own roles only."""
        return []

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """Yield each claim's English place for the search: its cell, page, digest or row."""
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


def link(claim: str, kind: str, content: nodes.Element, lang: Lang | None = None) -> pending_xref:
    """Return a link to a place of a claim, resolved when all pages have been read.

    Args:
        claim: The id of the claim.
        kind: A key of ``TARGETS``.
        content: The content of the link.
        lang: The only language whose places count. With None, those in the language of the page
            come before those in the other.
    """
    return pending_xref(
        "", content, refdomain=ClaimDomain.name, reftype=kind, reftarget=claim, lang=lang
    )
