"""The results of steps and trainings on disk, each under the code and settings that made it."""

from okml.kept.adoption import adopted, offer
from okml.kept.needs import Needs, describe, needs_of
from okml.kept.results import KeptResult, load, save
from okml.kept.trainings import (
    AnyStudy,
    distinct,
    remove_superseded,
    trainings_folder,
    trainings_in_use,
)

__all__ = [
    "AnyStudy",
    "KeptResult",
    "Needs",
    "adopted",
    "describe",
    "distinct",
    "load",
    "needs_of",
    "offer",
    "remove_superseded",
    "save",
    "trainings_folder",
    "trainings_in_use",
]
