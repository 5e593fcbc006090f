from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_info

from statformer.runs import timing
from statformer.runs.timing import LoadWatch, fastest, timed


def test_the_median_time_of_a_nap() -> None:
    found = timed(lambda: time.sleep(0.2), threads=1, repeats=3)
    assert found.runs == 3
    assert 0.2 <= found.seconds < 0.6


def test_short_work_is_repeated_until_the_load_can_be_read() -> None:
    found = timed(lambda: time.sleep(0.05), threads=1, repeats=1)
    assert found.runs >= 5


def test_threads_are_limited_while_the_clock_runs() -> None:
    seen: list[int] = []

    def work() -> None:
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        time.sleep(0.5)

    timed(work, threads=1, repeats=1)
    assert seen
    assert set(seen) == {1}


@pytest.mark.parametrize(("busy", "is_valid"), [(1.2, False), (0.1, True)])
def test_the_load_of_others_is_told_from_our_own(
    monkeypatch: pytest.MonkeyPatch, busy: float, is_valid: bool
) -> None:
    clock = {"now": 0.0}

    def cpu_times() -> SimpleNamespace:  # this process burns 1 core, others `busy`
        return SimpleNamespace(user=clock["now"] * (1.0 + busy), system=0.0, idle=5.0)

    process = SimpleNamespace(
        cpu_times=lambda: SimpleNamespace(user=clock["now"] * 0.75, system=clock["now"] * 0.25)
    )
    monkeypatch.setattr(timing.psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(timing.psutil, "Process", lambda: process)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock["now"])

    def work() -> None:
        clock["now"] += 1.0

    found = timed(work, threads=1, repeats=2)
    assert found.other_load == pytest.approx(busy)
    assert found.is_valid is is_valid


def test_a_busy_process_beside_us_is_seen() -> None:
    watch = LoadWatch()
    code = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        time.sleep(1.5)
        load = watch.read()
        other.kill()
    assert load > 0.3


def test_the_fastest_comes_first() -> None:
    naps = iter([0.6, 0.5])
    found = fastest(lambda: time.sleep(next(naps)), threads=(1, 2), repeats=1)
    assert [one.threads for one in found] == [2, 1]
