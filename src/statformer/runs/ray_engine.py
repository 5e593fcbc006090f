"""Jobs as tasks of a Ray cluster: an existing one, or one of this machine for as long as it takes.

Ray gives a task whose worker or node was lost to another worker.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from statformer._extras import require
from statformer.runs.jobs import MOST_ATTEMPTS, Job, Outcome, Work, answer

__all__ = ["run_ray"]

_KNOCK = 10.0  # seconds


def run_ray(
    work: Work, jobs: Iterable[Job], n_workers: int, address: str | None
) -> Iterator[Outcome]:
    """Outcomes of `work` for all jobs, in the order in which they end.

    address  "host:port" or "auto" of a cluster that can import statformer; None starts one here
             with `n_workers` cores

    No more jobs are handed over than the cluster has cores, so that the clock of a job starts when
    it does; on a cluster that others use, too, it starts while the job still queues.
    """
    ray = require("ray", "scale")
    with _connected(ray, n_workers, address):
        task = ray.remote(num_cpus=1, max_retries=MOST_ATTEMPTS - 1, retry_exceptions=False)(answer)
        waiting = deque(jobs)
        running: dict[Any, tuple[Job, float]] = {}
        while waiting or running:
            slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
            while waiting and len(running) < slots:
                job = waiting.popleft()
                reference = task.remote(work, job.key, job.argument)
                running[reference] = (job, time.monotonic() + job.timeout)
            nearest = min(deadline for _, deadline in running.values())
            done, _ = ray.wait(list(running), timeout=max(nearest - time.monotonic(), 0.001))
            for reference in done:
                job, _ = running.pop(reference)
                yield _outcome(ray, reference, job)
            now = time.monotonic()
            for reference in [r for r, (_, deadline) in running.items() if deadline <= now]:
                job, _ = running.pop(reference)
                ray.cancel(reference, force=True)
                yield Outcome(job.key, error=f"took more than {job.timeout:g} s")


@contextmanager
def _connected(ray: Any, n_workers: int, address: str | None) -> Iterator[None]:
    """A connection that is closed at the end, unless the caller had one before."""
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _knock(address)
    own = {"num_cpus": n_workers, "include_dashboard": False} if address is None else {}
    ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **own)
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConnectionError where nobody listens at "host:port"; Ray itself asks for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
    except OSError as error:
        raise ConnectionError(f"nobody answers at the address {address} ({error})") from error


def _outcome(ray: Any, reference: Any, job: Job) -> Outcome:
    try:
        found: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Outcome(job.key, error=f"{type(error).__name__}: {first}")
    return found
