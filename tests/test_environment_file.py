import itertools
import re
import tomllib

import yaml

from okml.paths import repository_root


def test_conda_and_pip_make_the_same_environment():
    root = repository_root()
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((root / "environment.yml").read_text())
    assert f"python{project['requires-python']}" in conda["dependencies"]
    (pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    # The package carries the dependencies, so the file may only name the package and its extras.
    (line,) = pip
    extras = re.fullmatch(r"--editable \.\[([a-z,]+)\]", line)
    assert extras is not None
    makefile = (root / "Makefile").read_text()
    assert f"--editable '.[{extras[1]}$(EXTRAS" in makefile
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])


def test_the_packages_that_the_book_stands_on_are_required():
    project = tomllib.loads((repository_root() / "pyproject.toml").read_text())["project"]
    everything = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    names = {re.split(r"[<>=\[ ]", line)[0] for line in everything}
    assert names >= {
        "jupyter-book", "torch", "diffusers", "transformers", "torch-geometric",
        "papermill", "pytest", "nbval",
    }  # fmt: skip
    assert not [line for line in everything if re.match(r"torch==", line)]
