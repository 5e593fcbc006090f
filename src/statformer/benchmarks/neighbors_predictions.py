"""(b) Accuracy, log loss and calibration of the soft answer beside k-NN tuned by cross-validation.

Tables of the folder and scikit-learn's digits; five stratified folds, divided anew for each seed.
Columns of the folder's tables are standardised on the training rows, digits are left as they are;
all methods read the same numbers. Rivals choose the number of neighbours and their weights in an
inner cross-validation, by accuracy or by log loss; the third one also chooses how many rows of the
class prior it mixes in (ours, for a k-NN whose probabilities may be 0 pays for each surprise).

    log loss  mean of -log p(class of the row), p clipped at 2.2e-16 as in scikit-learn
    ECE       15 bins of the largest probability, rows of all folds together

Axes: n rows, k bins, c classes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from statformer.benchmarks.calibration import N_BINS, ece_difference, ece_interval
from statformer.benchmarks.development import read_table
from statformer.benchmarks.neighbors_settings import Bench
from statformer.benchmarks.neighbors_tuned import LEAST, N_FOLDS, TunedNeighbors
from statformer.benchmarks.settings import Progress
from statformer.estimators.neighbors import AttentionNeighborsClassifier
from statformer.runs.intervals import difference_interval, mean_interval

OURS, HARD = "AttentionNeighbors", "AttentionNeighbors, temperature 0"
BY_ACCURACY, BY_LOG_LOSS = "k-NN by accuracy", "k-NN by log loss"
WITH_PRIOR = "k-NN with prior, by log loss"
RIVALS = (BY_ACCURACY, BY_LOG_LOSS, WITH_PRIOR)
METHODS = (OURS, *RIVALS, HARD)
PRIOR_ROWS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DIGITS = "digits"

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Proba = Float[np.ndarray, "n c"]


def classifier(name: str, seed: int) -> Any:
    """An unfitted classifier; rivals search by their own cross-validation."""
    if name in {OURS, HARD}:
        temperature = 0 if name == HARD else None
        return AttentionNeighborsClassifier(temperature, random_state=seed)
    return TunedNeighbors(
        "accuracy" if name == BY_ACCURACY else "log loss",
        prior_rows=PRIOR_ROWS if name == WITH_PRIOR else (0.0,),
        seed=seed,
    )


def run(bench: Bench) -> None:
    """Measure the tables that the record does not hold yet, fold by fold."""
    for name, (X, y, is_scaled) in tables(bench.tables):
        if f"b: {name}" in bench.record:
            continue
        proba: dict[str, list[Proba]] = {method: [] for method in METHODS}
        chosen: dict[str, list[Any]] = {method: [] for method in METHODS}
        for seed in range(bench.sizes.seeds):
            found = out_of_fold(X, y, is_scaled, seed)
            for method, (p, chose) in found.items():
                proba[method].append(p)
                chosen[method] += chose
            bench.callback(Progress("b", name, seed + 1, bench.sizes.seeds))
        cell = summary(y, proba)
        about = {"rows": len(y), "columns": X.shape[1], "classes": int(y.max()) + 1}
        bench.record.put(f"b: {name}", {"part": "b", **about, **cell, "chosen": chosen})


def tables(folder: Path) -> Iterator[tuple[str, tuple[Matrix, Labels, bool]]]:
    """Name, rows, labels, and whether columns are standardised; digits come last."""
    for path in sorted(folder.glob("*.csv")):
        X, y, _ = read_table(path)
        yield path.stem, (X, y, True)
    X, y = load_digits(return_X_y=True)
    yield DIGITS, (X, y, False)


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of the tables of a folder."""
    paths = sorted(folder.glob("*.csv"))
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def out_of_fold(
    X: Matrix, y: Labels, is_scaled: bool, seed: int
) -> dict[str, tuple[Proba, list[Any]]]:
    """Probabilities of every row from the folds without it, and what the methods chose."""
    found: dict[str, tuple[Proba, list[Any]]] = {
        method: (np.zeros((len(y), int(y.max()) + 1)), []) for method in METHODS
    }
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(X, y):
        scaler = StandardScaler().fit(X[train]) if is_scaled else None
        parts = [X[rows] if scaler is None else scaler.transform(X[rows]) for rows in (train, test)]
        for method, (proba, chose) in found.items():
            model = classifier(method, seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a class of fewer rows than inner folds
                model.fit(parts[0], y[train])
            proba[np.ix_(test, model.classes_)] = model.predict_proba(parts[1])
            chose.append(_chosen(model))
    return found


def _chosen(model: Any) -> Any:
    if isinstance(model, TunedNeighbors):
        return model.best_params_
    return {"temperature": model.temperature_, "prior_rows": model.prior_rows_}


def summary(y: Labels, proba: dict[str, list[Proba]]) -> dict[str, Any]:
    """Each measure of each method with its interval over rows, and ours minus every rival."""
    loss = {m: np.mean([log_losses(y, p) for p in found], axis=0) for m, found in proba.items()}
    hit = {m: np.mean([p.argmax(1) == y for p in found], axis=0) for m, found in proba.items()}
    bins = {m: np.sum([row_bins(y, p) for p in found], axis=0) for m, found in proba.items()}
    return {
        "n": len(y),
        "accuracy": {m: mean_interval([hit[m]]).as_dict() for m in METHODS},
        "log loss": {m: mean_interval([loss[m]]).as_dict() for m in METHODS},
        "ECE": {m: ece_interval([bins[m]]).as_dict() for m in METHODS},
        "ours minus": {
            rival: {
                "accuracy": difference_interval([hit[OURS]], [hit[rival]]).as_dict(),
                "log loss": difference_interval([loss[OURS]], [loss[rival]]).as_dict(),
                "ECE": ece_difference([bins[OURS]], [bins[rival]]).as_dict(),
            }
            for rival in RIVALS
        },
    }


def log_losses(y: Labels, proba: Proba) -> Float[np.ndarray, " n"]:
    """-log p of the class of every row."""
    own = proba[np.arange(len(y)), y]
    losses: Float[np.ndarray, " n"] = -np.log(np.clip(own, LEAST, 1.0))
    return losses


def row_bins(y: Labels, proba: Proba) -> Float[np.ndarray, "n k 3"]:
    """(1, confidence, hit) of every row in the bin of its confidence; zeros in the others."""
    confidence = proba.max(axis=1)
    place = np.clip((confidence * N_BINS).astype(np.int64), 0, N_BINS - 1)
    found = np.zeros((len(y), N_BINS, 3))
    right = proba.argmax(axis=1) == y
    found[np.arange(len(y)), place] = np.stack([np.ones(len(y)), confidence, right], axis=1)
    return found
