"""Distance of a table's features to those of the training: whitened, ranked, explained."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.proposals.depth import (
    LEAN,
    LEVELS,
    depth_reference,
    distance,
    most_unusual,
    percentile,
    quantile,
)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """2,000 tables of five features: of different units, two that go together, one constant."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 5))
    z[:, 1] = 0.95 * z[:, 0] + np.sqrt(1 - 0.95**2) * z[:, 1]
    z[:, 4] = 0.0
    return z * [1.0, 100.0, 0.1, 5.0, 1.0] + [0.0, 50.0, -3.0, 1.0, 2.0]


def test_distance_is_mahalanobis(features: np.ndarray) -> None:
    reference = depth_reference(features[:, :4])
    z = (features[:, :4] - features[:, :4].mean(axis=0)) / features[:, :4].std(axis=0)
    R = (1 - LEAN) * np.corrcoef(z.T) + LEAN * np.eye(4)
    for i in range(5):
        expected = np.sqrt(z[i] @ np.linalg.solve(R, z[i]))
        assert distance(features[i, :4], reference) == pytest.approx(expected, rel=1e-9)


def test_units_play_no_part(features: np.ndarray) -> None:
    scales, shift = np.array([3.0, 0.01, 7.0, 1e4, 2.0]), 10.0
    plain, moved = depth_reference(features), depth_reference(features * scales + shift)
    for i in range(5):
        there = distance(features[i] * scales + shift, moved)
        assert there == pytest.approx(distance(features[i], plain), rel=1e-6)


def test_percentiles_count_the_training_tables(features: np.ndarray) -> None:
    reference = depth_reference(features)
    assert set(reference) == {"depth.mean", "depth.scale", "depth.whiten", "depth.quantiles"}
    assert reference["depth.quantiles"].shape == LEVELS.shape
    every = np.array([distance(row, reference) for row in features])
    for level in (0.0, 10.0, 50.0, 99.5):
        assert 100.0 * (every < quantile(level, reference)).mean() == pytest.approx(level, abs=0.1)
        assert percentile(quantile(level, reference), reference) == pytest.approx(level, abs=0.1)
    assert percentile(0.0, reference) == 0.0
    assert percentile(2.0 * every.max(), reference) == 100.0


def test_the_feature_that_is_off_is_named(features: np.ndarray) -> None:
    reference = depth_reference(features)
    row = features.mean(axis=0)
    for j in range(5):
        odd = row.copy()
        odd[j] += 8.0 * reference["depth.scale"][j]
        assert most_unusual(odd, reference)[0] == j
        assert distance(odd, reference) > 7.0
    # 0 and 1 go together: it is unusual that they part, though each alone is ordinary
    together, apart = row.copy(), row.copy()
    together[:2] += [2.0, 200.0]
    apart[:2] += [2.0, -200.0]
    assert distance(apart, reference) > 3.0 * distance(together, reference)
    assert set(most_unusual(apart, reference, 2)) == {0, 1}


def test_bad_training_features_are_refused(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match="5 rows, of 5 features"):
        depth_reference(features[:5])
    spoilt = features.copy()
    spoilt[3, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        depth_reference(spoilt)
