"""Jobs on real clusters of two workers on this machine, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from statformer.runs.engines import Engine, run_jobs
from statformer.runs.jobs import Job, Outcome
from toy_jobs import calls, square, wait_for

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

N_JOBS = 8
BEHAVIOURS = {0: "waits", 1: "waits", 5: "raises"}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of a cluster find toy_jobs."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


@pytest.fixture
def dask_address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def run_while_a_worker_is_killed(engine: Engine, address: str, folder: Path) -> list[Outcome]:
    """Outcomes of all jobs; of the two that wait, the process of one is killed."""
    jobs = [Job(str(x), (BEHAVIOURS.get(x, "behaves"), str(folder), x), 300) for x in range(N_JOBS)]

    def kill() -> None:
        wait_for(lambda: {0, 1} <= {x for x, _ in calls(folder)}, seconds=120)
        os.kill(next(pid for x, pid in calls(folder) if x == 0), signal.SIGKILL)
        wait_for(lambda: [x for x, _ in calls(folder)].count(0) == 2, seconds=120)
        (folder / "go").touch()

    killer = Thread(target=kill)
    killer.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs: closing sockets, settings to come
            found = list(run_jobs(square, jobs, engine, address=address))
    finally:
        (folder / "go").touch()
        killer.join()
    return found


def check(found: list[Outcome], folder: Path) -> None:
    """Nothing is lost, nothing is there twice, and the killed job was done again."""
    assert Counter(outcome.key for outcome in found) == Counter(str(x) for x in range(N_JOBS))
    by_key = {outcome.key: outcome for outcome in found}
    raised = by_key.pop("5")
    assert raised.error.startswith("ValueError: so it is")
    assert {key: outcome.error for key, outcome in by_key.items() if outcome.error} == {}
    assert {key: outcome.value for key, outcome in by_key.items()} == {
        str(x): x * x for x in range(N_JOBS) if x != 5
    }
    numbers = Counter(x for x, _ in calls(folder))
    assert numbers[0] == 2
    assert numbers[5] == 1  # what raises, raises again; it is not retried


def test_dask_loses_nothing_with_a_worker(dask_address: str, tmp_path: Path) -> None:
    check(run_while_a_worker_is_killed("dask", dask_address, tmp_path), tmp_path)


def test_ray_loses_nothing_with_a_worker(ray_address: str, tmp_path: Path) -> None:
    check(run_while_a_worker_is_killed("ray", ray_address, tmp_path), tmp_path)


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_job_that_is_too_slow_or_always_dies_is_given_up(engine: Any, tmp_path: Path) -> None:
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[engine])
    behaviours = ["sleeps", "behaves", "dies", "behaves"]
    jobs = [Job(str(x), (b, str(tmp_path), x), 25.0) for x, b in enumerate(behaviours)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {one.key: one for one in run_jobs(square, jobs, engine, n_workers=2)}
    assert set(found) == {"0", "1", "2", "3"}
    assert found["0"].error == "took more than 25 s"
    assert (found["1"].value, found["3"].value) == (1, 9)
    assert found["2"].value is None
    assert found["2"].error


def test_an_address_where_nobody_listens_is_named_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        job = Job("0", ("behaves", str(tmp_path), 1), 60.0)
        with pytest.raises(ConnectionError, match=f"nobody answers at the address {address}"):
            list(run_jobs(square, [job], "ray", address=address))
