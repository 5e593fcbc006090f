"""(e) Time and memory: one table, many tables, long tables, and how cost grows.

Rivals run at one thread and at all cores; both are kept. What is too long to repeat is timed on a
part and scaled, and the entry says so. Axes: n points, d features, c components.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.cluster import MiniBatchKMeans
from sklearn.mixture import GaussianMixture

from statformer.benchmarks import classical, rivals
from statformer.benchmarks.batched_em import batched_em
from statformer.benchmarks.rivals import z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import Bench, Progress
from statformer.benchmarks.sources import Source, Table
from statformer.estimators import AttentionMixture, cluster_tables
from statformer.runs.intervals import difference_interval
from statformer.runs.timing import Timing, fastest, timed

ROWS, COLUMNS, K = 500, 8, 5
LONG_COLUMNS, CONTEXT = 10, 4096
MOST_K = 10
OURS, FAST, BEST = "pretrained", "pretrained, fast", "pretrained, best"
MINI_BATCH = "MiniBatchKMeans"
SWEEP = "scikit-learn BIC sweep"
EM_TEN = "EM full (10)"
CONSTRUCTED = "B' (weights='constructed')"
BATCHED = "B' (bench)"
ONE_GIVEN, ONE_UNKNOWN = "one table, K given", "one table, K unknown"
MANY = "many tables, K unknown"
GROWTH = "growth"

Matrix = Float[np.ndarray, "n d"]
Work = Callable[[], object]


def threads() -> tuple[int, ...]:
    """One thread, and as many as there are cores."""
    return tuple(sorted({1, os.cpu_count() or 1}))


def run(bench: Bench) -> None:
    """Time everything that the record does not hold yet; nothing else should be running."""
    entries: dict[str, Callable[[Bench], dict[str, Any]]] = {
        ONE_GIVEN: one_table_given,
        ONE_UNKNOWN: one_table_unknown,
        MANY: many_tables,
        **{f"{n} rows": lambda b, n=n: long_table(b, n) for n in bench.sizes.long_rows},  # type: ignore[misc]
        GROWTH: growth,
    }
    for i, (name, entry) in enumerate(entries.items()):
        key = f"e: {name}"
        if key not in bench.record:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bench.record.put(key, {"part": "e", **entry(bench)})
        bench.callback(Progress("e", name, i + 1, len(entries)))


def one_table_given(bench: Bench) -> dict[str, Any]:
    """A 500 x 8 table of the prior with five components, K given."""
    X = _tables(1)[0].X
    Z = z_scores(X)
    works: dict[str, Work] = {
        OURS: lambda: AttentionMixture(K, weights=bench.weights, random_state=0).fit(X),
        FAST: lambda: AttentionMixture(K, weights=bench.weights, effort="fast", random_state=0).fit(
            X
        ),
        CONSTRUCTED: lambda: AttentionMixture(K, weights="constructed", random_state=0).fit(X),
        BATCHED: lambda: batched_em(X, K, np.random.default_rng(0)),
    }
    single = {classical.K_MEANS: rivals.k_means, **classical.ALONE, **classical.SINGLE}
    single |= {classical.BIC_EM: lambda Z, K, seed: rivals.best_by_bic(Z, K, seed)[0].predict(Z)}
    works |= {name: lambda rival=rival: rival(Z, K, 0) for name, rival in single.items()}  # type: ignore[misc]
    return {"shape": (ROWS, COLUMNS), "K": K, "timings": _each(works, bench.sizes.repeats)}


def one_table_unknown(bench: Bench) -> dict[str, Any]:
    """The same table with K to be found among 1..10 (and, for the network, its default 1..20)."""
    X = _tables(1)[0].X
    Z = z_scores(X)

    def find(weights: str, most: int, effort: str = "balanced") -> Work:
        return lambda: AttentionMixture(
            weights=weights, max_components=most, effort=effort, random_state=0
        ).fit(X)

    works: dict[str, Work] = {
        FAST: find(bench.weights, MOST_K, "fast"),
        f"{FAST}, K to 20": find(bench.weights, 20, "fast"),
        OURS: find(bench.weights, MOST_K),
        BEST: find(bench.weights, MOST_K, "best"),
        CONSTRUCTED: find("constructed", MOST_K),
        SWEEP: lambda: rivals.bic_sweep(Z, range(1, MOST_K + 1), 0),
    }
    about = {"shape": (ROWS, COLUMNS), "K": f"1..{MOST_K}, 4 types x 5 starts in the sweep"}
    return {**about, "timings": _each(works, 1)}


def many_tables(bench: Bench) -> dict[str, Any]:
    """`timed_tables` tables of 500 x 8 at once, K unknown among 1..10, effort "fast".

    scikit-learn's sweep and B' are timed on the first `timed_sweeps` and scaled; their ARI on those
    is beside ours.
    """
    sizes = bench.sizes
    n, few = sizes.timed_tables, min(sizes.timed_sweeps, sizes.timed_tables)
    tables = _tables(n)
    X = [table.X for table in tables]
    Z = [z_scores(table) for table in X[:few]]
    labels: dict[str, list[Any]] = {}

    def cluster(name: str, weights: str, some: Sequence[Matrix], **params: Any) -> Work:
        def work() -> None:
            models = cluster_tables(
                some, weights=weights, max_components=MOST_K, random_state=0, **params
            )
            labels[name] = [model.labels_ for model in models]

        return work

    def sweep() -> None:
        found = [rivals.bic_sweep(z, range(1, MOST_K + 1), i) for i, z in enumerate(Z)]
        labels[SWEEP] = [mine for _, mine in found]

    cores = threads()[-1]
    ours = cluster(FAST, bench.weights, X, effort="fast")
    timings: dict[str, Any] = {
        FAST: [timed(ours, 1, 1).as_dict()],
        CONSTRUCTED: [_scaled(timed(cluster(CONSTRUCTED, "constructed", X[:few]), 1, 1), few, n)],
        SWEEP: [_scaled(timed(sweep, 1, 1), few, n)],
    }
    if cores > 1:
        timings[FAST].append(timed(ours, cores, 1).as_dict())
        timings[SWEEP].append(_scaled(timed(sweep, cores, 1), few, n))
    scores = {
        name: [ari(table.y, found) for table, found in zip(tables, mine, strict=False)]
        for name, mine in labels.items()
    }
    first = np.array(scores[FAST][:few])
    return {
        "shape": (ROWS, COLUMNS),
        "n tables": n,
        "K": f"1..{MOST_K}, 4 types x 5 starts in the sweep",
        "timings": timings,
        "ari": {name: float(np.mean(mine[:few])) for name, mine in scores.items()},
        "ari, ours minus": {
            name: difference_interval([first], [np.array(scores[name])]).as_dict()
            for name in (CONSTRUCTED, SWEEP)
        },
    }


def long_table(bench: Bench, n: int) -> dict[str, Any]:
    """n rows of ten columns, five components, K given: every row gets its label."""
    X = blobs(n, LONG_COLUMNS, K)
    Z = z_scores(X)
    part = Z[np.random.default_rng(0).choice(n, min(n, CONTEXT), replace=False)]

    def ours(weights: str, effort: str = "balanced") -> Work:
        return lambda: AttentionMixture(K, weights=weights, effort=effort, random_state=0).fit(X)

    def em_once() -> object:
        return GaussianMixture(K, reg_covar=rivals.REG_COVAR, random_state=0).fit(Z).predict(Z)

    def em_of_part() -> object:
        model = GaussianMixture(K, n_init=10, reg_covar=rivals.REG_COVAR, random_state=0)
        return model.fit(part).predict(Z)

    works: dict[str, Work] = {
        FAST: ours(bench.weights, "fast"),
        OURS: ours(bench.weights),
        CONSTRUCTED: ours("constructed"),
        MINI_BATCH: lambda: MiniBatchKMeans(K, random_state=0).fit(Z),
        "k-means (10)": lambda: rivals.k_means(Z, K, 0),
        f"EM full (10) on {CONTEXT} rows, then predict": em_of_part,
    }
    found = _each(works, 1)
    found[EM_TEN] = [_scaled(timing, 1, 10) for timing in fastest(em_once, threads(), 1)]
    return {
        "shape": (n, LONG_COLUMNS),
        "K": K,
        "context": f"the network reads {CONTEXT} rows and then labels all",
        "timings": found,
        "peak bytes above data": peak_bytes(n, LONG_COLUMNS, K, bench.weights),
    }


def peak_bytes(n: int, d: int, n_components: int, weights: str) -> int | None:
    """Peak resident memory of a fit above the table itself, from a process of its own."""
    command = [sys.executable, "-m", "statformer.benchmarks.peak_memory"]
    done = subprocess.run(
        [*command, str(n), str(d), str(n_components), weights],
        capture_output=True,
        text=True,
        check=True,
    )
    found: int | None = json.loads(done.stdout)["peak_bytes"]
    return found


def growth(bench: Bench) -> dict[str, Any]:
    """Seconds of a fit with K given as n, d, K and the number of tables grow; log-log slopes."""
    series: dict[str, list[tuple[int, Work]]] = {
        "rows": [(n, _fit(bench, n, 8, 5, 1)) for n in (500, 1000, 2000, 4000)],
        "columns": [(d, _fit(bench, 500, d, 5, 1)) for d in (4, 8, 16, 32, 64)],
        "components": [(c, _fit(bench, 500, 8, c, 1)) for c in (2, 4, 8, 16)],
        "tables": [(b, _fit(bench, 200, 8, 5, b)) for b in (4, 16, 64)],
    }
    found: dict[str, Any] = {}
    for name, works in series.items():
        timings = [timed(work, 1, bench.sizes.repeats) for _, work in works]
        at = [size for size, _ in works]
        found[name] = {
            "at": at,
            "timings": [timing.as_dict() for timing in timings],
            "slope": slope(at, [timing.seconds for timing in timings]),
        }
    return {"series": found}


def slope(at: Sequence[float], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds over log size: 1 is proportional."""
    return float(np.polyfit(np.log(at), np.log(seconds), 1)[0])


