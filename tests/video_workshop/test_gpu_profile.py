"""The profile ``gpu`` by ``okml run`` itself, from small files in its publishers' formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from okml.chapters import chapter
from okml.ledger import RunRecord, read_record
from okml.profile import Profile
from okml.video_workshop.common.user_model import EventContext
from okml.video_workshop.config import PROFILES
from okml.video_workshop.experiment import Rooms
from okml.video_workshop.users.arms import the_base
from tests.deciding import deciding_estimates
from tests.finished import check_report, exported, run_by_command
from tests.video_workshop.own_logs import publish

# Sizes alone: which arms, tables, losses and data there are is the profile's.
NETWORK = {"width": 8, "layers": 2, "heads": 2}
HEADS = {"experts": 2, "expert_width": 4, "tower_width": 4}
POLICY = {"width": 4, "epochs": 1, "batch": 1024, "days": 2}
SAMPLE = {"negatives": 16}
SESSIONS = {
    "periods": 3,
    "training": {
        "model": {"length": 6, "width": 8}, "batch": 64, "update_batch": 64, "base_epochs": 1,
        "update_epochs": 1,
    },
    "strategies": {"exemplars": 20},
}  # fmt: skip
SIZES = {
    "seeds": [0, 1],
    "device": "cpu",
    "compile": False,  # a compiler of C++ takes minutes
    "evaluation_batch": 128,
    "items": {
        "levels": 2, "codes": 8, "components": 8, "prefix_codes": 4,
        "rqvae": {"hidden": [8], "latent": 4, "batch": 32, "steps": 4},
        "hidden": 8, "least_events": 8, "epochs": 1, "batch": 32,
        "model": {"length": 6, **NETWORK},
        "leave_one_out": {"model": {"length": 6, **NETWORK}, "epochs": 1, "batch": 32},
    },
    "users": {
        "base": {"length": 16, **NETWORK},
        "smaller": {"length": 16, "width": 4, "layers": 2, "heads": 2},
        "pretraining": {"steps": 2, "batch": 8, "warmup_steps": 1, "loss": SAMPLE},
        "downstream": {
            "steps": 3, "steps_all_labels": 3, "evaluate_every": 1, "batch": 8, "heads": HEADS,
        },
        "label_share": 0.3, "test_rows": 8, "valid_rows": 4,
    },
    "goals": {
        "simulator": {
            "components": 4, "candidates": 20, "recent": 4, "log_days": 3, "outcome_days": 4,
            "days": 3,
        },
        "ranker": {"width": 4, "layers": 1, "heads": HEADS, "epochs": 1, "batch": 1024},
        "held_out_days": 1, "worlds": 2, "oracle_worlds": 2,
        "reinforce": {"network": POLICY},
        "constrained": {
            "network": POLICY, "log_days": 3, "hidden": 4, "critic_epochs": 1,
            "multipliers": [1.0, 0.1],
        },
    },
    "stream": {
        "weekly": {
            "training": {
                "model": {"length": 12, **NETWORK}, "loss": SAMPLE, "batch": 256,
                "update_batch": 64, "base_epochs": 1,
            },
            "first": 27, "choice": {"rates": [0.3, 0.1], "periods": 3}, "rows": 30,
            "launches": {"least_events": 5, "first": 28, "last": 29}, "shock": {"period": 29},
            "strategies": {"exemplars": 30}, "shards": [0.5, 2.0],
        },
        "sessions.0": SESSIONS, "sessions.1": SESSIONS,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[tuple[Profile, RunRecord, Path]]:
    """The settings, the record and the folder of the whole experiment."""
    profile = chapter("video_workshop").profile("gpu", SIZES)
    with run_by_command(profile, publish, tmp_path_factory) as run_dir:
        yield profile, read_record(run_dir / "record.json"), run_dir


def column(record: RunRecord, table: str, name: str) -> set[Any]:
    return set(record.tables[table].columns[name])


@pytest.mark.slow
def test_every_claim_has_an_interval_and_a_paired_control_over_all_seeds(run):
    _, record, _ = run
    found = list(deciding_estimates(record))
    for claim, estimate in found:
        assert estimate.interval is not None, claim.id
        assert estimate.exact or estimate.seeds == len(SIZES["seeds"]), claim.id
    assert len({claim.id for claim, _ in found}) > 20


@pytest.mark.slow
def test_every_arm_of_the_profile_is_in_the_table_of_its_step(run):
    record, stated = run[1], PROFILES["gpu"]
    assert stated.users.table == record.settings["users"]["table"] == "hybrid_content"
    assert column(record, "cold", "arm") == {*stated.items.arms, *stated.items.once}
    bases = {"base", "no action tokens", *stated.users.ablations}
    assert column(record, "ablations", "arm") == bases
    modes = {"frozen"} | {
        f"{arm}{labels}"
        for arm in ("scratch", "single task", "full")
        for labels in ("", ", all labels")
    }
    assert column(record, "reuse", "arm") == modes
    of_shops = {
        (shop.log, arm) for shop in stated.stream.sessions for arm in (*shop.arms, *shop.more_arms)
    }
    columns = record.tables["sessions"].columns
    assert {*zip(columns["log"], columns["arm"], strict=True)} == of_shops
    arms = {*stated.stream.weekly.arms, *stated.stream.weekly.more_arms}
    assert column(record, "strategies", "arm") == arms


@pytest.mark.slow
def test_only_the_files_of_the_test_were_read(run):
    _, record, _ = run
    read = {name.partition("/")[0] for name in record.provenance.data}
    assert read == {*PROFILES["gpu"].logs}


@pytest.mark.slow
def test_the_exported_user_model_reads_histories_as_the_trained_one(run, tmp_path):
    profile, _, folder = run
    [(name, found)] = exported(profile, folder, tmp_path).items()
    assert name == "video_workshop_kuairand_1k"
    trained = Rooms(profile, folder).users.pretrained(the_base(profile.users), 0).module.model
    items = torch.tensor([[1, 3, 2, 5, 0, 0]])
    context = EventContext(*[torch.tensor([[1, 2, 1, 2, 0, 0]])] * 3)
    with torch.no_grad():
        torch.testing.assert_close(found(items, context=context), trained(items, context=context))
        assert torch.equal(found.item_matrix(), trained.item_matrix())


@pytest.mark.slow
def test_the_report_tells_what_the_run_decides(run, tmp_path):
    check_report(run[1], tmp_path)
