"""The feed of verdicts that changed: an Atom file for each language."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape
from pathlib import Path

from feedgenerator import Atom1Feed
from sphinx.application import Sphinx

from okml.ledger import LABELS
from okml.ledger.export import claim_page
from okml.ledger.quoting import plain
from okml.paths import atomic_write, repository_root
from okml.site.estimates import estimate_in
from okml.site.history import VerdictChange, verdict_changes
from okml.site.language import LANGUAGES, Lang, in_language, said, word
from okml.site.pages import feed_name, site_address

SHOWN = 60  # number of entries, which are the newest
NEVER = datetime.datetime.fromtimestamp(0, datetime.UTC)
TAG = "tag:okml,2026:"  # start of the feeds' and the entries' ids (RFC 4151)


def write_feeds(app: Sphinx) -> None:
    """Write the feed in each language beside the pages; without a history it has no entries."""
    changes = verdict_changes(repository_root())[-SHOWN:]
    for lang in LANGUAGES:
        with atomic_write(Path(app.outdir) / feed_name(lang)) as handle:
            handle.write(_feed(changes, lang, site_address(app)).writeString("utf-8"))


def _feed(changes: Sequence[VerdictChange], lang: Lang, base: str) -> Atom1Feed:
    """Return the feed; its addresses are relative to its own, unless the site's is known."""
    root = f"{base}/" if base else ""
    feed = Atom1Feed(
        title=word("feed", lang),
        link=f"{root}{in_language('book/scoreboard', lang)}.html",
        description="",
        subtitle=word("feed_says", lang),
        language=lang,
        author_name="okml",
        feed_url=f"{root}{feed_name(lang)}",
        feed_guid=f"{TAG}verdicts.{lang}",
    )
    for change in reversed(changes):
        before, after = (
            f"{said(LABELS[verdict.outcome], lang)} ({verdict.profile})"
            for verdict in (change.before, change.after)
        )
        measured = f"{change.claim.metric} = {estimate_in(change.after.measured, lang)}"
        feed.add_item(
            title=f"{change.claim.id}: {before} → {after}",
            link=f"{root}{in_language(claim_page(change.claim.id), lang)}.html",
            description=escape(f"{plain(said(change.claim.text, lang))} {measured}."),
            unique_id=f"{TAG}{change.claim.id}/{change.commit}",
            updateddate=change.date,
        )
    newest = max((change.date for change in changes), default=NEVER)
    feed.latest_post_date = lambda: newest  # and not the time of the build, without entries
    return feed
