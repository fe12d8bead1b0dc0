"""The numbers that decide claims, with their controls and the differences from them."""

from __future__ import annotations

from okml.ledger import Measurements
from okml.plotting import Picture, estimates, with_control


def listening(*measured: Measurements) -> Picture:
    """Draw whether one step shows what the prompt asks for, and follows captions not seen."""
    panels = {
        "share of images read as the class of the prompt": with_control(
            "student_accuracy", "misled_accuracy",
            "asked for that class", "asked for another class",
        ),
        "alignment less that of 25 teacher steps": with_control(
            "alignment_gain_over_25_steps", "blind_alignment_gain",
            "one step of the student", "student without captions",
        ),
    }  # fmt: skip
    return estimates(panels, *measured)
