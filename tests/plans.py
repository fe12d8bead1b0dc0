"""A plan that a test changes."""

from __future__ import annotations

from typing import Any

from okml.plan import Item, Plan


def made(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "chapter": "space_time",
        "profile": "gpu",
        "gpu_memory_gib": 40.0,
        "memory_gib": 50.0,
        "disk_gib": 200.0,
        "hours": 2.0,
        "items": (Item(what="weights", value=1.0, unit="GiB", follows_from="1 · 1"),),
        "data": ("/a/folder/of/my/own",),
    }
    return Plan(**{**values, **changes})
