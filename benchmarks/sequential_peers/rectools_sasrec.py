"""SASRec of RecTools on the data of benchmarks/sequential.py, which runs this file.

Called with a JSON file of settings; writes ``result`` (JSON) and ``scores`` (NumPy).
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools.dataset import Dataset
from rectools.models import SASRecModel

MISSING = -1e30  # score of an item that training has no event of


class Epochs(Callback):
    """Keeps the weights after each epoch; the clock stands still meanwhile."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self._used, self._started = 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, module: Any) -> None:
        """Start the clock."""
        self._started = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Stop the clock and copy the weights."""
        self._used += time.process_time() - self._started
        self.seconds.append(self._used)
        state = module.torch_model.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


def main(settings: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    seed_everything(settings["seed"])
    events = pd.read_csv(settings["events"]).rename(columns={"user": "user_id", "item": "item_id"})
    events["datetime"] = pd.to_datetime(events["place"], unit="s")
    events["weight"] = 1.0
    train, valid = (events[events["part"] == part] for part in ("train", "valid"))
    epochs = Epochs()

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=settings["epochs"], accelerator="cpu", logger=False, callbacks=[epochs],
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    model = SASRecModel(
        n_blocks=settings["layers"], n_heads=settings["heads"], n_factors=settings["width"],
        session_max_len=settings["length"], dropout_rate=0.2, loss="softmax", lr=1e-3,
        batch_size=128, get_trainer_func=trainer,
    )  # fmt: skip
    dataset = Dataset.construct(train[["user_id", "item_id", "weight", "datetime"]])
    model.fit(dataset)
    kept = model.fit_trainer.callbacks[0]  # the trainer is copied

    users, quality, evaluated = valid["user_id"].to_numpy(), [], []
    for weights in kept.weights:
        model.torch_model.load_state_dict(weights)
        started = time.process_time()
        found = model.recommend(users=users, dataset=dataset, k=10, filter_viewed=True)
        evaluated.append(time.process_time() - started)
        hits = found.merge(valid, on=["user_id", "item_id"])
        quality.append(float((1 / np.log2(hits["rank"] + 1)).sum() / len(users)))
    np.save(settings["scores"], scores(model, dataset, users, settings["items"]))
    targets = int((np.minimum(train.groupby("user_id").size(), settings["length"] + 1) - 1).sum())
    return {
        "seconds": kept.seconds,
        "quality": quality,
        "targets_per_second": targets * len(kept.seconds) / kept.seconds[-1],
        "users_per_second": len(users) / statistics.median(evaluated),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def scores(model: SASRecModel, dataset: Dataset, users: np.ndarray, items: int) -> np.ndarray:
    """Return the scores that the last recommendation ranked, ``[users, items + 1]``."""
    prepared = model.data_preparator.transform_dataset_u2i(dataset, users)
    loader = model.data_preparator.get_dataloader_recommend(prepared, 256)
    vectors, matrix = model.lightning_model._get_user_item_embeddings(loader, "cpu")
    known = model.data_preparator.get_known_items_sorted_internal_ids()
    table = np.full((len(users), items + 1), MISSING, dtype=np.float32)
    external = model.data_preparator.get_known_item_ids().astype(int)
    order = prepared.user_id_map.convert_to_internal(users)
    table[:, external] = (vectors @ matrix[known].T).detach().numpy()[order]
    return table


if __name__ == "__main__":
    options = json.loads(Path(sys.argv[1]).read_text())
    Path(options["result"]).write_text(json.dumps(main(options)))
