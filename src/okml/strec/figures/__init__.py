"""The figures of the chapter, each drawn from frames of a step."""

# The frames that a record keeps, so that the site draws them without the run: by the name of the
# record's table, the step and the frame.
RECORDED = {
    "data": "data.data",
    "breakdown": "operations.breakdown",
    "operations": "operations.schedules",
    "curves": "training.curves",
    "maps": "attention.maps",
    "spectra": "attention.spectra",
    "attention": "attention.statistics",
    "summary": "quality.summary",
    "costs": "quality.costs",
    "rules": "rules.rules",
    "recipes": "recipes.recipes",
    "sweep": "sweep.sweep",
    "sweep_backbone": "sweep.backbone",
    "sweep_trainings": "sweep.costs",
    "sweep_costs": "efficiency.schedules",
    "stages": "stages.stages",
    "mixers": "mixers.mixers",
    "mixer_trainings": "mixers.costs",
    "sampling_curves": "sampling.curves",
    "kept": "sampling.kept",
    "released": "sampling.released",
    "step_tables": "sampling.tables",
    "case": "case.case",
    "published": "efficiency.published",
    "inference": "efficiency.inference",
    "serving": "efficiency.serving",
    "training_speed": "efficiency.training",
    "lengths": "lengths.lengths",
}
