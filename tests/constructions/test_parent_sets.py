"""The theorem's weights average Bayesian models exactly, and stop doing so when one is moved."""

from __future__ import annotations

import numpy as np
import pytest

from parent_set_tables import SIZES, TARGET, rows
from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_set_features import CONCENTRATIONS
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.parent_sets import averaged, posterior

ROUNDING = 1e-10
FLAT = {1.0: 1.0}
MIXED = {0.1: 0.25, 1.0: 0.25, 3.0: 0.5}
EVERY_SET = all_subsets(range(4), 4)


def gap(
    weights: dict[str, np.ndarray], X: np.ndarray, prior: dict[float, float], n_queries: int = 6
) -> float:
    """Largest distance of an answer from the reference."""
    queries = rows(n_queries, seed=99)
    found = ParentSetNetwork(weights)(X, SIZES, TARGET, EVERY_SET).predict(queries)
    truth = [averaged(X, SIZES, TARGET, EVERY_SET, 4, prior, query) for query in queries.tolist()]
    return float(np.abs(found - truth).max())


@pytest.mark.parametrize("prior", [FLAT, MIXED])
@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_answers_equal_the_reference(n: int, prior: dict[float, float]) -> None:
    for seed in range(2):
        assert gap(parent_set_weights(prior), rows(300, seed)[:n], prior) < ROUNDING


def test_flat_tables_are_the_default() -> None:
    assert gap(parent_set_weights(), rows(50), FLAT) < ROUNDING
    assert gap(parent_set_weights(), rows(50), MIXED) > 1e-4


def test_posterior_and_tables_equal_the_reference() -> None:
    X = rows(80, seed=5)
    candidates = [one[::-1] for one in EVERY_SET if len(one) < 3]
    answer = ParentSetNetwork(parent_set_weights())(X, SIZES, TARGET, candidates)
    shares = posterior(X, SIZES, TARGET, candidates, 4, FLAT)
    for i, one in enumerate(candidates):
        assert answer.probabilities[i] == pytest.approx(shares[one, 1.0], abs=ROUNDING)
        tables = np.zeros([*(SIZES[u] for u in one), SIZES[TARGET]])
        for x in X:
            tables[(*x[list(one)], x[TARGET])] += 1.0
        expected = (tables + 1.0) / (tables + 1.0).sum(-1, keepdims=True)
        found = answer.table(i).reshape(tables.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["log_pi", "W_pi", "W_out", "b_out"])
def test_a_moved_weight_shows(name: str) -> None:
    """The layers below act through W_pi and W_out: while these are 0, what is below is mute."""
    weights = parent_set_weights(MIXED)
    moved = {key: value.copy() for key, value in weights.items()}
    moved[f"sets.{name}"].flat[-1 if name == "b_out" else 0] += 1e4 if name == "b_out" else 0.5
    moved["sets.W_1"] += 0.3
    moved["sets.W_2"] += 0.3
    distance = gap(moved, rows(60), MIXED)
    moved[f"sets.{name}"] = weights[f"sets.{name}"]
    assert gap(moved, rows(60), MIXED) < ROUNDING < 1e-6 < distance


def test_logits_compare_across_lists_of_candidates() -> None:
    X = rows(80)
    network = ParentSetNetwork(parent_set_weights())
    few = network(X, SIZES, TARGET, [(1,), (3, 1)], n_predecessors=4)
    many = network(X, SIZES, TARGET, EVERY_SET)
    for i, one in enumerate([(1,), (1, 3)]):
        assert few.logits[i] == pytest.approx(many.logits[EVERY_SET.index(one)], abs=1e-9)
    alone = network(X, SIZES, TARGET, [(1,), (3, 1)])  # two predecessors: another prior
    assert abs(alone.logits - few.logits).min() > 0.1


@pytest.mark.parametrize("prior", [{0.5: 1.0}, {1.0: -1.0, 3.0: 2.0}, {1.0: 0.0}, {}])
def test_foreign_priors_are_refused(prior: dict[float, float]) -> None:
    with pytest.raises(ValueError, match="prior="):
        parent_set_weights(prior)


def test_all_concentrations_may_have_a_probability() -> None:
    weights = parent_set_weights(dict.fromkeys(CONCENTRATIONS, 2.0))
    np.testing.assert_allclose(np.exp(weights["sets.log_pi"]), 0.2)
