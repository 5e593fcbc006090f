"""Refits agree: the clusters of a new model take the numbers of the previous model's clusters.

Both models read the same rows, once rows of the new table, once rows drawn from the previous
model. The likeness of new cluster a and previous cluster b on rows i is the weighted Jaccard index
of their memberships r and s (Ruzicka's form: 1 for equal memberships, 0 for disjoint ones),

    J_ab = sum_i w_i min(r_ia, s_ib) / sum_i w_i max(r_ia, s_ib),

and the overlap of the pair is the geometric mean of the two. On the new rows alone a cluster that
was not there before would count as whichever previous cluster is nearest; on the previous rows it
has no members. The pairs are those of the one-to-one assignment with the largest sum of overlaps
(Kuhn 1955). Source of the rule and of `MIN_OVERLAP`: ours, `docs/decisions/0010-refits-agree.md`.

Axes: n rows, c clusters of the new model, k clusters of the previous one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import NotFittedError

from statformer.estimators.devices import backend

if TYPE_CHECKING:
    from statformer.estimators.context import Rows
    from statformer.estimators.mixture import AttentionMixture
    from statformer.estimators.table import TableEncoder

# A pair that overlaps less than this is two clusters, not one under two names.
MIN_OVERLAP = 0.25
N_DRAWN = 4096


@dataclass(frozen=True)
class Matching:
    """Which new cluster goes on as which previous one; entries are by the new model's new numbers.

    order    "c"  the cluster that gets number 0, 1, ..., by the numbers it had so far
    matched  "c"  the number of the previous cluster it goes on from, -1 where it is new
    overlap  "c"  J of the pair, 0 where it is new
    """

    order: Int[np.ndarray, " c"]
    matched: Int[np.ndarray, " c"]
    overlap: Float[np.ndarray, " c"]


def overlaps(
    new: Float[np.ndarray, "n c"],
    previous: Float[np.ndarray, "n k"],
    weight: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "c k"]:
    """J of every pair of clusters; 0 where neither has a member."""
    sizes = weight @ new, weight @ previous
    both = np.empty((new.shape[1], previous.shape[1]))
    for b in range(previous.shape[1]):
        both[:, b] = weight @ np.minimum(new, previous[:, b : b + 1])
    either = sizes[0][:, None] + sizes[1][None, :] - both  # min + max = r + s
    found: Float[np.ndarray, "c k"] = np.divide(
        both, either, out=np.zeros_like(both), where=either > 0
    )
    return found


def match(overlap: Float[np.ndarray, "c k"]) -> Matching:
    """Pair the clusters, then number the new ones 0 to c - 1.

    A matched cluster takes the number of its partner where that number is below c. The other
    clusters take the numbers that are left, ascending, in their present order.
    """
    c = len(overlap)
    partner, reached = np.full(c, -1), np.zeros(c)
    for a, b in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[a, b] >= MIN_OVERLAP:
            partner[a], reached[a] = b, overlap[a, b]
    order = np.full(c, -1)
    keeps = (partner >= 0) & (partner < c)
    order[partner[keeps]] = np.flatnonzero(keeps)
    order[order < 0] = np.flatnonzero(~keeps)
    return Matching(order, partner[order], reached[order])


def align(
    model: AttentionMixture,
    previous: AttentionMixture,
    table: Any,
    weight: Float[np.ndarray, " n"],
) -> None:
    """Renumber `model` after `previous`; `table` holds rows of the new model's table.

    Sets `matched_`, `match_overlap_` and `cluster_names_`. Raises as `check_columns`.
    """
    check_columns(model._encoder, previous._encoder)
    drawn, _ = previous._mixture.sample(N_DRAWN, np.random.default_rng(0))
    past = decoded(previous._encoder, drawn)
    here = overlaps(memberships(model, table), memberships(previous, table), weight)
    there = overlaps(memberships(model, past), memberships(previous, past), np.ones(N_DRAWN))
    found = match(np.sqrt(here * there))
    model._renumber(found.order)
    is_new = found.matched < 0
    names = previous.cluster_names_[found.matched]
    names[is_new] = previous._n_names + np.arange(is_new.sum())
    model.cluster_names_, model._n_names = names, previous._n_names + int(is_new.sum())
    model.matched_, model.match_overlap_ = found.matched, found.overlap


def memberships(model: AttentionMixture, table: Any) -> Float[np.ndarray, "n c"]:
    """Responsibilities for a table that was checked before; silent about missing cells.

    Before any doubt is spread over them: a model that doubts more groups the same rows together.
    """
    on = backend(model.device)
    mixture = replace(model._mixture, doubt=0.0)
    found = np.empty((table.shape[0], model.n_components_))
    for rows, matrix in model._encoded(table, warn=False):
        found[rows] = mixture.responsibilities(matrix, on)
    return found


def decoded(encoder: TableEncoder, matrix: Float[np.ndarray, "n d"]) -> Any:
    """Rows of the encoded matrix as a table: of a category's columns, the largest one's name."""
    import pandas as pd

    columns, first = [], 0
    for column in encoder.columns:
        part = matrix[:, first : first + len(column.feature_names)]
        first += part.shape[1]
        if not column.categories:
            columns.append(pd.Series(part[:, 0]))
            continue
        shown = [name.removeprefix(f"{column.name}=") for name in column.feature_names]
        hidden = [name for name in column.categories if name not in shown]
        if hidden:  # two categories have one column: the other is what is left of 1
            shown, part = [*shown, *hidden], np.column_stack([part, 1.0 - part.sum(axis=1)])
        columns.append(pd.Series(np.array(shown, dtype=object)[part.argmax(axis=1)]))
    table = pd.concat(columns, axis=1)
    table.columns = pd.Index([column.name for column in encoder.columns])
    return table


def snapshot(name: str, previous: Any) -> AttentionMixture:
    """The fitted model `previous` as it is now, so that a model may be refitted like itself.

    Raises TypeError where it is no AttentionMixture, NotFittedError where it was never fitted.
    """
    from statformer.estimators.mixture import AttentionMixture

    if not isinstance(previous, AttentionMixture):
        raise TypeError(
            f"{name}={previous!r:.80} should be a fitted AttentionMixture; "
            "statformer.load(path) reads one that was saved"
        )
    if not hasattr(previous, "_mixture"):
        raise NotFittedError(f"{name}={previous!r:.80} is not fitted yet; call its fit first")
    return copy.copy(previous)


def check_columns(new: TableEncoder, previous: TableEncoder) -> None:
    """Raise ValueError, with their names, where two models do not have the same columns."""
    mine, theirs = ({c.name: bool(c.categories) for c in e.columns} for e in (new, previous))
    faults = []
    for words, names in (
        ("the previous model has", [name for name in theirs if name not in mine]),
        ("the previous model lacks", [name for name in mine if name not in theirs]),
        ("categories in one and numbers in the other:", _both_kinds(mine, theirs)),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            faults.append(f"{words} {', '.join(repr(name) for name in names[:5])}{more}")
    if not faults and [c.name for c in new.columns] != [c.name for c in previous.columns]:
        faults.append(f"the previous model has them in another order, {list(theirs)[:5]}")
    if faults:
        raise ValueError(
            f"clusters keep their numbers between tables of the same columns; {'; '.join(faults)}. "
            "Fit both models on the same columns"
        )


def _both_kinds(mine: dict[str, bool], theirs: dict[str, bool]) -> list[str]:
    return [name for name in mine if name in theirs and mine[name] != theirs[name]]


def context_table(X: Any, rows: Rows) -> tuple[Any, Float[np.ndarray, " m"]]:
    """The caller's rows that the network read, for a later comparison, and what each counts."""
    table = X.iloc[rows.indices] if hasattr(X, "iloc") else X[rows.indices]
    times = np.bincount(rows.place, minlength=len(rows.X))
    return table, (rows.weight / np.maximum(times, 1))[rows.place]
