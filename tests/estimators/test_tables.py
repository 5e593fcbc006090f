"""`cluster_tables` is a loop of fits, only faster; `device` changes nothing but where it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from statformer import AttentionMixture, cluster_tables


def make_tables(n_tables: int) -> list[np.ndarray]:
    """Tables of several shapes, one with repeated rows, one with a constant column."""
    rng = np.random.default_rng(0)
    tables = []
    for i in range(n_tables):
        n, d = int(rng.integers(25, 70)), int(rng.integers(1, 5))
        y = rng.integers(0, 3, size=n)
        tables.append(6.0 * rng.normal(size=(3, d))[y] + rng.normal(size=(n, d)))
        if i % 4 == 1:
            tables[-1] = np.round(tables[-1])
        if i % 4 == 2:
            tables[-1][:, 0] = 5.0
    return tables


@pytest.mark.parametrize("n_components", [3, None])
def test_equals_a_loop_of_fits(
    weights: str | Path, n_components: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statformer.estimators.tables.GROUP_TABLES", 5)
    tables = make_tables(12)
    params = {"weights": weights, "random_state": 3, "max_components": 6, "n_init": 4}
    together = cluster_tables(tables, n_components, **params)
    for X, model in zip(tables, together, strict=True):
        alone = AttentionMixture(n_components, **params).fit(X)
        np.testing.assert_array_equal(model.labels_, alone.labels_)
        # proposals run in single precision, whose rounding knows the padding of a batch
        np.testing.assert_allclose(model.means_, alone.means_, atol=2e-5)
        np.testing.assert_allclose(model.n_components_proba_, alone.n_components_proba_, atol=1e-3)
        np.testing.assert_array_equal(model.predict(X), model.labels_)


def test_no_tables() -> None:
    assert cluster_tables([]) == []


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(TypeError, match="n_clusters"):
        cluster_tables([np.ones((3, 1))], n_clusters=2)


@pytest.mark.parametrize("n_components", [3, None])
def test_torch_agrees_with_numpy(
    weights: str | Path,
    overlapping: np.ndarray,
    n_components: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("statformer.estimators.proposers.SINGLE_PRECISION_LIMIT", -1.0)
    params = {"weights": weights, "max_components": 5, "random_state": 0}
    on_numpy = AttentionMixture(n_components, **params).fit(overlapping)
    on_torch = AttentionMixture(n_components, device=torch.device("cpu"), **params).fit(overlapping)
    np.testing.assert_array_equal(on_torch.labels_, on_numpy.labels_)
    np.testing.assert_allclose(
        on_torch.n_components_proba_, on_numpy.n_components_proba_, atol=1e-10
    )
    np.testing.assert_allclose(on_torch.means_, on_numpy.means_, atol=1e-10)
    for method in ("predict_proba", "score_samples"):
        np.testing.assert_allclose(
            getattr(on_torch, method)(overlapping),
            getattr(on_numpy, method)(overlapping),
            atol=1e-10,
        )
    np.testing.assert_allclose(on_torch.trace_[-1], on_numpy.trace_[-1], atol=1e-10)
