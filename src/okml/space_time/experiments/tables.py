"""Tables 3 and 4 of the paper, for every model and set by its own protocol, beside its numbers."""

from __future__ import annotations

import polars as pl

from okml.space_time import probes
from okml.space_time.arms import Pass, holdout_layer, table_passes
from okml.space_time.experiments.holdouts import held_out_parts
from okml.space_time.holdout import Refits, hold_out
from okml.space_time.paper import printed
from okml.space_time.study import Study
from okml.steps import StepResult

TABLES = {"blocks": "Table 3", "types": "Table 4"}
ROWS = ("nominal", "heldout")
SCHEMA = {
    "table": pl.String, "model": pl.String, "set": pl.String, "row": pl.String,
    "held_out": pl.Int64, "proximity": pl.Float64, "swapped": pl.Float64, "paper": pl.Float64,
}  # fmt: skip


def measure_tables(study: Study) -> StepResult:
    """Hold out regions, periods and entity types of every set from the probe of every model.

    The layer is the paper's, not the one that leave-one-out picks. The frame ``tables`` has
    ``table``, ``model``, ``set``, ``row`` (``nominal``: test names of the block or type, by the
    probe of the default split; ``heldout``: all of them, by a probe that has seen none),
    ``held_out`` (how many blocks or types), ``proximity``, ``swapped`` (with longitude taken for
    latitude, as in the code behind the paper's numbers; null for dates) and ``paper``, null where
    the paper prints none.
    """
    frame = pl.concat([_of_pass(study, one) for one in table_passes(study.profile)])
    result = StepResult(frames={"tables": frame})
    place = frame.filter(model=study.profile.model.name, set=study.profile.place_set)
    for row in place.iter_rows(named=True):
        key = {"Table 3": "block", "Table 4": "type"}[row["table"]]
        result.log(f"table_{key}_{row['row']}_proximity", row["proximity"])
        result.log(f"table_{key}_{row['row']}_proximity_swapped", row["swapped"])
    known = frame.drop_nulls("paper")
    if known.height:
        # The paper's places were measured with swapped coordinates, so these are compared with it.
        ours = pl.coalesce("swapped", "proximity")
        gap = known.select((ours - pl.col("paper")).abs().mean()).item()
        result.log("table_gap", gap, unit="proximity error, mean over the paper's cells")
    return result


def _of_pass(study: Study, one: Pass) -> pl.DataFrame:
    """Return the rows of Tables 3 and 4 of one model and set."""
    entity_set, reading = study.entities(one.set), study.read(one)
    layer = holdout_layer(study.profile, one.model, reading.listing.blocks)
    features = probes.prepared(study, reading.layer(layer))
    probe = Refits(features, entity_set.y(), entity_set.test_mask(), device=study.device)
    found = []
    for part, (groups, labels) in held_out_parts(study, one.set).items():
        table = TABLES[part]
        blocks = hold_out(probe, groups, labels, entity_set.kind, swapped=True)
        errors = pl.col("^(nominal|heldout)(_swapped)?$")
        scores = blocks.select(errors.fill_nan(None).mean()).row(0, named=True)
        found += [
            {
                "table": table,
                "model": one.model.name,
                "set": one.set,
                "row": row,
                "held_out": len(labels),
                "proximity": scores[row],
                "swapped": scores.get(f"{row}_swapped"),
                "paper": printed(table, one.model.name, one.set, row),
            }
            for row in ROWS
        ]
    return pl.DataFrame(found, schema=SCHEMA)
