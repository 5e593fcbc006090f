"""Jobs as tasks of a Dask cluster: an existing one, or one of this machine for as long as it takes.

Dask gives the tasks of a lost worker to others, as often as the cluster's setting
`distributed.scheduler.allowed-failures` says.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from statformer._extras import require
from statformer.runs.jobs import Job, Outcome, Work, answer

__all__ = ["run_dask"]

_WAIT_FOR_A_WORKER = 60.0  # seconds


def run_dask(
    work: Work, jobs: Iterable[Job], n_workers: int, address: str | None
) -> Iterator[Outcome]:
    """Outcomes of `work` for all jobs, in the order in which they end.

    address  "host:port" of a scheduler whose workers can import statformer; None starts a cluster
             here of `n_workers` processes

    No more jobs are handed over than the cluster has threads, so that the clock of a job starts
    when it does. A thread cannot be ended, so a job that is too slow ends its worker, where a nanny
    starts another; what else that worker held goes to others. Without a nanny it is given up, and
    goes on.
    """
    distributed = require("distributed", "scale")
    with _connected(distributed, n_workers, address) as client:
        waiting = deque(jobs)
        running: dict[Any, tuple[Job, float]] = {}
        while waiting or running:
            slots = max(1, sum(client.nthreads().values()))
            while waiting and len(running) < slots:
                job = waiting.popleft()
                name = f"{job.key}-{uuid.uuid4().hex}"
                future = client.submit(answer, work, job.key, job.argument, key=name, pure=False)
                running[future] = (job, time.monotonic() + job.timeout)
            nearest = min(deadline for _, deadline in running.values())
            for future in _done(distributed, list(running), nearest - time.monotonic()):
                job, _ = running.pop(future)
                yield _outcome(future, job)
            now = time.monotonic()
            for future in [f for f, (_, deadline) in running.items() if deadline <= now]:
                job, _ = running.pop(future)
                _end(client, future)
                yield Outcome(job.key, error=f"took more than {job.timeout:g} s")


@contextmanager
def _connected(distributed: Any, n_workers: int, address: str | None) -> Iterator[Any]:
    """A client with at least one worker; a cluster that was started here ends with it."""
    if address is not None:
        with distributed.Client(address) as client:
            client.wait_for_workers(1, timeout=_WAIT_FOR_A_WORKER)
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _done(distributed: Any, futures: list[Any], timeout: float) -> list[Any]:
    """The futures that are finished, lost or failed; none of them after `timeout` seconds."""
    try:
        distributed.wait(futures, timeout=max(timeout, 0.001), return_when="FIRST_COMPLETED")
    except TimeoutError:
        return []
    return [future for future in futures if future.done()]


def _outcome(future: Any, job: Job) -> Outcome:
    if future.status == "finished":
        found: Outcome = future.result()
        return found
    error = future.exception() if future.status == "error" else future.status
    return Outcome(job.key, error=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _end(client: Any, future: Any) -> None:
    """Give up a task, and end the worker process that holds it where a nanny starts another."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    holders = [name for name, keys in client.processing().items() if future.key in keys]
    future.cancel(force=True)
    watched = [name for name in holders if workers.get(name, {}).get("nanny")]
    if watched:
        client.run(_leave, workers=watched, on_error="ignore")


def _leave() -> None:
    """End this worker process, after the answer to the call."""
    threading.Timer(0.2, os._exit, (1,)).start()
