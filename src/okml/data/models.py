"""Models in folders that transformers loads, converted from other formats if necessary."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from okml.data.cache import exclusive, note_all, noted_folder
from okml.data.catalog import CatalogEntry, DocumentStart, catalog, entry
from okml.data.digests import content_digest
from okml.data.fetch import fetch
from okml.data.progress import waiting
from okml.errors import DataError
from okml.paths import data_roots


def local_model(name: str) -> Path:
    """Return a folder with configuration, safetensors and tokenizer of a model.

    Args:
        name: An entry of the catalog, or a folder that holds such a model. A GGUF file is
            converted once, to float32, and kept in the cache.

    Raises:
        ParameterError: If ``name`` is neither.
        DataError: If the model cannot be had, or the entry is no model.
    """
    folder = Path(name).expanduser()
    if name not in catalog() and folder.is_dir():
        if not _is_model(folder):
            raise DataError(
                f"{folder} is no model: config.json and *.safetensors are needed.",
                "Pickled weights (*.bin, *.pt) are refused; they run code when they are opened.",
            )
        return folder.resolve()
    found = entry(name)
    if found.kind != "model":
        raise DataError(f"{name} is a data set, not a model.")
    paths = fetch(name)
    if "config.json" in paths:  # a snapshot, or files as transformers has them
        return paths["config.json"].parent
    (gguf,) = (path for path in paths.values() if path.suffix == ".gguf")
    return _converted(found, gguf)


def own_weights(name: str) -> str | None:
    """Return the SHA-256 of all files of a local model folder; None if ``name`` is not one."""
    folder = Path(name).expanduser()
    if name in catalog() or not _is_model(folder):
        return None
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.resolve().rglob("*") if path.is_file()):
        digest = content_digest(path, data_roots()[0])
        whole.update(f"{path.relative_to(folder.resolve())}\0{digest}\n".encode())
    return whole.hexdigest()


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def document_start(name: str) -> DocumentStart | None:
    """Return the token that the model ``name`` expects before a text; see the catalog.

    ``None`` for a local folder, whose tokenizer decides.
    """
    return catalog()[name].document_start if name in catalog() else None


def _converted(found: CatalogEntry, gguf: Path) -> Path:
    (file,) = found.files
    # The folder is named after the content, so that another version gets another folder.
    derived = f"derived/{found.name}-{file.digest.value[:8]}"
    roots = data_roots()
    repair = f"Delete the folder; it is made again from {gguf}."
    if paths := noted_folder(derived, roots, repair):
        return paths["config.json"].parent
    with exclusive(f"{found.name}.conversion", roots[0]):
        if paths := noted_folder(derived, roots, repair):
            return paths["config.json"].parent
        folder = roots[0] / derived
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)  # left by a killed process
        part.mkdir(parents=True)
        with waiting(f"converting {gguf.name} to safetensors"):
            _convert(gguf, part)
        note_all(part, f"converted from {gguf.name} ({file.digest})")
        part.replace(folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file as transformers writes its own models.

    transformers refuses to save a model that it read from GGUF, because it counts as quantized
    although its weights are plain by then. The same weights in a model that is built from the
    configuration alone can be saved.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _no_bars():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = type(loaded)(config)
        plain.load_state_dict(loaded.state_dict())
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    # safetensors makes its files private, but a cache may be shared.
    for path in folder.iterdir():
        path.chmod(folder.stat().st_mode & 0o666)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Silence the library's own progress bars; the caller shows one spinner."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
