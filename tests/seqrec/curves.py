"""Histories of trainings with validation curves that are given."""

from __future__ import annotations

import polars as pl

from okml.training import History


def history(values, stopped_by="max_epochs", every=10, **columns):
    steps = [every * (number + 1) for number in range(len(values))]
    frame = pl.DataFrame({"step": steps, "ndcg@10": list(map(float, values)), **columns})
    best = max(range(len(values)), key=values.__getitem__)
    return History(frame, steps[-1], stopped_by, steps[best], values[best])
