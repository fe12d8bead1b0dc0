"""What a run of the chapter takes, from sizes and counts alone."""

from __future__ import annotations

from okml.data import catalog
from okml.plan import Item, Plan, downloads, reading
from okml.video_workshop.settings import VideoWorkshopProfile

# Events of the files, as counted or as published.
EVENTS = {
    "ml_100k": 100_000,
    "kuairand_pure": 1_436_609 + 1_186_059,
    "kuairand_1k": 11_713_045 + 43_028,
    "kuairand_27k": 322_278_385 + 1_186_059,
    "microlens_100k": 719_000,
    "microlens_1m": 9_100_000,
}
PROCESS_GIB = 0.9  # interpreter, torch, frames; on a CPU two workers besides
LOADING_BYTES = 240  # an event while a log is read, sorted and numbered


def plan(profile: VideoWorkshopProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with the arithmetic shown."""
    log = profile.data.log
    loading = reading(EVENTS[log], LOADING_BYTES)
    names = (log,) if log in catalog() else ()
    stored = downloads(names)
    items: tuple[Item, ...] = (loading, stored)
    return Plan(
        chapter=profile.chapter,
        profile=profile.name,
        gpu_memory_gib=0.0,
        memory_gib=3 * PROCESS_GIB + loading.value,
        disk_gib=stored.value,
        hours=0.0,
        items=items,
        data=names,
    )
