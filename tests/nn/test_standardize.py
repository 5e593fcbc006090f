"""Weighted quantiles, robust scales, and the compression of what lies far away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from statformer.nn.standardize import compress, robust_scale, weighted_quantiles

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def columns(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.normal(3.0, 2.0, n), rng.lognormal(size=n), rng.integers(0, 4, n).astype(float)],
        axis=-1,
    )


# ---------------------------------------------------------------------------------------------
# Quantiles


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_quantiles_of_equal_weights_are_numpys(n: int) -> None:
    X = columns(0, n)
    found = weighted_quantiles(X[None], np.ones((1, n)))[:, 0]
    expected = np.quantile(X, LEVELS, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(found, expected)


@given(
    st.lists(
        st.tuples(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 7.0]), st.integers(0, 4)),
        min_size=1,
        max_size=30,
    ).filter(lambda rows: any(copies for _, copies in rows))
)
def test_a_weight_is_a_number_of_copies(rows: list[tuple[float, int]]) -> None:
    x = np.array([value for value, _ in rows])[None, :, None]
    copies = np.array([times for _, times in rows])
    weighted = weighted_quantiles(x, copies[None].astype(float))
    literal = np.repeat(x, copies, axis=1)
    plain = weighted_quantiles(literal, np.ones(literal.shape[:2]))
    np.testing.assert_array_equal(weighted, plain)
    for left, right in zip(
        robust_scale(x, copies[None].astype(float)),
        robust_scale(literal, np.ones(literal.shape[:2])),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_every_table_of_a_batch_by_itself() -> None:
    X = np.stack([columns(seed, 40) for seed in range(3)])
    weight = np.random.default_rng(0).choice([0.0, 1.0, 2.0], size=(3, 40))
    together = weighted_quantiles(X, weight)
    for t in range(3):
        own = weighted_quantiles(X[t : t + 1], weight[t : t + 1])
        np.testing.assert_array_equal(together[:, t], own[:, 0])


def test_numpy_and_torch_agree() -> None:
    X = columns(1, 60)[None]
    weight = np.random.default_rng(0).choice([0.0, 1.0, 2.5], size=(1, 60))
    by_numpy = robust_scale(X, weight)
    by_torch = robust_scale(torch.from_numpy(X), torch.from_numpy(weight))
    for left, right in zip(by_numpy, by_torch, strict=True):
        np.testing.assert_allclose(left, right.numpy(), rtol=1e-12)
    Z = 30.0 * X
    np.testing.assert_allclose(compress(Z), compress(torch.from_numpy(Z)).numpy(), rtol=1e-12)


# ---------------------------------------------------------------------------------------------
# Scales


def test_a_gaussian_column_has_its_standard_deviation_as_scale() -> None:
    X = np.random.default_rng(0).normal(5.0, 3.0, size=(1, 20_000, 1))
    centre, scale = robust_scale(X, np.ones((1, 20_000)))
    assert abs(centre[0, 0] - 5.0) < 0.1
    assert abs(scale[0, 0] - 3.0) < 0.1


def test_a_few_outliers_move_neither_centre_nor_scale_much() -> None:
    X = np.random.default_rng(0).normal(size=(1, 1000, 1))
    _, before = robust_scale(X, np.ones((1, 1000)))
    X[0, :8] = 1e3
    centre, scale = robust_scale(X, np.ones((1, 1000)))
    assert abs(centre[0, 0]) < 0.1
    assert scale[0, 0] < 1.1 * before[0, 0]
    assert X.std() > 50.0


def test_where_half_of_a_column_is_one_value_wider_ranges_count() -> None:
    rng = np.random.default_rng(0)
    most_zero = np.where(rng.random(1000) < 0.8, 0.0, rng.normal(0.0, 2.0, 1000))
    centre, scale = robust_scale(most_zero[None, :, None], np.ones((1, 1000)))
    assert centre[0, 0] == 0.0
    assert 0.1 < scale[0, 0] < 2.0
    rare = np.zeros(1000)
    rare[:4] = 5.0  # less than one per cent: only the standard deviation sees it
    _, scale = robust_scale(rare[None, :, None], np.ones((1, 1000)))
    np.testing.assert_allclose(scale[0, 0], rare.std())


@pytest.mark.parametrize("value", [0.0, -3.5, 1e12])
def test_a_constant_column_has_scale_one(value: float) -> None:
    X = np.full((1, 50, 1), value)
    centre, scale = robust_scale(X, np.ones((1, 50)))
    assert centre[0, 0] == value
    assert scale[0, 0] == 1.0


def test_scale_and_shift_follow_the_unit() -> None:
    X = columns(2, 200)[None]
    centre, scale = robust_scale(X, np.ones((1, 200)))
    other_centre, other_scale = robust_scale(-8.0 * X + 3.0, np.ones((1, 200)))
    np.testing.assert_allclose(other_scale, 8.0 * scale, rtol=0.05)  # quantiles of -x: one rank off
    np.testing.assert_allclose(other_centre, -8.0 * centre + 3.0, rtol=0.05, atol=0.2)
    up_centre, up_scale = robust_scale(8.0 * X + 3.0, np.ones((1, 200)))
    np.testing.assert_allclose(up_scale, 8.0 * scale, rtol=1e-12)
    np.testing.assert_allclose(up_centre, 8.0 * centre + 3.0, rtol=1e-12)


def test_rows_without_weight_do_not_count() -> None:
    X = columns(3, 100)[None]
    weight = np.ones((1, 100))
    weight[0, 70:] = 0.0
    wild = X.copy()
    wild[0, 70:] = 1e9
    for left, right in zip(
        robust_scale(wild, weight), robust_scale(X[:, :70], np.ones((1, 70))), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-12)


# ---------------------------------------------------------------------------------------------
# Compression


def test_compress_is_the_identity_inside_and_a_logarithm_outside() -> None:
    inside = np.linspace(-20.0, 20.0, 101)
    np.testing.assert_array_equal(compress(inside), inside)
    np.testing.assert_allclose(compress(np.array([20.0 * np.e, -20.0 * np.e])), [40.0, -40.0])
    assert compress(np.array([1e6]))[0] < 240.0
    np.testing.assert_allclose(compress(np.array([7.0]), limit=1.0), [1.0 + np.log(7.0)])


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_compress_is_monotone_odd_and_finite(a: float, b: float) -> None:
    low, high = compress(np.array([min(a, b), max(a, b)]))
    assert np.isfinite([low, high]).all()
    assert low <= high
    assert compress(np.array([-a]))[0] == -compress(np.array([a]))[0]
