"""A program that extracts a batch at a time, slowly enough to be killed amid it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from okml.space_time.extract import extract
from okml.space_time.models import load_causal_lm


def main(model: Path, tokens: Path, folder: Path) -> None:
    lm = load_causal_lm(model, device="cpu")
    lm.blocks[0].register_forward_hook(lambda *_: time.sleep(0.05))
    loaded = np.load(tokens)
    extract(
        lm, loaded["ids"], loaded["offsets"], folder, data_set="cities", prompt="empty",
        storage="float32", token_budget=8, flush_seconds=0,
    )  # fmt: skip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
