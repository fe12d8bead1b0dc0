"""The value model: what makes one score of the answers to several tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from okml.errors import ParameterError

Values = TypeVar("Values", bound=Any)

GIVEN_CLICK = ("watch", "like")  # tasks whose answers hold for a clicked item


@dataclass(frozen=True)
class ValueModel:
    """Scores an item by the expected responses to showing it.

    With ``p`` the chance of a click, ``p E[watch | click]`` is watching an impression; so a task
    that needs a click is multiplied by its chance.

    Attributes:
        weights: Of the responses an impression: ``click``, ``watch``, ``like``, ``hate``.
    """

    weights: Mapping[str, float]

    def __call__(self, answers: Mapping[str, Values]) -> Values:
        """Return the score.

        Args:
            answers: Probabilities of each task, arrays or tensors of one shape.

        Raises:
            ParameterError: If a weighted task, or the click that it needs, has no answer.
        """
        needed = {*self.weights}
        if needed.intersection(GIVEN_CLICK):
            needed.add("click")
        if missing := needed - answers.keys():
            raise ParameterError(
                f"No answer for {', '.join(sorted(missing))}.",
                f"The ranker has {', '.join(answers)}; leave other weights out.",
            )
        found: Any = 0.0
        for task, weight in self.weights.items():
            rate = answers[task] * answers["click"] if task in GIVEN_CLICK else answers[task]
            found = found + weight * rate
        return found  # type: ignore[no-any-return]
