"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from okml.experiment import ChapterExperiment, frame, step
from okml.periodic_behavior.experiments import (
    describe_problems,
    measure_frequency,
    measure_norms,
    measure_periods,
    measure_presumptions,
    train_everything,
)
from okml.periodic_behavior.figures import RECORDED
from okml.periodic_behavior.settings import PeriodicBehaviorProfile
from okml.periodic_behavior.study import Study

COURSES = frame("training", "courses")


class Experiment(ChapterExperiment[PeriodicBehaviorProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    problems = step(describe_problems)
    training = step(train_everything)
    norms = step(measure_norms, COURSES)
    periods = step(measure_periods, COURSES)
    frequency = step(measure_frequency, COURSES)
    presumptions = step(measure_presumptions, COURSES)
