"""What publishes the book runs the README's commands and installs extras that exist."""

import re
import tomllib

import pytest
import yaml

from okml.paths import repository_root

ROOT = repository_root()
WORKFLOWS = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}


def steps(name):
    workflow = yaml.safe_load(WORKFLOWS[name].read_text("utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands(name):
    return "\n".join(step.get("run", "") for step in steps(name))


def test_ci_runs_the_two_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    ran = (ROOT / ".ci/run").read_text("utf-8")
    assert ".ci/run" in commands("ci")
    for command in ("make book", "make test"):
        assert command in readme
        assert command in ran


def test_ci_compares_the_notebooks_on_plain_kernels_when_the_steps_are_kept_from_them():
    ran = re.findall(r"^time (make .*)$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert ran == ["make book KERNELS=plain", "make test", "make notebooks KERNELS=plain"]


@pytest.mark.parametrize("name", ["pages", "release"])
def test_what_is_published_was_built_by_make_book_with_the_repositorys_address(name):
    [made] = [step for step in steps(name) if step.get("run") == "make book"]
    assert made["env"]["OKML_REPOSITORY_URL"].endswith("/${{ github.repository }}")
    assert "_build/site" in str(steps(name)) or "-C _build" in commands(name)


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_every_workflow_states_its_rights_and_a_limit(name):
    workflow = yaml.safe_load(WORKFLOWS[name].read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job


def test_docker_leaves_out_what_podman_does():
    """Each looks for a file of its own name."""
    ignored = (ROOT / name for name in (".containerignore", "Containerfile.dockerignore"))
    podman, docker = (path.read_text("utf-8") for path in ignored)
    assert docker == podman


@pytest.mark.parametrize("folder", ["", "ru/"])
def test_the_guide_starts_the_checks_in_a_container_as_make_does(folder):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    made = re.search(r"^gpu-check:.*\n\t\$\(BIN\)/(.+)$", makefile, re.MULTILINE)
    assert f"`{made[1]}`" in (ROOT / f"book/{folder}guides/gpu.md").read_text("utf-8")


def test_the_container_installs_extras_that_exist():
    file = (ROOT / "Containerfile").read_text("utf-8")
    [extras] = re.findall(r"--editable '\.\[([\w,]+)\]'", file)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"book", "test", "gpu"} <= set(extras.split(",")) <= set(known["optional-dependencies"])
    for copied in re.findall(r"^COPY ([^.].*) \S+$", file, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
