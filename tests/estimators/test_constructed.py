"""B': textbook EM, chosen among habits; its parts and what isolates it from scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from statformer import AttentionMixture
from statformer.estimators import constructed
from statformer.estimators.constructed import adjusted_rand, most_agreeing
from statformer.estimators.problems import n_parameters


@given(seed=st.integers(0, 999), n=st.integers(2, 40), k=st.integers(1, 5), copies=st.booleans())
def test_adjusted_rand_is_scikit_learns(seed: int, n: int, k: int, copies: bool) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, k, size=(2, n))
    second = first if copies else second
    weight = rng.integers(1, 4, size=n)
    expected = adjusted_rand_score(np.repeat(first, weight), np.repeat(second, weight))
    assert abs(adjusted_rand(first, second, weight.astype(float)) - expected) < 1e-9


def test_most_agreeing_is_the_one_in_the_middle() -> None:
    base = np.resize([0, 1, 2], 60)
    near = base.copy()
    near[:6] = 0
    other = np.random.default_rng(0).integers(0, 3, size=60)
    assert most_agreeing([other, near, base], np.ones(60)) in {1, 2}
    assert most_agreeing([base, base, other], np.ones(60)) == 0


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_parameters_are_counted_as_scikit_learn_does(kind: str) -> None:
    X = np.random.default_rng(0).normal(size=(50, 4))
    twin = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    assert n_parameters(kind, 3, 4) == twin._n_parameters()


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_the_winner_is_a_fixed_point_of_em(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's EM from the answer stays there: the answer is EM's own."""
    monkeypatch.setattr(constructed, "COVARIANCE_TYPES", (kind,))
    monkeypatch.setattr(constructed, "N_LOOPS", 2000)
    monkeypatch.setattr(constructed, "TOLERANCE", 1e-12)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2)) + 3.0 * rng.integers(0, 3, size=(150, 1)) * [1.0, -0.5]
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(X)
    s = model._mixture.standardizer
    z = s(X)
    c = model._mixture.centres
    precisions = np.linalg.inv(c.covariances[0])
    start = {
        "full": precisions,
        "tied": precisions[0],
        "diag": precisions.diagonal(axis1=1, axis2=2),
        "spherical": precisions[:, 0, 0],
    }[kind]
    twin = GaussianMixture(
        3,
        covariance_type=kind,
        weights_init=c.weights[0],
        means_init=c.means[0],
        precisions_init=start,
        max_iter=50,
        tol=1e-7,
        random_state=0,
        reg_covar=model._origin.habit.ridge,
    ).fit(z)
    np.testing.assert_allclose(twin.means_, c.means[0], atol=1e-4)
    np.testing.assert_allclose(twin.predict_proba(z), model.predict_proba(X), atol=1e-4)


def test_posterior_is_that_of_the_density(overlapping: np.ndarray) -> None:
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(overlapping)
    twin = model.to_sklearn()
    np.testing.assert_allclose(
        model.predict_proba(overlapping), twin.predict_proba(overlapping), atol=1e-9
    )


def test_spherical_clusters_get_few_parameters() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) + 8.0 * np.eye(5)[rng.integers(0, 3, size=300)]
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(X)
    full = n_parameters("full", 3, 5)
    assert model._mixture.n_parameters < full
    own = model.bic(X) - model.to_sklearn().bic(X)
    np.testing.assert_allclose(own, (model._mixture.n_parameters - full) * np.log(300), rtol=1e-9)


def test_no_rival_runs_inside_fit(
    weights: str | Path, blobs: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a scikit-learn clusterer was fitted")

    for rival in (GaussianMixture, KMeans):
        monkeypatch.setattr(rival, "fit", refuse)
        monkeypatch.setattr(rival, "fit_predict", refuse)
    AttentionMixture(weights=weights, max_components=4).fit(blobs[0])


def test_fit_needs_no_torch(checkpoint: Path) -> None:
    code = (
        "import sys, numpy as np; from statformer import AttentionMixture; "
        f"AttentionMixture(weights={str(checkpoint)!r}).fit(np.random.rand(30, 2)); "
        "AttentionMixture(2, weights='constructed').fit(np.random.rand(30, 2)); "
        "assert not {'torch', 'matplotlib', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_million_rows_take_less_than_a_gigabyte(checkpoint: Path) -> None:
    code = (
        "import resource, numpy as np; from statformer import AttentionMixture\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20\n"
        "X = np.random.default_rng(0).normal(size=(10**6, 10)); X[::3] += 4\n"
        "before = peak()\n"
        f"model = AttentionMixture(weights={str(checkpoint)!r}, random_state=0).fit(X)\n"
        "model.predict(X), model.score_samples(X)\n"
        "assert peak() - before < 1.0, peak() - before"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
