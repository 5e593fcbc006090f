"""The components of a table as `statformer pca` tells of them.

Axes: rows are points n, columns are features d, components k.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from statformer.cli.columns import Selection
from statformer.cli.errors import CommandError, listing, one_line
from statformer.cli.pca_report import Component, LightCell, LightRow, PcaReport
from statformer.cli.reading import Table
from statformer.estimators import AttentionPCA
from statformer.nn.standardize import robust_scale

ENOUGH = 0.9  # share of the variance that is told of where no number of components is asked for
LIGHT = 0.5  # rows and cells of a smaller weight are told of
MOST_TOLD = 8
STANDS_OUT = 3.0  # robust standard deviations


@dataclass
class PcaAnswer:
    """All that one run knows: what it read, what it fitted, what it will say."""

    table: Table
    model: AttentionPCA
    scores: Float[np.ndarray, "n k"]  # of the components that are told of; NaN for empty rows
    weight: Float[np.ndarray, " n"]  # likewise
    report: PcaReport


def analysed(
    table: Table,
    selection: Selection,
    asked: int | float | None,  # noqa: PYI041
    scaled: bool,
    params: dict[str, Any],
) -> PcaAnswer:
    """Fit, and say what was found; `asked` as n_components.

    Raises CommandError where the estimator refuses.
    """
    started = time.perf_counter()
    names = [str(name) for name in selection.frame.columns]
    X = selection.frame.to_numpy(np.float64)
    centre, scale = _scales(X)
    Z = X / scale if scaled else X
    most = min(X.shape)
    if isinstance(asked, int) and asked > most:
        raise CommandError(
            f"--components {asked} must be at most the smaller of rows and columns, {most}"
        )
    try:
        model = AttentionPCA(asked, **params).fit(Z)
    except (ValueError, TypeError, OSError) as error:
        reason = re.sub(r"\b(weights|robust)=(\S+)", r"--\1 \2", one_line(error))
        raise CommandError(f"{table.name} has no principal components: {reason}") from None
    k = int(model.n_components_)
    if asked is None:
        together = model.explained_variance_ratio_.cumsum()
        k = min(k, max(2, int(np.searchsorted(together, ENOUGH)) + 1))
    units = scale if scaled else np.ones_like(scale)
    cells = _light_cells(model, X, units, names)
    is_empty = np.isnan(X).all(axis=1)
    weight = np.where(is_empty, np.nan, model.row_weights_)
    scores = np.where(is_empty[:, None], np.nan, model.transform(Z)[:, :k])
    report = PcaReport(
        table=table.name,
        n_rows=len(X),
        n_columns=table.frame.shape[1],
        columns=names,
        dropped=selection.dropped,
        missing=selection.missing,
        notes=[*_empty_rows(is_empty), *table.notes],
        warnings=selection.warnings,
        weights=params["weights"],
        robust=params["robust"],
        centre=_by_name(names, model.mean_ * units),
        scale=_by_name(names, scale) if scaled else None,
        components=_components(model, names)[:k],
        n_light_rows=int((weight < LIGHT).sum()),
        light_rows=_light_rows(weight, (X - centre) / scale, X, names),
        n_light_cells=None if cells is None else cells[0],
        light_cells=None if cells is None else cells[1],
        seconds=time.perf_counter() - started,
    )
    return PcaAnswer(table, model, scores, weight, report)


def _empty_rows(is_empty: Bool[np.ndarray, " n"]) -> list[str]:
    """What is said of rows without any number."""
    rows = [str(i + 1) for i in is_empty.nonzero()[0]]
    if not rows:
        return []
    if len(rows) == 1:
        return [f"1 row holds no number and counts for nothing: {rows[0]}"]
    return [f"{len(rows):,} rows hold no number and count for nothing: {listing(rows)}"]


def _scales(
    X: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Median and robust standard deviation (`nn.standardize.robust_scale`) of the cells there."""
    found = np.empty((2, X.shape[1]))
    for j, column in enumerate(X.T):
        seen = column[~np.isnan(column)]
        centre, scale = robust_scale(seen[None, :, None], np.ones((1, len(seen))))
        found[:, j] = centre[0, 0], scale[0, 0]
    return found[0], found[1]


def _by_name(names: Sequence[str], values: Float[np.ndarray, " d"]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _components(model: AttentionPCA, names: Sequence[str]) -> list[Component]:
    share = model.explained_variance_ratio_
    return [
        Component(
            j + 1,
            float(model.explained_variance_[j]),
            float(share[j]),
            float(share[: j + 1].sum()),
            _by_name(names, model.components_[j]),
        )
        for j in range(len(share))
    ]


def _light_rows(
    weight: Float[np.ndarray, " n"],
    z: Float[np.ndarray, "n d"],
    X: Float[np.ndarray, "n d"],
    names: Sequence[str],
) -> list[LightRow]:
    """The lightest rows, and their columns more than `STANDS_OUT` from the median."""
    order = np.argsort(weight, kind="stable")[:MOST_TOLD]  # NaN comes last
    found = []
    for i in order[weight[order] < LIGHT]:
        size = np.nan_to_num(np.abs(z[i]))
        foremost = [j for j in np.argsort(-size, kind="stable")[:3] if size[j] >= STANDS_OUT]
        columns = {names[j]: float(X[i, j]) for j in foremost}
        found.append(LightRow(int(i) + 1, float(weight[i]), columns))
    return found


def _light_cells(
    model: AttentionPCA,
    X: Float[np.ndarray, "n d"],
    units: Float[np.ndarray, " d"],
    names: Sequence[str],
) -> tuple[int, list[LightCell]] | None:
    """How many cells count little, and the lightest of them; None where cells have no weights."""
    if model.robust != "cells":
        return None
    weight = np.where(np.isnan(X), 1.0, model.cell_weights_)
    light = np.argwhere(weight < LIGHT)
    order = np.argsort(weight[tuple(light.T)], kind="stable")[:MOST_TOLD]
    found = []
    for i, j in light[order]:
        scores = model.transform(X[i : i + 1] / units)
        expected = float((model.inverse_transform(scores) * units)[0, j])
        told = (int(i) + 1, names[j], float(X[i, j]), expected, float(weight[i, j]))
        found.append(LightCell(*told))
    return len(light), found
