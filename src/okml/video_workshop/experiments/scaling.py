"""E7: test loss over model size and data, the law it follows, and what growth would buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from okml.seqrec.bootstrap import resampled_means
from okml.seqrec.metrics import Floats
from okml.seqrec.rows import Rows
from okml.steps import StepResult, announced
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.study import Study
from okml.video_workshop.users.pretraining import Pretraining
from okml.video_workshop.users.scaling import Law, fit_law
from okml.video_workshop.users.settings import LossWeights
from okml.video_workshop.users.trainer import Base, UserTrainer, train_ahead

# The digest's only numbers on growth, of YouTube since 2015; a talk is their source.
GROWTH = {"parameters": 1_000.0, "data": 5.0}
LIMITS = (
    "MovieLens-100K allows no claim of a power law: its models span less than two orders of "
    "magnitude, its largest ones overfit or stop short within the common budget, and five "
    "parameters are fitted to a dozen points. The fit shows how such a law is read, with what "
    "uncertainty."
)


@dataclass(frozen=True, eq=False)
class Point:
    """One training of the grid.

    Attributes:
        base: What was trained.
        parameters: Without item vectors and heads.
        total: With the item vectors.
        events: That training could see.
        losses: Cross-entropy of each test row, nats, ``[r]``.
    """

    base: Base
    parameters: int
    total: int
    events: int
    losses: Floats


def measure_scaling(study: Study) -> StepResult:
    """Train the grid, fit laws in parameters, in data and in both, and read off the growth."""
    grid, seed = grid_of(study.profile), study.profile.seeds[0]
    train_ahead(study.users, [(base, seed) for base in grid])
    rows = known_targets(study.users)
    with announced("scaling: test losses"):
        points = [_measure(study, base, seed, rows) for base in grid]
    table = np.stack([point.losses for point in points], axis=1)  # [r, n]
    # Points that belong together: a resample of users moves all of them at once.
    resamples = min(study.profile.users.scaling.refits, study.profile.bootstrap)
    means = resampled_means(table, rows.user, resamples)
    result = StepResult(notes=[LIMITS])
    result.frames["points"] = _points(points, means)
    laws = {name: _laws(points, table.mean(0), means, name) for name in ("parameters", "data")}
    joint = _laws(points, table.mean(0), means)
    result.frames["laws"] = _law_table({**laws, "both": joint}, _constant(table.mean(0)))
    _log_growth(result, points, joint)
    best, smallest = table.mean(0).min(), table.mean(0)[0]
    result.log("scaling_loss_decrease", float(smallest - best), seed=seed)
    result.log("scaling_points", len(points))
    return result


def grid_of(profile: VideoWorkshopProfile) -> list[Base]:
    """Return the trainings of E7, next-item loss alone, all of the same number of steps."""
    users, scaling = profile.users, profile.users.scaling
    how = users.pretraining.model_copy(
        update={"steps": scaling.steps, "weights": LossWeights(action=0, multi=0, genre=0)}
    )
    return [
        Base(
            f"scaling_{width}_{layers}",
            users.base.model_copy(update={"width": width, "layers": layers}),
            how,
            share=share,
        )
        for width, layers in scaling.models
        for share in scaling.shares
    ]


def known_targets(trainer: UserTrainer) -> Rows:
    """Return the test rows whose target existed before the cut: the loss of others is a prior."""
    items = trainer.watched.interactions.items[trainer.test.end]
    return trainer.test.take(trainer.watched.first_seen[items] < trainer.cut)


def _measure(study: Study, base: Base, seed: int, rows: Rows) -> Point:
    trainer = study.users
    objective = trainer.pretrained(base, seed).module
    inner = sum(part.numel() for part in objective.model.layers.parameters())
    table = sum(part.numel() for part in objective.model.table.parameters())
    return Point(
        base,
        inner,
        inner + table,
        trainer.events_of(base, seed),
        row_losses(objective, trainer, rows, study.profile.evaluation_batch),
    )


@torch.inference_mode()
def row_losses(objective: Pretraining, trainer: UserTrainer, rows: Rows, batch_size: int) -> Floats:
    """Return the cross-entropy of each row's target among what existed before the cut, ``[r]``."""
    source, rng = trainer.requests(rows), np.random.default_rng(0)
    exists = torch.from_numpy(trainer.watched.first_seen < trainer.cut)
    matrix = objective.model.item_matrix().float()
    exists = exists.to(matrix.device)
    found = []
    for start in range(0, len(rows), batch_size):
        batch = source.batch(np.arange(start, min(start + batch_size, len(rows))), rng)
        hidden = objective.model.last(batch.items, context=batch.context).float()  # [b, d]
        logits = (hidden @ matrix.T).masked_fill_(~exists, -torch.inf)
        target = logits.gather(1, batch.target[:, None])[:, 0]
        found.append((logits.logsumexp(1) - target).cpu())
    return torch.cat(found).numpy().astype(np.float64)


def _laws(points: list[Point], losses: Floats, means: Floats, only: str | None = None) -> list[Law]:
    """Fit the points, and then each resample of them.

    A law in one size alone is fitted along the edge of the grid where the other is largest.
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
    return [fit_law(values[kept], **chosen) for values in (losses, *means)]


def _constant(losses: Floats) -> Law:
    return fit_law(losses)


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
    """Return a row an exponent: its value, its interval, and the AIC of its law."""
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
                 "high": float(high), "floor": law.floor, "AIC": law.aic,
                 "AIC of a constant": constant.aic if name == "both" else None}
            )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _log_growth(result: StepResult, points: list[Point], joint: list[Law]) -> None:
    """Log what a thousand times the parameters and five times the data would take away."""
    if not joint:
        return
    largest = max(points, key=lambda point: (point.parameters, point.events))
    sizes = {"parameters": float(largest.parameters), "data": float(largest.events)}
    for name, growth in (
        ("growth_loss_removed", GROWTH),
        ("growth_by_parameters_removed", {"parameters": GROWTH["parameters"]}),
        ("growth_by_data_removed", {"data": GROWTH["data"]}),
    ):
        values = [law.removed(growth, **sizes) for law in joint]
        low, high = np.quantile(values[1:], [0.025, 0.975])
        result.log(name, values[0], interval=(float(low), float(high)))
    for name in sizes:
        exponents = [law.terms[name].exponent for law in joint]
        low, high = np.quantile(exponents[1:], [0.025, 0.975])
        interval = (float(low), float(high))
        result.log(f"scaling_exponent_{name}", exponents[0], interval=interval)
