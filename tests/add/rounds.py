"""Rounds of timing in a miniature, where a round computes the same as any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from okml.add.experiments import speed
from okml.add.full_scale import run
from okml.add.latency import LatencyTable, measure_latency
from okml.add.sampling import Sampler

MOST_STEPS = 4  # of a student


def measured(samplers: Mapping[int, Sampler], *given: Any, **named: Any) -> LatencyTable:
    """Time as the chapter does, but without a warm-up, and a teacher's many steps in one round."""
    fewer = {"warmup": 0} | ({"repeats": 1} if max(samplers) > MOST_STEPS else {})
    return measure_latency(samplers, *given, **named | fewer)


@contextmanager
def in_few_rounds() -> Iterator[None]:
    """Time so inside the context."""
    with (
        mock.patch.object(speed, "measure_latency", measured),
        mock.patch.object(run, "measure_latency", measured),
    ):
        yield
