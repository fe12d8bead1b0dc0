"""What a chapter may take at each scale, as its readers are told."""

from okml.profile import Profile

MINUTES = {"smoke": 1.5, "cpu": 12, "night": 90}
MEMORY_GIB = {"smoke": 4, "cpu": 8, "night": 12}
GPU_GIB = 80  # of one card


def modest(profile: Profile) -> bool:
    """Tell whether the budget of a profile is no larger than that of its scale."""
    budget, scale = profile.budget, profile.name
    if scale == "gpu":
        return 0 < budget.gpu_memory_gib <= GPU_GIB
    return budget.minutes <= MINUTES[scale] and budget.memory_gib <= MEMORY_GIB[scale]
