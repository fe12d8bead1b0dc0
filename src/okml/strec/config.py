"""The four scales of the chapter."""

from __future__ import annotations

from typing import Any

from okml.profile import Budget, by_name
from okml.seqrec.losses import ChunkedSoftmaxSettings
from okml.strec.relaxation import RELEASED_SHIFTS, RelaxationSettings
from okml.strec.sampler import RELEASED_SAMPLER
from okml.strec.schedule import RELEASED
from okml.strec.settings import (
    CausalSettings,
    DataSettings,
    EfficiencySettings,
    NetworkSettings,
    Recipe,
    StrecProfile,
    WindowSettings,
)


def _faithful(**steps: Any) -> Recipe:
    """Return the recipe of the authors' code; its length depends on the profile."""
    return Recipe(
        name="faithful",
        sampler=RELEASED_SAMPLER,
        norm_epsilon=1e-12,
        sampler_learning_rate=None,
        **steps,
    )


SMOKE = StrecProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    datasets=(
        DataSettings(
            log="ml_100k",
            length=16,
            schedule=(16, 6, 1),
            short_lengths=(6,),
            k_core=(5, 20),  # rare items learn nothing in seconds, and a softmax over fewer is fast
            split="last_events",
            held_out=2,
            rows_per_user=1,
            validation_rows=600,
        ),
    ),
    network=NetworkSettings(width=32, heads=2, hidden=64, layers=3),
    recipes=(
        Recipe(name="modern", relaxed_epochs=1, hard_epochs=1, batch=64),
        _faithful(
            relaxation=RelaxationSettings(estimator="released"), learning_rates=(1e-3,),
            dropout=0.2, relaxed_epochs=1, hard_epochs=1, batch=64,
        ),
    ),
    warm_start=WindowSettings(epochs=1, batch=48, learning_rates=(3e-3,), warmup_steps=30),
    causal=CausalSettings(epochs=1, batch=48, learning_rates=(3e-3,)),
    references=("gru4rec",),
    sweep=((16, 16, 1), (16, 6, 1), (1, 1, 1)),
    mixers=("informer", "linrec"),
    noise_draws=2,
    attention_histories=64,
    efficiency=EfficiencySettings(
        batch=64, repeats=3, serving_batches=(1,), serving_calls=20,
        lengths=(16, 64), tokens=1024,
    ),
)  # fmt: skip

CPU = StrecProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    # Five seeds of trainings that go on until validation is flat take 20 minutes.
    seeds=(0, 1, 2),
    datasets=(
        DataSettings(
            log="ml_100k",
            length=50,
            schedule=(50, 20, 5, 1),
            short_lengths=(5, 10, 20),
            split="last_events",
            held_out=5,
            rows_per_user=5,
            validation_rows=1000,
        ),
    ),
    network=NetworkSettings(width=64, heads=2, hidden=256, layers=4),
    # The authors' recipe, whose sampler has the rate of all other weights, learns no sample in the
    # steps that minutes allow.
    recipes=(
        Recipe(
            name="modern", learning_rates=(2e-5, 1e-4), relaxed_epochs=2, hard_epochs=2,
            batch=128, evaluate_every=1, patience=2,
        ),
    ),
    # With 18 epochs validation still rose.
    warm_start=WindowSettings(
        epochs=25, batch=32, learning_rates=(2e-3,), warmup_steps=150, ema_decay=0.998,
        evaluate_every=1, patience=5,
    ),
    # The number of epochs that takes as long as STRec's training with its warm start. There is no
    # patience: stopped by one dip of validation, a seed ended at half of the others' epochs.
    causal=CausalSettings(
        epochs=29, batch=32, learning_rates=(2e-3,), ema_decay=0.998, evaluate_every=1
    ),
    references=("gru4rec",),
    mixers=("informer",),
    sweep=((50, 20, 5, 1), (20, 20, 5, 1), (5, 5, 5, 1), (1, 1, 1, 1)),
    sweep_learned=((50, 20, 5, 1), (20, 20, 5, 1)),
    noise_draws=3,
    attention_histories=128,
    efficiency=EfficiencySettings(
        batch=128, repeats=32, serving_calls=40, lengths=(50, 200), tokens=6400
    ),
)  # fmt: skip

