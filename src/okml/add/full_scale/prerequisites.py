"""The prerequisites of Tables 1 and 2, checked before anything is trained or scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from okml.add.full_scale.models import CLIP_G14, IMAGE_CONDITION, PIPELINES, TURBO
from okml.add.full_scale.run import SECOND_CLIP
from okml.add.full_scale.scores import InceptionFeatures
from okml.add.full_scale.settings import FullScaleSettings, ReleasedSettings
from okml.add.full_scale.shards import find_shards, index_shard
from okml.data import check_obtainable, fetch
from okml.errors import DataError, OkmlError
from okml.runtime import progress

# Packages of the extra `add`, by the name that Python imports.
PACKAGES = {
    "torch_fidelity": "torch-fidelity",
    "webdataset": "webdataset",
}


def entries(rows: Mapping[str, FullScaleSettings], released: ReleasedSettings) -> list[str]:
    """Return the entries of the catalog that rows and released models need, each once.

    Args:
        rows: The settings of each row.
        released: The published models that are scored and timed without training.
    """
    names = [TURBO[name] for name in released.students]
    names += [PIPELINES[name] for name in released.teachers]
    if rows or names:
        names += [CLIP_G14, SECOND_CLIP, "coco_val2017"]
    for settings in rows.values():
        names += [PIPELINES[settings.student], PIPELINES[settings.teacher], settings.features]
    if rows:
        names.append(IMAGE_CONDITION)
    return list(dict.fromkeys(names))


def require(rows: Mapping[str, FullScaleSettings], released: ReleasedSettings) -> None:
    """Bring models and data for Tables 1 and 2, or say all that is missing at once.

    Nothing is downloaded while something is missing that only the user can supply.

    Args:
        rows: The settings of each row of Table 1.
        released: The published models that are scored and timed without training.

    Raises:
        DataError: If packages, shards, accepted licenses, models or data are missing.
    """
    names = entries(rows, released)
    _raise([*_packages(rows, names), *_shards(rows), *_refused(check_obtainable, names)])
    _raise([*_refused(fetch, names), *_inception(names)])


def _raise(missing: list[str]) -> None:
    if missing:
        listed = "\n".join("- " + each.replace("\n", "\n  ") for each in missing)
        raise DataError(
            f"The published models cannot be used yet. Missing:\n{listed}",
            "The guide to running on a GPU says how to get these. Nothing was trained so far.",
        )


def _packages(rows: Mapping[str, FullScaleSettings], names: list[str]) -> Iterator[str]:
    needed = {"torch_fidelity"} if names else set()
    needed |= {"webdataset"} if rows else set()
    missing = [PACKAGES[module] for module in sorted(needed) if find_spec(module) is None]
    if missing:
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


def _inception(names: list[str]) -> Iterator[str]:
    """Let torch-fidelity fetch the weights of FID's network, which no catalog of ours lists."""
    if not names:
        return
    try:
        InceptionFeatures()
    except (OSError, RuntimeError) as error:
        yield (
            f"The weights of Inception-v3, which torch-fidelity fetches for FID: {error}\n"
            f"They belong into {torch.hub.get_dir()}/checkpoints."
        )
