"""The prerequisites of rows of Table 1, checked before the first of them trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from okml.add.full_scale.architectures import Backbone
from okml.add.full_scale.coco import GenerationScores
from okml.add.full_scale.models import CLIP_G14, IMAGE_CONDITION, PIPELINES, TURBO
from okml.add.full_scale.run import SECOND_CLIP
from okml.add.full_scale.settings import FullScaleSettings
from okml.add.full_scale.shards import find_shards, index_shard
from okml.data import check_obtainable, fetch
from okml.errors import DataError, OkmlError
from okml.runtime import progress

# Of the extra `add`, by the name that Python imports.
PACKAGES = {
    "torch_fidelity": "torch-fidelity",
    "torchmetrics": "torchmetrics",
    "webdataset": "webdataset",
}


def entries(rows: Mapping[str, FullScaleSettings], released: Backbone | None) -> list[str]:
    """Return the entries of the catalog that rows and a released student need, each once.

    Args:
        rows: The settings of each row.
        released: The backbone whose released student is timed.
    """
    names: list[str] = []
    for settings in rows.values():
        names += [PIPELINES[settings.student], PIPELINES[settings.teacher], settings.features]
    if rows:
        names += [IMAGE_CONDITION, CLIP_G14, SECOND_CLIP, "coco_val2017"]
    if released is not None:
        names.append(TURBO[released])
    return list(dict.fromkeys(names))


def require(rows: Mapping[str, FullScaleSettings], released: Backbone | None = None) -> None:
    """Bring models and data that rows of Table 1 need, or say all that is missing at once.

    Nothing is downloaded while something is missing that only the user can supply.

    Args:
        rows: The settings of each row.
        released: The backbone whose released student is timed.

    Raises:
        DataError: If packages, shards, accepted licenses, models or data are missing.
    """
    names = entries(rows, released)
    _raise([*_packages(rows), *_shards(rows), *_refused(check_obtainable, names)])
    _raise([*_refused(fetch, names), *_inception(rows)])


def _raise(missing: list[str]) -> None:
    if missing:
        listed = "\n".join("- " + each.replace("\n", "\n  ") for each in missing)
        raise DataError(
            f"The published models cannot be distilled yet. Missing:\n{listed}",
            "The guide to running on a GPU says how to get these. Nothing was trained so far.",
        )


def _packages(rows: Mapping[str, FullScaleSettings]) -> Iterator[str]:
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if rows and missing:
        yield f'{", ".join(missing)}: pip install "okml[add]"'


def _shards(rows: Mapping[str, FullScaleSettings]) -> Iterator[str]:
    """Read the index of all shards, which is also to find damaged ones now."""
    folders: dict[Path, list[str]] = {}
    for name, settings in rows.items():
        folders.setdefault(settings.shard_folder, []).append(name)
    for names in folders.values():
        first = rows[names[0]]
        needed = max(_shown(rows[name]) for name in names)
        write = f"python -m okml.add.full_scale prepare URLS --row {names[0]}"
        try:
            shards = progress(find_shards(first.shard_folder), "shards")
            found = sum(len(index_shard(shard)) for shard in shards)
        except DataError as error:
            yield f"{error.message} Training a student of {first.student} needs them: {write}"
            continue
        if found < needed:
            yield (
                f"{first.shard_folder} holds {found:,} examples, and a training shows "
                f"{needed:,}: {write}"
            )


def _shown(settings: FullScaleSettings) -> int:
    return (settings.training.max_steps or 0) * settings.training.batch_size


def _refused(ask: Callable[[str], object], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            ask(name)
        except OkmlError as error:
            yield str(error)


def _inception(rows: Mapping[str, FullScaleSettings]) -> Iterator[str]:
    """Let torch-fidelity fetch the weights of FID's network, which no catalog of ours lists."""
    if not rows:
        return
    try:
        GenerationScores(torch.device("cpu"))
    except (OSError, RuntimeError) as error:
        yield (
            f"The weights of Inception-v3, which torch-fidelity fetches for FID: {error}\n"
            f"They belong into {torch.hub.get_dir()}/checkpoints."
        )
