"""The three steps of a fit: prepare a table, solve many at once, finish each model.

`fit` does this for one table, `cluster_tables` for many; a table's random numbers come from its own
generator, in the same order either way. Axes: n rows, c components.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils.validation import validate_data

from statformer.estimators import constructed, pretrained
from statformer.estimators.alignment import context_table
from statformer.estimators.answers import network_of
from statformer.estimators.base import (
    Checkpoint,
    EmptyClusterWarning,
    MissingValuesWarning,
    as_generator,
    check_count,
    check_weights_of_rows,
)
from statformer.estimators.cells import CellLayout, native_rows, plain_view
from statformer.estimators.context import (
    Rows,
    Standardizer,
    canonical_rows,
    draw_rows,
    learn_standardizer,
)
from statformer.estimators.density import FrozenMixture
from statformer.estimators.devices import Backend
from statformer.estimators.effort import Effort
from statformer.estimators.long_rows import draw_long_rows
from statformer.estimators.problems import Habit, Problem, Solution
from statformer.estimators.starts import one_hot
from statformer.estimators.table import check_table, learn_table, table_names

if TYPE_CHECKING:
    from statformer.estimators.mixture import AttentionMixture


@dataclass(frozen=True)
class Prepared:
    """A checked table: what the caller gave, what the network will read.

    layout is None where every column is a number (or read as one, see `native_rows`).
    """

    X: Any
    weight: Float[np.ndarray, " n"]
    rows: Rows
    standardizer: Standardizer
    problem: Problem
    layout: CellLayout | None = None


@dataclass(frozen=True)
class Origin:
    """What `trace_` needs to run the winning start again."""

    rows: Rows
    problem: Problem
    start: Int[np.ndarray, " n"]
    n_components: int
    order: Int[np.ndarray, " c"]
    habit: Habit | None
    n_layers: int | None


def prepare(model: AttentionMixture, X: Any, sample_weight: Any) -> Prepared:
    """Check arguments and table; encode, merge, draw the context, standardise.

    Sets what scikit-learn sets while it checks (`n_features_in_`, `feature_names_in_`) and the
    encoder of the model. Missing and categorical cells are read as they are; where that would cost
    too much (`cells.native_rows`) gaps are filled, with a warning.
    """
    K = model.n_components
    K = None if K is None else check_count("n_components", K)
    max_context = check_count("max_context", model.max_context)
    max_features = check_count("max_features", model.max_features)
    check_count("max_components", model.max_components)
    X = check_table(X, model)
    validate_data(model, X, skip_check_array=True)
    weight = check_weights_of_rows(sample_weight, X.shape[0])
    model._encoder = learn_table(X, weight, model.categorical_features, table_names(X))
    rng = as_generator(model.random_state)
    layout = CellLayout.of(model._encoder.columns)
    rows, has_cells = _context(model, X, weight, layout, max_context, max_features, rng)
    if K is not None and len(rows.X) < K:
        raise ValueError(
            f"n_components={K} needs at least as many distinct rows; the table has {len(rows.X)} "
            f"(n_samples={X.shape[0]}), so ask for {len(rows.X)} or fewer"
        )
    standardizer = learn_standardizer(rows, max_features)
    if has_cells:
        view, cells = plain_view(layout, rows.X, rows.weight, standardizer)
        return Prepared(
            X,
            weight,
            rows,
            standardizer.only(layout.numbers),
            Problem(view, rows.weight, rng, K, cells),
            layout,
        )
    return Prepared(
        X, weight, rows, standardizer, Problem(standardizer(rows.X), rows.weight, rng, K)
    )


def _context(
    model: AttentionMixture,
    X: Any,
    weight: Float[np.ndarray, " n"],
    layout: CellLayout,
    max_context: int,
    max_features: int,
    rng: np.random.Generator,
) -> tuple[Rows, bool]:
    """The rows that are read, and whether cells of theirs are missing or categorical."""
    matrix = model._encoder.encode_cells(X)
    if not layout.blocks:
        drawn = draw_long_rows(matrix, weight, max_context, rng)
        if drawn is not None:
            return drawn, False
    rows = canonical_rows(matrix, weight)
    has_cells = bool(layout.blocks) or bool(np.isnan(rows.X).any())
    n_rows = native_rows(layout, rows.X, max_context, max_features) if has_cells else max_context
    if n_rows is None:
        matrix, filled = model._encoder.encode(X)
        if filled.n_cells:
            # this frame, `prepare`, `fit` and its caller
            warnings.warn(filled.message(), MissingValuesWarning, stacklevel=5)
        rows, n_rows, has_cells = canonical_rows(matrix, weight), max_context, False
    return draw_rows(rows, n_rows, rng), has_cells


def solve(
    problems: Sequence[Problem],
    checkpoint: Checkpoint,
    effort: Effort,
    max_components: int,
    on: Backend,
) -> list[Solution]:
    """The answer to every problem."""
    if checkpoint.is_constructed:
        return constructed.solve(problems, effort.n_init, max_components, on)
    return pretrained.solve(problems, checkpoint, effort, max_components, on)


def finish(model: AttentionMixture, prepared: Prepared, found: Solution, on: Backend) -> None:
    """Number the components by size over all rows, drop the empty ones, set the attributes."""
    kind = "full" if found.habit is None else found.habit.covariance_type
    if found.n_layers == 0:  # Lloyd and merged components share one spherical variance
        kind = "spherical"
    model.expected_ari_ = found.expected_ari
    mixture = FrozenMixture(
        prepared.standardizer,
        found.centres,
        found.readout,
        kind,
        prepared.layout,
        found.owner,
        found.doubt,
    )
    context = mixture.responsibilities(prepared.rows.X, on).argmax(axis=1)
    order = _by_size(context, prepared.rows.weight, mixture.n_components)
    mixture = mixture.reordered(order)
    model.n_components_proba_ = np.exp(found.log_proba)
    model._adopt(mixture)
    labels, is_close = model._claims(prepared.X)
    while True:
        counts = np.bincount(labels, prepared.weight, minlength=mixture.n_components)
        again = np.argsort(-counts, kind="stable")
        again = again[counts[again] > 0]
        if np.array_equal(again, np.arange(mixture.n_components)):
            break
        order, mixture = order[again], mixture.reordered(again)
        model._adopt(mixture)
        place = np.full(len(counts), -1)
        place[again] = np.arange(len(again))
        renamed = place[labels]
        # the order decides where two clusters claim a row alike; rows of weight 0 may have owned
        # what is gone
        if is_close or (renamed < 0).any():
            labels, is_close = model._claims(prepared.X)
        else:
            labels = renamed
    model.labels_ = labels
    model._origin = Origin(
        prepared.rows,
        prepared.problem,
        found.start,
        found.n_components,
        order if found.n_layers == 0 else found.kept[order],
        found.habit,
        found.n_layers,
    )
    model.context_ = prepared.rows.indices
    model._context_table = context_table(prepared.X, prepared.rows)
    if mixture.n_components < found.n_components:
        warnings.warn(
            f"{found.n_components - mixture.n_components} of {found.n_components} clusters own no "
            f"row and were removed; n_components_ is {mixture.n_components}",
            EmptyClusterWarning,
            stacklevel=4,
        )


def _by_size(
    labels: Int[np.ndarray, " n"], weight: Float[np.ndarray, " n"], n_components: int
) -> Int[np.ndarray, " c"]:
    """Components from large to small; of equal ones, the one that owns the earliest row first."""
    first = np.full(n_components, len(labels))
    present, place = np.unique(labels, return_index=True)
    first[present] = place
    return np.lexsort((first, -np.bincount(labels, weight, minlength=n_components)))


def replay(origin: Origin, checkpoint: Checkpoint, on: Backend) -> Float[np.ndarray, "l n c"]:
    """Responsibilities after every layer of the winning run, for the rows `origin.rows.indices`."""
    rows = origin.rows
    tol = None
    if origin.n_layers is not None:
        network = network_of(origin.habit, origin.n_layers, dict(checkpoint.em))
    else:
        assert origin.habit is not None
        network, tol = constructed.network_of_habit(origin.habit), constructed.TOLERANCE
    network.weights = on.put_all(network.weights)
    tables = on.put_record(origin.problem.table())
    start = on.put(one_hot(origin.start[None], origin.n_components))
    with on.inference():
        trace = network(tables, start, tol=tol, record="all")
        layers = [on.get(r)[0][:, origin.order][rows.place] for r in trace.responsibilities]
    stacked: Float[np.ndarray, "l n c"] = np.stack(layers)
    return stacked
