"""Jobs on processes of this machine, each of one thread.

A worker that dies is noticed and its job given to another one; a job that passes its time limit is
ended with its worker. Workers end when the process that started them does, however it ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from statformer.runs.jobs import MOST_ATTEMPTS, Job, Outcome, Prepare, Work, answer
from statformer.runs.workers import one_thread

__all__ = ["run_local"]

_LOOK_FOR_PARENT = 0.5  # seconds


def run_local(
    work: Work, jobs: Iterable[Job], n_workers: int, prepare: Prepare | None = None
) -> Iterator[Outcome]:
    """Outcomes of `work` for all jobs, in the order in which they end.

    prepare  called by every worker before its first job

    A job whose worker dies is tried `MOST_ATTEMPTS` times; one that raises or is too slow, once.
    """
    waiting = deque((job, 1) for job in jobs)
    crew: list[_Worker] = []
    try:
        while waiting or any(worker.job for worker in crew):
            wanted = min(n_workers, len(waiting) + sum(worker.job is not None for worker in crew))
            crew += [_Worker(work, prepare) for _ in range(wanted - len(crew))]
            for worker in crew:
                if worker.job is None and worker.is_ready and waiting:
                    worker.take(*waiting.popleft())
            for worker in _with_news(crew):
                try:
                    outcome = worker.news()
                except _Died as death:
                    if worker.attempt < MOST_ATTEMPTS:
                        waiting.append((death.job, worker.attempt + 1))
                        continue
                    why = f"its worker process {death}, {worker.attempt} times in a row"
                    outcome = Outcome(death.job.key, error=why)
                if outcome is not None:
                    yield outcome
            crew = [worker for worker in crew if worker.is_alive]
    finally:
        for worker in crew:
            worker.end()


class _Died(Exception):
    """A worker ended during a job; the message says how."""

    def __init__(self, job: Job, how: str) -> None:
        super().__init__(how)
        self.job = job


class _Worker:
    """A process that answers jobs, seen from the process that hands them out."""

    def __init__(self, work: Work, prepare: Prepare | None) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, work, prepare, os.getpid()), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.is_ready = False
        self.is_alive = True
        self.job: Job | None = None
        self.attempt = 0
        self.deadline = float("inf")

    def take(self, job: Job, attempt: int) -> None:
        """Begin a job; its clock starts now."""
        self.job = job
        self.attempt = attempt
        self.deadline = time.monotonic() + job.timeout
        self.pipe.send((job.key, job.argument))

    def news(self) -> Outcome | None:
        """What the pipe or the clock says; None when the worker has become ready.

        Raises _Died where the worker ended during its job, and RuntimeError where it ended before
        the first one: others would, too.
        """
        job, self.job = self.job, None
        if job is not None and not self.pipe.poll():
            self.end()
            return Outcome(job.key, error=f"took more than {job.timeout:g} s")
        self.deadline = float("inf")
        try:
            message: Outcome | None = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.end()
            if job is not None:
                raise _Died(job, self._how_it_ended()) from None
            raise RuntimeError(
                f"a worker process {self._how_it_ended()} before its first job; "
                "look at what it wrote to standard error"
            ) from None
        self.is_ready = True
        return message

    def end(self) -> None:
        """End the process, which has nothing to save, and wait until it has ended."""
        self.is_alive = False
        self.pipe.close()
        self.process.kill()
        self.process.join()

    def _how_it_ended(self) -> str:
        code = self.process.exitcode or 0
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _with_news(crew: list[_Worker]) -> list[_Worker]:
    """Wait for a message, the end of a process, or the end of a job's time."""
    remaining = min(worker.deadline for worker in crew) - time.monotonic()
    pipes = wait(
        [worker.pipe for worker in crew], None if remaining == float("inf") else max(remaining, 0)
    )
    now = time.monotonic()
    return [worker for worker in crew if worker.pipe in pipes or worker.deadline <= now]


def _serve(pipe: Connection[Any, Any], work: Work, prepare: Prepare | None, parent: int) -> None:
    """Answer jobs until the pipe closes."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.dup2(2, 1)  # what a job prints is no part of the command's answer
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if prepare is not None:
        prepare()
    pipe.send(None)
    while True:
        try:
            key, argument = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(work, key, argument))


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: a killed run leaves nobody at work."""
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT)
    os._exit(1)
