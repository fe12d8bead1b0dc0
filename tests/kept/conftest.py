"""A small package whose steps are kept, and whose sources tests edit."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from okml.code_key import Sources
from okml.kept import needs
from okml.steps import Steps

FILES = {
    "__init__.py": "",
    "maths.py": '''
        def scaled(x):
            """Return x, scaled."""
            return 2 * x


        def shifted(x):
            return x + 1
    ''',
    "study.py": """
        from okml.kept import trainings_folder
        from tiny.maths import scaled, shifted


        class Study:
            def __init__(self, profile, run_dir):
                self.profile, self.run_dir, self.calls = profile, run_dir, []

            def train(self):
                folder = trainings_folder(self, Study.train)
                path = folder / "weights"
                if not path.exists():
                    self.calls.append("train")
                    path.write_text(str(scaled(1)))
                return int(path.read_text())

            def serve(self):
                return shifted(self.profile.width)
    """,
    "steps.py": """
        import numpy as np
        import polars as pl

        from okml.ledger import DataUsed, estimate_over_seeds
        from okml.steps import StepResult


        def quality(study, factor=1, rows=None):
            study.calls.append("quality")
            result = StepResult(
                frames={
                    "rows": pl.DataFrame({"x": [1, 2], "name": ["a", "b"]}),
                    "more": pl.DataFrame({"y": np.arange(3.0)}),
                },
                data={"d": DataUsed(source="wheel", sha256="0" * 64)},
                notes=["small"],
            )
            result.log("r2", factor * study.train() / 8, seed=3, unit="R²")
            result.log("undefined", float("nan"))
            return result


        def serving(study):
            study.calls.append("serving")
            result = StepResult()
            result.log("latency", study.serve())
            result.measure("shift", estimate_over_seeds({0: 1.0, 1: 2.0}), "km")
            result.compare("shift", "r2", estimate_over_seeds({0: 1.0, 1: 3.0}))
            return result
    """,
}


class Package:
    """The package on disk, as a run imports it, and as its sources are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            self.write(name, textwrap.dedent(text))
        self.steps = importlib.import_module("tiny.steps")
        self.study = importlib.import_module("tiny.study").Study

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text("utf-8")
        assert old in text
        self.write(name, text.replace(old, new))


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "sources" / "tiny"
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(needs, "package_sources", lambda: Sources(folder))
    yield Package(folder)
    for name in [name for name in sys.modules if name.split(".")[0] == "tiny"]:
        del sys.modules[name]


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def run(package, profile, run_dir):
    """Return a function that opens the run and calls its steps; and what was computed."""

    def run(profile=profile, device="cpu", factor=1, rows=None):
        study = package.study(profile, run_dir)
        steps = Steps(profile, run_dir, device)
        steps("quality", package.steps.quality, study, factor, rows=rows)
        steps("serving", package.steps.serving, study)
        return steps, study.calls

    return run
