"""The same jobs over the machines of a Ray cluster; two nodes of one core stand in for machines.

They take more than a minute, and Ray is no part of the extra ``test``:
``.venv/bin/pip install -e '.[ray]'``, then ``make nightly``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from okml import runlog
from okml.errors import ResourceError
from okml.paths import repository_root
from okml.runtime import peak_memory_gib, process_peak_gib
from okml.training.ahead import ENGINE_VARIABLE, train_ahead
from tests.finished import options_of, told
from tests.periodic_behavior.tiny import put_images, tiny
from tests.tools.own_data import OwnData
from tests.training.test_ahead import Failing, Ladders, check_that_a_kill_costs_nothing

pytest.importorskip("ray", reason="needs the extra `ray`")
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start two nodes, which find the tests from any folder; return the address."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(repository_root()), prepend=os.pathsep)
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        started.add_node(num_cpus=1)
    yield started.address
    started.shutdown()


@pytest.fixture(autouse=True)
def on_ray(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.setenv(ENGINE_VARIABLE, "ray")


def test_each_job_is_trained_once_after_its_needs_on_both_nodes(tmp_path: Path) -> None:
    train_ahead(Ladders(None, tmp_path), ["a2", "b1", "a1"])
    trained = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert sorted(trained) == ["a0", "a1", "a2", "b0", "b1"]  # and no probe of the disk is left
    assert {len(lines) for lines in trained.values()} == {1}
    workers, threads = zip(*(line.split() for (line,) in trained.values()), strict=True)
    assert len(set(workers) - {str(os.getpid())}) == 2
    assert set(threads) == {"1"}
    assert peak_memory_gib() > process_peak_gib()


def test_a_job_that_fails_fails_the_run_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no [ab]0$") as caught:
        train_ahead(Failing(None, tmp_path), ["a0", "b0"])
    assert type(caught.value) is ValueError


def test_a_killed_workers_training_goes_on_in_the_next_run(tmp_path: Path) -> None:
    check_that_a_kill_costs_nothing(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_a_folder_that_is_another_one_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    here = Path("/proc/self/cwd")  # the folder in which a process was started
    with pytest.raises(ResourceError, match="not on a disk that") as caught:
        train_ahead(Ladders(None, here), ["a0", "b0"])
    assert "--run-dir" in caught.value.hint
    assert not list(tmp_path.glob("run/*"))


def test_a_chapter_that_is_started_on_ray_trains_on_both_nodes(
    own_data: OwnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_images(own_data)
    monkeypatch.delenv(ENGINE_VARIABLE)
    words = ("run", "periodic_behavior", "--profile", "gpu", *options_of(tiny(seeds=[0])))
    told(*words, "--engine", "ray", "--force", "--out", tmp_path)
    processes: dict[str, set[int]] = {}
    for event in runlog.read_events(tmp_path / "run" / "periodic_behavior"):
        processes.setdefault(event["event"], set()).add(event["pid"])
    assert len(processes["training finished"]) == 2
    assert not processes["training finished"] & processes["run started"]
