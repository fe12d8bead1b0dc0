"""The value model, which combines the predictions of several tasks in one score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from okml.errors import ParameterError

Values = TypeVar("Values", bound=Any)

GIVEN_CLICK = ("watch", "like")  # tasks whose predictions are conditional on a click


@dataclass(frozen=True)
class ValueModel:
    """Scores an item by the expected responses to showing it.

    A prediction conditional on a click is multiplied by the click probability ``p``:
    ``p E[watch | click]`` is the expected watching of an impression.

    Attributes:
        weights: Weight of each response per impression: ``click``, ``watch``, ``like``, ``hate``.
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
