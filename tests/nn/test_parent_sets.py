"""The network that reads parents: counts, exchangeability, smoothing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parent_set_tables import SIZES, TARGET, learned, rows
from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators.bayes_net_tables import configurations
from statformer.estimators.bayes_net_tables import count as count_families
from statformer.nn.parent_set_candidates import CandidateSets, all_subsets
from statformer.nn.parent_set_features import N_FEATURES, read
from statformer.nn.parent_set_head import leaning
from statformer.nn.parent_set_module import (
    ParentSetModule,
    count_tables,
    counts_at,
    near_averaging,
    total_of,
)
from statformer.nn.parent_sets import ParentSetNetwork, count
from statformer.reference.bayes_net import Structure

EVERY_SET = all_subsets(range(4), 4)
SETS = CandidateSets(EVERY_SET, SIZES, TARGET)

# ---------------------------------------------------------------------------------------------
# Counts and tables


def test_counts_are_those_of_the_tables_of_the_estimator() -> None:
    X, weight = rows(90), np.random.default_rng(0).random(90)
    turned = [one[::-1] for one in EVERY_SET]
    counts = count(X, CandidateSets(tuple(turned), SIZES, TARGET), weight)
    start = 0
    for one in turned:
        structure = Structure((*((),) * TARGET, one))
        expected = count_families(structure, SIZES, X.T, weight)[TARGET].reshape(-1, 3)
        np.testing.assert_allclose(counts[start : start + len(expected)], expected, atol=1e-12)
        start += len(expected)
    assert start == len(counts)


def test_many_variables_are_counted_without_merging() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (30, 40))  # 4^40 configurations do not fit into 64 bits
    candidates = ((), *((u,) for u in range(39)), (0, 38))
    found = count(X, CandidateSets(candidates, (4,) * 40, 39))
    np.testing.assert_array_equal(found[0], np.bincount(X[:, 39], minlength=4))
    assert found[-16:].sum() == 30
    assert found[-16 + 4 * X[0, 0] + X[0, 38], X[0, 39]] >= 1


def test_tables_and_predictions_agree_and_are_distributions() -> None:
    answer = learned()(rows(50), SIZES, TARGET, EVERY_SET)
    queries = rows(20, seed=7)
    mixture = np.zeros((20, 3))
    for i, one in enumerate(EVERY_SET):
        table = answer.table(i)
        np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-12)
        assert table.min() > 0
        mixture += answer.probabilities[i] * table[configurations(one, SIZES, queries.T)]
    np.testing.assert_allclose(answer.predict(queries), mixture, atol=1e-12)
    assert answer.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert answer.predict(queries[:0]).shape == (0, 3)


def test_edges_sum_the_sets() -> None:
    answer = learned()(rows(50), SIZES, TARGET, EVERY_SET)
    by_hand = sum(p for p, one in zip(answer.probabilities, EVERY_SET, strict=True) if 1 in one)
    assert answer.edge_probability(1) == pytest.approx(by_hand, abs=1e-12)
    assert answer.edge_probability(TARGET) == 0.0


def test_the_edges_are_found() -> None:
    answer = ParentSetNetwork(parent_set_weights())(rows(2000), SIZES, TARGET, EVERY_SET)
    edges = [answer.edge_probability(u) for u in range(4)]
    assert min(edges[1], edges[3]) > 0.99
    assert max(edges[0], edges[2]) < 0.2


def test_back_off_leans_on_smaller_sets() -> None:
    """With all of the smoothing on the back-off, unseen configurations answer as subsets do."""
    weights = parent_set_weights()
    weights["sets.b_out"] = np.array([0.0, 0.0, 1e4])
    X = rows(50)
    X = X[~((X[:, 1] == 2) & (X[:, 3] == 0))]
    answer = ParentSetNetwork(weights)(X, SIZES, TARGET, [(), (1,), (3,), (1, 3)])
    logits = answer.logits[:3]
    share = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    flat = ParentSetNetwork(parent_set_weights())(X, SIZES, TARGET, [(), (1,), (3,), (1, 3)])
    smaller = share @ [flat.table(0)[0], flat.table(1)[2], flat.table(2)[0]]
    np.testing.assert_allclose(answer.table(3)[8], smaller, atol=1e-12)
    np.testing.assert_allclose(flat.table(3)[8], 1 / 3, atol=1e-12)
    np.testing.assert_allclose(answer.table(0), flat.table(0), atol=1e-12)


def test_subsets_share_the_leaning() -> None:
    lean = leaning(np.linspace(0.0, 1.0, len(EVERY_SET)), SETS.is_subset)
    members = [set(one) for one in EVERY_SET]
    for s, one in enumerate(members):
        for t, other in enumerate(members):
            assert (lean[s, t] > 0) == (other < one)
    np.testing.assert_allclose(lean.sum(axis=1), [0.0, *[1.0] * (len(EVERY_SET) - 1)])


# ---------------------------------------------------------------------------------------------
# Exchangeability


def test_rows_come_in_any_order_and_count_by_their_weight() -> None:
    X, queries = rows(60), rows(9, seed=4)
    network = learned()
    expected = network(X, SIZES, TARGET, EVERY_SET).predict(queries)
    shuffled = np.random.default_rng(1).permutation(X)
    found = network(shuffled, SIZES, TARGET, EVERY_SET).predict(queries)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    twice = network(np.vstack([X, X[:20]]), SIZES, TARGET, EVERY_SET).predict(queries)
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    found = network(X, SIZES, TARGET, EVERY_SET, weight).predict(queries)
    np.testing.assert_allclose(found, twice, atol=1e-10)
    assert np.abs(twice - expected).max() > 1e-6


def test_predecessors_come_in_any_order() -> None:
    X, queries = rows(60), rows(9, seed=4)
    network = learned()
    answer = network(X, SIZES, TARGET, EVERY_SET)
    order = [2, 4, 0, 3, 1]  # variable order[i] is now called i
    name = {old: new for new, old in enumerate(order)}
    rng = np.random.default_rng(0)
    shuffled = [EVERY_SET[i] for i in rng.permutation(len(EVERY_SET))]
    renamed = [tuple(rng.permutation([name[u] for u in one]).tolist()) for one in shuffled]
    sizes = tuple(SIZES[u] for u in order)
    found = network(X[:, order], sizes, name[TARGET], renamed)
    np.testing.assert_allclose(
        found.predict(queries[:, order]), answer.predict(queries), atol=1e-10
    )
    for u in range(4):
        assert found.edge_probability(name[u]) == pytest.approx(
            answer.edge_probability(u), abs=1e-10
        )


def test_categories_may_be_renamed() -> None:
    X, queries = rows(60), rows(9, seed=4)
    flip = lambda X: np.column_stack([(d - 1 - x) for d, x in zip(SIZES, X.T, strict=True)])  # noqa: E731
    expected = learned()(X, SIZES, TARGET, EVERY_SET).predict(queries)[:, ::-1]
    found = learned()(flip(X), SIZES, TARGET, EVERY_SET).predict(flip(queries))
    np.testing.assert_allclose(found, expected, atol=1e-10)


# ---------------------------------------------------------------------------------------------
# In torch


def test_torch_says_the_same_and_has_a_gradient() -> None:
    network = learned()
    module = ParentSetModule({k: torch.as_tensor(v) for k, v in network.weights.items()})
    X, queries = rows(70), rows(11, seed=4)
    answer = network(X, SIZES, TARGET, EVERY_SET)
    codes = np.indices(SIZES[:4]).reshape(4, -1).T
    index = torch.as_tensor(SETS.index(np.column_stack([codes, codes[:, 0] * 0])))
    place = torch.tensor([24, 8, 4, 1])
    at = torch.as_tensor(X[:, :4]) @ place
    counts = count_tables(at[None], torch.as_tensor(X[:, 4])[None], index, SETS)
    np.testing.assert_array_equal(counts[0].numpy(), answer.counts)
    reading = read(counts, SETS, total_of(SETS, counts.device), torch.lgamma)
    asked = counts_at(counts, (torch.as_tensor(queries[:, :4]) @ place)[None], index)
    p, logits = module(reading, asked, torch.as_tensor(SETS.is_subset))
    np.testing.assert_allclose(p[0].detach().numpy(), answer.predict(queries), atol=1e-10)
    absolute = (logits + reading.shift).detach()[0].numpy()
    np.testing.assert_allclose(absolute, answer.logits, atol=1e-9)
    p[..., 0].sum().backward()
    assert all(bool((q.grad != 0).any()) for q in module.parameters())


def test_the_start_of_training_is_averaging_with_some_back_off() -> None:
    module = near_averaging(4, torch.Generator().manual_seed(0))
    weights = {name: value.detach().double().numpy() for name, value in module.sets.items()}
    assert weights["W_1"].any()
    weights["b_out"][2] = -1e4
    found = ParentSetNetwork(weights)(rows(40), SIZES, TARGET, EVERY_SET)
    even = parent_set_weights(dict.fromkeys((0.1, 0.3, 1.0, 3.0, 10.0), 1.0))
    expected = ParentSetNetwork(even)(rows(40), SIZES, TARGET, EVERY_SET)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(found.table(5), expected.table(5), atol=1e-5)


# ---------------------------------------------------------------------------------------------
# Features, limits and errors


@pytest.mark.parametrize("n", [0, 1, 5000])
def test_features_are_finite_and_of_unit_size(n: int) -> None:
    counts = count(rows(5000)[:n], SETS)
    reading = read(counts, SETS)
    assert reading.features.shape == (len(SETS), N_FEATURES)
    assert np.isfinite(reading.features).all()
    assert np.abs(reading.features).max() < 6.0


def test_one_candidate_and_one_category_will_do() -> None:
    answer = learned()(rows(30), SIZES, TARGET, [()])
    assert answer.probabilities.tolist() == [1.0]
    X = np.column_stack([rows(30)[:, 0], np.zeros(30, dtype=int)])
    np.testing.assert_allclose(learned()(X, (2, 1), 1, [(), (0,)]).predict(X), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 7}, "target=7"),
        ({"candidates": []}, "empty"),
        ({"candidates": [(0, TARGET)]}, "not the target"),
        ({"candidates": [(0, 0)]}, "each once"),
        ({"candidates": [(0, 1), (1, 0)]}, "listed twice"),
        ({"n_predecessors": 1}, "n_predecessors=1"),
        ({"codes": rows(5)[:, :3]}, "'n v' with v = 5"),
        ({"codes": np.where(rows(5) == 1, -1, rows(5))}, "missing cells"),
        ({"weight": np.array([1.0, 1.0, np.nan, 1.0, 1.0])}, "weight has a negative or infinite"),
    ],
)
def test_errors_name_the_argument(given: dict, message: str) -> None:
    usual = {"codes": rows(5), "sizes": SIZES, "target": TARGET, "candidates": EVERY_SET}
    with pytest.raises(ValueError, match=message):
        learned()(**{**usual, **given})


def test_tables_that_are_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer"):
        CandidateSets((tuple(range(30)),), (2,) * 31, 30)


def test_foreign_weights_are_refused() -> None:
    weights = parent_set_weights()
    with pytest.raises(ValueError, match="W_out"):
        ParentSetNetwork({k: v for k, v in weights.items() if k != "sets.W_out"})
    with pytest.raises(ValueError, match="random_dag"):
        ParentSetNetwork({**weights, "sets.W_1": np.zeros((3, 1))})
