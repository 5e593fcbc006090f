from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from statformer.runs.engines import run_jobs
from statformer.runs.jobs import Job, Outcome, cores
from toy_jobs import calls, square, wait_for

TESTS = Path(__file__).parents[1]


def outcomes(folder: Path, behaviours: list[str], timeout: float = 60.0) -> dict[str, Outcome]:
    """What became of one job per behaviour, by number; each must end exactly once."""
    jobs = [Job(str(i), (b, str(folder), i), timeout) for i, b in enumerate(behaviours)]
    found = list(run_jobs(square, jobs, n_workers=2))
    assert len(found) == len(jobs)
    return {outcome.key: outcome for outcome in found}


def test_a_job_that_breaks_down_leaves_the_others_alone(tmp_path: Path) -> None:
    behaviours = ["behaves", "raises", "dies once", "behaves", "dies", "behaves"]
    found = outcomes(tmp_path, behaviours)
    assert {key: outcome.value for key, outcome in found.items() if not outcome.error} == {
        "0": 0,
        "2": 4,
        "3": 9,
        "5": 25,
    }
    assert found["1"].error.startswith("ValueError: so it is (toy_jobs.py:")
    assert found["4"].error == "its worker process was ended by SIGKILL, 3 times in a row"
    numbers = [x for x, _ in calls(tmp_path)]
    assert {x: numbers.count(x) for x in range(6)} == {0: 1, 1: 1, 2: 2, 3: 1, 4: 3, 5: 1}


@pytest.mark.slow
def test_a_job_that_is_too_slow_is_ended_and_not_tried_again(tmp_path: Path) -> None:
    found = outcomes(tmp_path, ["sleeps", "behaves", "behaves"], timeout=3.0)
    assert found["0"].error == "took more than 3 s"
    assert (found["1"].value, found["2"].value) == (1, 4)
    sleeper = next(pid for x, pid in calls(tmp_path) if x == 0)
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper, 0)
    assert [x for x, _ in calls(tmp_path)].count(0) == 1


RUN = """
from toy_jobs import square
from statformer.runs.engines import run_jobs
from statformer.runs.jobs import Job
if __name__ == "__main__":
    jobs = [Job(str(i), ("waits", {folder!r}, i), 600.0) for i in range(2)]
    list(run_jobs(square, jobs, n_workers=2))
"""


@pytest.mark.slow
def test_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN.format(folder=str(tmp_path)))
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, script], env=environment) as run:
        try:
            wait_for(lambda: len(calls(tmp_path)) == 2)
        finally:
            run.send_signal(signal.SIGKILL)
    for _, worker in calls(tmp_path):
        wait_for(lambda pid=worker: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may be there to collect an orphan


def test_a_worker_has_one_thread_and_the_caller_keeps_its_own(tmp_path: Path) -> None:
    before = threadpool_info()
    jobs = [Job("a", "user_api", 60.0)]
    # a function of the package itself: any process can import it
    (outcome,) = run_jobs(_threads, jobs, n_workers=1)
    assert outcome.value == 1
    assert threadpool_info() == before


def _threads(_: str) -> int:
    import numpy as np

    assert np.eye(2).sum() == 2
    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def test_a_key_that_comes_twice_is_run_once(tmp_path: Path) -> None:
    job = Job("same", ("behaves", str(tmp_path), 3), 60.0)
    assert [outcome.value for outcome in run_jobs(square, [job, job], n_workers=2)] == [9]
    assert [x for x, _ in calls(tmp_path)] == [3]


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(ValueError, match="engine is 'slurm'; pass one of local, ray, dask"):
        list(run_jobs(square, [], engine="slurm"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs engine 'ray' or 'dask'"):
        list(run_jobs(square, [], address="127.0.0.1:1"))
    with pytest.raises(ValueError, match="n_workers is 0"):
        list(run_jobs(square, [], n_workers=0))
    assert cores() >= 1
