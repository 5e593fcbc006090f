"""Principal networks with learned weights in every place, and tables for them, for the tests."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from statformer.nn.principal import Form, PrincipalNetwork
from statformer.nn.principal_module import PrincipalModule, near_power_iteration

N_LAYERS = 3


def learned(form: Form, seed: int = 0, n_layers: int = N_LAYERS) -> PrincipalModule:
    """A module whose every weight moved away from the start of pretraining, as training does."""
    generator = torch.Generator().manual_seed(seed)
    module = near_power_iteration(form, n_layers, generator).double()
    with torch.no_grad():
        for parameter in module.parameters():
            moved = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * moved)
    return module


def as_network(module: PrincipalModule) -> PrincipalNetwork:
    weights = {name: value.detach().numpy() for name, value in module.layers.items()}
    return PrincipalNetwork(weights, module.form)


def low_rank_tables(
    seed: int, b: int = 2, n: int = 60, d: int = 7, k: int = 2, outliers: int = 6
) -> NDArray[np.float64]:
    """Tables of rank k and noise, a few rows far off."""
    rng = np.random.default_rng(seed)
    loadings = 2.0 * rng.normal(size=(b, k, d)) * np.linspace(2.0, 1.0, k)[:, None]
    X = rng.normal(size=(b, n, k)) @ loadings + rng.normal(size=(b, n, d))
    X[:, :outliers] += 12.0 * rng.normal(size=(b, outliers, d))
    return X + 5.0 * rng.normal(size=(b, 1, d))


def some_observed(seed: int, shape: tuple[int, ...], share: float = 0.25) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(shape) > share


def gap(V: NDArray[np.float64], W: NDArray[np.float64]) -> float:
    """Sine of the largest angle between the spans of the rows, over tables side by side."""
    inside = np.matmul(np.matmul(W, np.swapaxes(V, -1, -2)), V)
    return float(np.linalg.norm(W - inside, ord=2, axis=(-2, -1)).max())
