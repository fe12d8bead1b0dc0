"""All parts of the theme of goals, carried out side by side before they are shown one by one."""

from __future__ import annotations

from okml.video_workshop.experiments.constrained import constrained_parts
from okml.video_workshop.experiments.objectives import objectives_parts
from okml.video_workshop.experiments.seeds import carry_out_ahead
from okml.video_workshop.experiments.top_k import top_k_parts
from okml.video_workshop.study import Study


def measure_goals_ahead(study: Study) -> None:
    """Carry out the parts of E3, E4 and E5, the longest first."""
    carry_out_ahead(
        study, [*objectives_parts(study), *constrained_parts(study), *top_k_parts(study)]
    )
