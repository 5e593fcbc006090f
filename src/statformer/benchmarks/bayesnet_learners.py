"""Ways to learn a structure from rows behind one face: codes in, a structure out.

Every learner starts with the same table of categories, and with the same knowledge: none, or the
order of the variables, as each library takes it. All search for a DAG without a limit on parents.

Axes: n rows, v variables. Codes are "n v".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from statformer.estimators.bayes_net import AttentionBayesNet
from statformer.estimators.bayes_net_search import best_in_any_order, best_in_order
from statformer.nn.parent_set_candidates import CandidateSets, all_subsets
from statformer.nn.parent_sets import count
from statformer.reference.bayes_net import Structure

Array = np.ndarray
Order = Sequence[str] | None
Learner = Callable[[pd.DataFrame, Order], AttentionBayesNet]

PRETRAINED, CONSTRUCTED = "pretrained", "constructed"
PGMPY, AGRUM = "pgmpy, hill-climbing, BIC", "pyAgrum, hill-climbing, BIC"
EXACT_BIC, TRUTH = "BIC, our exact search", "the true DAG"
RIVALS = (PGMPY, AGRUM)
SMOOTHING = 1.0  # of the tables of a structure whose learner makes none


def table_of(X: Int[Array, "n v"], d: int) -> pd.DataFrame:
    """The rows as a table of d categories, so that all libraries know those that no row has."""
    kind = pd.CategoricalDtype(list(range(d)))
    return pd.DataFrame({f"x{m}": pd.Categorical(X[:, m], dtype=kind) for m in range(X.shape[1])})


def ours(weights: str) -> Learner:
    """`AttentionBayesNet`, which makes its own tables where its weights are learned."""
    smoothing = SMOOTHING if weights == CONSTRUCTED else 0.0

    def learn(df: pd.DataFrame, order: Order) -> AttentionBayesNet:
        return AttentionBayesNet(order=order, weights=weights, smoothing=smoothing).fit(df)

    return learn


def by_structure(find: Callable[[pd.DataFrame, Order], Mapping[str, list[str]]]) -> Learner:
    """A library that finds {child: parents}; the tables are counts plus `SMOOTHING`."""

    def learn(df: pd.DataFrame, order: Order) -> AttentionBayesNet:
        return AttentionBayesNet(dict(find(df, order)), smoothing=SMOOTHING).fit(df)

    return learn


def pgmpy(df: pd.DataFrame, order: Order) -> dict[str, list[str]]:
    """Hill-climbing over edges with a tabu list, as pgmpy has it; edges back in order forbidden."""
    library = search_libraries()
    known = library.knowledge(forbidden_edges=_backwards(order)) if order else None
    search = library.climb(
        scoring_method="bic-d", expert_knowledge=known, return_type="dag", show_progress=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(df)
    graph = search.causal_graph_
    return {name: sorted(graph.predecessors(name)) for name in df.columns}


def agrum(df: pd.DataFrame, order: Order) -> dict[str, list[str]]:
    """Greedy hill-climbing as pyAgrum has it; edges back in order forbidden, one thread."""
    library = search_libraries().agrum
    template = library.BayesNet()
    for name in df.columns:
        template.add(library.RangeVariable(name, "", 0, len(df[name].cat.categories) - 1))
    learner = library.BNLearner(df, template)
    learner.useGreedyHillClimbing()
    learner.useScoreBIC()
    learner.useNoPrior()
    learner.setNumberOfThreads(1)
    for parent, child in _backwards(order):
        learner.addForbiddenArc(parent, child)
    found = learner.learnDAG()
    names = list(df.columns)
    return {name: [names[p] for p in sorted(found.parents(m))] for m, name in enumerate(names)}


def exact_bic(df: pd.DataFrame, order: Order) -> dict[str, list[str]]:
    """The structure of the highest BIC of all, by the search that ours uses: what climbing lost."""
    names = list(df.columns)
    codes = np.stack([df[name].cat.codes.to_numpy() for name in names], axis=1)
    sizes = [len(df[name].cat.categories) for name in names]
    place = {name: i for i, name in enumerate(order or ())}
    candidates, scores = [], []
    for m, name in enumerate(names):
        others = [
            u
            for u, other in enumerate(names)
            if u != m and (not order or place[other] < place[name])
        ]
        sets = CandidateSets(all_subsets(others, len(others)), tuple(sizes), m)
        candidates.append(sets.candidates)
        scores.append(_bic(codes, sets))
    search = best_in_order if order else best_in_any_order
    return named(search(candidates, scores), names)


def named(structure: Structure, names: Sequence[str]) -> dict[str, list[str]]:
    """{child: parents} by names."""
    return {
        name: [names[p] for p in parents]
        for name, parents in zip(names, structure.parents, strict=True)
    }


def search_libraries() -> SimpleNamespace:
    """pyAgrum, and what pgmpy searches with; imports warn, and are silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyagrum
        from pgmpy.causal_discovery import ExpertKnowledge, HillClimbSearch

    return SimpleNamespace(agrum=pyagrum, climb=HillClimbSearch, knowledge=ExpertKnowledge)


def _backwards(order: Order) -> list[tuple[str, str]]:
    """Edges from a later variable to an earlier one."""
    listed: list[Any] = list(order or ())
    return [(late, early) for i, early in enumerate(listed) for late in listed[i + 1 :]]


def _bic(codes: Int[Array, "n v"], sets: CandidateSets) -> Float[Array, " s"]:
    """log likelihood - log(n) / 2 (d - 1) configurations, of every candidate."""
    counts = count(codes, sets)
    rows = counts.sum(axis=1)
    fit = _x_log_x(counts).sum(axis=1) - _x_log_x(rows)
    penalty = 0.5 * np.log(len(codes)) * (sets.n_categories - 1) * sets.n_configurations
    found: Float[Array, " s"] = sets.total(fit) - penalty
    return found


def _x_log_x(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x * np.log(np.where(x > 0, x, 1.0))


def learners() -> dict[str, Learner]:
    """All of them, by name."""
    return {
        PRETRAINED: ours("pretrained"),
        CONSTRUCTED: ours("constructed"),
        PGMPY: by_structure(pgmpy),
        AGRUM: by_structure(agrum),
        EXACT_BIC: by_structure(exact_bic),
    }
