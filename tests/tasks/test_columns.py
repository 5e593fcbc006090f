"""Pieces that act on columns: each makes the kind of column that its name says."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from statformer.tasks import columns
from statformer.tasks.stream import TaskStream

B, N, D = 48, 400, 6


def normal(d: int = D) -> torch.Tensor:
    return TaskStream(7, 0, range(B)).normal(N, d)


def stream(step: int = 0) -> TaskStream:
    return TaskStream(3, step, range(B))


def changed(X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    return (X != Y).any(1)


def test_some_columns_are_some_and_spared_ones_are_not() -> None:
    pick = columns.some_columns(stream(), 10, 0.1, 0.5)
    assert pick.any(-1).all()
    assert 0.2 < pick.double().mean() < 0.4
    assert columns.some_columns(stream(), 10, 1.0, 1.0).all()
    assert (columns.some_columns(stream(), 3, 1.0, 1.0, n_spared=1).sum(-1) == 2).all()


def test_correlated_columns_follow_columns_that_stay() -> None:
    X = normal()
    Y = columns.correlated(stream(), X)
    moved = changed(X, Y)
    assert ((~moved).sum(-1) >= 1).all()
    exact = 0
    for x, y, which in zip(X.double().numpy(), Y.double().numpy(), moved, strict=True):
        kept = x[:, ~which.numpy()]
        for j in np.flatnonzero(which.numpy()):
            design = np.column_stack([kept, np.ones(N)])
            residual = y[:, j] - design @ np.linalg.lstsq(design, y[:, j], rcond=None)[0]
            r2 = 1.0 - residual.var() / y[:, j].var()
            assert r2 > 0.5
            exact += r2 > 1.0 - 1e-9
    assert 0.1 < exact / int(moved.sum()) < 0.45


def test_bounded_columns_end_where_others_go_on() -> None:
    X = 3.0 * normal()
    Y = columns.bounded(stream(), X)
    moved = changed(X, Y)
    assert 0.4 < moved.double().mean() < 0.9
    bounded = Y.mT[moved]
    spread = bounded.amax(-1) - bounded.amin(-1)
    squashed = (bounded.amin(-1) > 0) & (bounded.amax(-1) < 1)
    atoms = [np.unique(x, return_counts=True)[1].max() for x in bounded[~squashed].numpy()]
    assert 0.3 < squashed.double().mean() < 0.7
    assert np.mean(np.array(atoms) > 4) > 0.9
    assert (spread < 8.0).all()
    # the order of values is kept
    for x, y in zip(X.mT[moved].numpy(), bounded.numpy(), strict=True):
        assert (np.diff(y[np.argsort(x)]) >= 0).all()


def test_counts_are_counts_around_a_rate_that_grows_with_the_value() -> None:
    X = normal()
    Y = columns.counts(stream(), X)
    moved = changed(X, Y)
    found, before = Y.mT[moved].numpy(), X.mT[moved].numpy()
    assert np.array_equal(found, np.round(found))
    assert (found >= 0).all()
    ratio = found.var(axis=1) / np.maximum(found.mean(axis=1), 1e-9)
    assert np.median(ratio) > 1.5  # overdispersed
    assert (found == 0).mean() > 0.05
    ranks = [stats.spearmanr(x, y).statistic for x, y in zip(before, found, strict=True)]
    assert np.mean(ranks) > 0.6
    # around a constant rate they scatter as Poisson counts do
    flat = columns.counts(stream(), torch.zeros(B, N, D))
    flat = flat.mT[changed(torch.zeros(B, N, D), flat)]
    wide = flat[flat.mean(-1) > 3]
    assert abs((wide.var(-1) / wide.mean(-1)).mean() - 1.0) < 0.1


def test_ordinal_columns_are_grades_in_order() -> None:
    X = normal()
    Y, declared = columns.ordinal(stream(), X)
    moved = changed(X, Y)
    assert (declared <= moved).all()
    per_table = [(declared[i][moved[i]].all(), declared[i].any()) for i in range(B)]
    assert all(bool(a) == bool(b) for a, b in per_table)  # a table declares all of them or none
    assert 0.25 < np.mean([bool(b) for _, b in per_table]) < 0.75
    for x, y in zip(X.mT[moved].numpy(), Y.mT[moved].numpy(), strict=True):
        assert (np.diff(y[np.argsort(x)]) >= 0).all()
        values = np.unique(y)
        assert 2 <= len(values) <= columns.MOST_GRADES
        assert values.tolist() == list(range(len(values)))
    small, _ = columns.ordinal(stream(), normal(2))
    assert (changed(normal(2), small).sum(-1) <= 1).all()


def test_nominal_columns_are_codes_that_depend_on_the_cluster() -> None:
    X = normal()
    y = TaskStream(5, 0, range(B)).integers(0, 3, N)
    Y, marks = columns.nominal(stream(), X, y, 3)
    assert torch.equal(marks, changed(X, Y))
    assert 0.1 < marks.all(-1).double().mean() < 0.5
    dependent = unordered = 0
    for i, j in marks.nonzero().tolist():
        x, labels = X[i, :, j].numpy(), y[i].numpy()
        values, codes = np.unique(Y[i, :, j].numpy(), return_inverse=True)
        assert set(values) <= set(range(columns.MOST_LEVELS))
        table = np.zeros((3, len(values)))
        np.add.at(table, (labels, codes), 1)
        dependent += len(values) > 1 and stats.chi2_contingency(table).pvalue < 1e-4
        unordered += abs(stats.spearmanr(x, codes).statistic) < 0.9 if len(values) > 1 else 1
    n_columns = int(marks.sum())
    assert 0.4 < dependent / n_columns < 0.75  # those drawn per cluster; X knows no cluster here
    assert unordered / n_columns > 0.8
    noise = torch.full_like(y, -1)
    assert columns.nominal(stream(), X, noise, 3)[0].isfinite().all()
