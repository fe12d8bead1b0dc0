"""The pictures of the chapter; each takes the rows a step measured and returns a Picture."""

# The frames that a record keeps, so that the site draws them without the run: by the name of the
# record's table, the step and the frame.
RECORDED = {
    "sets": "data.sets",
    "depth_curves": "depth.curves",
    "layers": "depth.layers",
    "spelling": "spelling.spelling",
    "carrying": "carrying.carrying",
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
