"""What plans predict for `cpu`, beside what its committed records took."""

from collections import defaultdict
from statistics import median

import pytest

from okml.chapters import CHAPTERS, chapter
from okml.ledger import load_record

MEMORY, HOURS = 0.15, 0.30  # the largest errors of a plan, as shares of what a record says


@pytest.fixture(scope="module")
def runs():
    """Plans and provenances of the chapters whose record has today's settings."""
    found = {}
    for name in CHAPTERS:
        record, profile = load_record(name, "cpu"), chapter(name).profile("cpu")
        if record is not None and record.settings_sha256 == profile.fingerprint():
            found[name] = (chapter(name).plan(profile), record.provenance)
    assert found
    return found


def test_planned_memory_is_what_runs_took(runs):
    ratios = {name: plan.memory_gib / made.peak_memory_gib for name, (plan, made) in runs.items()}
    assert ratios == {name: pytest.approx(1, abs=MEMORY) for name in runs}


def test_planned_hours_are_what_runs_took_on_machines_of_one_speed(runs):
    """A plan does not know how fast a machine is, so each processor has a factor, the median.

    The test cannot hold that factor, nor a chapter whose record is the only one of a processor.
    """
    ratios, of_processor = {}, defaultdict(list)
    for name, (plan, made) in runs.items():
        ratios[name] = 3600 * plan.hours / made.seconds
        of_processor[made.environment.cpu].append(ratios[name])
    errors = {
        name: ratios[name] / median(of_processor[made.environment.cpu])
        for name, (_, made) in runs.items()
    }
    assert errors == {name: pytest.approx(1, abs=HOURS) for name in runs}
