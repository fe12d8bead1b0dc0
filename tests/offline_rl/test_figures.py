"""What the figure of the cells says, against rows that are worked by hand."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from okml.offline_rl.experiments import cells
from okml.offline_rl.figures import draw_cells


def test_a_cell_has_the_mean_and_the_spread_of_its_seeds():
    """By hand: 0.3 and 0.1 are 0.2 in the mean, and their standard deviation is 0.2 / √2."""
    arms = SimpleNamespace(
        arms=["crr"],
        seeds=lambda arm: [3, 7],
        metric=lambda arm, cell, seed: {3: 0.3, 7: 0.1}[seed],
    )
    frame = cells._cells(arms, "no log of the paper")
    assert len(frame) == 6
    assert frame["CRR-Transformer"].to_list() == pytest.approx([0.2] * 6)
    assert frame["CRR-Transformer sd"].to_list() == pytest.approx([0.02**0.5] * 6)
    assert frame["SASRec"].is_null().all()


def test_cells_of_a_constant_reward_do_not_count():
    rewards = [cells.tested_by(np.array(each, np.float32)) for each in ([0.2, 1], [0.2, 1], [1])]
    frame = pl.DataFrame(
        {
            "CRR-Transformer": [0.3, 0.6, 0.9],
            "SASRec": [0.2, 0.5, 0.1],
            "Caser": [0.1, 0.1, 0.1],
            "Transformer-only": [0.3, 0.8, 0.1],
            "CRR-only": [0.15, 0.2, 0.1],
            "rewards": rewards,
        }
    ).with_columns(data=pl.lit("a_log"), metric=pl.lit("hr@5"))
    assert draw_cells(frame).alt.startswith(
        "CRR-Transformer: metric over that of a rival, in 2 cells: SASRec 1.20 to 1.50; Caser "
        "3.00 to 6.00; Transformer-only 0.75 to 1.00; CRR-only 2.00 to 3.00."
    )
