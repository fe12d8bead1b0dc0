"""The three scales of the chapter."""

from __future__ import annotations

from okml.profile import Budget, ProfileName
from okml.video_workshop.settings import DataSettings, VideoWorkshopProfile

SMOKE = VideoWorkshopProfile(
    name="smoke",
    budget=Budget(minutes=1.5, memory_gib=4, disk_gib=1),
    seeds=(0,),
    data=DataSettings(users=300, text="tfidf"),
    bootstrap=200,
)

CPU = VideoWorkshopProfile(
    name="cpu",
    budget=Budget(minutes=12, memory_gib=8, disk_gib=1),
    seeds=(0, 1, 2),
)

GPU = VideoWorkshopProfile(
    name="gpu",
    budget=Budget(minutes=24 * 60, memory_gib=64, disk_gib=100, gpu_memory_gib=80),
    seeds=(0, 1, 2),
    mixed_precision="bf16",
    compile=True,
)

PROFILES: dict[ProfileName, VideoWorkshopProfile] = {"smoke": SMOKE, "cpu": CPU, "gpu": GPU}
