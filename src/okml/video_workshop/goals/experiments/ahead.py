"""All parts of the theme of goals, computed in parallel ahead of the single experiments."""

from __future__ import annotations

import polars as pl

from okml.steps import StepResult
from okml.video_workshop.goals.arms import carry_out, carry_out_ahead
from okml.video_workshop.goals.experiments.constrained import constrained_parts
from okml.video_workshop.goals.experiments.objectives import objectives_parts
from okml.video_workshop.goals.experiments.top_k import top_k_parts
from okml.video_workshop.goals.experiments.traffic import traffic_parts
from okml.video_workshop.study import Study


def train_goals(study: Study) -> StepResult:
    """Run the parts of E3, E4 and E5, about the longest first, and return their seconds."""
    makers = (objectives_parts, constrained_parts, traffic_parts, top_k_parts)
    parts = [part for maker in makers for part in maker(study)]
    carry_out_ahead(study, parts)
    rows = [
        {"part": part.name, "seed": part.seed, "seconds": carry_out(study, part).seconds}
        for part in parts
    ]
    return StepResult(frames={"costs": pl.DataFrame(rows)})
