"""SASRec of RecBole on the data of benchmarks/sequential.py, which runs this file.

Called with a JSON file of settings; writes ``result`` (JSON) and ``scores`` (NumPy). An epoch takes
minutes, so a number of its steps is timed: RecBole's batches, loss and optimizer.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

WARM_UP = 2  # steps
EVALUATIONS = 3


def main(settings: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    config = Config(model="SASRec", dataset="events", config_dict=options(settings))
    init_seed(settings["seed"], reproducibility=True)
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    model = SASRec(config, train.dataset)
    trainer = Trainer(config, model)

    model.train()
    taken, started, targets = 0, 0.0, 0
    for batch in islice(train, WARM_UP + settings["steps"]):
        if taken == WARM_UP:
            started, targets = time.process_time(), 0
        trainer.optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        trainer.optimizer.step()
        taken, targets = taken + 1, targets + len(batch)
    seconds = time.process_time() - started

    evaluated, result = [], {}
    for _ in range(EVALUATIONS):
        started = time.process_time()
        result = trainer.evaluate(valid, load_best_model=False)
        evaluated.append(time.process_time() - started)
    np.save(settings["scores"], scores(model, dataset, valid, settings["items"]))
    return {
        "quality": result["ndcg@10"],
        "targets_per_second": targets / seconds,
        "users_per_second": len(valid.dataset) / statistics.median(evaluated),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def options(settings: dict[str, Any]) -> dict[str, Any]:
    """Write the events as RecBole reads them, and return its options."""
    folder = Path(settings["result"]).parent / "recbole"
    (folder / "events").mkdir(parents=True)
    events = pd.read_csv(settings["events"])[["user", "item", "place"]]
    events.columns = ["user_id:token", "item_id:token", "timestamp:float"]
    events.to_csv(folder / "events" / "events.inter", sep="\t", index=False)
    return {
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": settings["length"],
        "hidden_size": settings["width"],
        "n_layers": settings["layers"],
        "n_heads": settings["heads"],
        "hidden_dropout_prob": 0.2,
        "attn_dropout_prob": 0.2,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "eval_args": {
            "split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full",
        },
        "metrics": ["NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 12,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
    }  # fmt: skip


@torch.no_grad()
def scores(model: SASRec, dataset: Any, valid: Any, items: int) -> np.ndarray:
    """Return the scores of the validation rows, ``[users, items + 1]``, in our numbers."""
    table = np.zeros((len(valid.dataset), items + 1), dtype=np.float32)
    numbers = dataset.id2token("item_id", np.arange(1, dataset.item_num)).astype(int)
    model.eval()
    for batch, *_ in valid:
        users = dataset.id2token("user_id", batch["user_id"].numpy()).astype(int)
        table[users[:, None], numbers] = model.full_sort_predict(batch)[:, 1:].numpy()
    return table


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    Path(given["result"]).write_text(json.dumps(main(given)))
