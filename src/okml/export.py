"""Trained networks for use elsewhere: weights in safetensors, a configuration, a model card.

A chapter offers its networks in a module ``exports`` of its package: a function ``exports(study)``
that returns them by name. A network of okml is exported with :func:`module_export` and built again
with :func:`load_module`; one of diffusers or transformers in the format of its library.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import nn

from okml.chapters import Chapter
from okml.code_key import code_key_of
from okml.data import catalog, entry
from okml.errors import ParameterError, RecordError
from okml.ledger import RunRecord, folder_of, format_estimate, judge, load_claims, read_record
from okml.locks import held
from okml.profile import Profile

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
HUB = "https://huggingface.co/"
OWN_LICENSE = "apache-2.0"


@dataclass(frozen=True)
class ModelExport:
    """A network that a chapter offers."""

    title: str  # the network in a few words
    save: Callable[[Path], None]  # a function that writes it into an empty folder
    usage: str  # Python code that loads it; ``FOLDER`` stands for the folder
    library: str = "okml"  # the library that loads it
    # The entries of the catalog that its weights start from, whose licenses bind it.
    bases: tuple[str, ...] = ()


def module_export(title: str, network: nn.Module, arguments: Mapping[str, Any]) -> ModelExport:
    """Return the export of a network of okml, whose class is a public one of a module.

    The arguments of its class, by name, are settings or JSON values.
    """
    kind = type(network)

    def save(folder: Path) -> None:
        types = typing.get_type_hints(kind.__init__)
        config = {
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "arguments": {
                name: TypeAdapter(types[name]).dump_python(value, mode="json")
                for name, value in arguments.items()
            },
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        # Separate tensors: safetensors refuses those that share memory.
        weights = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        save_file(weights, folder / WEIGHTS)

    usage = 'from okml.export import load_module\n\nnetwork = load_module("FOLDER")'
    return ModelExport(title, save, usage)


def load_module(folder: str | Path) -> nn.Module:
    """Return a network that :func:`module_export` wrote, in evaluation mode.

    Raises:
        ParameterError: If the folder holds none, or one of a class outside okml.
    """
    try:
        config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        module, _, name = config["class"].rpartition(".")
        given = config["arguments"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ParameterError(f"{folder} holds no network of okml: {error}.") from None
    if not module.startswith("okml."):
        raise ParameterError(f"{config['class']} is no class of okml.")
    kind = getattr(importlib.import_module(module), name)
    types = typing.get_type_hints(kind.__init__)
    arguments = {
        name: TypeAdapter(types[name]).validate_python(value) for name, value in given.items()
    }
    network: nn.Module = kind(**arguments)
    network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return network.eval()


def export_networks(
    found: Chapter, profile: Profile, to: Path, folder: Path | None = None
) -> list[Path]:
    """Write the networks of a finished run, each into a folder of its own; return the folders.

    Nothing is trained: the run has to be recorded, by the code that is here. A network that is
    there already is replaced. ``folder`` is that of the run, by default that of its settings.

    Raises:
        ParameterError: If the chapter offers no networks.
        RecordError: If there is no such run, or other code made it.
    """
    if importlib.util.find_spec(f"okml.{found.name}.exports") is None:
        raise ParameterError(f"The chapter {found.name} offers no networks.")
    folder = folder or folder_of(profile, found.profile(profile.name))
    record = finished(found, profile, folder)
    study = found.experiment.open_study
    offered = importlib.import_module(f"okml.{found.name}.exports").exports
    written = []
    with held(folder):
        for name, network in offered(study(profile, folder)).items():
            place, part = to / name, to / f".{name}.unfinished"
            shutil.rmtree(part, ignore_errors=True)  # left by a killed process
            part.mkdir(parents=True)
            network.save(part)
            card = model_card(network, record)
            (part / CARD).write_text(card.replace("FOLDER", name), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)
            written.append(place)
    return written


def finished(found: Chapter, profile: Profile, folder: Path) -> RunRecord:
    """Return the record of a finished run by the code that is here.

    Raises:
        RecordError: If there is none.
    """
    again = f"Run it first: okml run {found.name} --profile {profile.name}"
    path = folder / "record.json"
    if not path.is_file():
        raise RecordError(f"There is no finished run in {folder}.", again)
    record = read_record(path)
    if record.settings_sha256 != profile.fingerprint():
        raise RecordError(f"{path} is the record of other settings.", again)
    if record.provenance.code != code_key_of(found.name):
        raise RecordError(f"{path} was made by other code, with which networks go.", again)
    return record


def model_card(network: ModelExport, record: RunRecord) -> str:
    """Return the card of a network: what it is, how to load it, and how its run measured."""
    made = record.provenance
    licenses = sorted({entry(name).license.id for name in network.bases})
    head = {
        "library_name": network.library,
        "license": " and ".join(licenses).lower() or OWN_LICENSE,
        "tags": ["okml", record.chapter],
    }
    origins = {name: entry(name).origin for name in network.bases}
    if origins:
        head["base_model"] = [origin.removeprefix(HUB) for origin in origins.values()]
    sections = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {network.title}",
        f"Trained by the chapter `{record.chapter}` of okml at profile `{record.profile}`.",
        f"```python\n{network.usage}\n```",
        "## What its run measured",
        _measured(record),
        "## Terms",
        _terms(network, record),
        "## Where it comes from",
        f"- commit {made.commit.sha}{', with uncommitted changes' if made.commit.dirty else ''}\n"
        f"- run of {made.started}, {made.seconds:,.0f} s on {made.device} "
        f"({', '.join([made.environment.cpu, *(gpu.name for gpu in made.environment.gpus)])})\n"
        f"- torch {made.environment.packages['torch']}, record {record.sha256}",
        "Settings of the run:",
        f"```json\n{json.dumps(record.settings, indent=1)}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _measured(record: RunRecord) -> str:
    """Return a table of the run's claims; in square brackets are 95 % intervals."""
    lines = ["| claim | measured | verdict |", "|---|---|---|"]
    for claim in load_claims(record.chapter):
        verdict = judge(claim, record)
        if verdict.measured is not None:
            value = format_estimate(verdict.measured)
            lines.append(f"| {claim.text.en} | {value} | {verdict.outcome.value} |")
    return "\n".join(lines)


def _terms(network: ModelExport, record: RunRecord) -> str:
    """Return the licenses of what the weights start from, and of the data that the run read."""
    used = {name.partition("/")[0] for name in record.provenance.data} & catalog().keys()
    lines = [_line(name, "weights") for name in network.bases]
    lines += [_line(name, "data") for name in sorted(used - set(network.bases))]
    return "\n".join(lines) or "Nothing of others went into it."


def _line(name: str, what: str) -> str:
    found = entry(name)
    notice = f" {found.license.notice}" if found.license.notice else ""
    return f"- {what}: {found.title}, [{found.license.id}]({found.license.url}).{notice}"
