"""The three scales of the chapter."""

from __future__ import annotations

from okml.profile import Budget, ProfileName
from okml.seqrec.losses import SampledSoftmaxSettings
from okml.video_workshop.items.quantization import RQVAESettings
from okml.video_workshop.items.settings import ItemsSettings
from okml.video_workshop.settings import DataSettings, VideoWorkshopProfile
from okml.video_workshop.users.settings import (
    DownstreamSettings,
    LossWeights,
    PretrainingSettings,
    ScalingSettings,
    UserModelSettings,
    UsersSettings,
)

SMOKE = VideoWorkshopProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    data=DataSettings(users=300, text="tfidf"),
    items=ItemsSettings(
        once=("content",),
        codes=32,
        budget_codes=(8,),
        prefix_codes=16,
        rqvae=RQVAESettings(hidden=(64,), latent=16, batch=256, steps=100),
        hidden=32,
        warm_targets=1000,
        model=UserModelSettings(length=20, width=32, layers=1, heads=1, dropout=0.1),
        epochs=2,
        learning_rate=3e-3,
    ),
    users=UsersSettings(
        base=UserModelSettings(length=20, width=32, layers=1),
        smaller=UserModelSettings(length=20, width=16, layers=1),
        pretraining=PretrainingSettings(steps=40, learning_rate=3e-3, weights=LossWeights(multi=0)),
        downstream=DownstreamSettings(steps=20, learning_rate=3e-3),
        all_labels=False,
        extras=("untrained",),
        test_rows=5,
        scaling=ScalingSettings(
            models=((8, 1), (16, 1), (32, 1)), shares=(0.5, 1.0), steps=20, refits=50
        ),
    ),
    bootstrap=200,
)

CPU = VideoWorkshopProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
    items=ItemsSettings(
        rqvae=RQVAESettings(hidden=(128,), batch=256, steps=400),
        hidden=64,
        warm_targets=4000,
        model=UserModelSettings(width=32, layers=1, dropout=0.1),
        epochs=6,
        batch=32,
        learning_rate=2e-3,
    ),
    users=UsersSettings(
        base=UserModelSettings(width=48),
        smaller=UserModelSettings(width=24, layers=1),
        # Every further softmax costs as much as the whole backbone here: one arm has them.
        pretraining=PretrainingSettings(
            steps=160, learning_rate=2e-3, weights=LossWeights(multi=0)
        ),
        downstream=DownstreamSettings(steps=60, learning_rate=2e-3),
        extras=("lora", "shuffled", "untrained", "further", "latest", "consolidated"),
    ),
)

GPU = VideoWorkshopProfile(
    name="gpu",
    budget=Budget(minutes=24 * 60, memory_gib=64, disk_gib=100, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    # The only public videos with released text, image and video vectors and a strong baseline.
    cold_data=DataSettings(log="microlens_100k", features=("text", "image", "video")),
    items=ItemsSettings(
        arms=(
            "id",
            "hash",
            "multihash",
            "qr",
            "random_codes",
            "content",
            "sid_unigram",
            "sid_bigram",
            "sid_prefix",
            "sid_rqvae",
            "hybrid_sid",
            "hybrid_content",
            "hybrid_naive",
        ),
        once=(),
        codes=256,
        budget_codes=(64, 1024),
        prefix_codes=256,
        rqvae=RQVAESettings(steps=20_000),
        hidden=512,
        model=UserModelSettings(length=20, width=256, layers=6, heads=8, dropout=0.1),
        epochs=50,
        batch=512,
        learning_rate=3e-4,
    ),
    users=UsersSettings(
        base=UserModelSettings(length=512, width=512, layers=12, heads=8, dropout=0.1),
        smaller=UserModelSettings(length=512, width=256, layers=6, heads=8, dropout=0.1),
        pretraining=PretrainingSettings(
            steps=4_000,  # of 64 windows of 512 events: 11 times each event
            batch=64,
            learning_rate=3e-4,
            warmup_steps=400,
            loss=SampledSoftmaxSettings(negatives=8_192, alpha=0.5),
        ),
        downstream=DownstreamSettings(steps=1_000, batch=64, learning_rate=3e-4),
        ranked=("click", "long_view", "like"),
        extras=("lora", "shuffled", "untrained", "single", "latest", "interleaved", "consolidated"),
        test_rows=50,
        scaling=ScalingSettings(
            models=((32, 2), (64, 2), (128, 4), (256, 6), (512, 12)),
            shares=(0.125, 0.25, 0.5, 1.0),
            steps=4_000,
        ),
    ),
    mixed_precision="bf16",
    compile=True,
)

PROFILES: dict[ProfileName, VideoWorkshopProfile] = {"smoke": SMOKE, "cpu": CPU, "gpu": GPU}
