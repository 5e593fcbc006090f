"""(f) Batteries with K given: adjusted Rand index of the network beside every rival.

Rivals that need complete numbers read `Table.plain` (medians, most frequent levels, one-hot).
"Best rival" of a battery is named on one half of its tables and compared on the other, both ways.
Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.benchmarks import batched_em, classical, incomplete
from statformer.benchmarks.batteries import (
    MISSING,
    MIXED,
    Job,
    Rows,
    batteries,
    measure_batteries,
)
from statformer.benchmarks.network import cluster_with_k
from statformer.benchmarks.rivals import z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.selector import selector
from statformer.benchmarks.settings import LEAST_TABLES, Bench
from statformer.benchmarks.sources import Table
from statformer.benchmarks.student import student_mixture
from statformer.runs.intervals import difference_interval, mean_interval

OURS = "pretrained"
BAYES = "Bayes-optimal"
SELECTOR = "boosted-tree selector"
GENIE = "Genie 0.3"
STUDENT = "Student-t mixture"
# The pool also holds single covariance types and other thresholds of Genie; these are for choosing.
SINGLE_RIVALS = (
    classical.K_MEANS,
    "EM full (10)",
    classical.BIC_EM,
    classical.WARD,
    "Spectral",
    GENIE,
    "HDBSCAN",
    "Bayesian mixture",
    STUDENT,
    *batched_em.NAMES,
    classical.BY_SILHOUETTE,
)

Labels = Int[np.ndarray, " n"]
Scores = Mapping[str, Sequence[Any]]


def measure(job: Job) -> Rows:
    """ARI of every method on every table of the job; "crashed: <method>" counts as 1."""
    tables = job.tables()
    ours = cluster_with_k(
        [t.given() for t in tables], [t.n_components for t in tables], job.weights, job.index
    )
    rows: Rows = {"K": [], "kind": [], BAYES: []}
    for i, table in enumerate(tables):
        found = {OURS: ours[i], **rival_labels(table, job.seed(i))}
        if job.battery.group in {MISSING, MIXED} or job.battery.family == "categorical":
            found |= incomplete.native_labels(table, job.seed(i))
        if job.pool.is_file():
            choose = selector(job.pool, job.battery.family).choose
            found[SELECTOR] = choose(table.plain(), found)
        for name in set(classical.POOL) - set(SINGLE_RIVALS):
            del found[name]
        for name, labels in found.items():
            rows.setdefault(name, []).append(ari(table.y, labels))
            rows.setdefault(f"crashed: {name}", []).append(int(labels is None))
        rows["K"].append(table.n_components)
        rows["kind"].append(table.name)
        rows[BAYES].append(None if table.bayes is None else ari(table.y, table.bayes))
    return rows


def rival_labels(table: Table, seed: int) -> dict[str, Labels | None]:
    """Labels by every rival and every method of the pool; None where it raised."""
    X, K = table.plain(), table.n_components
    Z = z_scores(X)
    found = classical.labelings(Z, K, seed)
    found |= {n: classical.attempt(r, Z, K, seed) for n, r in classical.ALONE.items()}
    found[classical.BY_SILHOUETTE] = classical.by_silhouette(Z, found)
    try:
        found[STUDENT] = student_mixture(X, K, np.random.default_rng(seed))
    except classical.FAILURES:
        found[STUDENT] = None
    try:
        found |= batched_em.batched_em(X, K, np.random.default_rng(seed))
    except classical.FAILURES:
        found |= dict.fromkeys(batched_em.NAMES)
    return found


def run(bench: Bench) -> None:
    """Measure all batteries that the record does not hold yet."""
    found = batteries(bench.sizes)
    measure_batteries(bench, "f", found, "tables", measure, summary)


def summary(scores: Scores) -> dict[str, Any]:
    """Means, paired differences of ours to each rival, crash rates, and the scores themselves."""
    ours = column(scores, OURS)
    names = [name for name in scores if f"crashed: {name}" in scores]
    rivals = [name for name in names if name != OURS]
    mean = {name: mean_interval([column(scores, name)]).as_dict() for name in names}
    cell: dict[str, Any] = {
        "n": len(ours),
        "is_first_look": len(ours) < LEAST_TABLES,
        "ari": mean,
        "ours minus": {
            name: difference_interval([ours], [column(scores, name)]).as_dict() for name in rivals
        },
        "ours minus the best rival": best_rival([scores], rivals),
        "crash rate": {name: float(np.mean(column(scores, f"crashed: {name}"))) for name in names},
    }
    known = np.array([value is not None for value in scores[BAYES]])
    if known.any():  # on the tables where a posterior exists; ours on the same
        best = np.array([value for value in scores[BAYES] if value is not None])
        cell["ari"][BAYES] = mean_interval([best]).as_dict()
        cell["ours where Bayes is known"] = mean_interval([ours[known]]).as_dict()
    cell["by kind"] = by_kind(scores, names)
    cell["scores"] = {name: _rounded(scores[name]) for name in ("K", BAYES, *names)}
    return cell


def best_rival(found: Sequence[Scores], rivals: Iterable[str]) -> dict[str, Any]:
    """Ours minus the rival that is best on the other half of the tables, both ways round.

    Tables of even and odd place are the halves; the interval covers all tables, each compared with
    the rival that was named without it.
    """
    rivals = list(rivals)
    if not rivals or min(len(scores[OURS]) for scores in found) < 2:
        return {}
    ours, theirs, named = [], [], []
    for half in (0, 1):
        means = {
            name: np.mean(np.concatenate([column(s, name)[1 - half :: 2] for s in found]))
            for name in rivals
        }
        best = max(means, key=lambda name: means[name])
        named.append(best)
        ours += [column(scores, OURS)[half::2] for scores in found]
        theirs += [column(scores, best)[half::2] for scores in found]
    return {**difference_interval(ours, theirs).as_dict(), "named": named}


def by_kind(scores: Scores, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Mean ARI of every method on each kind of table of a battery that mixes kinds."""
    kinds = np.array(scores["kind"])
    return {
        kind: {name: float(column(scores, name)[kinds == kind].mean()) for name in names}
        for kind in dict.fromkeys(kinds.tolist())
        if kind
    }


def pooled(found: Sequence[Mapping[str, Any]], rival: str) -> dict[str, Any]:
    """Ours minus `rival` over all tables of some finished cells; each cell is a stratum."""
    ours = [column(cell["scores"], OURS) for cell in found]
    theirs = [column(cell["scores"], rival) for cell in found]
    return difference_interval(ours, theirs).as_dict()


def column(scores: Scores, name: str) -> Float[np.ndarray, " b"]:
    """The scores of one method as an array."""
    return np.array(scores[name], dtype=np.float64)


def _rounded(values: Sequence[Any]) -> list[float | None]:
    return [None if value is None else round(float(value), 5) for value in values]
