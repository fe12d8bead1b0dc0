"""The pictures of the chapter; each takes the rows a step measured and returns a Picture."""

from okml.space_time.figures.common import title, titled
from okml.space_time.figures.comparisons import (
    controls,
    gain_over_cheap,
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
    "gain_over_cheap",
    "held_out_blocks",
    "model_sizes",
    "neuron_sweep",
    "neurons",
    "principal_components",
    "prompts",
    "steering",
    "timeline",
    "title",
    "titled",
    "true_and_probed_map",
    "world_outline",
]

# The frames that a record keeps, so that the site draws them without the run: by the name of the
# record's table, the step and the frame.
RECORDED = {
    "sets": "data.sets",
    "depth_curves": "depth.curves",
    "layers": "depth.layers",
    "spelling": "spelling.spelling",
    "places": "map.predictions",
    "years": "timeline.predictions",
    "controls": "controls.controls",
    "margins": "controls.margins",
    "prompts": "prompts.prompts",
    "transfer": "transfer.transfer",
    "components": "components.components",
    "probes": "probes.probes",
    "scaling": "scaling.scaling",
    "tables": "paper_tables.tables",
    "blocks": "holdouts.blocks",
    "types": "holdouts.types",
    "neurons": "neurons.neurons",
    "random_directions": "neurons.random_directions",
    "views": "neurons.views",
    "steering": "steering.steering",
    "sweep": "sweep.sweep",
    "shifts": "sweep.shifts",
    "worst_tokens": "ablation.worst_tokens",
    "sizes": "sizes.sizes",
}
