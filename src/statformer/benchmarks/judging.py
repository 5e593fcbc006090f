"""(h) The judge as a selector of labelings and of K, beside classical indices; is it calibrated?

For every table there is one set of candidate labelings, and every selector picks one of them:

given    the pool of classical methods and the network, all with the true K
unknown  four classical methods at every K from 2 to 10

What counts is the ARI of the labeling that was picked. Axes: n points, d features, m candidates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

import statformer
from statformer.benchmarks import classical, indices, linkage, rivals
from statformer.benchmarks.batteries import (
    IN_PRIOR,
    LEFT,
    NEVER,
    SHAPED,
    Job,
    Rows,
    batteries,
    measure_batteries,
)
from statformer.benchmarks.given_k import SELECTOR
from statformer.benchmarks.network import fit
from statformer.benchmarks.rivals import Rival, z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.selector import selector
from statformer.benchmarks.settings import Bench
from statformer.benchmarks.sources import Table
from statformer.runs.intervals import difference_interval, mean_interval

JUDGE, ALONE = "judge", "judge, one labeling alone"  # all candidates in one call, or one of them
BEST = "best candidate"
OURS = "pretrained"
GIVEN, UNKNOWN = "K given", "K unknown"
COUNTS = range(2, 11)
N_BINS = 10
OF_ANY_K: dict[str, Rival] = {
    classical.K_MEANS: rivals.k_means,
    "EM full (3)": lambda Z, K, seed: rivals.em_of_type(Z, K, "full", 3, seed).predict(Z),
    classical.WARD: rivals.ward,
    "Genie 0.3": linkage.genie,
}

Labels = Int[np.ndarray, " n"]
Matrix = Float[np.ndarray, "n d"]
Candidates = dict[object, Labels]


def measure(job: Job) -> Rows:
    """ARI of what every selector picks, with K given and unknown; predicted and true ARI."""
    tables = job.tables()
    rows: Rows = {"K": []}
    for i, table in enumerate(tables):
        seed = job.seed(i)
        rows["K"].append(table.n_components)
        Z = z_scores(table.plain())
        given, model = _given(table, Z, job, seed)
        values = _judged(table, Z, given, job, seed, partial(_refit_given, table, job, seed))
        if job.pool.is_file():
            trees = selector(job.pool, job.battery.family)
            expected = trees.predict(table.plain(), {n: given.get(n) for n in classical.POOL})
            places = {name: j for j, name in enumerate(classical.POOL)}
            values[SELECTOR] = np.array(
                [expected[places[name]] if name in places else -np.inf for name in given]
            )
        _pick(rows, GIVEN, table, given, values)
        rows.setdefault(f"bins: {JUDGE}", []).append(_bins(values[JUDGE], values[BEST]))
        rows.setdefault(f"bins: {ALONE}", []).append(_alone(table, given, job, seed))
        rows.setdefault("own expected ARI", []).append(
            np.nan if model is None else model.expected_ari_
        )
        rows.setdefault("own ARI", []).append(
            np.nan if model is None else ari(table.y, model.labels_)
        )
        free = _of_any_k(Z, seed)
        values = _judged(table, Z, free, job, seed, _refit_any)
        _pick(rows, UNKNOWN, table, free, values)
    return rows


def _given(table: Table, Z: Matrix, job: Job, seed: int) -> tuple[Candidates, Any]:
    """All labelings with the true K, and the network's model."""
    K = table.n_components
    found = classical.labelings(Z, K, seed)
    del found[classical.BIC_EM]  # one of the four is the same labeling
    (model,) = fit([table.given()], K, job.weights, seed)
    found[OURS] = None if model is None else model.labels_
    return {name: labels for name, labels in found.items() if labels is not None}, model


def _refit_given(
    table: Table, job: Job, seed: int, Z: Matrix, draw: int
) -> dict[object, Labels | None]:
    """Every method on some rows; all of them read z-scores here, the network too (and quickly)."""
    K = table.n_components
    found: dict[object, Labels | None] = {}
    found.update(classical.labelings(Z, K, seed + draw))
    (model,) = fit([Z], K, job.weights, seed + draw, effort="fast")
    found[OURS] = None if model is None else model.labels_
    return found


def _of_any_k(Z: Matrix, seed: int) -> Candidates:
    found = {
        (name, K): classical.attempt(method, Z, K, seed)
        for name, method in OF_ANY_K.items()
        for K in COUNTS
    }
    return {key: labels for key, labels in found.items() if labels is not None}


def _refit_any(Z: Matrix, draw: int) -> dict[object, Labels | None]:
    found: dict[object, Labels | None] = dict.fromkeys(
        (name, K) for name in OF_ANY_K for K in COUNTS
    )
    found.update(_of_any_k(Z, draw))
    return found


