"""The sweep over K: the best start is kept, any bucket agrees with single runs, ugly tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussian_tables import alone, draw, padded
from statformer.batch import Tables
from statformer.constructions.em_network import em_weights
from statformer.nn.component_count import N_TOKEN_FEATURES, run_features, tokens
from statformer.nn.em_module import near_em
from statformer.nn.em_network import EMNetwork, as_numpy
from statformer.nn.sweep import BUCKETS, Draw, lloyd_starts, sweep

MAX_COMPONENTS = 7


@pytest.fixture(scope="module")
def network() -> EMNetwork:
    module = near_em(3, 6, torch.Generator().manual_seed(0)).double()
    weights = as_numpy({k: v.detach() for k, v in module.layers.items()})
    rng = np.random.default_rng(0)
    return EMNetwork({k: v + 0.2 * rng.standard_normal(v.shape) for k, v in weights.items()})


class Recorder:
    """A draw that can be replayed: block (runs, c, t) of each table, in the order of the calls."""

    def __init__(self, b: int, seed: int = 0) -> None:
        self.rng, self.b = np.random.default_rng(seed), b
        self.blocks: list[np.ndarray] = []

    def __call__(self, runs: int, c: int, t: int) -> np.ndarray:
        self.blocks.append(self.rng.random((self.b, runs, c, t)))
        return self.blocks[-1]


def replay(blocks: list[np.ndarray], rows: slice = slice(None)) -> Draw:
    left = iter(blocks)

    def draw_again(runs: int, c: int, t: int) -> np.ndarray:
        block = next(left)[rows]
        assert block.shape[1:] == (runs, c, t)
        return block

    return draw_again


def two_tables() -> Tables:
    return padded([draw(0, 40, 3, 3), draw(1, 40, 3, 2)], 40, 3, 3)[0]


def one_by_one(
    network: EMNetwork, tables: Tables, blocks: list[np.ndarray], n_starts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Densities "k s" and features "k s f" of one table, each run alone."""
    densities, features = [], []
    for (low, top), block in zip(BUCKETS, blocks, strict=False):
        for at, K in enumerate(range(low, min(top, MAX_COMPONENTS) + 1)):
            for s in range(n_starts):
                u = block[:, at * n_starts + s]
                start = lloyd_starts(tables, np.array([K]), u)[..., :K]
                density, feature = run_features(tables, network(tables, start, record="last"))
                densities.append(density[0])
                features.append(feature[0])
    shape = (MAX_COMPONENTS, n_starts)
    return np.reshape(densities, shape), np.reshape(features, (*shape, -1))


def test_the_densest_start_of_each_count_is_kept(network: EMNetwork) -> None:
    tables, _ = alone(draw(2, 50, 3, 3, separation=1.0))
    recorder = Recorder(1)
    swept = sweep(network, tables, MAX_COMPONENTS, recorder, n_starts=4)
    densities, features = one_by_one(network, tables, recorder.blocks, 4)
    assert (np.ptp(densities[1:], axis=1) > 1e-6).any()  # there was something to choose
    np.testing.assert_allclose(swept.density[0], densities.max(1), atol=1e-8)
    best = features[np.arange(MAX_COMPONENTS), densities.argmax(1)]
    expected = tokens(densities.max(1)[None], best[None], np.array([50.0]), np.array([3.0]))
    np.testing.assert_allclose(swept.tokens, expected, atol=1e-6)
    assert swept.tokens.shape == (1, MAX_COMPONENTS, N_TOKEN_FEATURES)


def test_a_second_start_never_lowers_the_density(network: EMNetwork) -> None:
    tables = two_tables()
    recorder = Recorder(2)
    both = sweep(network, tables, MAX_COMPONENTS, recorder, n_starts=2)
    firsts = [block[:, ::2] for block in recorder.blocks]
    single = sweep(network, tables, MAX_COMPONENTS, replay(firsts), n_starts=1)
    assert (both.density >= single.density - 1e-10).all()
    assert (both.density > single.density + 1e-6).any()


