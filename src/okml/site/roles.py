"""Roles in the text: a claim's badge, the mark of the cell that tests it, a measured number."""

from __future__ import annotations

from collections.abc import Callable

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from okml.errors import OkmlError
from okml.ledger import load_record
from okml.profile import PROFILE_NAMES, ProfileName
from okml.site import view
from okml.site.badges import verdict_badge
from okml.site.domain import CELL, digest_kind, domain_of, link
from okml.site.language import LANGUAGES, page_language, said, word
from okml.site.markup import abbreviation, tag

logger = logging.getLogger(__name__)

Nodes = list[nodes.Node]


class LedgerRole(SphinxRole):  # type: ignore[misc]
    """A role whose text names something in the ledger; a name it does not know is a warning."""

    def run(self) -> tuple[Nodes, list[nodes.system_message]]:
        """Render, or warn and show the text as it is."""
        self.lang = page_language(self.env.docname)
        try:
            return self.render(), []
        except OkmlError as error:
            logger.warning(
                "%s", error.message, location=self.get_location(), type="okml", subtype=self.name
            )
            return [nodes.literal("", self.text)], []

    def render(self) -> Nodes:
        """Return what the role shows.

        Raises:
            OkmlError: If the ledger does not know what the text names.
        """
        raise NotImplementedError


class ClaimRole(LedgerRole):
    """``{claim}`id```: the verdict beside a sentence of the digest, and a link to its test."""

    def render(self) -> Nodes:
        """Return the badge; on the chapter's digest it is also the place the cell links back to."""
        row = view.find(self.text)
        domain = domain_of(self.env)
        domain.use(row.claim.chapter, self.env.docname)
        kind = digest_kind(self.env.docname, self.text)
        anchor = domain.claim_place(self.text, kind, self.env.docname) if kind else None
        badge = verdict_badge(row.best, self.lang)
        badge.append(tag("span", self.text, classes=["okml-id"]))
        badge["attrs"]["title"] = said(row.claim.text, self.lang)
        found = tag("span", link(self.text, "claim", badge), classes=["okml-claim"])
        if anchor:
            found["ids"].append(anchor)
        return [nodes.Text(" "), found]


class TestsRole(LedgerRole):
    """``{tests}`id```: marks the cell that tests a claim and leads back to the sentence."""

    def render(self) -> Nodes:
        """Return the mark with links to the digest in both languages."""
        row = view.find(self.text)
        domain = domain_of(self.env)
        domain.use(row.claim.chapter, self.env.docname)
        anchor = domain.claim_place(self.text, CELL, self.env.docname)
        links = [
            link(
                self.text,
                f"digest.{lang}",
                tag("span", word(f"digest.{lang}", self.lang), classes=["okml-back"]),
                optional=True,
            )
            for lang in LANGUAGES
        ]
        row_link = link(self.text, "row", tag("code", self.text, classes=["okml-id"]))
        mark = tag("span", word("tests", self.lang), " ", row_link, *links, classes=["okml-tests"])
        mark["attrs"]["title"] = said(row.claim.text, self.lang)
        if anchor:
            mark["ids"].append(anchor)
        return [nodes.Text(" "), mark]


class MeasuredRole(LedgerRole):
    """``{measured}`chapter.metric@profile```: a number from the recorded run."""

    def render(self) -> Nodes:
        """Return the number, or that this scale was not run."""
        name, _, scale = self.text.partition("@")
        chapter, _, key = name.partition(".")
        profile = _profile(self.text, scale)
        view.rows(chapter)  # an unknown chapter is an error here
        domain_of(self.env).use(chapter, self.env.docname)
        record = load_record(chapter, profile)
        if record is None:
            return [tag("span", word("not_run", self.lang), classes=["okml-missing"])]
        if key not in record.metrics:
            raise OkmlError(f"The {profile} record of {chapter} has no metric {key!r}.")
        metric = record.metrics[key]
        title = f"{self.text}: {view.measured_title(metric)}; {record.provenance.started[:10]}"
        return [abbreviation(view.measured_text(metric), title, ["okml-measured"])]


def _profile(text: str, scale: str) -> ProfileName:
    for name in PROFILE_NAMES:
        if name == scale:
            return name
    raise OkmlError(f"{text!r} is not chapter.metric@profile with one of {PROFILE_NAMES}.")


ROLES: dict[str, Callable[[], LedgerRole]] = {
    "claim": ClaimRole,
    "tests": TestsRole,
    "measured": MeasuredRole,
}
