"""Metrics from ranks: by hand, and against ranx, which sorts scores instead of counting."""

from __future__ import annotations

import importlib
from types import ModuleType

import numba
import numpy as np
import pytest
import torch

from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.metrics import mean_metrics, row_metrics, user_mean
from okml.seqrec.ranking import rank_rows
from okml.seqrec.rows import all_rows
from okml.seqrec.scorers import score_function_scorer
from tests.seqrec.logs import of_lengths


def test_one_relevant_item_by_hand() -> None:
    found = row_metrics(np.array([1.0, 3.0, 10.0, 11.0]), [10])
    assert found["hr@10"].tolist() == [1, 1, 1, 0]
    np.testing.assert_allclose(found["mrr@10"], [1, 1 / 3, 1 / 10, 0])
    np.testing.assert_allclose(found["ndcg@10"], [1, 0.5, 1 / np.log2(11), 0])
    means = mean_metrics(np.array([1.0, 3.0, 10.0, 11.0]), [2, 10])
    assert (means["hr@2"], means["hr@10"]) == (0.25, 0.75)


def test_users_count_alike_in_the_mean_over_users() -> None:
    assert user_mean(np.array([1.0, 0, 0, 1]), np.array([7, 3, 3, 3])) == pytest.approx(2 / 3)


@pytest.fixture
def ranx(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The library, interpreted: that it compiles itself would take half a minute."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    return importlib.import_module("ranx")


@pytest.mark.filterwarnings("ignore")
def test_ranx_finds_the_same_metrics_from_scores(ranx: ModuleType) -> None:
    found = of_lengths([40, 3, 25], items=60)
    source = LastTargetBatches(found, all_rows(found), 4)
    table = torch.randn(len(source), 61, generator=torch.Generator().manual_seed(0))
    scorer = score_function_scorer(lambda batch: table)  # one batch has all rows, in order
    run = ranx.Run(
        {
            f"{row:03}": {str(item): float(table[row, item]) for item in range(1, 61)}
            for row in range(len(source))
        }
    )
    targets = found.items[source.rows.end]
    one = ranx.Qrels({f"{row:03}": {str(item): 1} for row, item in enumerate(targets)})
    ours = row_metrics(rank_rows(scorer, source, limit=200, batch_size=len(source)), [5, 10])
    names = {"hr": "hit_rate", "ndcg": "ndcg", "mrr": "mrr"}
    for name, values in ours.items():
        metric, k = name.split("@")
        theirs = ranx.evaluate(one, run, f"{names[metric]}@{k}", return_mean=False)
        np.testing.assert_allclose(values, theirs, err_msg=name)
