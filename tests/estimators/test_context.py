"""Canonical rows, the drawn context, standardisation and projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from statformer.estimators.context import (
    canonical_rows,
    draw_rows,
    learn_standardizer,
    systematic_draw,
)


@given(
    X=arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-2, 2)),
    seed=st.integers(0, 99),
)
def test_canonical_rows_forget_order_and_repetition(X: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 3, size=len(X)).astype(float)
    weight[0] = 1.0
    rows = canonical_rows(X, weight)
    assert len(np.unique(rows.X, axis=0)) == len(rows.X)
    np.testing.assert_array_equal(rows.X[rows.place], X[rows.indices])
    assert rows.weight.sum() == weight.sum()
    repeated = np.repeat(X, weight.astype(int), axis=0)
    repeated = repeated[rng.permutation(len(repeated))]
    again = canonical_rows(repeated, np.ones(len(repeated)))
    np.testing.assert_array_equal(again.X, rows.X)
    np.testing.assert_array_equal(again.weight, rows.weight)


def test_minus_zero_is_zero() -> None:
    assert len(canonical_rows(np.array([[0.0], [-0.0]]), np.ones(2)).X) == 1


@given(size=st.integers(1, 30), seed=st.integers(0, 99))
def test_systematic_draw_is_proportional(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=50) ** 3 + 1e-3
    drawn, counts = systematic_draw(weight, size, rng)
    assert (np.diff(drawn) > 0).all()
    step = weight.sum() / size
    np.testing.assert_allclose(counts.sum(), size * min(1.0, step))
    expected = weight[drawn] / step * min(1.0, step)
    assert (np.abs(counts - expected) < 1.0 + 1e-9).all()


def test_systematic_draw_has_no_bias() -> None:
    rng = np.random.default_rng(0)
    weight = np.array([1.0, 2.0, 3.0, 6.0, 20.0])
    total = np.zeros(5)
    for _ in range(4000):
        drawn, counts = systematic_draw(weight, 4, rng)
        total[drawn] += counts
    np.testing.assert_allclose(total / 4000, weight / 8.0, atol=0.05)


def test_drawn_rows_name_rows_of_the_caller() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))[rng.integers(0, 40, size=100)]
    rows = draw_rows(canonical_rows(X, np.ones(100)), 10, rng)
    assert len(rows.X) == len(rows.indices) <= 10
    assert (np.diff(rows.indices) > 0).all()
    np.testing.assert_array_equal(rows.X[rows.place], X[rows.indices])


def test_standardised_columns_have_no_units() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.exponential(size=200), np.full(200, 7.0)])
    plain = canonical_rows(X, np.ones(200))
    z = learn_standardizer(plain, 128)(plain.X)
    for exponent in (-480, 480):
        scaled = canonical_rows(X * 2.0**exponent, np.ones(200))
        np.testing.assert_array_equal(learn_standardizer(scaled, 128)(scaled.X), z)
    np.testing.assert_array_equal(z[:, 2], 0.0)
    assert 0.8 < z[:, 0].std() < 1.2


def test_rounding_is_not_spread() -> None:
    X = np.resize([0.3, 0.1 + 0.2], (10, 1))
    rows = canonical_rows(X, np.ones(10))
    assert np.abs(learn_standardizer(rows, 128)(rows.X)).max() < 1e-12


@pytest.mark.parametrize("wild", [30.0, 1e3, 1e150])
def test_far_values_are_compressed_for_the_layers_only(wild: float) -> None:
    rng = np.random.default_rng(0)
    X = np.append(rng.normal(size=999), wild)[:, None]
    rows = canonical_rows(X, np.ones(1000))
    s = learn_standardizer(rows, 128)
    read, plain = s(X), s.standardize(X)
    near = np.abs(plain) <= 20.0
    np.testing.assert_array_equal(read[near], plain[near])
    assert (np.abs(read[~near]) < np.abs(plain[~near])).all()
    assert np.abs(read).max() < 120.0


def test_too_little_spread_is_an_error() -> None:
    rows = canonical_rows(np.array([[1e-200], [2e-200]]), np.ones(2))
    with pytest.raises(ValueError, match="multiply it"):
        learn_standardizer(rows, 128)


@pytest.mark.parametrize(("n", "d", "p"), [(60, 8, 3), (5, 12, 4), (6, 40, 9), (1, 5, 2)])
def test_projection_keeps_the_leading_directions(n: int, d: int, p: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    rows = canonical_rows(X, np.ones(n))
    s = learn_standardizer(rows, p)
    V = s.directions
    np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-8)
    z = s.standardize(rows.X) - s.origin  # nothing here is far out
    variances = np.linalg.svd(z / np.sqrt(n), compute_uv=False) ** 2
    kept = min(p, max(1, int((variances > 1e-9 * variances[0]).sum())))
    assert V.shape[1] == kept
    if variances[0] > 0:
        np.testing.assert_allclose((s(rows.X) ** 2).mean(axis=0), variances[:kept], rtol=1e-6)
        rest = variances[kept:].sum() / (d - kept)
        np.testing.assert_allclose(s.residual, max(rest, 1e-4), rtol=1e-6)
