"""The tables that no prior holds: shares, shapes, and that SVD finds clean ones."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.benchmarks.robust_pca_rivals import largest_angle, mean_svd
from statformer.benchmarks.spectral_unseen import CORRUPTIONS, low_rank_table


def test_clean_tables_are_low_rank_plus_unit_noise() -> None:
    rng = np.random.default_rng(0)
    table = low_rank_table(4000, 12, 3, rng)
    X, signal, basis = table.X, table.signal, table.basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)
    assert (X - signal).std() == pytest.approx(1.0, abs=0.02)
    centred = signal - signal.mean(axis=0)
    np.testing.assert_allclose(centred, centred @ basis.T @ basis, atol=1e-8)
    strengths = np.sqrt(np.linalg.eigvalsh(np.cov((centred @ basis.T).T)))
    assert 2.4 < strengths[0] < 5.1
    assert (np.diff(strengths) > 0.05).all()
    assert largest_angle(mean_svd(X, 3), basis) < 2.5


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_hits_its_share_and_misleads_svd(name: str) -> None:
    rng = np.random.default_rng(1)
    table = low_rank_table(300, 10, 2, rng)
    X, basis = table.X, table.basis
    before = X.copy()
    found = CORRUPTIONS[name](table, 0.2, rng)
    np.testing.assert_array_equal(X, before)
    changed = np.abs(found - X) > 1e-9
    share = changed.any(axis=1).mean() if name == "permuted rows" else None
    hit = changed.mean() if share is None else share
    assert hit == pytest.approx(0.2, abs=0.03)
    assert largest_angle(mean_svd(found, 2), basis) > 1.1 * largest_angle(mean_svd(X, 2), basis)
