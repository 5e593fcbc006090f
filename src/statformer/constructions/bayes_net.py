"""Weights under which two attention layers are maximum likelihood in a Bayesian network.

Where the weights come from: Cao, He, Wu, Chen, Fan and Liu (arXiv 2501.02547) prove that a
two-layer Transformer selects the parents of a variable and then averages the context rows that
match them; their matrices were not available to us. The weights below are derived here, not copied
from the paper. `docs/theorems/bayes_net.md` has the derivation. The parents are written into the
weights: only the frequencies are read from the context.

Reference: `reference.bayes_net.backed_off`; error: `error_bound`, in L1.

Axes: n context rows, q queries, v variables, d categories (the most that a variable has), m token
width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from statformer.nn.bayes_net import PromptTransformer
from statformer.nn.layout import TokenLayout
from statformer.reference.bayes_net import Structure

Array = np.ndarray
UNKNOWN = -1  # a cell of a query that is not known yet


def prompt_layout(n_variables: int, n_categories: int) -> TokenLayout:
    """Slots of context and query tokens; m = (2 v + 1) d.

    | slot       | context row i  | query for variable t                        |
    |------------|----------------|---------------------------------------------|
    | x j        | one-hot x_ij   | one-hot where known, 0 for t and where not  |
    | position j | 0              | 1 in every entry of position t, else 0      |
    | flag       | 0              | 1                                           |
    """
    slots = {f"x {j}": n_categories for j in range(n_variables)}
    slots |= {f"position {j}": n_categories for j in range(n_variables)}
    return TokenLayout(slots | {"flag": n_categories})


def counting_weights(
    structure: Structure, n_categories: int, n_rows: float, beta: float, c: float
) -> dict[str, Float[Array, "..."]]:
    """Layer 1 keeps a variable and its parents, layer 2 averages the rows that match the parents.

    `n_rows` is the number of context rows, or the sum of their weights: layer 1 attends to all
    tokens alike, which dilutes the query's position by 1 / (n_rows + 1), and multiplies it back.
    `beta` sharpens the match, `c` keeps the query from attending to itself.

    Raises ValueError for a beta or c that is negative.
    """
    for name, value in (("beta", beta), ("c", c)):
        if value < 0:
            raise ValueError(
                f"{name}={value!r} must be 0 or more; the larger, the smaller the error"
            )
    layout = prompt_layout(len(structure), n_categories)
    variables = range(len(structure))
    hear = {(f"position {j}", f"position {j}"): n_rows + 1.0 for j in variables}
    match = {(f"x {j}", f"x {j}"): beta for j in variables}
    W_QK = np.stack([np.zeros((layout.width,) * 2), layout.matrix(match)])
    at = layout["flag"].start
    W_QK[1, at, at] = -c
    take = {(f"x {j}", f"x {j}"): 1.0 for j in variables}
    units = TokenLayout({f"unit {j}": n_categories for j in variables})
    # A unit is x - (the position of every variable to which it matters); relu of it is taken away.
    reads = {(f"x {j}", f"unit {j}"): 1.0 for j in variables}
    for t, parents in enumerate(structure.parents):
        reads |= {(f"position {t}", f"unit {j}"): -1.0 for j in (t, *parents)}
    clears = {(f"unit {j}", f"x {j}"): -1.0 for j in variables}
    W_in, W_out = layout.matrix(reads, units), units.matrix(clears, layout)
    return {
        "W_QK": W_QK,
        "W_OV": np.stack([layout.matrix(hear), layout.matrix(take)]),
        "W_in": np.stack([W_in, np.zeros_like(W_in)]),
        "W_out": np.stack([W_out, np.zeros_like(W_out)]),
    }


def sharpness(n_rows: float, in_degree: int, error: float = 1e-9) -> tuple[float, float]:
    """(beta, c) for which `error_bound` is at most `error`, wherever a whole row or more matches.

    beta = log(4 n_rows / error), and c = beta in_degree + log(4 / error): with the first term the
    query does not listen to itself where no row matches, however few parents the closest share.
    """
    beta = math.log(4.0 * max(n_rows, 1.0) / error)
    return beta, beta * in_degree + math.log(4.0 / error)


def error_bound(
    n_closest: float, n_rows: float, beta: float, c: float, n_disagreeing: int = 0
) -> float:
    """2 (N e^-beta + e^(beta k - c)) / n: how far an answer is from `backed_off`, in L1.

    n rows (or weight) of N are closest to the query, which disagree with it on k parents: k = 0
    where the configuration was seen, and then the query itself weighs e^-c beside them.
    """
    return 2.0 * (n_rows * math.exp(-beta) + math.exp(beta * n_disagreeing - c)) / n_closest


class CountingTransformer:
    """The network for one structure and one context: conditional frequencies, and new rows.

    context    "n v" whole numbers from 0; row i counts `weight[i]` times
    sizes      number of categories of each variable
    smoothing  s: adds to the context, for every target, one row for each configuration and
               category, which counts s times for this target alone; then no configuration is
               without a row, and the answer is (count + s) / (their sum)
    error      what `error_bound` allows where a row matches; or beta and c themselves (`sharp`)
    """

    def __init__(
        self,
        structure: Structure,
        sizes: Sequence[int],
        context: Int[Array, "n v"],
        weight: Float[Array, "n"] | None = None,
        *,
        smoothing: float = 0.0,
        error: float = 1e-9,
        sharp: tuple[float, float] | None = None,
    ) -> None:
        """Raises ValueError for a context of another width, without rows, or with foreign cells."""
        self.structure, self.sizes = structure, tuple(sizes)
        weight = np.ones(len(context)) if weight is None else weight
        if not weight.sum() > 0:
            raise ValueError("context has no row that counts; there is nothing to average")
        self._check("context", context, least=0)
        self.layout = prompt_layout(len(structure), max(self.sizes))
        imagined = [self._imagined(t) if smoothing else context[:0] for t in range(len(self.sizes))]
        self.tokens = self._one_hot(np.vstack([context, *imagined]))
        owner = np.repeat(range(len(imagined)), [len(rows) for rows in imagined])
        self.weight_for = [np.append(weight, smoothing * (owner == t)) for t in range(len(sizes))]
        self.n_rows = max(float(one.sum()) for one in self.weight_for)
        self.beta, self.c = sharp or sharpness(self.n_rows, structure.in_degree, error)
        weights = counting_weights(structure, max(self.sizes), self.n_rows, self.beta, self.c)
        self.network = PromptTransformer(weights)

    def conditional(self, target: int, queries: Int[Array, "q v"]) -> Float[Array, "q d_t"]:
        """p(target | its parents) in one pass, as the network says it: sums to nearly 1.

        `queries` hold the parents of the target; all other cells may be UNKNOWN, and do not count.

        Raises ValueError for queries of another width, foreign cells, or an unknown parent.
        """
        self._check("queries", queries, least=UNKNOWN)
        blind = (queries[:, list(self.structure.parents[target])] == UNKNOWN).any(axis=1)
        if blind.any():
            raise ValueError(f"queries: row {blind.argmax()} lacks a parent of variable {target}")
        tokens = self._one_hot(queries)
        tokens[:, self.layout[f"x {target}"]] = 0.0
        tokens[:, self.layout[f"position {target}"]] = 1.0
        tokens[:, self.layout["flag"]] = 1.0
        answer = self.network(self.tokens, tokens, self.weight_for[target])
        return answer[:, self.layout[f"x {target}"]][:, : self.sizes[target]]

    def generate(self, n: int, rng: np.random.Generator) -> Int[Array, "n v"]:
        """n new rows, one pass per variable, parents first."""
        X = np.full((n, len(self.structure)), UNKNOWN)
        for target in self.structure.order:
            X[:, target] = draw(self.conditional(target, X), rng)
        return X

    def _imagined(self, target: int) -> Int[Array, "n v"]:
        """One row for each configuration of the parents and category; the rest is UNKNOWN."""
        family = [*self.structure.parents[target], target]
        sizes = [self.sizes[m] for m in family]
        rows = np.full((math.prod(sizes), len(self.structure)), UNKNOWN)
        rows[:, family] = np.indices(sizes).reshape(len(family), -1).T
        return rows

    def _one_hot(self, X: Int[Array, "n v"]) -> Float[Array, "n m"]:
        tokens = np.zeros((len(X), self.layout.width))
        for j, column in enumerate(X.T):
            known = np.flatnonzero(column != UNKNOWN)
            tokens[known, self.layout[f"x {j}"].start + column[known]] = 1.0
        return tokens

    def _check(self, name: str, X: Int[Array, "n v"], least: int) -> None:
        if X.shape[1:] != (len(self.structure),):
            raise ValueError(
                f"{name} has shape {X.shape}; the network is for {len(self.structure)} variables"
            )
        foreign = (least > X) | (np.asarray(self.sizes) <= X)
        if foreign.any():
            i, j = np.argwhere(foreign)[0]
            raise ValueError(
                f"{name}: row {i} has {X[i, j]} for variable {j}, whose categories are numbered "
                f"0 to {self.sizes[j] - 1}"
            )


def as_shares(p: Float[Array, "q d"]) -> Float[Array, "q d"]:
    """What a network says as probabilities: clipped at 0, and divided by the sum."""
    positive = np.maximum(p, 0.0)
    shares: Float[Array, "q d"] = positive / positive.sum(axis=1, keepdims=True)
    return shares


def draw(p: Float[Array, "q d"], rng: np.random.Generator) -> Int[Array, "q"]:
    """One category per row, by the inverse of the distribution function."""
    below = np.cumsum(as_shares(p), axis=1)[:, :-1]
    drawn: Int[Array, "q"] = (rng.random((len(p), 1)) >= below).sum(axis=1)
    return drawn