def _judged(
    table: Table, Z: Matrix, found: Candidates, job: Job, seed: int, refit: indices.Refit
) -> dict[str, Float[np.ndarray, " m"]]:
    """What every selector thinks of every candidate."""
    labelings = list(found.values())
    values = indices.inner_indices(Z, labelings)
    rng = np.random.default_rng(seed)
    values[indices.STABILITY] = indices.stability(Z, found, refit, rng)
    values[JUDGE] = np.asarray(_judge(table, np.stack(labelings), job))
    values[BEST] = np.array([ari(table.y, labels) for labels in labelings])
    return values


def _judge(table: Table, labels: np.ndarray, job: Job) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return statformer.judge(table.given(), labels, weights=job.weights)


def _alone(table: Table, found: Candidates, job: Job, seed: int) -> Float[np.ndarray, "k 3"]:
    """Bins of one candidate, drawn at random and judged without the others."""
    labels = list(found.values())[int(np.random.default_rng(seed).integers(len(found)))]
    expected = np.array([_judge(table, labels, job)])
    return _bins(expected, np.array([ari(table.y, labels)]))


def _pick(
    rows: Rows,
    task: str,
    table: Table,
    found: Candidates,
    values: Mapping[str, Float[np.ndarray, " m"]],
) -> None:
    """ARI of the candidate each selector likes best, and whether it has the right K."""
    labelings = list(found.values())
    scores = values[BEST]
    for name, value in values.items():
        best = int(np.argmax(value))
        rows.setdefault(f"{task}: {name}", []).append(float(scores[best]))
        if task == UNKNOWN and name != BEST:
            count = len(np.unique(labelings[best]))
            rows.setdefault(f"exact K: {name}", []).append(float(count == table.n_components))


def _bins(
    judged: Float[np.ndarray, " m"], true: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "k 3"]:
    """Counts, sums of predicted and sums of true ARI by bins of the prediction."""
    place = np.clip((judged * N_BINS).astype(np.int64), 0, N_BINS - 1)
    columns = (np.ones(len(true)), judged, true)
    return np.stack([np.bincount(place, w, minlength=N_BINS) for w in columns], axis=1)


def run(bench: Bench) -> None:
    """Measure the batteries of complete numbers that the record does not hold yet."""
    groups = {IN_PRIOR, LEFT, NEVER, SHAPED}
    found = [battery for battery in batteries(bench.sizes) if battery.group in groups]
    measure_batteries(bench, "h", found, "judged_tables", measure, summary)


def summary(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Mean ARI of what was picked, paired differences of the judge, exact K, calibration."""
    bins = {name: np.array(rows[f"bins: {name}"]) for name in (JUDGE, ALONE)}  # b k 3
    columns = {
        name: np.array(values, dtype=np.float64)
        for name, values in rows.items()
        if not name.startswith("bins: ")
    }
    cell: dict[str, Any] = {"n": len(columns["K"])}
    for task in (GIVEN, UNKNOWN):
        names = [name.removeprefix(f"{task}: ") for name in columns if name.startswith(f"{task}: ")]
        judged = columns[f"{task}: {JUDGE}"]
        cell[task] = {name: mean_interval([columns[f"{task}: {name}"]]).as_dict() for name in names}
        cell[f"{task}, judge minus"] = {
            name: difference_interval([judged], [columns[f"{task}: {name}"]]).as_dict()
            for name in names
            if name not in {JUDGE, BEST}
        }
    cell["exact K"] = {
        name.removeprefix("exact K: "): mean_interval([values]).as_dict()
        for name, values in columns.items()
        if name.startswith("exact K: ")
    }
    cell["calibration"] = {
        name: {"bins": total, "error": calibration_error(total)}
        for name, total in ((name, b.sum(axis=0)) for name, b in bins.items())
    }
    cell["scores"] = {name: np.round(values, 5) for name, values in columns.items()}
    return cell


def pooled_bins(cells: Iterable[Mapping[str, Any]], name: str) -> Float[np.ndarray, "k 3"]:
    """Bins of a judge over all candidates with the true K of some finished cells."""
    found = [np.array(c["calibration"][name]["bins"]) for c in cells if "calibration" in c]
    total: Float[np.ndarray, "k 3"] = np.sum([np.zeros((N_BINS, 3)), *found], axis=0)
    return total


def calibration_error(bins: Float[np.ndarray, "k 3"]) -> float:
    """Mean |predicted - true| ARI over bins, by count; columns: count, sums of both."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1.0))
