"""Table 1 with the published models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from okml.accelerator import pick_device
from okml.add.comparison import Floats
from okml.add.experiments.released import (
    CLIP,
    GAUSSIAN,
    SCORES,
    TEACHER,
    of_best_guidance,
    scores_frame,
)
from okml.add.full_scale.models import PIPELINES
from okml.add.full_scale.prerequisites import require
from okml.add.full_scale.run import evaluate, free_memory, train
from okml.add.planning import COCO_IMAGES
from okml.add.profile_settings import AddProfile, PublishedSettings
from okml.add.study import Study
from okml.kept import trainings_folder
from okml.ledger import estimate_left_out
from okml.steps import StepResult, Steps, announced
from okml.training.ahead import train_ahead

Drawn = tuple[str, int]  # row of the table and steps
ONE: Drawn = ("default", 1)


def check_prerequisites(study: Study) -> None:
    """Raise before the first training if the published models cannot be distilled after it."""
    published = study.profile.published
    require(published.settings(), published.released)


def measure_published(study: Study, released: pl.DataFrame) -> StepResult:
    """Distil published models by the rows of Table 1; without rows, nothing is run.

    Each row takes hours, so each is kept by itself.

    Args:
        study: The study of the run.
        released: The scores of teachers and of one Gaussian.
    """
    published = study.profile.published
    check_prerequisites(study)
    if published.rows:
        study.let_go()
    table = TableRows(study.profile, study.run_dir)
    train_ahead(table, published.rows)
    rows = [table.train(name) for name in published.rows]
    rivals = _rivals(released, PIPELINES[published.base.teacher]) if rows else []
    scores = pl.concat(
        [pl.DataFrame(schema=SCORES), *(row.frames["scores"] for row in rows), *rivals]
    )
    result = StepResult()
    _log(result, scores)
    result.frames["table_1"] = scores.filter(without=0).drop("without")
    return result


class TableRows:
    """The rows of Table 1 as jobs, each on a card of its own where there are several."""

    def __init__(self, profile: AddProfile, run_dir: Path) -> None:
        self.profile = profile
        self.run_dir = run_dir
        self.device = pick_device(profile.device)

    def needs(self, row: str) -> list[str]:
        """Return no row: each starts from published models."""
        return []

    def train(self, row: str) -> StepResult:
        """Return the scores of a row, which is distilled unless it is kept."""
        parts = Steps(self.profile, self.run_dir / "parts", str(self.device))
        study = Study(self.profile, self.run_dir)
        return parts(f"Table 1, {row}", measure_row, study, row)


def _rivals(released: pl.DataFrame, teacher: str) -> list[pl.DataFrame]:
    """Return the scores that students are compared with, under the names that claims use."""
    named = of_best_guidance(released, teacher).with_columns(pl.lit(TEACHER).alias("row"))
    return [released.filter(row=GAUSSIAN), named]


def measure_row(study: Study, name: str) -> StepResult:
    """Distil by a row of Table 1, or go on with that, and score the student."""
    settings = study.profile.published.settings()[name]
    with announced(f"Table 1, {name}"):
        free_memory()
        train(settings, row_folder(study, name))
        free_memory()
        found = evaluate(settings, row_folder(study, name), study.profile.device)
    frames = [
        scores_frame(
            name,
            steps,
            1.0,
            {key: found[f"{key}@{steps}"] for key in ("fid", "clip_score", "clip_score_vitl14")},
        )
        for steps in settings.evaluation_steps
    ]
    return StepResult(frames={"scores": pl.concat(frames)})


def row_folder(study: Study, name: str) -> Path:
    """Return the folder of the training of a row of Table 1."""
    return trainings_folder(study, train, PublishedSettings.settings) / name


def _log(result: StepResult, scores: pl.DataFrame) -> None:
    """Measure the metrics of the claims, as far as their rows were run."""
    known = set(scores.select("row", "steps").iter_rows())

    def of(row: str, steps: int = 1, score: str = "FID") -> Floats:
        return scores.filter(row=row, steps=steps).sort("without")[score].to_numpy()

    def measure(metric: str, compute: Callable[[], Floats], *drawn: Drawn) -> None:
        if known.issuperset(drawn):
            result.measure(metric, estimate_left_out(compute(), COCO_IMAGES, "images"))

    def ratio(metric: str, one: Drawn, other: Drawn, name: str = "", rival: Drawn = ONE) -> None:
        """Measure one over the other; with a name, rival over the other is its control."""
        measure(metric, lambda: of(*one) / of(*other), one, other)
        if name and known.issuperset((one, other, rival)):
            measure(name, lambda: of(*rival) / of(*other))
            difference = (of(*one) - of(*rival)) / of(*other)
            result.compare(metric, name, estimate_left_out(difference, COCO_IMAGES, "images"))

    def clip_gain(metric: str, *others: str) -> None:
        def gain() -> Floats:
            best = np.max([of(name, score=CLIP) for name in others], axis=0)
            return np.asarray(of("default", score=CLIP) - best)

        measure(metric, gain, ONE, *((name, 1) for name in others))

    def more_steps() -> Floats:
        return np.maximum(of("default", 2) / of(*ONE), of("default", 4) / of("default", 2))

    measure("fid_one_step", lambda: of(*ONE), ONE)
    measure("fd_ratio_more_steps", more_steps, ONE, ("default", 2), ("default", 4))
    eyes = sorted(name for name, steps in known if name.startswith("a.") and steps == 1)
    if eyes:
        best = np.min([of(name) for name in eyes], axis=0)
        measure("dinov2_fid_gain", lambda: best - of(*ONE), ONE)
    for ending, steps in (("one_step", 1), ("to_25_steps", 25)):
        rival = (f"cheap_fd_ratio_{ending}", (GAUSSIAN, 0))
        ratio(f"fd_ratio_{ending}", ONE, (TEACHER, steps), *rival)
    random = ("c.random_student", 1)
    ratio("random_init_fd_ratio", random, ONE, "teacher_fd_ratio", (TEACHER, 1))
    ratio("distillation_alone_fd_ratio", ("d.distillation_only", 1), ONE)
    clip_gain("distillation_clip_gain", "d.adversarial_only")
    clip_gain("conditioning_clip_gain_over_best", "b.unconditional", "b.text_only", "b.image_only")
    four = ("f.four_teacher_steps", 1)
    measure("teacher_steps_fid_gain", lambda: of(*ONE) - of(*four), ONE, four)
