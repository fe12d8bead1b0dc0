"""What a chapter may take at each scale, as its readers are told."""

from okml.profile import Profile

MINUTES = {"smoke": 1.5, "cpu": 12, "night": 90}
MEMORY_GIB = {"smoke": 4, "cpu": 8, "night": 12}
GPU_GIB = 80  # of one card


def beyond_scale(profile: Profile) -> list[str]:
    """Return what the budget of a profile allows beyond its scale, as sentences."""
    budget, scale = profile.budget, profile.name
    bounds = {
        "minutes": (budget.minutes, MINUTES.get(scale)),
        "GiB of memory": (budget.memory_gib, MEMORY_GIB.get(scale)),
        "GiB of GPU memory": (budget.gpu_memory_gib, GPU_GIB if scale == "gpu" else None),
    }
    found = [
        f"a budget of {stated:g} {what}; {scale} has at most {bound:g}"
        for what, (stated, bound) in bounds.items()
        if bound is not None and stated > bound
    ]
    if scale == "gpu" and not budget.gpu_memory_gib:
        found.append("a budget without GPU memory at gpu")
    return found
