"""The numbers of VideoSim."""

from __future__ import annotations

from okml.settings import Count, Fraction, Positive, Probability, Seed, Settings, rule


class VideoSimSettings(Settings):
    """Sizes of the world and of its log; the constants of behavior stand with its rules."""

    # Of baits, susceptibilities and the logging policy; never of a roll-out. All seeds of a run
    # have one world: no interval says what another one would give.
    world_seed: Seed = 2
    components: Count = 16  # of content, that taste and satiation are about
    candidates: Count = 100  # of a request, drawn without replacement
    slate: Count = 5  # items shown
    longest: Count = 12  # requests of a session
    recent: Count = 20  # last clicked items that a recommender may read
    log_days: Count = 10
    outcome_days: Count = 20  # of the longer log that surrogates are learned from
    days: Count = 30  # of a roll-out
    accuracy: Probability = 0.5  # of the click logit behind the log
    sharpness: Positive = 0.5  # of the softmax over it
    exploration: Fraction = 0.05  # share of uniform requests

    _slate = rule(
        lambda world: world.slate <= world.candidates,
        "a slate of {slate} exceeds the {candidates} candidates of a request",
    )
