"""The clustering Transformer labels like the reference, with an exact or a soft sign."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.constructions.spectral_clustering import (
    ClusteringTransformer,
    clustering_transformer,
    sign_error,
)
from statformer.reference.power_iteration import covariance, power_iteration
from statformer.reference.spectral_clustering import TwoClasses, two_classes

N_STEPS = 12


def draw(seed: int, n: int = 40, d: int = 6, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n, d])
    theta = rng.standard_normal(d)
    z = rng.choice([-1, 1], n)
    return z[:, None] * theta + rng.standard_normal((n, d)) + offset, rng.standard_normal(d)


def run(network: ClusteringTransformer, X: np.ndarray, start: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(X)[None], torch.from_numpy(start)[None])[0].numpy()


def reference(X: np.ndarray, start: np.ndarray, centre: bool) -> TwoClasses:
    table = X - X.mean(axis=0) if centre else X
    found = power_iteration(covariance(table, centre=False), start[None], N_STEPS)
    return two_classes(X, centre=centre, vector=found.vectors[0])


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("phi", ["relu", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_the_reference(seed: int, phi: str, centre: bool) -> None:
    X, start = draw(seed, offset=2.0 if centre else 0.0)
    network = clustering_transformer(6, N_STEPS, phi=phi, n_points=40 if centre else None)
    np.testing.assert_array_equal(run(network, X, start), reference(X, start, centre).labels)
    assert network.depth == N_STEPS + 2
    assert network.n_heads == (2 if phi == "relu" or centre else 1)


@pytest.mark.parametrize("sharpness", [1.0, 20.0])
def test_tanh_is_the_scores_and_errs_as_stated(sharpness: float) -> None:
    X, start = draw(0)
    found = run(clustering_transformer(6, N_STEPS, sharpness=sharpness), X, start)
    expected = reference(X, start, centre=False)
    np.testing.assert_allclose(found, np.tanh(sharpness * expected.scores), atol=1e-10)
    off = np.abs(found - expected.labels)
    assert off.max() == pytest.approx(sign_error(np.abs(expected.scores).min(), sharpness))
    assert off.max() > 0.0


def test_a_disturbed_weight_moves_the_scores() -> None:
    X, start = draw(0)
    network = clustering_transformer(6, N_STEPS, sharpness=1.0)
    before = run(network, X, start)
    network.transformer.blocks[-1].attention.W_OV.data *= 1.0 + 1e-4
    assert np.abs(run(network, X, start) - before).max() > 1e-6


def test_errors_name_the_remedy() -> None:
    for match, options in {
        "n_steps=0": {"n_steps": 0},
        "sharpness=0.0": {"n_steps": 1, "sharpness": 0.0},
        "n_points=0": {"n_steps": 1, "n_points": 0},
    }.items():
        with pytest.raises(ValueError, match=match):
            clustering_transformer(3, **options)
