"""Seconds of rival works that take turns, so that a drift of the machine meets all of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from threadpoolctl import threadpool_limits

from statformer.runs.timing import MOST_OTHER_LOAD, LoadWatch

LONG = 10.0  # seconds: work that takes longer is not repeated
SHORT = 1.0  # seconds: where every work is shorter, a first round goes uncounted


def take_turns(
    works: Mapping[str, Callable[[], object]], n_rounds: int, n_threads: int
) -> dict[str, Any]:
    """Median seconds of each work over rounds in which each runs once, at `n_threads` threads."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    with threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watch = LoadWatch()
        for round_ in range(n_rounds + 1):
            if round_ == 1 and all(max(values) < SHORT for values in seconds.values()):
                seconds = {name: [] for name in works}  # libraries and caches are warm from here on
            for name, work in works.items():
                if len(seconds[name]) == n_rounds or (seconds[name] and seconds[name][-1] > LONG):
                    continue
                begin = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - begin)
        load = watch.read()
    return {
        "seconds": {name: median(values) for name, values in seconds.items()},
        "rounds": {name: len(values) for name, values in seconds.items()},
        "other_load": load,
        "is_valid": load <= MOST_OTHER_LOAD,
    }
