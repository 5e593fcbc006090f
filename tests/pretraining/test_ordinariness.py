"""How ordinary a table is: own tables are, strangers are not, and the reasons are named."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.pretraining.ordinariness import Reference, one_hot, reference_of
from statformer.proposals.table_features import TABLE_FEATURES, table_features
from statformer.tasks.wide import WidePrior

NARROW = WidePrior(n_points=(60, 120), n_features=(2, 5), n_components=(1, 4)).only()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return reference_of(NARROW, 200, seed=1)


def test_tables_of_the_prior_are_ordinary_in_it(reference: Reference) -> None:
    other = reference_of(NARROW, 100, seed=2)
    assert reference.features.shape == (200, len(TABLE_FEATURES))
    assert not np.array_equal(reference.features[:100], other.features)
    # columns of `features` are sorted, so draw rows anew
    rows = [table_features(np.random.default_rng(s).standard_normal((90, 3))) for s in range(20)]
    places = [reference.place(row) for row in rows]
    assert np.mean([place.percentile for place in places]) < 0.9
    assert max(place.distance for place in places) < 2.0


def test_percentiles_of_the_priors_own_tables_are_uniform() -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((len(TABLE_FEATURES), len(TABLE_FEATURES)))
    draws = rng.standard_normal((3000, len(TABLE_FEATURES))) @ mix
    found = Reference.of(draws[:1500])
    percentiles = np.array([found.place(row).percentile for row in draws[1500:]])
    assert abs(percentiles.mean() - 0.5) < 0.04
    assert abs((percentiles > 0.95).mean() - 0.05) < 0.025


def test_a_stranger_is_far_and_its_reasons_are_named(reference: Reference) -> None:
    rng = np.random.default_rng(0)
    X = np.exp(2.0 * rng.standard_normal((5000, 40)))
    X[rng.random(X.shape) < 0.5] = np.nan
    place = reference.place(table_features(X), n_unusual=6)
    assert place.percentile == 1.0
    assert place.distance > 2.0
    names = [name for name, _, _ in place.unusual]
    assert len(names) == 6
    assert {"log n", "log d", "missing share"} & set(names)
    for name, value, share in place.unusual:
        assert value == table_features(X)[TABLE_FEATURES.index(name)]
        assert share in (0.0, 1.0)


def test_one_hot_keeps_numbers_and_missing_cells() -> None:
    X = np.array([[1.5, 2.0], [2.5, 0.0], [np.nan, np.nan], [0.5, 2.0]])
    coded = one_hot(X, np.array([False, True]))
    expected = [[1.5, 0, 1], [2.5, 1, 0], [np.nan] * 3, [0.5, 0, 1]]
    np.testing.assert_array_equal(coded, np.array(expected))
