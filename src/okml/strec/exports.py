"""The networks that the chapter offers."""

from __future__ import annotations

from okml.export import ModelExport, module_export
from okml.strec.arms import Job, sampled
from okml.strec.model import STRec
from okml.strec.study import Study


def exports(study: Study) -> dict[str, ModelExport]:
    """Return STRec of each data set, trained with the first seed; items are numbered as there."""
    profile, recipe, found = study.profile, study.profile.recipe, {}
    for data in profile.datasets:
        job = Job(data, sampled("strec", data, recipe), profile.seeds[0], recipe)
        network = study.train(job).encoder
        assert isinstance(network, STRec)
        arguments = {
            "items": study.data(data).items,
            "settings": profile.backbone(data, recipe),
            "schedule": job.arm.schedule,
            "sampler": job.arm.sampler,
            "relaxation": recipe.relaxation,
        }
        title = f"STRec, a sequential recommender, on {data.log}"
        found[f"strec_{data.log}"] = module_export(title, network, arguments)
    return found
