"""Every claim has what decides it: its metric and its control, with intervals, on all seeds."""

import pytest

from okml.video_workshop.config import SMOKE
from okml.video_workshop.experiment import Experiment
from tests.deciding import deciding_estimates

SEEDS = (0, 1)


@pytest.mark.slow
@pytest.mark.realdata
def test_every_claim_has_an_interval_and_a_paired_control(tmp_path):
    profile = SMOKE.override(
        {
            "seeds": SEEDS,
            "device": "cpu",
            "users.base.layers": 2,  # intents are fed from lower blocks to upper ones
            "users.extras": ("shuffled", "intents", "intents_free"),
        }
    )
    record = Experiment(profile, tmp_path).record()
    for claim, estimate in deciding_estimates(record):
        assert estimate.interval is not None, claim.id
        assert estimate.exact or estimate.seeds == len(SEEDS), claim.id
