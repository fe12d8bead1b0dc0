"""The networks that the chapter offers."""

from __future__ import annotations

from okml.export import ModelExport, module_export
from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.arms import Job
from okml.offline_rl.study import Study


def exports(study: Study) -> dict[str, ModelExport]:
    """Return CRR's policy of each log, trained with the first seed; items are numbered as there."""
    profile, found = study.profile, {}
    for data in profile.datasets:
        job = Job(data, "crr", profile.seeds[0])
        policy = study.train(job).encoder
        assert isinstance(policy, DistilGPT2Actor)
        items = study.data(data, job.seed).items
        title = f"A policy over items, fine-tuned by CRR, on {data.log}"
        arguments = {"items": items, "length": data.length, "settings": policy.settings}
        found[f"offline_rl_{data.log}"] = module_export(title, policy, arguments)
    return found
