"""The smallest run of each chapter that has every step: a context that yields its profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from okml.chapters import chapter
from okml.profile import Profile
from tests.profiles import changed
from tests.tools.own_data import OwnData

# Metrics that are times, which no two runs share.
TIMED = re.compile("time_ratio|time_saved|time_pct|per_second|speedup|cpu_ratio|_seconds|_ms")


def small_strec() -> Profile:
    """Return the profile of strec with three layers and one recipe."""
    from tests.strec.tiny import tiny

    profile = tiny(mixed_precision="no", sweep_learned=[])
    few = {"repeats": 3, "serving_batches": (1,), "serving_calls": 20, "lengths": (16,)}
    short = {"length": 8, "schedule": (8, 3, 1), "short_lengths": (3,), "rows_per_user": 1}
    return changed(
        profile,
        datasets=(changed(profile.main, **short),),
        network=changed(profile.network, layers=3),
        sweep=((8, 8, 1),),
        extra_rankings=("no_noise",),
        recipes=profile.recipes[:1],
        causal=changed(profile.causal, layers=(2,)),
        mixers=("hstu",),
        references=("gru4rec",),
        efficiency=changed(profile.efficiency, **few, batch=4),
    )


@contextmanager
def strec(folder: Path) -> Iterator[Profile]:
    from tests.strec.tiny import in_few_calls, put_logs

    with pytest.MonkeyPatch.context() as patch, in_few_calls():
        put_logs(OwnData(folder, patch))
        yield small_strec()


@contextmanager
def offline_rl(folder: Path) -> Iterator[Profile]:
    from tests.offline_rl.tiny import put_logs, tiny

    with pytest.MonkeyPatch.context() as patch:
        put_logs(OwnData(folder, patch))
        profile = tiny(mixed_precision="no")
        yield changed(
            profile,
            datasets=(changed(profile.main, users=20, fit_epochs=1),),
            arms=("transformer_only", "bc_continue", "crr", "sasrec_ce", "caser_bce", "filter_bc"),
            main_arms=("crr_mean", "sqn", "sac", "decision_transformer"),
            funnel_arms=("transformer_only", "bc_continue", "crr"),
            funnel=changed(profile.funnel, users=40, fit_epochs=1),
            fit=changed(profile.fit, rates=(1e-2,)),
            start_epochs=(),
            rollouts=20,
            ope_sessions=100,
        )


@contextmanager
def lightsage(folder: Path) -> Iterator[Profile]:
    from okml.lightsage import task
    from tests.lightsage.tiny import films, tiny

    with mock.patch.object(task, "movielens", films):
        few = {"recipe.steps": 2, "recipe.evaluate_every": 1, "lightgcn.recipe.steps": 1}
        yield tiny().override(few | {"graphs": ["strong", "strong + search", "full"]})


@contextmanager
def add(folder: Path) -> Iterator[Profile]:
    from tests.add.chapter.tiny import tiny

    trainings = ("teacher", "metric", "vit_training", "distillation")
    few = ["random_features", "adversarial_only", "blind"]
    yield tiny(
        **{f"sets.0.{name}.steps": 2 for name in trainings},
        **{"sets.0.arms_once": few, "sets.0.samples": 20, "speed.repeats": 3},
    )


@contextmanager
def space_time(folder: Path) -> Iterator[Profile]:
    from tests.space_time import tiny_experiment as tiny

    models = tiny.save_models(folder)
    with tiny.hand_made(tiny.save_vectors(folder)):
        yield tiny.settings(models, **{f"models.{number}.dtype": "float32" for number in range(2)})


@contextmanager
def video_workshop(folder: Path) -> Iterator[Profile]:
    from tests.tools.own_data import OwnData
    from tests.video_workshop.own_logs import publish
    from tests.video_workshop.test_gpu_profile import SIZES

    with pytest.MonkeyPatch.context() as environment:
        publish(OwnData(folder, environment))
        few = {
            "items.arms": ["id", "content", "sid_prefix", "hybrid_sid", "hybrid_content"],
            "users.ablations": ["item_alone"],
            "stream.weekly.arms": ["stale", "incremental", "replay", "retrain"],
            "stream.weekly.more_arms": [],
            "stream.weekly.tables": ["hybrid_content"],
            "stream.weekly.shards": [0.5],
            "stream.sessions.0.arms": ["incremental", "retrain"],
            "stream.sessions.1.arms": ["incremental", "retrain"],
            "goals.ranker.batch": 4096,
            "goals.reinforce.network.batch": 4096,
            "goals.constrained.network.batch": 4096,
        }
        exact = {"mixed_precision": "no"}
        yield chapter("video_workshop").profile("gpu", SIZES).override({**few, **exact})


@contextmanager
def periodic_behavior(folder: Path) -> Iterator[Profile]:
    from tests.periodic_behavior.tiny import put_images, tiny

    with pytest.MonkeyPatch.context() as patch:
        put_images(OwnData(folder, patch))
        yield tiny(seeds=[0], problems=[tiny().model_dump()["problems"][0]])


# Options that make the smoke runs of `make gpu-check` small; the other chapters run as they are.
AT_SMOKE = {
    "periodic_behavior": (
        "-p", "problems.0.epochs=6", "-p", "problems.0.examples=32", "-p", "problems.0.batch=32",
    ),
}  # fmt: skip

SMALLEST = {
    made.__name__: made
    for made in (
        strec, offline_rl, lightsage, add, space_time, video_workshop, periodic_behavior,
    )
}  # fmt: skip
# Left to `make nightly`: they have the most steps, and take minutes on a device that Python plays.
LONG = ("add", "space_time", "video_workshop")
QUICK = [name for name in SMALLEST if name not in LONG]