def test_tables_do_not_see_each_other(network: EMNetwork) -> None:
    problems = [draw(0, 40, 3, 3), draw(1, 30, 2, 2)]
    tables, _ = padded(problems, 44, 4, 3)
    recorder = Recorder(2)
    together = sweep(network, tables, MAX_COMPONENTS, recorder)
    for t, problem in enumerate(problems):
        own = sweep(
            network,
            alone(problem)[0],
            MAX_COMPONENTS,
            replay(recorder.blocks, slice(t, t + 1)),
        )
        np.testing.assert_allclose(together.density[t], own.density[0], atol=1e-8)
        np.testing.assert_allclose(together.tokens[t], own.tokens[0], atol=1e-6)


def test_numpy_and_torch_agree(network: EMNetwork) -> None:
    tables = two_tables()
    recorder = Recorder(2)
    by_numpy = sweep(network, tables, MAX_COMPONENTS, recorder)
    on_torch = EMNetwork({k: torch.from_numpy(v) for k, v in network.weights.items()})
    blocks = [torch.from_numpy(block) for block in recorder.blocks]
    torch_tables = Tables(torch.from_numpy(tables.X), torch.from_numpy(tables.weight))
    by_torch = sweep(on_torch, torch_tables, MAX_COMPONENTS, replay(blocks))
    np.testing.assert_allclose(by_torch.density.numpy(), by_numpy.density, atol=1e-10)
    np.testing.assert_allclose(by_torch.tokens.numpy(), by_numpy.tokens, atol=1e-8)
    assert np.array_equal(by_torch.is_possible.numpy(), by_numpy.is_possible)


def test_signs_and_order_of_columns_do_not_matter(network: EMNetwork) -> None:
    tables = two_tables()
    recorder = Recorder(2)
    plain = sweep(network, tables, MAX_COMPONENTS, recorder)
    turned = Tables((tables.X * np.array([1.0, -1.0, 1.0]))[..., [2, 0, 1]], tables.weight)
    other = sweep(network, turned, MAX_COMPONENTS, replay(recorder.blocks))
    np.testing.assert_allclose(other.density, plain.density, atol=1e-9)
    np.testing.assert_allclose(other.tokens, plain.tokens, atol=1e-7)


def test_more_components_than_rows_are_impossible(network: EMNetwork) -> None:
    X = np.random.default_rng(0).standard_normal((3, 12, 2))
    weight = np.ones((3, 12))
    weight[1, 4:] = 0.0
    weight[2, 1:] = 0.0
    swept = sweep(network, Tables(X, weight), MAX_COMPONENTS, Recorder(3))
    assert swept.is_possible.sum(1).tolist() == [7, 4, 1]
    assert np.isfinite(swept.tokens).all()


@pytest.mark.parametrize("highest", [1, 2, 4, 11])
def test_any_highest_count(network: EMNetwork, highest: int) -> None:
    swept = sweep(network, two_tables(), highest, Recorder(2), n_starts=1)
    assert swept.density.shape == (2, highest)
    assert swept.tokens.shape == (2, highest, N_TOKEN_FEATURES)


def test_buckets_leave_no_count_out() -> None:
    counts = [K for low, top in BUCKETS for K in range(low, top + 1)]
    assert counts == list(range(1, BUCKETS[-1][1] + 1))


def test_density_grows_with_the_number_of_components_under_em() -> None:
    """A mixture of K + 1 holds every mixture of K; good starts find most of the gain."""
    tables, _ = alone(draw(3, 80, 2, 3, separation=4.0))
    em = EMNetwork(em_weights("full", 1e-3), n_loops=60)
    density = sweep(em, tables, 5, Recorder(1), n_starts=8).density[0]
    gains = np.diff(density)
    assert (gains[:2] > 0.2).all()  # up to the true three
    assert abs(gains[2:]).max() < 0.2  # little beyond


@pytest.mark.parametrize(
    "name", ["coinciding", "constant columns", "duplicates", "two rows", "one row", "one column"]
)
def test_ugly_tables_have_finite_tokens(network: EMNetwork, name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    X = {
        "coinciding": np.full((20, 3), 2.0),
        "constant columns": X * np.array([1.0, 0.0, 0.0]),
        "duplicates": np.repeat(X[:2], 10, axis=0),
        "two rows": X[:2],
        "one row": X[:1],
        "one column": X[:, :1],
    }[name]
    tables = Tables(X[None], np.ones((1, len(X))))
    for used in (network, EMNetwork(em_weights("full", 1e-4), n_loops=20)):
        swept = sweep(used, tables, MAX_COMPONENTS, Recorder(1))
        assert np.isfinite(swept.tokens).all()
        assert np.isfinite(swept.density).all()
