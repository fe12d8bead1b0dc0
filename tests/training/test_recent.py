"""Which finished trainings a study holds."""

from __future__ import annotations

from okml.training.recent import RECENT, recently_trained


class Study:
    def __init__(self) -> None:
        self.trained: list[int] = []

    @recently_trained
    def train(self, seed: int) -> list[int]:
        self.trained.append(seed)
        return [seed]


def test_the_latest_trainings_are_held_and_older_ones_let_go() -> None:
    study = Study()
    first = study.train(0)
    assert study.train(0) is first
    for seed in range(1, RECENT + 1):
        study.train(seed)
    assert study.train(RECENT) == [RECENT]
    assert study.trained == [*range(RECENT + 1)]
    study.train(0)
    assert study.trained[-1] == 0
