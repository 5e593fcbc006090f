"""The learned functions of `PrincipalNetwork`: features of a row or a cell -> its weight.

Two-layer perceptrons with a linear bypass, the same for all rows and cells. The mean of the hidden
units over the rows comes back to each of them: attention with even weights. Cells hear the mean of
their row as well, and rows the mean of their cells.

Axes: b tables, n points, d features, l layers, f features, h hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.principal_cells import N_CELL_FEATURES, N_CELL_TABLE_FEATURES
from statformer.nn.principal_features import N_ROW_FEATURES, N_TABLE_FEATURES

N_HIDDEN = 24
N_CELL_HIDDEN = 16


def sigmoid(o: Array) -> Array:
    """1 / (1 + exp(-o)); exactly 1 from o = 60 on."""
    xp = array_namespace(o)
    return 1.0 / (1.0 + xp.exp(-xp.clip(o, -30.0, 60.0)))


def row_logits(
    w: Mapping[str, Array],
    f: Array,
    context: Array,
    of_row: Array | None,
    share: Array,
    pooled: Array | None = None,
) -> tuple[Array, Array]:
    """Logits "b n" of rows with features "b n f", and what they heard of the table "b h".

    w: arrays of one layer. share "b n" sums to 1: what a row adds to the mean. `pooled` is what
    another table's rows said, for rows that are weighed alone.
    """
    xp = array_namespace(f)
    hidden = xp.matmul(f, w["W_f"]) + (xp.matmul(context, w["W_t"]) + w["b_1"])[:, None, :]
    if of_row is not None:
        hidden = hidden + xp.matmul(of_row, w["W_cell"])
    hidden = xp.tanh(hidden)
    if pooled is None:
        pooled = xp.sum(share[..., None] * hidden, axis=1)
    heard = xp.matmul(pooled, w["W_pool"]) + w["b_2"]
    second = xp.tanh(xp.matmul(hidden, w["W_2"]) + heard[:, None, :])
    o = xp.matmul(second, w["W_out"]) + xp.matmul(f, w["W_lin"]) + w["b_out"]
    return o, pooled


def cell_logits(
    w: Mapping[str, Array],
    f: Array,
    context: Array,
    observed: Array,
    share: Array,
    pooled: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Logits "b n d" of cells with features "b n d f", the mean of each row, that of the table."""
    xp = array_namespace(f)
    first = xp.matmul(context, w["cell_W_t"]) + w["cell_b_1"]
    hidden = xp.tanh(xp.matmul(f, w["cell_W_f"]) + first[:, None, None, :])
    counted = xp.sum(hidden * observed[..., None], axis=2)
    of_row = counted / (xp.sum(observed, axis=2) + 1e-9)[..., None]
    if pooled is None:
        pooled = xp.sum(share[..., None] * of_row, axis=1)
    heard = xp.matmul(pooled, w["cell_W_pool"]) + w["cell_b_2"]
    around = xp.matmul(of_row, w["cell_W_row"]) + heard[:, None, :]
    second = xp.tanh(xp.matmul(hidden, w["cell_W_2"]) + around[:, :, None, :])
    o = xp.matmul(second, w["cell_W_out"]) + xp.matmul(f, w["cell_W_lin"]) + w["cell_b_out"]
    return o, of_row, pooled


def layer_shapes(
    form: str, n_layers: int, n_hidden: int = N_HIDDEN, n_cell_hidden: int = N_CELL_HIDDEN
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a learned network of this form."""
    f, t, h = N_ROW_FEATURES[form], N_TABLE_FEATURES[form], n_hidden
    shapes: dict[str, tuple[int, ...]] = {
        "W_f": (f, h),
        "W_t": (t, h),
        "b_1": (h,),
        "W_pool": (h, h),
        "W_2": (h, h),
        "b_2": (h,),
        "W_out": (h,),
        "W_lin": (f,),
        "b_out": (),
        "log_prior": (),
    }
    if form == "cells":
        f, t, c = N_CELL_FEATURES, N_CELL_TABLE_FEATURES, n_cell_hidden
        shapes |= {
            "W_cell": (c, h),
            "cell_W_f": (f, c),
            "cell_W_t": (t, c),
            "cell_b_1": (c,),
            "cell_W_pool": (c, c),
            "cell_W_row": (c, c),
            "cell_W_2": (c, c),
            "cell_b_2": (c,),
            "cell_W_out": (c,),
            "cell_W_lin": (f,),
            "cell_b_out": (),
        }
    return {name: (n_layers, *shape) for name, shape in shapes.items()}
