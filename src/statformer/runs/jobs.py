"""A job and its outcome: what every engine is given, and what it gives back.

A job is the argument of one function that any process can import. Its outcome is the function's
value, or one line that says why there is none.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["MOST_ATTEMPTS", "Job", "Outcome", "Prepare", "Work", "answer", "cores"]

# A process may die of a neighbour's hunger for memory; one that dies three times dies of the job.
MOST_ATTEMPTS = 3

Work = Callable[[Any], Any]
Prepare = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """The argument of the work, under a key that no other job has, and its limit in seconds."""

    key: str
    argument: Any
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """What came of a job: `value`, or `error`, one line that is empty where all went well."""

    key: str
    value: Any = None
    error: str = ""


def answer(work: Work, key: str, argument: Any) -> Outcome:
    """work(argument) at one thread; an exception becomes the error of the outcome."""
    try:
        with threadpool_limits(1):
            return Outcome(key, work(argument))
    except Exception as error:  # noqa: BLE001 - a job may raise anything, and others go on
        return Outcome(key, error=_one_line(error))


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _one_line(error: BaseException) -> str:
    """'ValueError: its message (file.py:12)', the place where it was raised."""
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
