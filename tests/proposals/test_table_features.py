"""Features of a table: the same whatever its order and units, finite for every table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from statformer.proposals.table_features import TABLE_FEATURES, table_features


def value(X: np.ndarray, name: str, weight: np.ndarray | None = None) -> float:
    return float(table_features(X, weight)[TABLE_FEATURES.index(name)])


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((200, 5))
    holes = np.exp(rng.standard_normal((150, 6)))
    holes[rng.random(holes.shape) < 0.3] = np.nan
    mixed = np.column_stack([rng.integers(0, 2, 90), rng.integers(0, 9, 90), rng.random((90, 2))])
    return {
        "normal": normal,
        "missing": holes,
        "few values": mixed,
        "one column": normal[:, :1],
        "wide": rng.standard_normal((12, 40)),
        "long": np.exp(rng.standard_normal((900, 3))),
        "a constant column": np.column_stack([normal[:, :2], np.full(200, 7.0)]),
    }


@pytest.mark.parametrize("name", tables())
@pytest.mark.parametrize("seed", range(3))
def test_order_units_and_signs_do_not_matter(name: str, seed: int) -> None:
    X, rng = tables()[name], np.random.default_rng(seed)
    n, d = X.shape
    turned = X[rng.permutation(n)][:, rng.permutation(d)]
    turned = turned * rng.choice([-1.0, 1.0], d) * np.exp(2.0 * rng.standard_normal(d))
    moved = turned + rng.standard_normal(d)
    np.testing.assert_allclose(table_features(moved), table_features(X), rtol=1e-6, atol=1e-7)


def test_features_tell_tables_apart() -> None:
    found = {name: table_features(X) for name, X in tables().items()}
    for (one, here), (two, there) in itertools.combinations(found.items(), 2):
        assert np.abs(here - there).max() > 0.1, (one, two)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((1, 1)),
        np.zeros((50, 3)),
        np.ones((2, 2)),
        np.array([[1.0, np.nan], [np.nan, 2.0]]),
        np.full((5, 2), np.nan),
        1e300 * np.random.default_rng(0).standard_normal((40, 3)),
        1e-300 * np.random.default_rng(0).standard_normal((40, 3)),
        np.random.default_rng(0).standard_cauchy((300, 4)) ** 3,
        np.repeat(np.eye(4), 30, axis=0),
        np.random.default_rng(0).standard_normal((3, 128)),
    ],
    ids=lambda X: f"{X.shape}",
)
def test_odd_tables_have_finite_features(X: np.ndarray) -> None:
    features = table_features(X)
    assert features.shape == (len(TABLE_FEATURES),)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 20.0


def test_a_table_without_rows_or_columns_is_refused() -> None:
    for X, weight in (
        (np.zeros((3, 0)), None),
        (np.zeros((0, 3)), None),
        (np.zeros((2, 1)), np.zeros(2)),
    ):
        with pytest.raises(ValueError, match="pass a table with at least one row"):
            table_features(X, weight)


def test_rows_of_weight_zero_are_absent_and_weights_are_repeats_in_the_columns() -> None:
    X = tables()["missing"]
    weight = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
    kept = weight > 0
    same = table_features(X[kept], weight[kept])
    np.testing.assert_array_equal(table_features(X, weight), same)
    repeated = table_features(np.repeat(X, weight.astype(int), axis=0))
    # repeats are neighbours at distance 0 and equal values; all else agrees
    ends = [TABLE_FEATURES.index("duplicate share")]
    ends += [TABLE_FEATURES.index("distinct share")]
    agree = [i for i in range(ends[0]) if i not in ends]
    np.testing.assert_allclose(table_features(X, weight)[agree], repeated[agree], atol=1e-9)


def test_the_features_are_what_their_names_say() -> None:
    rng = np.random.default_rng(3)
    n = 4000
    normal, flat = rng.standard_normal((n, 2)), rng.random((n, 2))
    assert value(normal, "log n") == pytest.approx(np.log(n))
    assert value(normal, "log kurtosis 50 %") == pytest.approx(np.log(3.0), abs=0.1)
    assert value(flat, "log kurtosis 50 %") == pytest.approx(np.log(1.8), abs=0.05)
    assert value(flat, "bimodality 50 %") == pytest.approx(5.0 / 9.0, abs=0.02)
    assert value(np.exp(normal), "skewness 50 %") > 1.0
    two = np.sign(rng.standard_normal((n, 1))) * 5.0 + normal[:, :1]
    assert value(two, "bimodality 50 %") > 0.8
    holes = normal.copy()
    holes[: n // 4, 0] = np.nan
    assert value(holes, "missing share") == pytest.approx(0.125)
    assert value(holes, "missing share of the worst column") == pytest.approx(0.25)
    assert value(np.round(flat * 3), "share of columns with at most 12 values") == 1.0
    line = normal[:, :1] * np.ones(3) + 0.01 * rng.standard_normal((n, 3))
    assert value(line, "first direction") > 0.99
    assert value(line, "intrinsic dimension") < value(rng.random((n, 3)), "intrinsic dimension")
    assert value(np.repeat(flat[:100], 3, axis=0), "duplicate share") > 0.8
    assert value(flat, "duplicate share") == 0.0
    assert value(rng.standard_cauchy((n, 2)), "outlier share") > 0.01
    assert value(normal, "outlier share") < 0.002
    copies = np.column_stack([flat, flat[:, 0]])
    assert value(copies, "largest correlation") == pytest.approx(1.0)
