"""The whole experiment, step by step; the notebook calls the same steps."""

from __future__ import annotations

from okml.add.experiments.controls import measure_inputs, measure_memory, measure_prompts
from okml.add.experiments.foundations import describe_data, describe_networks
from okml.add.experiments.pictures import draw_pictures
from okml.add.experiments.published import measure_published
from okml.add.experiments.quality import measure_arms, measure_methods
from okml.add.experiments.released import measure_released
from okml.add.experiments.speed import measure_speed
from okml.add.experiments.training import train_everything
from okml.add.figures import RECORDED
from okml.add.profile_settings import AddProfile
from okml.add.study import Study
from okml.experiment import ChapterExperiment, frame, step


class Experiment(ChapterExperiment[AddProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    open_study = Study
    recorded = RECORDED
    data = step(describe_data)
    released = step(measure_released)
    training = step(train_everything)
    networks = step(describe_networks)
    arms = step(measure_arms)
    methods = step(measure_methods)
    inputs = step(measure_inputs)
    prompts = step(measure_prompts)
    memory = step(measure_memory)
    pictures = step(draw_pictures)
    speed = step(measure_speed)
    published = step(measure_published, frame("released", "scores"))
