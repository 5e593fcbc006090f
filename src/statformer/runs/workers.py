"""Jobs on several processes of one thread each; the answers do not depend on how many."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Workers:
    """Processes that run jobs; 1 worker runs them in this process, at one thread."""

    def __init__(self, n_workers: int) -> None:
        self._pool: ProcessPoolExecutor | None = None
        if n_workers > 1:
            self._pool = ProcessPoolExecutor(
                n_workers, mp_context=get_context("spawn"), initializer=one_thread
            )

    def run(self, work: Callable[[Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]:
        """work(job) for every job, in their order; an exception in a job is raised here."""
        if self._pool is not None:
            yield from self._pool.map(work, jobs)
            return
        for job in jobs:
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = work(job)
            yield answer

    def close(self) -> None:
        """Let the processes end; jobs that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def workers(n_workers: int) -> Iterator[Workers]:
    """`Workers` that are closed at the end."""
    pool = Workers(n_workers)
    try:
        yield pool
    finally:
        pool.close()


def one_thread() -> None:
    """Make this process, a worker, work at one thread and without warnings."""
    # libraries that are loaded later read the environment, those that are here are told
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)
    warnings.simplefilter("ignore")
