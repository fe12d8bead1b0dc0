"""Profiles and other settings with some fields replaced."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def changed(model: M, **values: Any) -> M:
    """Return a model with some fields replaced, validated again."""
    return type(model).model_validate(dict(model) | values)
