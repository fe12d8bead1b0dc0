"""The programs that are killed: ``python -m tests.survival.programs NAME ARGUMENTS``.

Each leaves a trace of its work, and imports okml as late as a program of its kind does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from tests.survival.work import WRITE, trace_writes, work

SET = "slow"
FILES = {name: bytes([seed]) * (3_000_000 + seed) for seed, name in enumerate(["a.dat", "b.dat"])}
PAGES = 6
BOOK = {
    "title": "okml",
    "execute": {"execute_notebooks": "off"},
    "latex": {"use_jupyterbook_latex": False},
    "repository": {"url": ""},
    "html": {"favicon": "", "use_repository_button": False},
    "exclude_patterns": ["_build"],
    "sphinx": {"extra_extensions": ["tests.survival.programs"], "config": {"language": "en"}},
}


def okml(*arguments: str) -> None:
    """Be ``okml`` with these arguments."""
    from okml.cli import main

    work(WRITE)
    sys.argv[1:] = arguments
    main()


def fetch(cache: str, address: str) -> None:
    """Fetch files into an empty cache; a unit is what is read at a time."""
    file = Path(cache) / "catalog.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({SET: _entry(address)}))
    os.environ["OKML_CATALOG"] = str(file)
    import_module("okml.data.download").byte_bar = _traced_bar
    import_module("okml.data").fetch(SET)


def _entry(address: str) -> dict[str, Any]:
    return {
        "kind": "dataset",
        "title": "A set of a test",
        "license": {"id": "CC0-1.0", "url": "https://example.org/terms", "redistribute": True},
        "citation": "nobody2023",
        "origin": "https://example.org/set",
        "files": [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        ],
        "sources": [{"kind": "https", "url": address + "/{name}"}],
    }


@contextmanager
def _traced_bar(*_: object) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(update=lambda length: work("c"))


def train(folder: str) -> None:
    """Train once; under torchrun in several processes."""
    from accelerate import PartialState

    from okml.training import fit
    from tests.survival.toy import SETTINGS, Traced
    from tests.training.tasks import Noisy

    fit(Traced(), Noisy(), SETTINGS, Path(folder))
    PartialState().destroy_process_group()


def ahead(folder: str) -> None:
    """Run a chapter whose trainings go ahead in workers."""
    from tests.survival.toy import PROFILE, Toy

    Toy(PROFILE, Path(folder)).record()


def alone(folder: str, records: str = "1") -> None:
    """Run a chapter in one process, and make its record so many times."""
    from tests.survival.toy import PROFILE, Toy

    toy = Toy(PROFILE, Path(folder), cores=1)
    for _ in range(int(records)):
        toy.record()


def gpu(folder: str) -> None:
    """Run a chapter on an accelerator, or on the second device of the tests."""
    from tests.survival.toy import PROFILE, Toy

    toy = Toy(PROFILE.model_copy(update={"device": "auto"}), Path(folder))
    assert toy.study.device.type != "cpu"
    toy.record()


def site(root: str) -> None:
    """Build and publish a small site; a unit is a page that is read, written or published."""
    os.environ["OKML_ROOT"] = root
    stage = import_module("okml.site.stage")
    stage.check.problems = lambda built: []  # the checks are about the real book
    stage.shutil = SimpleNamespace(
        rmtree=shutil.rmtree, copytree=partial(shutil.copytree, copy_function=_traced_copy)
    )
    stage.build("smoke")


def write_book(root: Path) -> None:
    """Write a checkout with a few pages and no chapter."""
    (root / "book").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "_config.yml").write_text(yaml.safe_dump(BOOK))
    names = [f"book/page{number}" for number in range(PAGES)]
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": n} for n in names]}
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    (root / "book" / "index.md").write_text("# Home\n\nWords.\n")
    for number, name in enumerate(names):
        (root / f"{name}.md").write_text(f"# Page {number}\n\n" + "A paragraph of words.\n\n" * 9)


def setup(app: Any) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    extension = import_module("okml.site.extension")
    app.connect("config-inited", extension.read_in_parallel)
    app.connect("env-updated", extension.copy_cell_styles)
    app.connect("source-read", lambda *_: work("r"))
    app.connect("html-page-context", lambda *_: work("h"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _traced_copy(source: str, target: str) -> object:
    if source.endswith(".html"):
        work("p")
    return shutil.copy2(source, target)


def main() -> None:
    name, *arguments = sys.argv[1:]
    if name == "gpu":
        import_module("tests.device")  # the second device registers itself before it is asked for
    from okml.console import report_errors

    trace_writes()
    with report_errors():
        globals()[name](*arguments)


if __name__ == "__main__":
    main()
