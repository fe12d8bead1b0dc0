"""The three scales of the chapter."""

from __future__ import annotations

from okml.profile import Budget, ProfileName
from okml.video_workshop.items.quantization import RQVAESettings
from okml.video_workshop.items.settings import ItemsSettings
from okml.video_workshop.settings import DataSettings, VideoWorkshopProfile
from okml.video_workshop.users.settings import UserModelSettings

SMOKE = VideoWorkshopProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    data=DataSettings(users=300, text="tfidf"),
    items=ItemsSettings(
        once=("content",),
        codes=32,
        budget_codes=(),
        prefix_codes=16,
        rqvae=RQVAESettings(hidden=(64,), latent=16, batch=256, steps=100),
        hidden=32,
        warm_targets=1000,
        model=UserModelSettings(length=20, width=32, layers=1, heads=1, dropout=0.1),
        epochs=2,
        learning_rate=3e-3,
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
    mixed_precision="bf16",
    compile=True,
)

PROFILES: dict[ProfileName, VideoWorkshopProfile] = {"smoke": SMOKE, "cpu": CPU, "gpu": GPU}
