"""E7: test loss over model size and data, the fitted law, and its extrapolation to growth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from okml.seqrec.bootstrap import resampled_means
from okml.seqrec.metrics import Floats
from okml.seqrec.rows import Rows
from okml.steps import StepResult, announced
from okml.video_workshop.common.training import batches_of
from okml.video_workshop.users.arms import Base, Job, scaling_jobs
from okml.video_workshop.users.pretraining import Pretraining
from okml.video_workshop.users.scaling_law import FLATTEST, STEEPEST, Law, fit_law
from okml.video_workshop.users.study import UsersStudy

# The digest's only numbers on growth, of YouTube since 2015, from a talk; and each of them alone.
GROWTHS = {
    "1000 times the parameters, 5 times the data": {"parameters": 1_000.0, "data": 5.0},
    "1000 times the parameters": {"parameters": 1_000.0},
    "5 times the data": {"data": 5.0},
}


@dataclass(frozen=True, eq=False)
class Point:
    """One trained point of the grid.

    Attributes:
        base: Configuration of the pre-training.
        parameters: Number of parameters without item vectors and heads.
        total: Number of parameters with item vectors.
        events: Number of training events.
        losses: Cross-entropy of each test row in nats, ``[r]``.
    """

    base: Base
    parameters: int
    total: int
    events: int
    losses: Floats


def measure_scaling(study: UsersStudy) -> StepResult:
    """Measure the grid, fit laws in parameters, in data and in both, and extrapolate growth."""
    seed, rows = study.profile.seeds[0], known_targets(study)
    with announced("scaling: test losses"):
        points = [_measure(study, job, rows) for job in scaling_jobs(study.profile)]
    table = np.stack([point.losses for point in points], axis=1)  # [r, n]
    # Points share test users, so a resample of users changes all of them together.
    means = resampled_means(table, rows.user, study.profile.users.scaling.refits)
    result = StepResult()
    result.frames["points"] = _points(points, means)
    laws = {name: _laws(points, table.mean(0), means, name) for name in ("parameters", "data")}
    joint = _laws(points, table.mean(0), means)
    constant = fit_law(table.mean(0), {})
    result.frames["laws"] = _law_table({**laws, "both": joint}, constant)
    there_is_a_law = readable(joint[0], constant)
    result.notes.append(_limits(points, there_is_a_law))
    result.frames["growth"] = _growth(points, joint if there_is_a_law else [])
    if there_is_a_law:
        _log_growth(result, joint)
    if np.isfinite(joint[0].aic):  # enough points
        # A positive value favors the law over a constant by AICc.
        result.log("scaling_law_criterion_gain", constant.aic - joint[0].aic, seed=seed)
    best, smallest = table.mean(0).min(), table.mean(0)[0]
    result.log("scaling_loss_decrease", float(smallest - best), seed=seed)
    result.log("scaling_points", len(points))
    return result


def readable(law: Law, constant: Law) -> bool:
    """Return whether the law can be extrapolated.

    It cannot if AICc prefers a constant or is infinite for lack of points, or if an exponent lies
    at a bound of the fit.
    """
    inside = all(FLATTEST * 1.01 < term.exponent < STEEPEST * 0.99 for term in law.terms.values())
    return law.aic < constant.aic and inside


def _limits(points: list[Point], there_is_a_law: bool) -> str:
    """Return a note on the limits of the fit."""
    sizes = [point.parameters for point in points]
    read = "The law is told from a constant." if there_is_a_law else "There is no law to read off."
    return (
        f"Five parameters are fitted to {len(points)} points, whose models span a factor of "
        f"{max(sizes) / min(sizes):,.0f} in size and are trained for as many steps each. {read}"
    )


def known_targets(study: UsersStudy) -> Rows:
    """Return the test rows whose target existed before the cut; other targets are no class."""
    items = study.watched.interactions.items[study.test.end]
    return study.test.take(study.watched.first_seen[items] < study.cut)


def _measure(study: UsersStudy, job: Job, rows: Rows) -> Point:
    assert isinstance(job.what, Base)
    objective = study.pretrained(job.what, job.seed).module
    inner = sum(part.numel() for part in objective.model.layers.parameters())
    table = sum(part.numel() for part in objective.model.table.parameters())
    return Point(
        job.what,
        inner,
        inner + table,
        study.events_of(job.what, job.seed),
        row_losses(objective, study, rows, study.profile.evaluation_batch),
    )


@torch.inference_mode()
def row_losses(objective: Pretraining, study: UsersStudy, rows: Rows, batch_size: int) -> Floats:
    """Return the cross-entropy of each target among items that existed at the cut, ``[r]``."""
    exists = torch.from_numpy(study.watched.first_seen < study.cut)
    matrix = objective.model.item_matrix().float()
    exists = exists.to(matrix.device)
    found = []
    for batch in batches_of(study.requests(rows), batch_size):
        hidden = objective.model.last(batch.items, context=batch.context).float()  # [b, d]
        logits = (hidden @ matrix.T).masked_fill_(~exists, -torch.inf)
        target = logits.gather(1, batch.target[:, None])[:, 0]
        found.append((logits.logsumexp(1) - target).cpu())
    return torch.cat(found).numpy().astype(np.float64)


def _laws(points: list[Point], losses: Floats, means: Floats, only: str | None = None) -> list[Law]:
    """Fit a law to the points and to each resample of them.

    A law in a single size is fitted on the edge of the grid where the other size is largest.
    """
    sizes = {
        "parameters": np.array([point.parameters for point in points], dtype=np.float64),
        "data": np.array([point.events for point in points], dtype=np.float64),
    }
    kept = np.ones(len(points), dtype=bool)
    if only is not None:
        other = next(name for name in sizes if name != only)
        largest = max(range(len(points)), key=lambda n: sizes[other][n])
        reference = points[largest].base
        kept = np.array(
            [
                point.base.model == reference.model
                if other == "parameters"
                else point.base.share == reference.share
                for point in points
            ]
        )
        sizes = {only: sizes[only]}
    chosen = {name: values[kept] for name, values in sizes.items()}
    if kept.sum() < 1 + 2 * len(chosen):
        return []
    law = fit_law(losses[kept], chosen)
    return [law, *(fit_law(values[kept], chosen, law) for values in means)]


def _points(points: list[Point], means: Floats) -> pl.DataFrame:
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return pl.DataFrame(
        [
            {
                "width": point.base.model.width,
                "layers": point.base.model.layers,
                "share": point.base.share,
                "parameters": point.parameters,
                "with items": point.total,
                "events": point.events,
                "loss": float(point.losses.mean()),
                "low": float(low[number]),
                "high": float(high[number]),
            }
            for number, point in enumerate(points)
        ]
    )


def _law_table(laws: dict[str, list[Law]], constant: Law) -> pl.DataFrame:
    """Return a row for each exponent: its value, its interval, and the AICc of its law."""
    rows = []
    for name, fits in laws.items():
        if not fits:
            continue
        law, *refits = fits
        for of, term in law.terms.items():
            exponents = [refit.terms[of].exponent for refit in refits]
            low, high = np.quantile(exponents, [0.025, 0.975])
            rows.append(
                {"law in": name, "exponent of": of, "exponent": term.exponent, "low": float(low),
                 "high": float(high), "floor": law.floor, "AICc": _finite(law.aic),
                 "AICc of a constant": _finite(constant.aic) if name == "both" else None}
            )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _finite(criterion: float) -> float | None:
    return criterion if np.isfinite(criterion) else None


def _growth(points: list[Point], joint: list[Law]) -> pl.DataFrame:
    """Return the reducible loss that growth from the largest point removes under the joint law.

    Without a law, the entries are empty.
    """
    largest = max(points, key=lambda point: (point.parameters, point.events))
    sizes = {"parameters": float(largest.parameters), "data": float(largest.events)}
    rows = []
    for name, growth in GROWTHS.items():
        values = [law.removed(growth, **sizes) for law in joint]
        ends = np.quantile(values[1:], [0.025, 0.975]).tolist() if joint else [None, None]
        rows.append((name, values[0] if joint else None, *ends))
    numbers = dict.fromkeys(("removed", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={"growth": pl.String, **numbers}, orient="row")


def _log_growth(result: StepResult, joint: list[Law]) -> None:
    """Log the exponents of the joint law, and the loss that the digest's growth would remove."""
    for name in ("parameters", "data"):
        result.log(f"scaling_exponent_{name}", joint[0].terms[name].exponent)
    result.log("growth_loss_removed", result.frames["growth"].row(0, named=True)["removed"])