# MovieLens-1M with the split of the literature: the last event of each of 6,040 users is the test.
# In pilots with two rows of a user and rates of at least 5e-4, no arm validated above its start.
NIGHT = StrecProfile(
    name="night",
    budget=Budget(minutes=90, memory_gib=12, disk_gib=3),
    seeds=(3, 4, 5),  # not those of an earlier run, which has been read
    datasets=(
        DataSettings(
            log="ml_1m",
            length=50,
            schedule=(50, 20, 5, 1),
            short_lengths=(5, 10, 20),
            split="leave_one_out",
            rows_per_user=3,
        ),
    ),
    network=NetworkSettings(width=64, heads=2, hidden=256, layers=4),
    recipes=(
        Recipe(
            name="modern", learning_rates=(2e-5, 1e-4, 5e-4), relaxed_epochs=1, hard_epochs=4,
            batch=128, evaluate_every=1, patience=2,
        ),
    ),
    # In pilots validation chose the second of 1e-3, 2e-3 and 4e-3 for causal SASRec. With that rate
    # the warm start learns only if it warms up, here for an epoch. Validation of averaged weights
    # was flat after about 18 epochs.
    warm_start=WindowSettings(
        epochs=18, batch=32, learning_rates=(2e-3,), warmup_steps=706, ema_decay=0.9995,
        evaluate_every=1, patience=5,
    ),
    # The number of epochs that takes as long as STRec's training with its warm start.
    causal=CausalSettings(
        epochs=24, batch=32, learning_rates=(2e-3,), ema_decay=0.9995, evaluate_every=1
    ),
    extra_rankings=("uniform",),
    mixers=("informer",),
    sweep=((50, 20, 5, 1), (20, 20, 5, 1), (5, 5, 5, 1), (1, 1, 1, 1)),
    sweep_learned=((50, 20, 5, 1), (20, 20, 5, 1), (5, 5, 5, 1)),
    efficiency=EfficiencySettings(
        batch=128, repeats=24, serving_calls=40, lengths=(50, 100, 200, 500), tokens=6400
    ),
)  # fmt: skip

# The paper's three data sets with its windows and filters.
_ML_20M = DataSettings(
    log="ml_20m", length=50, schedule=RELEASED[50], short_lengths=(5, 10, 20),
    validation_rows=100_000,
)  # fmt: skip
_GOWALLA = DataSettings(
    log="gowalla_merged", length=8, schedule=RELEASED[8], activation="relu", short_lengths=(1, 3),
    k_core=(8, 5), validation_rows=100_000,
)  # fmt: skip
_AMAZON = _GOWALLA.model_copy(update={"log": "amazon_electronics"})

GPU = StrecProfile(
    name="gpu",
    budget=Budget(minutes=144 * 60, memory_gib=64, disk_gib=250, gpu_memory_gib=80),
    seeds=(2020, 2021, 2022),
    datasets=(_ML_20M, _GOWALLA, _AMAZON),
    recipes=(
        Recipe(
            name="modern", relaxed_epochs=10, hard_epochs=100, batch=6000, learning_rates=(1e-3,),
            warmup_steps=2000, evaluate_every=1, patience=4,
            loss=ChunkedSoftmaxSettings(chunk_bytes=2**30),
        ),
        _faithful(
            relaxation=RelaxationSettings(estimator="released", shifts=RELEASED_SHIFTS),
            dropout=0.5, attention_dropout=0.5, learning_rates=(1e-4,), from_scratch=True,
            relaxed_epochs=60, hard_epochs=500, batch=6000, evaluate_every=3, patience=4,
            loss=ChunkedSoftmaxSettings(chunk_bytes=2**30),
        ),
    ),
    warm_start=WindowSettings(epochs=20, batch=1024, evaluate_every=2, patience=5),
    causal=CausalSettings(
        layers=(2, 8), heads=4, epochs=200, batch=512, evaluate_every=2, patience=5
    ),
    extra_rankings=("position", "no_noise", "content", "uniform"),
    references=("gru4rec", "narm", "bert4rec", "gsasrec", "esasrec", "hstu", "mamba4rec"),
    # The baselines of the paper's table of efficiency, then others.
    mixers=(
        "informer", "linformer", "reformer", "bigbird", "flash", "autoformer",
        "linrec", "performer", "tisasrec", "hstu",
    ),
    sweep=(
        (50, 50, 50, 50, 50, 50, 50, 1), (50, 50, 50, 50, 20, 20, 20, 1),
        (50, 50, 50, 20, 20, 10, 3, 1), (50, 50, 20, 20, 5, 5, 5, 1), RELEASED[50],
        (20, 20, 20, 5, 5, 5, 5, 1), (10, 10, 10, 5, 5, 5, 5, 1), (5, 5, 5, 5, 5, 5, 5, 1),
        (1, 1, 1, 1, 1, 1, 1, 1),
    ),
    sweep_learned=(
        (50, 50, 50, 20, 20, 10, 3, 1), (50, 50, 20, 20, 5, 5, 5, 1), RELEASED[50],
        (20, 20, 20, 5, 5, 5, 5, 1),
    ),
    relaxed_epoch_sweep=(0, 10, 20, 40, 60, 80, 100),
    attention_histories=4096,
    evaluation_batch=8192,
    mixed_precision="bf16",
    compile=True,
    efficiency=EfficiencySettings(
        batch=6000, repeats=100, serving_calls=1000,
        lengths=(50, 100, 200, 500, 1000, 2000, 4000), tokens=2**18,
    ),
)  # fmt: skip

PROFILES = by_name(SMOKE, CPU, NIGHT, GPU)
