"""The feed of verdicts, from a small history of commits."""

import subprocess
from xml.etree import ElementTree

import pytest
import yaml

from okml.paths import repository_root
from okml.site import feed
from okml.site.history import is_shallow, verdict_changes
from tests.site.conftest import CLAIMS, record

ATOM = "{http://www.w3.org/2005/Atom}"
DAYS = [f"2026-01-0{day}T12:00:00+00:00" for day in range(1, 7)]


@pytest.fixture
def history(tmp_path):
    """Write claims and records of a chapter, and commit them with the next day as their date."""
    days = iter(DAYS)

    def git(*arguments, **more):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True, **more)

    git("init", "-q")

    def commit(bar="> 0.25", text=None, **metrics):
        claims, kept = (
            tmp_path / path
            for path in ("src/okml/space_time/claims.yml", "results/space_time/cpu.json")
        )
        for path in (claims, kept):
            path.parent.mkdir(parents=True, exist_ok=True)
        claim = {
            **CLAIMS[1].model_dump(mode="json", exclude_defaults=True),
            "conditions": [],
            "expect": {"cpu": bar},
        }
        claims.write_text(yaml.safe_dump([claim]))
        if text is None:
            record("cpu", **metrics).write(kept)
        else:
            kept.write_text(text)
        git("add", ".")
        day = next(days)
        env = {
            "GIT_COMMITTER_DATE": day, "GIT_AUTHOR_DATE": day, "HOME": str(tmp_path),
            "GIT_AUTHOR_NAME": "x", "GIT_COMMITTER_NAME": "x", "EMAIL": "x@example.org",
            "PATH": "/usr/bin:/bin",
        }  # fmt: skip
        git("commit", "-q", "--allow-empty", "-m", "x", env=env)

    return tmp_path, commit


def test_a_new_record_or_a_new_bar_that_changes_a_verdict_is_an_entry(history):
    root, commit = history
    commit(text='{"schema_version": 0}')  # of another schema: nothing can be told
    commit(gain=[0.3, 0.4])  # the first verdict is no change
    commit(gain=[0.31, 0.41])  # another number, the same verdict
    commit(gain=[0.2, 0.4])
    commit(bar="> 0.5", gain=[0.2, 0.4])
    changes = verdict_changes(root)
    assert [
        (change.before.outcome.value, change.after.outcome.value, change.date.isoformat())
        for change in changes
    ] == [
        ("direction holds", "undecided", DAYS[3]),
        ("undecided", "not reproduced", DAYS[4]),
    ]


def test_the_newest_change_comes_first_and_leads_to_its_claim(history):
    root, commit = history
    commit(gain=[0.3, 0.4])
    commit(gain=[0.2, 0.4])
    commit(gain=[0.1, 0.2])
    for lang, base, page in (
        ("en", "", "book/claims/space_time/size.html"),
        ("ru", "https://example.org", "https://example.org/book/ru/claims/space_time/size.html"),
    ):
        written = feed._feed(verdict_changes(root), lang, base).writeString("utf-8")
        atom = ElementTree.fromstring(written)
        entries = atom.findall(f"{ATOM}entry")
        assert [entry.find(f"{ATOM}updated").text for entry in entries] == [DAYS[2], DAYS[1]]
        assert atom.find(f"{ATOM}updated").text == DAYS[2]
        assert {entry.find(f"{ATOM}link").get("href") for entry in entries} == {page}
        ids = [each.text for each in atom.iter(f"{ATOM}id")]
        assert len(set(ids)) == len(ids) == 3
        assert all(each.startswith("tag:okml,2026:") for each in ids)
    assert entries[0].find(f"{ATOM}title").text == (
        "space_time.size: не решено (cpu) → не воспроизведено (cpu)"
    )


def test_without_a_history_the_feed_is_empty_and_the_same_each_time(tmp_path):
    assert verdict_changes(tmp_path) == []
    atom = ElementTree.fromstring(feed._feed([], "en", "").writeString("utf-8"))
    assert atom.find(f"{ATOM}updated").text == "1970-01-01T00:00:00+00:00"
    assert atom.find(f"{ATOM}entry") is None


def test_a_shallow_clone_tells_no_change_and_not_the_last_ones_alone(history, tmp_path_factory):
    root, commit = history
    for gain in ([0.3, 0.4], [0.2, 0.4], [0.1, 0.2]):
        commit(gain=gain)
    assert len(verdict_changes(root)) == 2
    for depth, found in ((2, 0), (9, 2)):  # the second has the whole history
        clone = tmp_path_factory.mktemp("clone")
        command = ["git", "clone", "-q", f"--depth={depth}", f"file://{root}", str(clone)]
        subprocess.run(command, check=True, capture_output=True)
        assert is_shallow(clone) == (not found)
        assert len(verdict_changes(clone)) == found


@pytest.mark.parametrize(
    "path", sorted((repository_root() / ".github/workflows").glob("*.yml")), ids=lambda p: p.stem
)
def test_every_workflow_that_builds_the_site_has_the_whole_history(path):
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        steps = job["steps"]
        if any(step.get("run") in ("make book", ".ci/run") for step in steps):
            (checkout,) = [s for s in steps if s.get("uses", "").startswith("actions/checkout")]
            assert checkout["with"]["fetch-depth"] == 0
