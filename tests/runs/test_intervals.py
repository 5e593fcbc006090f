from __future__ import annotations

import numpy as np
import pytest

from statformer.runs.intervals import difference_interval, mean_interval, ratio_interval


def test_the_interval_of_a_mean_has_the_width_of_theory() -> None:
    x = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = mean_interval([x])
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert found.value == pytest.approx(x.mean())
    assert found.n == 400
    np.testing.assert_allclose(
        [found.low, found.high], [x.mean() - half, x.mean() + half], atol=0.02
    )


def test_the_interval_covers_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(1)
    found = [mean_interval([rng.exponential(size=60)], seed) for seed in range(300)]
    covered = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert 0.88 <= covered <= 0.98


def test_pairs_are_kept_together() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(size=100) * 10.0
    found = difference_interval([hard + 0.1], [hard])
    np.testing.assert_allclose([found.value, found.low, found.high], 0.1)
    apart = mean_interval([hard])
    assert apart.high - apart.low > 1.0


def test_a_difference_between_cells_widens_nothing() -> None:
    cells = [np.zeros(50), np.full(50, 100.0)]
    found = mean_interval(cells)
    assert (found.value, found.low, found.high, found.n) == (50.0, 50.0, 50.0, 100)
    merged = mean_interval([np.concatenate(cells)])
    assert merged.high - merged.low > 10.0


def test_a_ratio_is_that_of_the_sums() -> None:
    rng = np.random.default_rng(3)
    below = rng.poisson(5.0, size=500).astype(float)
    found = ratio_interval([1.5 * below], [below])
    np.testing.assert_allclose([found.value, found.low, found.high], 1.5)
    noisy = ratio_interval([rng.poisson(5.0, size=500).astype(float)], [below])
    assert noisy.low < 1.0 < noisy.high
    assert 0.05 < noisy.high - noisy.low < 0.2


def test_the_draws_belong_to_the_seed() -> None:
    x = np.random.default_rng(4).normal(size=30)
    assert mean_interval([x], seed=1) == mean_interval([x], seed=1)
    assert mean_interval([x], seed=1) != mean_interval([x], seed=2)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table"):
        mean_interval([])
    with pytest.raises(ValueError, match="positive denominator"):
        ratio_interval([np.ones(3)], [np.zeros(3)])
    with pytest.raises(ValueError, match="shorter"):
        difference_interval([np.ones(3)], [])
