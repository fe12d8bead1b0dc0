"""The pictures of the chapter; each takes the rows a step measured and returns a Picture."""

from okml.space_time.figures.common import title
from okml.space_time.figures.comparisons import (
    controls,
    model_sizes,
    principal_components,
    timeline,
)
from okml.space_time.figures.depth import accuracy_by_layer, accuracy_by_spelling, prompts
from okml.space_time.figures.maps import (
    Outline,
    errors_by_region,
    held_out_blocks,
    true_and_probed_map,
    world_outline,
)
from okml.space_time.figures.mechanism import neuron_sweep, neurons, steering

__all__ = [
    "Outline",
    "accuracy_by_layer",
    "accuracy_by_spelling",
    "controls",
    "errors_by_region",
    "held_out_blocks",
    "model_sizes",
    "neuron_sweep",
    "neurons",
    "principal_components",
    "prompts",
    "steering",
    "timeline",
    "title",
    "true_and_probed_map",
    "world_outline",
]
