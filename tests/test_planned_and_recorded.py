"""What plans predict for `cpu`, beside what its committed records took."""

import pytest

from okml.chapters import CHAPTERS, chapter
from okml.ledger import load_record


@pytest.mark.parametrize("name", CHAPTERS)
def test_planned_memory_is_what_a_run_took(name):
    record, profile = load_record(name, "cpu"), chapter(name).profile("cpu")
    if record is None or record.settings_sha256 != profile.fingerprint():
        pytest.skip("no record has today's settings")
    planned = chapter(name).plan(profile).memory_gib
    assert planned == pytest.approx(record.provenance.peak_memory_gib, rel=0.15)
