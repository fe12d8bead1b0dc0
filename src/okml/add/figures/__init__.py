"""The pictures of the chapter; each is a function of rows."""

# ``step.frame`` of each table that a record keeps, so that the site draws it without the run.
RECORDED = {
    "data": "data.data",
    "networks": "networks.networks",
    "anchors": "networks.anchors",
    "costs": "training.costs",
    "training_curves": "training.curves",
    "ends": "training.ends",
    "arm_seeds": "arms.arms",
    "method_seeds": "methods.methods",
    "inputs": "inputs.inputs",
    "prompts": "prompts.prompts",
    "distances": "memory.distances",
    "speed": "speed.speed",
    "rates": "training.rates",
    "shown": "data.shown",
    "same_noise": "pictures.same_noise",
    "walk": "pictures.walk",
    "failures": "pictures.failures",
    "pairs": "memory.pairs",
    "table_2": "released.table_2",
    "table_1": "published.table_1",
}
