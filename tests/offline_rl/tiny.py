"""The data sets of the gpu profile as tiny files, and the sizes of a profile for a unit test."""

from __future__ import annotations

from typing import Any

from okml.offline_rl.config import PROFILES
from okml.offline_rl.settings import OfflineRLProfile
from tests.tools.own_data import OwnData
from tests.tools.own_logs import movielens, walks, yoochoose

ITEMS, USERS, EVENTS = 18, 40, 14

STAGE = {"epochs": 1, "batch": 32, "learning_rate": 3e-3, "warmup_steps": 0}
NETWORKS: dict[str, Any] = {
    "actor": {"width": 8, "layers": 1, "heads": 2},
    "critic": {"width": 8, "hidden": 8},
    "stage1": STAGE,
    "stage2": STAGE,
    "baseline": STAGE | {"epochs": 2},
    "fit_epochs": 2,
    "sasrec_width": 8,
    "caser_width": 8,
}
# Numbers of examples, epochs, seeds and widths; all that the profile compares stays in it.
SIZES: dict[str, Any] = {
    "seeds": [0],
    "device": "cpu",
    "datasets.0": {**NETWORKS, "length": 6},
    "datasets.1": {**NETWORKS, "length": 6},
    "funnel": {**NETWORKS, "users": 100, "test_rows_per_user": 5, "validation_rows": 20},
    "fit": {"rates": [1e-3, 1e-2], "copies": [2]},
    "rollouts": 50,
    "ope_sessions": 1500,
    "learning_rates": [1.0],
    "further_rates": 0,
    "further_stage2_rates": 0,
    "shop_rates": [],
    "start_epochs": [2],
    "curve_evaluations": 1,
    "evaluation_batch": 64,
    "chunk_bytes": 2**20,
    "compile": False,
}


def put_logs(data: OwnData) -> None:
    """Put MovieLens-25M and Yoochoose into a cache, each of walks on a ring of items."""
    for name, write, start, gaps in (
        ("ml_25m", movielens("ml-25m"), 1_000_000_000, (0, 30, 4_000)),
        ("yoochoose", yoochoose, 1_396_850_000, (30, 200)),
    ):
        data.files(name, write(walks(USERS, EVENTS, ITEMS, start=start, gaps=gaps)))


def tiny(**values: Any) -> OfflineRLProfile:
    """Return the gpu profile at the smallest sizes, on the CPU."""
    return PROFILES["gpu"].override(SIZES | values)
