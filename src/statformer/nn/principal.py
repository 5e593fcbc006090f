"""Principal components by power steps whose layers also weigh rows and cells (ours).

Begun at the theorem: with every weight 1 the layers are exact orthogonal iteration on a complete
table, and EM steps of probabilistic PCA where cells are missing. What is learned is how much a row
(form "rows") and a cell (form "cells") counts, as a small function of invariant features of it,
the same function for all rows, all cells, and any number of rows, columns and components.

Form "rows" looks at inner products only, so on complete tables it is exactly equivariant to
rotations. Form "cells" looks at columns one by one: equivariant to their order and their signs.

Written once against the array API: numpy for users, torch for training.

Axes: b tables, n points, d features, k components, l layers, f features, h hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from array_api_compat import array_namespace, device

from statformer.batch import Array
from statformer.nn.principal_cells import cell_features, cell_table_features, tamed
from statformer.nn.principal_features import (
    RowScales,
    log_distances,
    row_features,
    row_raw,
    row_scales,
    table_features,
)
from statformer.nn.principal_heads import cell_logits, row_logits, sigmoid
from statformer.nn.principal_look import look_at_cells
from statformer.nn.principal_steps import Subspace, em_steps, power_steps, score
from statformer.nn.principal_table import Rows, Units, first_subspace, rows_of, units_of
from statformer.nn.principal_trace import PrincipalTrace, Summary

__all__ = ["FORMS", "Form", "PrincipalNetwork", "PrincipalTrace", "Summary"]

Form = Literal["rows", "cells"]
FORMS = ("rows", "cells")
POWER_STEPS = 4
EM_STEPS = 3
FIRST_EM_STEPS = 8
# After the layers, with the weights frozen: until no principal angle moves by more (radians).
TOLERANCE = 1e-7
MOST_STEPS = 300
# Rows that are weighed alone look at their own cells this often, one layer's view at a time.
_LOOKS = 3


class PrincipalNetwork:
    """X "b n d", k -> trace: weigh, then step, in every layer.

    Layer l, at mean mu and orthonormal V, with scores t and reconstruction r = mu + V' t:

        W  w_i = sigmoid(o(features of row i | table)),
           c_ij = sigmoid(o(features of cell ij | its row | table))     (form "cells"), 0 if missing
        S  form "rows", complete: 4 times V <- QR(V sum_i w_i (x_i - mu)(x_i - mu)')
           otherwise: 3 EM steps of probabilistic PCA with precision c_ij of cell ij and weight w_i

    with o a perceptron (`principal_heads`). After the last layer the weights are frozen and steps
    go on until the subspace stands still.

    Parameters
    ----------
    weights : mapping of arrays, leading axis = layer
        As in `layer_shapes(form, ...)`; or "b_out" (l,), "log_prior" (l,) and in form "cells"
        "cell_b_out" (l,) alone: weights that do not look at the table.
    form : "rows" or "cells"

    Raises ValueError for an unknown form or missing names.
    """

    def __init__(self, weights: Mapping[str, Array], form: str) -> None:
        if form not in FORMS:
            raise ValueError(f"form={form!r} is unknown; choose from {FORMS}")
        needed = {"b_out", "log_prior"} | ({"cell_b_out"} if form == "cells" else set())
        if not needed <= set(weights):
            raise ValueError(
                f"weights have the names {sorted(weights)}; form={form!r} needs {sorted(needed)}"
            )
        self.weights, self.form = dict(weights), form
        self.n_layers = int(self.weights["b_out"].shape[0])

    def __call__(
        self,
        X: Array,
        n_components: int,
        *,
        observed: Array | None = None,
        row_weight: Array | None = None,
        record: str = "last",
        polish: bool = True,
    ) -> PrincipalTrace:
        """Run all layers on tables of one shape.

        X: "b n d", anything finite where not observed. observed: "b n d", boolean; None where
        nothing is missing. row_weight: "b n", positive; 2 is the row twice. record: "all" keeps
        every layer's subspace and weights. polish: go on with frozen weights after the layers.
        n_components is at most min(n, d), and every column has an observed cell.
        """
        xp = array_namespace(X)
        weight = row_weight
        if weight is None:
            weight = xp.ones(X.shape[:2], dtype=X.dtype, device=device(X))
        mask = self._mask(X, observed)
        if mask is not None:
            X = xp.where(mask > 0, X, xp.zeros_like(X))
        units, distance = units_of(X, mask, weight, self.form)
        rows = rows_of(X, mask, units)
        at = first_subspace(rows, units, weight, distance, n_components)
        cells = self._first_cells(rows, units)
        if cells is not None:
            w = weight / (distance * distance + 0.1)
            at = em_steps(rows.X, cells, w, at, _detach(self._prior(0)), FIRST_EM_STEPS)
        subspaces, layer_weights = [], []
        for layer in range(self.n_layers):
            at = _detached(at)
            w, cells, summary = self._weigh(rows, units, at, _detach(cells), layer, weight)
            at = self._step(rows, w * weight, cells, at, layer)
            if record == "all":
                subspaces.append(at.V)
                layer_weights.append(w)
        if polish:
            at = self._step(rows, w * weight, cells, at, self.n_layers - 1, TOLERANCE)
        trace = self._read(rows, units, at, w, cells, summary)
        return replace(trace, subspaces=subspaces, layer_weights=layer_weights)

    def weigh(
        self, X: Array, summary: Summary, *, observed: Array | None = None
    ) -> tuple[Array, Array | None, Array]:
        """Row weights, cell weights and completed rows of other rows "b n d" of the same table.

        Each row alone: the scales and the mean of hidden units are those of the table that was
        fitted. As in a trace.
        """
        xp = array_namespace(X)
        mask = self._mask(X, observed)
        if mask is None and summary.units.columns is not None:
            mask = xp.ones_like(X)
        if mask is not None:
            X = xp.where(mask > 0, X, xp.zeros_like(X))
        rows = rows_of(X, mask, summary.units)
        cells = self._first_cells(rows, summary.units)
        one = xp.ones(X.shape[:2], dtype=X.dtype, device=device(X))
        last = self.n_layers - 1
        for _ in range(_LOOKS if self.form == "cells" else 1):
            w, cells, _ = self._weigh(rows, summary.units, summary.at, cells, last, one, summary)
        completed = self._completed(rows, summary.at, cells)
        completed = completed * summary.units.unit[:, None, None]
        return w, cells, completed + summary.units.shift[:, None, :]

    # -- one layer ---------------------------------------------------------------------------------

    def _mask(self, X: Array, observed: Array | None) -> Array | None:
        """Observed cells as 0 and 1; None where form "rows" may rotate the table."""
        xp = array_namespace(X)
        if observed is not None:
            return xp.astype(observed, X.dtype)
        return None if self.form == "rows" else xp.ones_like(X)

    def _first_cells(self, rows: Rows, units: Units) -> Array | None:
        if self.form == "cells" and rows.observed is not None and units.columns is not None:
            return tamed(rows.X, rows.observed, units.columns.scale)[1]
        return rows.observed

    def _prior(self, layer: int) -> Array:
        log_prior = self.weights["log_prior"][layer]
        return array_namespace(log_prior).exp(log_prior)

    def _step(
        self,
        rows: Rows,
        weight: Array,
        cells: Array | None,
        at: Subspace,
        layer: int,
        tol: float | None = None,
    ) -> Subspace:
        if cells is None:
            n_steps = POWER_STEPS if tol is None else MOST_STEPS
            return power_steps(rows.X, weight, at.V, n_steps, tol)
        n_steps = EM_STEPS if tol is None else MOST_STEPS
        return em_steps(rows.X, cells, weight, at, self._prior(layer), n_steps, tol)

    def _weigh(
        self,
        rows: Rows,
        units: Units,
        at: Subspace,
        cells: Array | None,
        layer: int,
        weight: Array,
        given: Summary | None = None,
    ) -> tuple[Array, Array | None, Summary]:
        """Weights of rows and cells, from where the layers stand; and what they were read with.

        `given` is the summary of the fitted table, where other rows are weighed.
        """
        xp = array_namespace(rows.X)
        w = {name: value[layer] for name, value in self.weights.items()}
        scores = score(rows.X - at.mean[:, None, :], cells, at, _detach(self._prior(layer)))
        share = weight / xp.sum(weight, axis=1, keepdims=True)
        look = None
        if cells is None:
            raw = [*row_raw(rows.X - at.mean[:, None, :], scores, at.V), rows.outlyingness]
        else:
            fitted = None if given is None else given.cells
            look = look_at_cells(rows, units, at, cells, scores, weight, fitted, self.form)
            raw = look.raw
        scales = row_scales(raw, scores, at, weight) if given is None else given.rows
        features = row_features(log_distances(raw, scores.t, scales), scales)
        context = self._context(rows, at, scales, weight) if given is None else given.context
        summary = Summary(units, at, scales, context, None, None, None, None)
        of_row = None
        if self.form == "cells" and look is not None and units.columns is not None:
            if "cell_W_f" not in w:
                cells = rows.observed * sigmoid(w["cell_b_out"] + xp.zeros_like(rows.X))
            else:
                ends = (0, features.shape[2] // 2)
                residual = xp.stack([features[:, :, i] for i in ends], axis=2)
                f = cell_features(
                    rows.X, rows.observed, look.view, look.logs, look.of_row, look.scales,
                    units.columns, residual,
                )  # fmt: skip
                if given is None:
                    total = xp.sum(weight, axis=1)
                    cell_context = cell_table_features(look.scales, at, total)
                else:
                    cell_context = given.cell_context
                pooled = None if given is None else given.cell_pooled
                o, of_row, pooled = cell_logits(w, f, cell_context, rows.observed, share, pooled)
                cells = rows.observed * sigmoid(o)
                summary = replace(
                    summary, cells=look.scales, cell_context=cell_context, cell_pooled=pooled
                )
        if "W_f" not in w:
            return sigmoid(w["b_out"] + xp.zeros_like(weight)), cells, summary
        pooled = None if given is None else given.pooled
        o, pooled = row_logits(w, features, context, of_row, share, pooled)
        return sigmoid(o), cells, replace(summary, pooled=pooled)

    def _context(self, rows: Rows, at: Subspace, scales: RowScales, weight: Array) -> Array:
        xp = array_namespace(rows.X)
        total = xp.sum(weight, axis=1)
        missing = xp.zeros_like(total)
        if rows.observed is not None:
            missing = 1.0 - xp.sum(weight * xp.mean(rows.observed, axis=2), axis=1) / total
        return table_features(scales, at, total, rows.X.shape[2], missing)

    # -- the answer --------------------------------------------------------------------------------

    def _completed(self, rows: Rows, at: Subspace, cells: Array | None) -> Array:
        if cells is None:
            return rows.X
        xp = array_namespace(rows.X)
        scores = score(rows.X - at.mean[:, None, :], cells, at, self._prior(self.n_layers - 1))
        R = at.mean[:, None, :] + xp.matmul(scores.t, at.V)
        return R + cells * (rows.X - R)

    def _read(
        self,
        rows: Rows,
        units: Units,
        at: Subspace,
        w: Array,
        cells: Array | None,
        summary: Summary,
    ) -> PrincipalTrace:
        """Principal axes inside the subspace, and everything in the units of the caller."""
        xp = array_namespace(rows.X)
        values, rotation = xp.linalg.eigh(at.spread)
        values, rotation = xp.flip(values, axis=1), xp.flip(rotation, axis=2)
        unit = units.unit
        if cells is not None:  # the EM steps keep the variance of the signal alone
            values = values + at.noise[:, None]
        completed = self._completed(rows, at, cells) * unit[:, None, None]
        return PrincipalTrace(
            mean=units.shift + unit[:, None] * at.mean,
            components=xp.matmul(xp.matrix_transpose(rotation), at.V),
            variances=xp.clip(values, 0.0, None) * (unit * unit)[:, None],
            noise_variance=at.noise * unit * unit,
            row_weights=w,
            cell_weights=cells,
            completed=completed + units.shift[:, None, :],
            summary=summary,
        )


def _detach(value: Any) -> Any:
    """The value without its history of gradients: each layer learns from its own steps alone."""
    return value.detach() if hasattr(value, "detach") else value


def _detached(at: Subspace) -> Subspace:
    return Subspace(_detach(at.mean), _detach(at.V), _detach(at.spread), _detach(at.noise))