def blobs(n: int, d: int, n_components: int, seed: int = 0) -> Matrix:
    """Unit Gaussians around normal centres of spread 3, made in place."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, d))
    rng.standard_normal(out=X)
    centres = 3.0 * rng.standard_normal((n_components, d))
    for first in range(0, n, 65_536):
        rows = slice(first, min(first + 65_536, n))
        X[rows] += centres[rng.integers(n_components, size=rows.stop - rows.start)]
    return X


def _fit(bench: Bench, n: int, d: int, n_components: int, n_tables: int) -> Work:
    tables = [blobs(n, d, n_components, seed) for seed in range(n_tables)]
    return lambda: cluster_tables(tables, n_components, weights=bench.weights, random_state=0)


def _tables(n_tables: int) -> list[Table]:
    source = Source("cost", "prior", ((ROWS, COLUMNS),), (2.5, 6.0), (K, K))
    blocks = [source.block(i, min(50, n_tables)) for i in range(-(-n_tables // 50))]
    return [table for block in blocks for table in block][:n_tables]


def _each(works: Mapping[str, Work], repeats: int) -> dict[str, Any]:
    """Timings of every piece of work at each number of threads, the fastest first."""
    return {
        name: [timing.as_dict() for timing in fastest(work, threads(), repeats)]
        for name, work in works.items()
    }


def _scaled(timing: Timing, measured: int, wanted: int) -> dict[str, Any]:
    """A timing of `measured` pieces as that of `wanted`, labelled so."""
    return {
        **timing.as_dict(),
        "seconds": timing.seconds * wanted / measured,
        "scaled": f"{measured} timed, scaled to {wanted}",
    }
