"""The networks that the chapter offers."""

from __future__ import annotations

from okml.export import ModelExport, module_export
from okml.lightsage.arms import NETWORK, network_job
from okml.lightsage.network.encoder import LightSAGE
from okml.lightsage.study import Study


def exports(study: Study) -> dict[str, ModelExport]:
    """Return the encoder of each shop, trained with the first seed, for features as there."""
    profile, found = study.profile, {}
    for data in (profile.data, *profile.real):
        job = network_job(profile, data, profile.seeds[0])
        network = study.encoder(job).encoder
        assert isinstance(network, LightSAGE)
        features = study.features(study.data(data, job.seed)).shape[1]
        title = f"{NETWORK}, an encoder of items from features and graph, on {data.name}"
        arguments = {"settings": network.settings, "features": features}
        found[f"lightsage_{data.name}"] = module_export(title, network, arguments)
    return found
