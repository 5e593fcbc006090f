"""Queries in slices: a thread for each, and a limit to what one piece of work has to hold.

Axes: q queries.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

from threadpoolctl import ThreadpoolController

LARGEST = 2048  # queries of a slice
_FEWEST = 64  # queries of a thread
_WORTH_A_THREAD = 10**8  # multiplications, some milliseconds: what starting threads takes is lost


def in_slices(work: Callable[[slice], Any], n_queries: int, cost: float) -> list[Any]:
    """`work` on consecutive slices of the queries; the results in order.

    As many slices run at a time as BLAS may use threads; meanwhile each matrix product takes one.
    Few queries, or little work, are one slice, whose products take all. `cost` is the work of one
    query, in multiplications of a matrix product.
    """
    n_threads = max((library["num_threads"] for library in _blas().info()), default=1)
    worth = int(min(n_queries / _FEWEST, n_queries * cost / _WORTH_A_THREAD))
    n_workers = max(1, min(n_threads, worth))
    n_rounds = -(-n_queries // (LARGEST * n_workers))
    n_slices = n_rounds * n_workers
    edges = [n_queries * i // n_slices for i in range(n_slices + 1)]
    slices = [slice(a, b) for a, b in pairwise(edges)]
    if n_workers == 1:
        return [work(some) for some in slices]
    with _blas().limit(limits=1), ThreadPoolExecutor(n_workers) as pool:
        return list(pool.map(work, slices))


@cache
def _blas() -> Any:
    """The matrix libraries that are loaded."""
    return ThreadpoolController().select(user_api="blas")
