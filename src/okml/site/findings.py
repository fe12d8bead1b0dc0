"""The findings: sentences, numbers and figures that the landing page and digests open with."""

from __future__ import annotations

from docutils import nodes

from okml.errors import ParameterError
from okml.ledger import Estimate, Outcome, Text
from okml.ledger.findings import Finding, filled, load_findings
from okml.site import view
from okml.site.badges import verdict_badge
from okml.site.dependencies import note_chapters
from okml.site.directives import PageDirective
from okml.site.domain import link
from okml.site.estimates import estimate_node, prose, stale_note
from okml.site.language import said, word
from okml.site.markup import Child, element, note, tag
from okml.site.pages import digest_link
from okml.site.pictures import figure_of_claim, picture
from okml.site.scales import caption


class Findings(PageDirective):
    """``{findings}``: each finding with its number, its figure and a link to its claim.

    An argument names the chapter whose findings are shown; without one all are, chapter by chapter.
    """

    optional_arguments = 1

    def render(self) -> list[nodes.Node]:
        """Return a list of findings for each chapter; undecided ones come last.

        Raises:
            ParameterError: If there is no finding of the chapter that the argument names.
        """
        note_chapters(self.env, *self.arguments)
        self._drawn: set[str] = set()
        found: dict[str, list[Finding]] = {}
        for finding in load_findings():
            found.setdefault(view.chapter_of(finding.claim), []).append(finding)
        if self.arguments:
            (chapter,) = self.arguments
            if chapter not in found:
                raise ParameterError(f"There is no finding of a chapter {chapter!r}.")
            return [self._list(found[chapter])]
        parts = []
        for chapter, its in found.items():
            if shown := [each for each in its if not each.digest_only]:
                title = digest_link(self.env, chapter, self.lang)
                parts += [tag("h3", title, classes=["okml-findings-of"]), self._list(shown)]
        return parts

    def _list(self, findings: list[Finding]) -> element:
        findings.sort(key=lambda each: view.find(each.claim).best.outcome is Outcome.UNDECIDED)
        return tag("ol", *map(self._finding, findings), classes=["okml-findings"])

    def _finding(self, finding: Finding) -> element:
        found = view.find(finding.claim)
        verdict = found.best
        sentence = finding.sentence(verdict)
        if sentence is None:  # nothing was measured, so the claim speaks for itself
            said_so: list[Child] = [said(found.claim.text, self.lang)]
        else:
            said_so = [
                part if isinstance(part, str) else self._number(part, finding.claim)
                for part in filled(said(sentence, self.lang), verdict)
            ]
        # The verdict is on the claim, and a finding may say the opposite of its claim.
        words = tag("span", *prose(found.claim.text, self.lang), classes=["okml-words"])
        badge = tag("span", verdict_badge(verdict, self.lang), classes=["okml-claim"])
        claim = tag("span", words, " ", badge)
        return tag(
            "li",
            tag("p", *said_so, classes=["okml-finding"]),
            tag(
                "p",
                f"{word('claim', self.lang)}: ",
                link(finding.claim, "page", claim),
                self._note(verdict.reason if verdict.outcome is Outcome.UNDECIDED else None),
                self._note(found.claim.rests_note, f"{word('rests_on', self.lang)}: "),
                stale_note(found.claim.chapter, verdict.profile, self.lang),
                classes=["okml-finding-claim"],
            ),
            *self._figure(finding.claim),
        )

    def _number(self, estimate: Estimate | None, claim: str) -> nodes.Node:
        if estimate is None:
            return nodes.Text("—")
        return tag("strong", estimate_node(estimate, self.lang, claim))

    def _note(self, text: Text | None, before: str = "") -> element | None:
        return note(before, *prose(text, self.lang)) if text else None

    def _figure(self, claim: str) -> list[nodes.Node]:
        """Return the claim's figure, unless an earlier finding has shown it.

        A digest says which run it shows; the landing page leaves that to the page of the claim.
        """
        found = figure_of_claim(self.env, claim)
        if found is None or found.is_table or found.html in self._drawn:
            return []
        shown = picture(self.env, found.html, tooltips=False, lazy=bool(self._drawn))
        self._drawn.add(found.html)
        box = tag("div", shown, classes=["okml-finding-picture"])
        made = [caption(view.chapter_of(claim), found.scale, self.lang)] if self.arguments else []
        return [link(claim, "cell", box), *made]
