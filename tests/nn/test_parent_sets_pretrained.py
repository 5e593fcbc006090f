"""The random-DAG weights that ship: golden predictions, and what they promise on fresh networks.

These tests fail, and do not skip, where the package has no weights: they are part of the product.
`python tests/nn/test_parent_sets_pretrained.py` rewrites the golden predictions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "random_dag.json"
M = 5  # predecessors
EVERY_SET = all_subsets(range(M), M)
SIZES = (2,) * (M + 1)
CELLS = np.array(list(np.ndindex(*(2,) * M)))
THEOREM = ParentSetNetwork(parent_set_weights())


def shipped() -> ParentSetNetwork:
    return ParentSetNetwork(load_weights("random_dag")[0])


def task(
    seed: int, n: int, strength: float = 1.0, parents: tuple[int, ...] = (1, 3)
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of five coins and of a variable with some of them as parents, and its truth "c 2"."""
    rng = np.random.default_rng([seed, n])
    p = rng.beta(strength, strength, size=(2,) * len(parents))
    X = rng.integers(0, 2, (n, M))
    last = rng.random(n) < p[tuple(X[:, parents].T)]
    truth = p[tuple(CELLS[:, parents].T)]
    return np.column_stack([X, last]).astype(int), np.column_stack([1.0 - truth, truth])


def variation(
    network: ParentSetNetwork, n: int, strength: float, parents: tuple[int, ...] = (1, 3)
) -> float:
    """Mean total variation to the truth over all configurations of 60 tasks."""
    found = []
    for seed in range(60):
        X, truth = task(seed, n, strength, parents)
        p = network(X, SIZES, M, EVERY_SET).predict(np.column_stack([CELLS, CELLS[:, 0]]))
        found.append(0.5 * np.abs(p - truth).sum(axis=1).mean())
    return float(np.mean(found))


def predictions() -> dict[str, list]:
    """Logits, edges and tables after few and many rows, and with three categories."""
    found: dict[str, list] = {}
    network = shipped()
    for n in (0, 8, 300):
        X, _ = task(0, n)
        answer = network(X, SIZES, M, EVERY_SET)
        found[f"{n} rows logits"] = answer.logits.tolist()
        found[f"{n} rows edges"] = [answer.edge_probability(u) for u in range(M)]
        found[f"{n} rows table"] = answer.table(EVERY_SET.index((1, 3))).tolist()
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (60, 3))
    X[:, 2] = np.where(rng.random(60) < 0.7, X[:, 0], X[:, 2])
    answer = network(X, (3, 3, 3), 2, all_subsets(range(2), 2))
    found["three categories"] = answer.predict(X[:5]).tolist()
    return found


def test_golden_predictions() -> None:
    golden = json.loads(GOLDEN.read_text())
    found = predictions()
    assert golden.keys() == found.keys()
    for name, expected in golden.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_golden_predictions_are_those_of_these_weights() -> None:
    """A network with one weight disturbed does not give them."""
    golden = json.loads(GOLDEN.read_text())
    X, _ = task(0, 8)
    weights, _ = load_weights("random_dag")
    for name, value in weights.items():
        moved = value.copy()
        moved.flat[0] += 1e-3
        answer = ParentSetNetwork({**weights, name: moved})(X, SIZES, M, EVERY_SET)
        apart = np.abs(answer.logits - golden["8 rows logits"]).max()
        assert apart > 1e-9, name


@pytest.mark.parametrize("n", [20, 100])
def test_no_worse_than_the_theorem_on_its_own_tables(n: int) -> None:
    assert variation(shipped(), n, 1.0) < variation(THEOREM, n, 1.0) + 0.01


def test_better_than_the_theorem_on_tables_that_are_nearly_certain() -> None:
    ours, theorem = (variation(one, 60, 0.15, tuple(range(M))) for one in (shipped(), THEOREM))
    assert ours < 0.95 * theorem


def test_the_parents_are_found() -> None:
    found = [shipped()(task(seed, 1500)[0], SIZES, M, EVERY_SET) for seed in range(10)]
    edges = np.array([[answer.edge_probability(u) for u in range(M)] for answer in found])
    assert edges[:, [1, 3]].mean() > 0.85
    assert edges[:, [0, 2, 4]].mean() < 0.15


def test_the_package_stays_small() -> None:
    weights, card = load_weights("random_dag")
    assert sum(value.size for value in weights.values()) * 4 < 200_000
    assert card["recipe"] == "random_dag"
    assert card["licence"] == "Apache-2.0"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(predictions(), indent=1) + "\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
