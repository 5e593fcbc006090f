"""Networks of the paper's experiments, and rows that follow them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.reference.bayes_net import Structure, conditional_frequencies, count
from statformer.tasks.bayes_net import (
    CONDITIONALS,
    SACHS_NAMES,
    STRUCTURES,
    BayesNetPrior,
    all_earlier,
)
from statformer.tasks.stream import TaskStream


def stream(n_tasks: int = 4, seed: int = 0) -> TaskStream:
    return TaskStream(seed, step=0, tasks=range(n_tasks), dtype=torch.float64)


def tables_of(batch, parents) -> list[list[np.ndarray]]:
    """Tables of every task with one axis per parent, the first parent's place being 1."""
    d = batch.tables.shape[-1]
    found = []
    for tables in batch.tables.numpy():
        one = []
        for v, of_v in enumerate(parents):
            axes = [*range(len(of_v))][::-1]
            table = tables[v, : d ** len(of_v)].reshape(*[d] * len(of_v), d)
            one.append(table.transpose(*axes, len(of_v)))
        found.append(one)
    return found


@pytest.mark.parametrize("name", STRUCTURES)
def test_rows_follow_the_tables_of_every_structure(name: str) -> None:
    parents = STRUCTURES[name]
    d = 3 if name == "sachs" else 2
    batch = BayesNetPrior(name, n_rows=4000, n_categories=d, concentration=2.0).sample(stream(2))
    assert batch.X.shape == (2, 4000, len(parents))
    for X, tables in zip(batch.X.numpy(), tables_of(batch, parents), strict=True):
        counts = count(Structure(parents), [d] * len(parents), X)
        for table, seen, p in zip(tables, counts, conditional_frequencies(counts), strict=True):
            n = seen.sum(-1, keepdims=True)
            error = np.where(n > 0, np.abs(np.nan_to_num(p) - table) * np.sqrt(n), 0.0)
            assert error.max() < 2.7  # five standard deviations of a frequency


def test_sachs_is_the_published_graph() -> None:
    named = {
        SACHS_NAMES[v]: {SACHS_NAMES[u] for u in of_v} for v, of_v in enumerate(STRUCTURES["sachs"])
    }
    assert sum(map(len, named.values())) == 18
    assert named["Mek"] == {"PKC", "PKA", "RAF"}
    assert named["Akt"] == {"PKA", "Erk", "PIP3"}
    assert named["PIP2"] == {"Plcg", "PIP3"}
    assert [name for name, of in named.items() if not of] == ["PKC", "Plcg"]


def test_random_structures_are_acyclic_and_nobody_is_alone() -> None:
    sparse = BayesNetPrior("random", n_rows=2, n_variables=6, edges=(0.0, 0.1)).sample(stream(300))
    adjacency = sparse.adjacency
    assert not adjacency.triu().any()
    assert (adjacency.any(-1) | adjacency.any(-2)).all()
    assert adjacency.sum((1, 2)).double().mean() < 6
    dense = BayesNetPrior("random", n_rows=2, n_variables=6, edges=(1.0, 1.0)).sample(stream(3))
    assert (dense.adjacency == all_earlier(6)).all()


@pytest.mark.parametrize("law", CONDITIONALS)
def test_laws_of_the_tables(law: str) -> None:
    prior = BayesNetPrior("general", n_rows=1, conditionals=law)
    tables = prior.sample(stream(500)).tables
    torch.testing.assert_close(tables.sum(-1), torch.ones_like(tables[..., 0]))
    p = tables[..., 1].flatten()
    if law == "decided":
        assert ((p - 0.5).abs().sub(0.275).abs() <= 0.075).all()
        assert 0.45 < (p > 0.5).double().mean() < 0.55
    if law == "dirichlet":  # uniform on (0, 1)
        assert abs(p.mean() - 0.5) < 0.02
        assert abs(p.var() - 1 / 12) < 0.005
    assert p.min() > 0


def test_truth_and_frequencies_by_hand() -> None:
    prior = BayesNetPrior("general", n_rows=60)
    batch = prior.sample(stream(3))
    X, parents = batch.X.numpy(), STRUCTURES["general"]
    truth, tables = batch.truth(), tables_of(batch, parents)
    known, n_known = batch.frequencies(59, batch.adjacency)
    naive, n_naive = batch.frequencies(59, all_earlier(5))
    assert (n_naive <= n_known).all()
    for b in range(3):
        query = X[b, -1]
        for v, of_v in enumerate(parents):
            expected = tables[b][v][tuple(query[list(of_v)])]
            np.testing.assert_allclose(truth[b, -1, v], expected)
            for given, p, n in ((list(of_v), known, n_known), (list(range(v)), naive, n_naive)):
                rows = X[b, :59][(X[b, :59][:, given] == query[given]).all(axis=1), v]
                assert len(rows) == n[b, v]
                if len(rows):
                    shares = np.bincount(rows, minlength=2) / len(rows)
                    np.testing.assert_allclose(p[b, v], shares)
                else:
                    assert p[b, v].isnan().all()


def test_errors_of_counting_are_those_of_theory() -> None:
    """Two categories, U(0, 1): E|p - truth| is about 0.313 / sqrt(n) without parents."""
    batch = BayesNetPrior("general", n_rows=101).sample(stream(1500))
    known, _ = batch.frequencies(100, batch.adjacency)
    error = (known - batch.truth()[:, -1]).abs().sum(-1) / 2
    assert abs(error[:, :2].mean() - 0.0313) < 0.002
    # One parent, N large: at most sqrt(2) times that; rare configurations add a little.
    assert 0.033 < error[:, 4].nanmean() < 1.1 * 0.313 * (2 / 100) ** 0.5
    naive, _ = batch.frequencies(100, all_earlier(5))
    assert (naive - batch.truth()[:, -1])[:, 4].abs().nanmean() > 1.3 * error[:, 4].nanmean()


def test_a_task_does_not_depend_on_its_batch() -> None:
    prior = BayesNetPrior("random", n_rows=20)
    whole = prior.sample(stream(4))
    alone = prior.sample(TaskStream(0, 0, [2], dtype=torch.float64))
    assert (whole.X[2] == alone.X[0]).all()
    assert (whole.adjacency[2] == alone.adjacency[0]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"structure": "star"},
        {"structure": ((1,), ())},
        {"conditionals": "beta"},
        {"conditionals": "decided", "n_categories": 3},
        {"edges": (0.5, 0.2)},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + "|n_categories"):
        BayesNetPrior(**wrong)
