"""Slices cover the queries in order, whatever the number of threads."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_limits

from statformer.estimators.query_slices import LARGEST, in_slices

COSTLY, CHEAP = 1e9, 1e3  # multiplications a query


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n", [1, 63, 64, 200, LARGEST, LARGEST + 1, 5 * LARGEST + 3])
def test_every_query_once_in_order(n: int, n_threads: int) -> None:
    with threadpool_limits(n_threads):
        slices = in_slices(lambda some: some, n, COSTLY)
    assert [i for some in slices for i in range(n)[some]] == list(range(n))
    assert max(some.stop - some.start for some in slices) <= LARGEST


def test_errors_come_through_and_one_thread_is_this_one() -> None:
    def fail(some: slice) -> None:
        raise KeyError(some.start)

    with pytest.raises(KeyError):
        in_slices(fail, 1000, COSTLY)
    with threadpool_limits(1):
        threads = in_slices(lambda _: threading.get_ident(), 5000, COSTLY)
    assert set(threads) == {threading.get_ident()}


def test_little_work_is_one_slice() -> None:
    with threadpool_limits(2):
        assert len(in_slices(lambda some: some, 1000, CHEAP)) == 1
        assert len(in_slices(lambda some: some, 1000, COSTLY)) == 2
