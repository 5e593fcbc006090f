"""The explicit weights count, within their bound, and stop doing so when any block is moved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from statformer.constructions.bayes_net import (
    UNKNOWN,
    CountingTransformer,
    as_shares,
    counting_weights,
    draw,
    error_bound,
    prompt_layout,
    sharpness,
)
from statformer.nn.layout import TokenLayout
from statformer.reference.bayes_net import (
    Structure,
    ancestral_sample,
    backed_off,
    closest_rows,
    conditional_frequencies,
    count,
    joint,
)

ROUNDING = 1e-10
GENERAL = Structure(((), (), (0, 1), (0, 2), (3,)))
SIZES = (2, 3, 2, 3, 2)


def random_structure(rng: np.random.Generator, n_variables: int, in_degree: int) -> Structure:
    """Up to `in_degree` earlier variables as parents of each."""
    parents = []
    for m in range(n_variables):
        k = rng.integers(0, min(m, in_degree) + 1)
        parents.append(tuple(rng.choice(m, size=k, replace=False).tolist()) if k else ())
    return Structure(tuple(parents))


def random_rows(structure: Structure, sizes: tuple[int, ...], n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shapes = [
        ([sizes[p] for p in parents], sizes[m]) for m, parents in enumerate(structure.parents)
    ]
    tables = [rng.dirichlet(np.ones(d), size=of_parents) for of_parents, d in shapes]
    return ancestral_sample(structure, tables, n, rng)


def gaps(network: CountingTransformer, X: np.ndarray, queries: np.ndarray) -> Iterator[tuple]:
    """(L1 distance to the reference, its bound) for every variable of every query."""
    structure = network.structure
    for target, parents in enumerate(structure.parents):
        found = network.conditional(target, queries)
        for answer, query in zip(found, queries, strict=True):
            values = query[list(parents)].tolist()
            rows, most = closest_rows(X, parents, values)
            truth = backed_off(structure, network.sizes, X, target, values)
            k = len(parents) - most
            yield (
                float(np.abs(answer - truth).sum()),
                error_bound(len(rows), len(X), network.beta, network.c, k),
            )


# ---------------------------------------------------------------------------------------------
# Equality


@pytest.mark.parametrize("n", [3, 50, 200])
@pytest.mark.parametrize("beta", [2.0, 5.0, 10.0, 20.0])
def test_the_error_is_within_its_bound_over_random_graphs(beta: float, n: int) -> None:
    largest = 0.0
    for seed in range(12):
        rng = np.random.default_rng([seed, n])
        structure = random_structure(rng, n_variables=6, in_degree=3)
        X = random_rows(structure, (3,) * 6, n, seed)
        queries = rng.integers(0, 3, size=(5, 6))
        network = CountingTransformer(structure, (3,) * 6, X, sharp=(beta, 4 * beta))
        for gap, bound in gaps(network, X, queries):
            assert gap <= bound + ROUNDING
            largest = max(largest, gap)
    assert (largest < 1e-6) == (beta == 20.0)  # a blunt softmax is seen to be wrong


def test_the_chosen_sharpness_gives_the_error_asked_for() -> None:
    X = random_rows(GENERAL, SIZES, 60, 0)
    queries = np.random.default_rng(1).integers(0, SIZES, size=(40, 5))
    for error in (1e-3, 1e-9):
        network = CountingTransformer(GENERAL, SIZES, X, error=error)
        assert max(gap for gap, _ in gaps(network, X, queries)) < error + ROUNDING
    beta, c = sharpness(60, 2, 1e-3)
    assert error_bound(1, 60, beta, c) <= 1e-3
    assert error_bound(1, 60, beta, c, n_disagreeing=2) <= 1e-3


def test_rows_count_as_often_as_their_weight_says() -> None:
    X = random_rows(GENERAL, SIZES, 30, 2)
    weight = np.random.default_rng(2).integers(0, 4, 30)
    by_weight = CountingTransformer(GENERAL, SIZES, X, weight.astype(float))
    repeated = np.repeat(X, weight, axis=0)
    assert max(gap for gap, _ in gaps(by_weight, repeated, repeated[::3])) < 1e-8


def test_smoothing_is_rows_that_nobody_saw() -> None:
    X = random_rows(GENERAL, SIZES, 12, 5)
    network = CountingTransformer(GENERAL, SIZES, X, smoothing=0.5)
    queries = np.random.default_rng(0).integers(0, SIZES, size=(30, 5))
    for target, table in enumerate(conditional_frequencies(count(GENERAL, SIZES, X), 0.5)):
        expected = table[tuple(queries[:, list(GENERAL.parents[target])].T)]
        expected = np.broadcast_to(expected, (30, SIZES[target]))
        np.testing.assert_allclose(network.conditional(target, queries), expected, atol=1e-8)


def test_new_rows_follow_the_joint_law_of_maximum_likelihood() -> None:
    X = random_rows(GENERAL, SIZES, 400, 3)
    tables = [np.nan_to_num(t) for t in conditional_frequencies(count(GENERAL, SIZES, X))]
    drawn = CountingTransformer(GENERAL, SIZES, X).generate(20_000, np.random.default_rng(0))
    seen = np.zeros(SIZES)
    np.add.at(seen, tuple(drawn.T), 1 / len(drawn))
    assert 0.5 * np.abs(seen - joint(GENERAL, tables)).sum() < 0.03


def test_the_law_of_the_rows_is_within_half_the_sum_of_the_errors() -> None:
    X = random_rows(GENERAL, SIZES, 400, 3)
    tables = [np.nan_to_num(t) for t in conditional_frequencies(count(GENERAL, SIZES, X))]
    network = CountingTransformer(GENERAL, SIZES, X, sharp=(6.0, 20.0))
    read, errors = [], []
    for target, (parents, table) in enumerate(zip(GENERAL.parents, tables, strict=True)):
        shape = [SIZES[p] for p in parents]
        queries = np.full((int(np.prod(shape)), 5), UNKNOWN)
        queries[:, list(parents)] = np.array(list(np.ndindex(*shape)))
        read.append(as_shares(network.conditional(target, queries)).reshape(table.shape))
        errors.append(np.abs(read[-1] - table).sum(axis=-1).max())
    distance = 0.5 * np.abs(joint(GENERAL, read) - joint(GENERAL, tables)).sum()
    assert 1e-5 < distance <= 0.5 * sum(errors)


def test_variables_may_come_in_any_order() -> None:
    turned = Structure(tuple(tuple(4 - p for p in of) for of in GENERAL.parents[::-1]))
    X = random_rows(GENERAL, SIZES, 50, 4)[:, ::-1]
    network = CountingTransformer(turned, SIZES[::-1], X)
    assert max(gap for gap, _ in gaps(network, X, X[:10])) < 1e-8
    assert network.generate(7, np.random.default_rng(0)).shape == (7, 5)


def test_draws_take_every_category() -> None:
    p = np.array([[0.0, 1.0, 0.0], [0.5, 0.25, 0.25], [-1e-12, 0.0, 0.9]])
    drawn = np.stack([draw(p, np.random.default_rng(seed)) for seed in range(2000)])
    assert (drawn[:, 0] == 1).all()
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 2000, [0.5, 0.25, 0.25], atol=0.05)
    assert (drawn[:, 2] == 2).all()


# ---------------------------------------------------------------------------------------------
# Every nonzero block of every matrix is needed

SMALL = Structure(((), (0,), (0, 1), (2,)))
LAYOUT = prompt_layout(4, 2)
UNITS = TokenLayout({f"unit {j}": 2 for j in range(4)})
SIDES = {
    "W_QK": (LAYOUT, LAYOUT),
    "W_OV": (LAYOUT, LAYOUT),
    "W_in": (LAYOUT, UNITS),
    "W_out": (UNITS, LAYOUT),
}
BLOCKS = [
    (name, layer, row, column)
    for name, weights in counting_weights(SMALL, 2, 12, 3.0, 9.0).items()
    for layer in range(2)
    for row, column in SIDES[name][0].blocks(weights[layer], SIDES[name][1])
]
# The last variable has no children, so that no query holds it while another is asked for: what
# would match it is idle.
IDLE = {("W_QK", 1, "x 3", "x 3")}


def answers(network: CountingTransformer, queries: np.ndarray) -> np.ndarray:
    """All variables of all queries, one prompt after another."""
    each = [network.conditional(target, query[None])[0] for target in range(4) for query in queries]
    return np.array(each)


@pytest.mark.parametrize(("name", "layer", "row", "column"), BLOCKS)
def test_disturbing_any_block_breaks_the_equality(
    name: str, layer: int, row: str, column: str
) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(12, 4))
    queries = rng.integers(0, 2, size=(6, 4))
    network = CountingTransformer(SMALL, (2,) * 4, X, sharp=(3.0, 9.0))
    before = answers(network, queries)
    left, right = SIDES[name]
    matrix = network.network.weights[name][layer]
    at = left[row].start, right[column].start
    exact, moved = matrix[at], 0.0
    for disturbance in (-0.05, 0.05):  # a gate that is shut does not mind being shut harder
        matrix[at] = exact + disturbance
        moved = max(moved, float(np.abs(answers(network, queries) - before).max()))
    assert (moved < 1e-12) == ((name, layer, row, column) in IDLE)


# ---------------------------------------------------------------------------------------------
# Requests that cannot be met


def test_wrong_requests_are_refused() -> None:
    X = random_rows(GENERAL, SIZES, 10, 0)
    network = CountingTransformer(GENERAL, SIZES, X)
    blind = np.full((1, 5), UNKNOWN)
    assert network.conditional(0, blind).shape == (1, 2)
    with pytest.raises(ValueError, match="lacks a parent"):
        network.conditional(2, blind)
    with pytest.raises(ValueError, match="row 0 has 3 for variable 1"):
        network.conditional(0, np.array([[0, 3, 0, 0, 0]]))
    with pytest.raises(ValueError, match="shape"):
        network.conditional(0, blind[:, :4])
    with pytest.raises(ValueError, match="no row"):
        CountingTransformer(GENERAL, SIZES, X[:0])
    with pytest.raises(ValueError, match="beta"):
        CountingTransformer(GENERAL, SIZES, X, sharp=(-1.0, 1.0))
    with pytest.raises(ValueError, match="-1 for variable"):
        CountingTransformer(GENERAL, SIZES, X - 1)
