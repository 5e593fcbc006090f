"""`judge`: how good is this clustering of a table, whoever made it?

Axes: n rows, d columns of the encoded matrix, m labelings.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.base import as_generator, resolve_weights
from statformer.estimators.columns import column_values, is_frame
from statformer.estimators.depth import OutOfDepthWarning, sounding
from statformer.estimators.devices import backend
from statformer.estimators.effort import EFFORTS
from statformer.estimators.fitting import prepare
from statformer.estimators.mixture import AttentionMixture
from statformer.estimators.pretrained import judge_labelings

NOISE = -1


def judge(
    X: Any, labels: Any, *, weights: str | Path = "pretrained", random_state: Any = 0
) -> float | Float[np.ndarray, " m"]:
    """The adjusted Rand index that a clustering is expected to reach against the true classes.

    A network that has seen many synthetic tables with known classes reads invariant features of
    the labels (sizes, densities, margins, neighbours, borders) and of the table, compares them with
    clusterings of its own at many K, and predicts the index: 1 is the true partition, 0 is chance.
    Source: ours, see `docs/judge.md` for what the number means and where it ends.

    Parameters
    ----------
    X : array or DataFrame (n, m)
        The table, as `AttentionMixture` takes it: missing cells and text are welcome.
    labels : (n,) labels, or several labelings
        Any hashable labels, of any method. Rows labelled -1, None or NaN are noise: together they
        count as one group of their own. Several labelings are a list of arrays or lists, an array
        (n_labelings, n), or a DataFrame with one labeling a column; they are judged together, and
        how far they agree with one another counts as evidence.
    weights : "pretrained" or path
        Weights with a judge.
    random_state : int, RandomState, Generator or None
        Draws the clusterings of its own, and the rows that are looked at where the table is long.

    Returns
    -------
    float, or an array (n_labelings,) where several labelings were given.

    Raises ValueError where lengths differ, no row has a label, a column cannot be read, or the
    weights hold no judge; TypeError where a label is not hashable. Warns with `OutOfDepthWarning`
    where the table is unlike all that the judge was trained on.
    """
    checkpoint = resolve_weights(weights)
    if not checkpoint.judge:
        raise ValueError(
            f"weights={checkpoint.name!r} hold no judge of labelings; use weights='pretrained'"
        )
    prepared = prepare(AttentionMixture(1, random_state=as_generator(random_state)), X, None)
    several, codes = as_codes(labels, prepared.X.shape[0])
    _, remark = sounding(prepared.problem, checkpoint)
    if remark:
        warnings.warn(f"{remark}; the judge can only guess", OutOfDepthWarning, stacklevel=2)
    rows, problem = prepared.rows, prepared.problem
    codes = codes[:, rows.indices]
    # the order of the rows has no say: canonical order, of equal rows by their labels
    order = np.lexsort((*codes[::-1], rows.place))
    place = rows.place[order]
    times = np.bincount(rows.place, minlength=len(rows.X))
    every = replace(
        problem,
        X=problem.X[place],
        weight=(rows.weight / np.maximum(times, 1))[place],
        n_components=None,
        cells=None if problem.cells is None else problem.cells[place],
    )
    sweep = EFFORTS["balanced"].sweep
    expected = judge_labelings(every, codes[:, order], checkpoint, sweep, backend(None))
    return expected if several else float(expected[0])


def as_codes(labels: Any, n: int) -> tuple[bool, Int[np.ndarray, "m n"]]:
    """Whether several labelings were given, and all of them as numbers 0, 1, ...; noise is -1.

    Raises ValueError where a labeling has not n labels or none at all, TypeError where a label is
    not hashable.
    """
    if is_frame(labels):
        names, several = [f"column {name!r}" for name in labels.columns], True
        given = [column_values(labels, j) for j in range(len(names))]
    else:
        if isinstance(labels, (str, bytes)) or not hasattr(labels, "__len__"):
            raise TypeError(f"labels={labels!r:.80} should be a sequence with one label a row")
        given = list(np.asarray(labels) if hasattr(labels, "__array__") else labels)
        several = bool(given) and all(_is_labeling(one) for one in given)
        given = given if several else [given]
        names = [f"labels[{i}]" for i in range(len(given))] if several else ["labels"]
    codes = [_codes(name, list(one), n) for name, one in zip(names, given, strict=True)]
    return several, np.stack(codes)


def _is_labeling(value: Any) -> bool:
    """A sequence of labels, where a label itself is hashable."""
    return hasattr(value, "__len__") and not isinstance(value, Hashable)


def _codes(name: str, labels: list[Any], n: int) -> Int[np.ndarray, " n"]:
    import pandas as pd

    if len(labels) != n:
        raise ValueError(
            f"{name} holds {len(labels)} labels, the table has {n} rows; give one label a row, "
            "and several labelings as a list with one labeling each"
        )
    cells = np.empty(n, dtype=object)
    for i, label in enumerate(labels):
        cells[i] = None if _is_noise(label) else label
    try:
        codes, _ = pd.factorize(cells, use_na_sentinel=True)
    except TypeError as error:
        raise TypeError(f"{name} should hold hashable labels ({error})") from None
    if (codes < 0).all():
        raise ValueError(f"{name} calls every row noise; a clustering has a cluster")
    return codes.astype(np.int64)


def _is_noise(label: Any) -> bool:
    is_number = isinstance(label, (int, float, np.integer, np.floating))
    return is_number and not isinstance(label, bool) and label == NOISE
