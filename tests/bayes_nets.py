"""Tables of categories for the tests of Bayesian networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from statformer.estimators.bayes_net import AttentionBayesNet
from statformer.reference.bayes_net import Structure, ancestral_sample

# Wet grass: cloudy -> rain, sprinkler -> grass; the columns come in another order.
WET_GRASS = {"grass": ["rain", "sprinkler"], "rain": ["cloudy"], "sprinkler": ["cloudy"]}
GENERAL = Structure(((), (), (0, 1), (0, 2), (3,)))
SIZES = (2, 3, 2, 3, 2)


def wet_grass(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """One column each of numbers, categories, text and booleans."""
    rng = np.random.default_rng(seed)
    cloudy = rng.random(n) < 0.5
    rain = rng.random(n) < np.where(cloudy, 0.8, 0.2)
    sprinkler = rng.random(n) < np.where(cloudy, 0.1, 0.5)
    grass = rng.random(n) < 0.05 + 0.45 * rain + 0.4 * sprinkler
    columns = {
        "sprinkler": pd.Categorical.from_codes(sprinkler.astype(int), ["on", "off"], ordered=True),
        "grass": grass.astype(int) * 7,
        "cloudy": cloudy,
        "rain": np.where(rain, "yes", "no"),
    }
    return pd.DataFrame(columns)


def random_tables(
    structure: Structure = GENERAL,
    sizes: tuple[int, ...] = SIZES,
    seed: int = 0,
    alpha: float = 1.0,
) -> list[np.ndarray]:
    """Dirichlet tables, one axis per parent and the variable's own last."""
    rng = np.random.default_rng(seed)
    return [
        rng.dirichlet(np.full(sizes[m], alpha), size=[sizes[p] for p in parents])
        for m, parents in enumerate(structure.parents)
    ]


def random_codes(
    structure: Structure = GENERAL, sizes: tuple[int, ...] = SIZES, n: int = 200, seed: int = 0
) -> np.ndarray:
    """Rows "v n" of a random network."""
    tables = random_tables(structure, sizes, seed)
    return ancestral_sample(structure, tables, n, np.random.default_rng(seed)).T


def with_gaps(codes: np.ndarray, share: float = 0.3, seed: int = 0) -> np.ndarray:
    """Cells missing at random, as -1."""
    gaps = np.random.default_rng(seed).random(codes.shape) < share
    return np.where(gaps, -1, codes)


def assert_same_network(a: AttentionBayesNet, b: AttentionBayesNet, atol: float = 1e-12) -> None:
    """Equal structures, and tables that differ by at most `atol`."""
    assert a.structure_ == b.structure_
    for name, table in a.cpds_.items():
        pd.testing.assert_frame_equal(table, b.cpds_[name], atol=atol, rtol=0)
