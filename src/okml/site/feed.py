"""The feed of verdicts that changed: an Atom file for each language, from the ledger's history.

The history comes from Git: the claims and the records of each commit are judged by today's rules. A
record that today's code cannot read is passed over, so a claim's history starts with the first
verdict that can be computed, and that one is no change. A shallow clone has only the end of the
history; its feed is empty, since some of the changes would look like all of them.
"""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import yaml
from feedgenerator import Atom1Feed
from sphinx.application import Sphinx

from okml.chapters import CHAPTERS
from okml.ledger import LABELS, Claim, RunRecord, Verdict, judge
from okml.ledger.export import claim_page
from okml.ledger.quoting import plain
from okml.ledger.report import RECORDED
from okml.paths import atomic_write, repository_root
from okml.profile import PROFILE_NAMES
from okml.site.estimates import estimate_in
from okml.site.language import LANGUAGES, Lang, in_language, said, word
from okml.site.pages import feed_name, site_address
from okml.yaml_text import parse_yaml

SHOWN = 60  # number of entries, which are the newest
COMMIT = "commit "
NEVER = datetime.datetime.fromtimestamp(0, datetime.UTC)
TAG = "tag:okml,2026:"  # start of the feeds' and the entries' ids (RFC 4151)
# The files of the history: the chapter and the scale, or "claims", by path.
KEPT = {
    **{f"results/{name}/{scale}.json": (name, scale) for name in CHAPTERS for scale in RECORDED},
    **{f"src/okml/{name}/claims.yml": (name, "claims") for name in CHAPTERS},
}


@dataclass(frozen=True)
class VerdictChange:
    """A change of the verdict on a claim by one commit."""

    claim: Claim  # the claim as it stands after the commit
    before: Verdict
    after: Verdict
    commit: str  # its full SHA
    date: datetime.datetime  # the time of the commit, with its time zone


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


def is_shallow(root: Path) -> bool:
    """Tell whether the clone in a folder lacks the beginning of its history."""
    return _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"


@lru_cache(maxsize=1)
def verdict_changes(root: Path) -> list[VerdictChange]:
    """Return all changes of verdicts in a repository, the oldest first; none if it is shallow.

    A process reads the history once. The caller must not change the returned list, which is cached.

    Args:
        root: The folder of the repository.
    """
    if is_shallow(root):
        return []
    found: list[VerdictChange] = []
    claims: dict[str, list[Claim]] = {}
    records: dict[str, dict[str, RunRecord]] = {chapter: {} for chapter in CHAPTERS}
    told: dict[str, Verdict] = {}
    for commit, date, texts in _commits(root):
        for path, text in texts.items():
            chapter, what = KEPT[path]
            with suppress(ValueError, TypeError, yaml.YAMLError):  # a file of an older form
                if what == "claims":
                    read = [Claim.model_validate(entry) for entry in parse_yaml(text)]
                    claims[chapter] = read or claims.get(chapter, [])
                else:
                    records[chapter][what] = RunRecord.model_validate_json(text)
        for chapter in {KEPT[path][0]: None for path in texts}:
            for claim in claims.get(chapter, []):
                known = records[chapter].values()
                measured = [record for record in known if claim.metric in record.metrics]
                if not measured:
                    continue
                largest = max(measured, key=lambda record: PROFILE_NAMES.index(record.profile))
                verdict, before = judge(claim, largest), told.get(claim.id)
                if before is not None and before.outcome is not verdict.outcome:
                    found.append(VerdictChange(claim, before, verdict, commit, date))
                told[claim.id] = verdict
    return found


def _commits(root: Path) -> Iterator[tuple[str, datetime.datetime, dict[str, str]]]:
    """Yield the commits that changed claims or records, the oldest first, with their new texts."""
    log = _git(
        root, "log", "--reverse", "--first-parent", "-m", "--name-only", "--diff-filter=AM",
        f"--format={COMMIT}%H %cI", "--", *KEPT,
    )  # fmt: skip
    entries = [entry.split() for entry in log.decode().split(COMMIT)[1:]]
    named = [f"{sha}:{path}" for sha, _, *paths in entries for path in paths]
    rest = _git(root, "cat-file", "--batch", stdin="\n".join(named).encode())
    for sha, date, *paths in entries:
        texts = {}
        for path in paths:  # each comes as a line that ends in its length, itself, and a line's end
            head, _, rest = rest.partition(b"\n")
            length = int(head.split()[-1])
            texts[path], rest = rest[:length].decode(), rest[length + 1 :]
        yield sha, datetime.datetime.fromisoformat(date), texts


def _git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what Git prints; nothing if the folder is no repository."""
    return subprocess.run(
        ["git", *arguments], cwd=root, input=stdin, capture_output=True, check=False
    ).stdout
