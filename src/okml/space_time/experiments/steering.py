"""E10: does what the model says follow a push along the probe's direction?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError
from okml.ledger import estimate_difference, estimate_mean
from okml.space_time import probes
from okml.space_time.arms import asked, steering_layer
from okml.space_time.batches import end_to_end
from okml.space_time.interventions import random_directions, steer
from okml.space_time.metrics import Floats
from okml.space_time.models import LanguageModel
from okml.space_time.study import Study
from okml.steps import StepResult

QUESTION = ("Where is ", "? It is a place on the continent of")  # text before and after the name
EAST, WEST = " Asia", " North"  # first tokens of the answers whose odds are read
PUSHED = "longitude"
COVARIANCE = "covariance"
DIRECTION_SEED = 0


def measure_steering(study: Study) -> StepResult:
    """Push the residual stream along the longitude direction and read the continent's odds.

    ``steering_shift`` is half the difference between the mean effects of the strongest push
    east and the strongest push west, along the direction of each seed's probe; its control is the
    largest of the same over random directions. ``steering_shift_covariance`` is that of a push
    along the covariance of the stream with longitude, which no λ decides.

    The frame ``steering`` has ``direction`` (``probe``, ``covariance`` or ``random``), ``index``
    (the seed, or the number of the random direction), ``strength`` and the mean ``shift``.
    """
    settings, name = study.profile.steering, study.profile.place_set
    model = study.profile.resident_model
    lm = study.language_model(model)
    layer = steering_layer(study.profile, lm.n_layers)
    states = study.read(asked(model, name)).layer(layer)  # [n, d]
    probed, covariance = (
        {f"{kind} {seed}": of(study, name, states, study.rows(name, seed), PUSHED)
         for seed in study.probe_seeds}
        for kind, of in (("probe", probes.direction), (COVARIANCE, probes.covariance))
    )  # fmt: skip
    random = random_directions(lm.d_model, settings.random_directions, DIRECTION_SEED)
    # A seed's test rows are on the test side of the split, which no seed's probe has seen.
    names = _spread(study, name, study.rows(name, study.profile.seeds[0]).test, settings.entities)
    before, after = QUESTION
    heads = [lm.text_ids(before + text) for text in names]
    ids, offsets = end_to_end([[*head, *_continuation(lm, after)] for head in heads])
    steered = steer(
        lm, ids, offsets, np.array([len(head) - 1 for head in heads]), layer,
        probed | covariance | random, settings.strengths, *_answers(lm),
        study.profile.batch_tokens,
    )  # fmt: skip
    result = StepResult(frames={"steering": _mean_effects(steered)})
    shifts = _shifts(steered, max(settings.strengths))
    strongest = max((shifts[direction] for direction in random), key=lambda row: abs(row.mean()))
    control = strongest * np.sign(strongest.mean())
    unit = "nats of log-odds"
    result.measure("steering_shift_random", estimate_mean(control, "names"), unit)
    for metric, directions in (
        ("steering_shift", probed), ("steering_shift_covariance", covariance),
    ):  # fmt: skip
        of_seeds = [shifts[direction] for direction in directions]
        by_seed = dict(zip(study.probe_seeds, of_seeds, strict=True))
        own: Mapping[int, Floats] | Floats = of_seeds[0] if study.fixed else by_seed
        result.measure(metric, estimate_mean(own, "names"), unit)
        difference = estimate_difference(own, control, "names")
        result.compare(metric, "steering_shift_random", difference)
    return result


def _spread(study: Study, name: str, test: NDArray[np.int64], count: int) -> list[str]:
    """Return ``count`` test names evenly spread over longitude, so that both ends are asked."""
    entity_set = study.entities(name)
    longitude = entity_set.y()[test, entity_set.targets.index(PUSHED)]
    order = test[np.argsort(longitude, kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    text = entity_set.text()
    return [text[row] for row in chosen]


def _continuation(lm: LanguageModel, text: str) -> list[int]:
    """Return the ids of ``text`` after other text.

    A SentencePiece tokenizer such as that of Llama-2 puts a blank before whatever it is given, so
    that " Asia" alone begins with the same token as " North".
    """
    alone = lm.text_ids("x")
    together = lm.text_ids("x" + text)
    if together[: len(alone)] != alone:
        raise ParameterError(f"The tokenizer of {lm.name} does not split text before {text!r}.")
    return together[len(alone) :]


def _answers(lm: LanguageModel) -> tuple[int, int]:
    """Return the ids of the first tokens of the eastern and the western answer."""
    east, west = (_continuation(lm, answer)[0] for answer in (EAST, WEST))
    if east == west:
        raise ParameterError(f"To the tokenizer of {lm.name} both answers begin alike.")
    return east, west


def _mean_effects(steered: pl.DataFrame) -> pl.DataFrame:
    """Return the mean shift of each direction and strength, in the form the figure takes."""
    name = pl.col("direction")
    means = steered.group_by("direction", "strength", maintain_order=True).agg(
        shift=pl.col("effect").mean()
    )
    return means.with_columns(
        name=name,
        index=name.str.extract(r"(\d+)$").cast(pl.Int64),
        direction=name.str.extract(r"^(\w+)"),
    )


def _shifts(steered: pl.DataFrame, strength: float) -> dict[str, NDArray[np.float64]]:
    """Return (effect(+strength) − effect(−strength)) / 2 of each direction and prompt, [n] each."""
    ends = steered.filter(pl.col("strength").abs() == strength).sort("prompt", "strength")
    found = {}
    for (direction,), rows in ends.group_by("direction", maintain_order=True):
        west, east = rows["effect"].to_numpy().reshape(-1, 2).T
        found[str(direction)] = (east - west) / 2
    return found
