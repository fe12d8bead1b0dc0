"""The settings of VideoSim."""

from __future__ import annotations

from okml.settings import Count, Fraction, Positive, Probability, Seed, Settings, rule


class VideoSimSettings(Settings):
    """Sizes of the world and of its log; the constants of behavior are in the modules."""

    # Seed of baits, susceptibilities and the noise of the logging policy, not of roll-outs. All
    # seeds of a run share one world, so intervals do not cover its variation.
    world_seed: Seed = 2
    components: Count = 16  # of content, for taste and satiation
    candidates: Count = 100  # of a request, drawn without replacement
    slate: Count = 5  # items shown
    longest: Count = 12  # requests of a session
    recent: Count = 20  # last clicked items that a recommender may read
    log_days: Count = 10
    outcome_days: Count = 20  # of the longer log that surrogates are fitted on
    days: Count = 30  # of a roll-out
    accuracy: Probability = 0.5  # of the click logit behind the log
    sharpness: Positive = 0.5  # of the softmax over it
    exploration: Fraction = 0.05  # share of uniform requests

    _slate = rule(
        lambda world: world.slate <= world.candidates,
        "a slate of {slate} exceeds the {candidates} candidates of a request",
    )
