"""Wall time of a piece of work at a number of threads, and the load that others put on it.

Times are seconds of wall time. Load is cores that were busy with something else than this process
and its children while the clock ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

MOST_OTHER_LOAD = 0.3
_LEAST_WINDOW = 0.5  # seconds: the kernel counts processor time in hundredths


@dataclass(frozen=True)
class Timing:
    """Median seconds of one run, how many runs, threads, and whether the machine was quiet."""

    seconds: float
    runs: int
    threads: int
    other_load: float
    is_valid: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class LoadWatch:
    """Cores kept busy by others between the start and `read`."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._begin = self._now()

    def _now(self) -> tuple[float, float, float]:
        every = psutil.cpu_times()
        # Linux counts guest time in user time, and interrupts apart from system time
        parts = ("user", "nice", "system", "irq", "softirq", "steal")
        busy = sum(getattr(every, part, 0.0) for part in parts)
        own = self._process.cpu_times()
        mine = own.user + own.system
        mine += getattr(own, "children_user", 0.0) + getattr(own, "children_system", 0.0)
        return time.perf_counter(), busy, mine

    def read(self) -> float:
        """Mean number of other busy cores since the start."""
        wall, busy, mine = (b - a for a, b in zip(self._begin, self._now(), strict=True))
        return max(0.0, busy - mine) / max(wall, 1e-9)


def timed(work: Callable[[], object], threads: int, repeats: int = 3) -> Timing:
    """Median wall time of `work()` at `threads` threads of the numerical libraries.

    Runs at least `repeats` times and at least half a second, so that the load can be read.
    """
    seconds: list[float] = []
    with threadpool_limits(threads):
        watch = LoadWatch()
        while len(seconds) < repeats or sum(seconds) < _LEAST_WINDOW:
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
        load = watch.read()
    return Timing(median(seconds), len(seconds), threads, load, load <= MOST_OTHER_LOAD)


def fastest(work: Callable[[], object], threads: Sequence[int], repeats: int = 3) -> list[Timing]:
    """`timed` at each number of threads; the fastest first."""
    return sorted((timed(work, t, repeats) for t in threads), key=lambda timing: timing.seconds)
