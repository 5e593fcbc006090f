"""(d) Time and peak memory of a fit beside scikit-learn's PCA, over rows, columns and both.

Rounds are interleaved: every method once, then again, so that a drift of the machine meets all of
them. Axes: n rows, d columns, k components.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from statformer.benchmarks.cost import slope, threads
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral_settings import Bench
from statformer.estimators.decomposition import AttentionPCA
from statformer.runs.timing import MOST_OTHER_LOAD, LoadWatch

N_COMPONENTS = 5
TABLE_SHAPE = (200, 20)  # what most tables look like
ROWS_AT, COLUMNS_AT = 50, 2000  # columns of the series over rows, rows of that over columns
WIDTHS = (10, 30, 100, 300, 1000)
SQUARE = (2000, 2000)
PEAK_CELLS = 10**6  # tables below have no memory worth measuring
LONG = 10.0  # seconds: a fit that takes longer is not repeated
MOST_CELLS = 2 * 10**7  # larger tables are fitted at one thread only

ROWS, CELLS, BUILT = "AttentionPCA, rows", "AttentionPCA, cells", "AttentionPCA, constructed"
SKLEARN = "scikit-learn's PCA"
METHODS = (ROWS, CELLS, BUILT, SKLEARN)

Matrix = Float[np.ndarray, "n d"]


def estimator(name: str, weights: str) -> Any:
    """An unfitted estimator of k = 5 components; scikit-learn's PCA chooses its own solver."""
    if name == SKLEARN:
        return PCA(N_COMPONENTS, random_state=0)
    form = "cells" if name == CELLS else "rows"
    chosen = "constructed" if name == BUILT else weights
    return AttentionPCA(N_COMPONENTS, weights=chosen, robust=form, random_state=0)


def table(n: int, d: int, seed: int = 0) -> Matrix:
    """Five directions of strength 5 to 3 in unit noise, made in place."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, d))
    rng.standard_normal(out=X)
    k = min(N_COMPONENTS, d)
    loadings = np.linspace(5.0, 3.0, k)[:, None] * np.linalg.qr(rng.standard_normal((d, k)))[0].T
    for first in range(0, n, 65_536):
        rows = slice(first, min(first + 65_536, n))
        X[rows] += rng.standard_normal((rows.stop - rows.start, k)) @ loadings
    return X


def shapes(largest: Sequence[int]) -> dict[str, list[tuple[int, int]]]:
    """Series of shapes: over rows up to the largest number of cells, over columns, and single."""
    most = max(largest)
    return {
        "rows": [(cells // ROWS_AT, ROWS_AT) for cells in largest],
        "columns": [(COLUMNS_AT, d) for d in WIDTHS if COLUMNS_AT * d <= most],
        "single": [shape for shape in (TABLE_SHAPE, SQUARE) if shape[0] * shape[1] <= most],
    }


def run(bench: Bench) -> None:
    """Time every shape that the record does not hold yet; nothing else should be running."""
    series = shapes(bench.sizes.large_cells)
    entries = [(axis, shape) for axis, found in series.items() for shape in found]
    for i, (axis, (n, d)) in enumerate(entries):
        name = f"{axis}: {n} x {d}"
        if f"d: {name}" not in bench.record:
            cell = {"part": "d", "axis": axis, "shape": (n, d), **one_shape(bench, n, d)}
            bench.record.put(f"d: {name}", cell)
        bench.callback(Progress("d", name, i + 1, len(entries)))
    cells = bench.record.cells
    slopes = {
        axis: growth([cells[f"d: {axis}: {n} x {d}"] for n, d in found], axis)
        for axis, found in series.items()
        if axis != "single"
    }
    bench.record.put("d: growth", {"part": "d", "axis": "growth", "slopes": slopes})


def one_shape(bench: Bench, n: int, d: int) -> dict[str, Any]:
    """Seconds by method and number of threads, and peak memory above the table."""
    X = table(n, d)
    at = threads() if X.size <= MOST_CELLS else (1,)
    timings = {str(t): interleaved(bench, X, t) for t in at}
    del X
    peaks: dict[str, int | None] = {}
    if n * d >= PEAK_CELLS:
        for name in METHODS:
            peaks[name] = peak_bytes(name, n, d, bench.weights)
    return {"n_components": N_COMPONENTS, "timings": timings, "peak bytes above data": peaks}


def interleaved(bench: Bench, X: Matrix, n_threads: int) -> dict[str, Any]:
    """Median seconds of each method over rounds in which each runs once.

    A round that does not count goes first, except on large tables. A fit of more than 10 s is not
    repeated.
    """
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    works: dict[str, Callable[[], object]] = {
        name: lambda name=name: estimator(name, bench.weights).fit(X)  # type: ignore[misc]
        for name in METHODS
    }
    warm = 1 if X.size <= PEAK_CELLS else 0
    with threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watch = LoadWatch()
        for round_ in range(bench.sizes.rounds + warm):
            for name, work in works.items():
                if seconds[name] and seconds[name][-1] > LONG:
                    continue
                begin = time.perf_counter()
                work()
                if round_ >= warm:
                    seconds[name].append(time.perf_counter() - begin)
        load = watch.read()
    return {
        "seconds": {name: median(values) for name, values in seconds.items()},
        "rounds": {name: len(values) for name, values in seconds.items()},
        "other_load": load,
        "is_valid": load <= MOST_OTHER_LOAD,
    }


def growth(cells: Sequence[Mapping[str, Any]], axis: str) -> dict[str, Any]:
    """Log-log slopes of seconds over size at one thread, for the upper half of the sizes."""
    place = 0 if axis == "rows" else 1
    upper = cells[len(cells) // 2 - (len(cells) < 4) :]
    at = [cell["shape"][place] for cell in upper]
    return {
        "at": at,
        "slope": {
            name: slope(at, [cell["timings"]["1"]["seconds"][name] for cell in upper])
            for name in METHODS
        },
    }


def peak_bytes(name: str, n: int, d: int, weights: str) -> int | None:
    """Peak resident memory of a fit above the table itself, from a process of its own."""
    command = [sys.executable, "-m", "statformer.benchmarks.spectral_peak_memory"]
    done = subprocess.run(
        [*command, name, str(n), str(d), weights],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: int | None = json.loads(done.stdout)["peak_bytes"]
    return found
