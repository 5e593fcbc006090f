from __future__ import annotations

import warnings

import pytest
from threadpoolctl import threadpool_info

from statformer.runs.workers import workers


def describe(job: int) -> tuple[int, int]:
    import numpy as np  # loads BLAS, whose threads are counted

    warnings.warn("a rival did not converge", RuntimeWarning, stacklevel=1)
    assert np.eye(2).sum() == 2
    return job * job, max((pool["num_threads"] for pool in threadpool_info()), default=1)


def test_a_job_in_this_process_has_one_thread() -> None:
    before = threadpool_info()
    with workers(1) as pool:
        assert list(pool.run(describe, range(3))) == [(0, 1), (1, 1), (4, 1)]
    assert threadpool_info() == before


@pytest.mark.slow
def test_jobs_in_processes_answer_in_order() -> None:
    with workers(2) as pool:
        # a function of the standard library: a test module is not importable elsewhere
        assert list(pool.run(divmod_by_seven, [])) == []
        assert list(pool.run(hex, range(5))) == ["0x0", "0x1", "0x2", "0x3", "0x4"]


def test_an_error_in_a_job_comes_through() -> None:
    with workers(1) as pool, pytest.raises(ZeroDivisionError):
        list(pool.run(divmod_by_seven, [0]))


def divmod_by_seven(job: int) -> tuple[int, int]:
    return divmod(7, job)
