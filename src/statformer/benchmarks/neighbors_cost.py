"""(a) Time and peak memory of one nearest neighbour beside scikit-learn and faiss.

All methods are exact and get the same rows, queries and threads. faiss holds float32 alone, so a
float64 table is turned to float32 when its index is built, and its answers are then those of the
rounded table. A kd-tree answers fewer queries on large tables; numbers are per query.
Axes: n context rows, q queries, d columns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import KNeighborsClassifier

from statformer.benchmarks.cost import threads
from statformer.benchmarks.neighbors_settings import Bench, Sizes
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.turns import take_turns
from statformer.estimators.neighbors import AttentionNeighborsClassifier

OURS = "AttentionNeighbors, temperature 0"
SOFT = "AttentionNeighbors, temperature 1"  # memory only, and only where it is asked for
BRUTE, KD_TREE, FAISS = "scikit-learn, brute", "scikit-learn, kd-tree", "faiss, flat"
METHODS = (OURS, BRUTE, KD_TREE, FAISS)
N_CLASSES = 10
LARGE = 10**6  # numbers of a table from which memory is read and a kd-tree asks fewer queries
MEMORY_ROWS, MEMORY_QUERIES = 10**6, 10**4  # where the memory of the soft answer is read, too
MOST_DOUBLES = 4 * 10**6  # numbers of a table up to which float64 is measured, too

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]


class FlatIndex:
    """faiss's exact index of squared distances, with a look-up of labels behind it."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def fit(self, X: Matrix, y: Labels) -> FlatIndex:
        """Put the rows into the index, which copies them."""
        import faiss

        faiss.omp_set_num_threads(self.n_threads)
        self.index, self.y = faiss.IndexFlatL2(X.shape[1]), y
        self.index.add(np.ascontiguousarray(X, dtype=np.float32))
        return self

    def predict(self, X: Matrix) -> Labels:
        """The labels of the nearest rows."""
        _, nearest = self.index.search(np.ascontiguousarray(X, dtype=np.float32), 1)
        found: Labels = self.y[nearest[:, 0]]
        return found


def searcher(name: str, n_threads: int) -> Any:
    """An object with `fit(X, y)` and `predict(X)`, the labels of the nearest rows."""
    if name in {OURS, SOFT}:
        return AttentionNeighborsClassifier(temperature=0 if name == OURS else 1.0)
    if name == FAISS:
        return FlatIndex(n_threads)
    algorithm = "brute" if name == BRUTE else "kd_tree"
    return KNeighborsClassifier(1, algorithm=algorithm, n_jobs=n_threads)


def table(n: int, q: int, d: int, dtype: str) -> tuple[Matrix, Labels, Matrix]:
    """Standard normal rows and queries, made in place, and labels of 10 classes by chance."""
    rng = np.random.default_rng([n, d])
    X, queries = np.empty((n, d), dtype=dtype), np.empty((q, d), dtype=dtype)
    for made in (X, queries):
        rng.standard_normal(dtype=made.dtype, out=made)
    return X, rng.integers(0, N_CLASSES, n), queries


def n_queries(sizes: Sizes, n: int, d: int, name: str = OURS) -> int:
    """How many queries are asked of a table."""
    least, largest = sizes.queries
    q = int(np.clip(sizes.products / (n * d), least, largest))
    return min(q, sizes.kd_tree_queries) if name == KD_TREE and n * d >= LARGE else q


def run(bench: Bench) -> None:
    """Time every shape that the record does not hold yet; nothing else should be running."""
    entries = list(_entries(bench.sizes))
    for i, (n, d, dtype) in enumerate(entries):
        name = f"{n} x {d}, {dtype}"
        if f"a: {name}" not in bench.record:
            bench.record.put(f"a: {name}", {"part": "a", **one_shape(bench.sizes, n, d, dtype)})
        bench.callback(Progress("a", name, i + 1, len(entries)))


def _entries(sizes: Sizes) -> Iterator[tuple[int, int, str]]:
    for n in sizes.rows:
        for d in sizes.columns:
            yield n, d, "float32"
            if n * d <= MOST_DOUBLES:
                yield n, d, "float64"


def one_shape(sizes: Sizes, n: int, d: int, dtype: str) -> dict[str, Any]:
    """Seconds to build and per query by number of threads, labels in common, peak memory."""
    asked = {name: n_queries(sizes, n, d, name) for name in METHODS}
    X, y, queries = table(n, max(asked.values()), d, dtype)
    for name in METHODS:  # what is imported at first use is no build
        searcher(name, 1).fit(X[:50], y[:50]).predict(queries[:2])
    timings, answers = {}, {}
    for at in threads():
        searchers = {name: searcher(name, at) for name in METHODS}
        building = take_turns(
            {name: partial(one.fit, X, y) for name, one in searchers.items()},
            1 if n * d >= LARGE else sizes.rounds,
            at,
        )

        def answer(name: str, searchers: dict[str, Any] = searchers) -> None:
            answers[name] = searchers[name].predict(queries[: asked[name]])

        answering = {name: partial(answer, name) for name in METHODS}
        found = take_turns(answering, sizes.rounds, at)
        found["seconds per query"] = {m: s / asked[m] for m, s in found.pop("seconds").items()}
        timings[str(at)] = {"build seconds": building["seconds"], **found}
    same = {name: float((a == answers[BRUTE][: len(a)]).mean()) for name, a in answers.items()}
    del X, y, queries
    peaks = {}
    if n * d >= LARGE:
        peaks = {name: peak_bytes(name, n, asked[name], d, dtype) for name in METHODS}
    if n >= MEMORY_ROWS and asked[OURS] >= MEMORY_QUERIES:
        peaks[SOFT] = peak_bytes(SOFT, n, asked[OURS], d, dtype)
    return {
        "shape": (n, d),
        "dtype": dtype,
        "queries": asked,
        "timings": timings,
        "labels as brute force": same,
        "peak bytes above data": peaks,
    }


def peak_bytes(name: str, n: int, q: int, d: int, dtype: str) -> int | None:
    """Peak resident memory of building and asking above the data, from a process of its own."""
    command = [sys.executable, "-m", "statformer.benchmarks.neighbors_peak_memory"]
    done = subprocess.run(
        [*command, name, str(n), str(q), str(d), dtype],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: int | None = json.loads(done.stdout)["peak_bytes"]
    return found
