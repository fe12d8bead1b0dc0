"""Hypothesis without its deadline: a busy machine is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("seqrec", deadline=None)
settings.load_profile("seqrec")
