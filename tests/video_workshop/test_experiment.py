"""The steps of the chapter and the notebook that shows them."""

import nbformat

from okml.chapters import chapter
from okml.video_workshop.config import PROFILES
from okml.video_workshop.experiment import Experiment


def test_the_notebook_shows_every_step():
    book = nbformat.read(chapter("video_workshop").notebook, as_version=4)
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert [step for step in Experiment.step_names() if f"experiment.{step}." not in code] == []


def test_every_scale_names_the_logs_it_reads_once():
    assert PROFILES["smoke"].logs == ("ml_100k",)
    assert PROFILES["cpu"].logs == ("ml_100k", "ader_diginetica", "ader_yoochoose")
    assert PROFILES["gpu"].logs == (
        "kuairand_1k", "microlens_100k", "ml_100k", "kuairand_pure", "ader_diginetica",
        "ader_yoochoose",
    )  # fmt: skip
