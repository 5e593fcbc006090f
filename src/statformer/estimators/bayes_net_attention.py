"""Tables that attention reads from the rows, each time they are asked for.

Axes: v variables, n rows, q queries, d categories. Codes are "v n".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from statformer.constructions.bayes_net import UNKNOWN, CountingTransformer, as_shares
from statformer.estimators.bayes_net_tables import Codes, Tables, chunks
from statformer.reference.bayes_net import Structure

Array = np.ndarray

MAX_SCORES = 2**23  # queries times rows of one pass


@dataclass(frozen=True)
class AttentionTables(Tables):
    """The network of `constructions.bayes_net` behind the tables that it was asked for once.

    A variable whose parents are all known, and rows to be drawn, are passes of the network; what
    sums over unknown variables uses the tables.
    """

    network: CountingTransformer

    @classmethod
    def read(
        cls,
        structure: Structure,
        sizes: Sequence[int],
        codes: Codes,
        weight: Float[Array, " n"],
        seen: Sequence[Bool[Array, "..."]],
        smoothing: float,
    ) -> AttentionTables:
        """One pass per variable, with every configuration of its parents as a query."""
        context = codes.T.astype(np.int64)
        network = CountingTransformer(structure, sizes, context, weight, smoothing=smoothing)
        probabilities = []
        for target, parents in enumerate(structure.parents):
            shape = [sizes[p] for p in parents]
            n = math.prod(shape)
            queries = np.full((len(sizes), n), UNKNOWN)
            queries[list(parents)] = np.indices(shape).reshape(len(parents), n)
            probabilities.append(_ask(network, target, queries).reshape(*shape, sizes[target]))
        return cls(structure, tuple(probabilities), tuple(seen), network)

    def lookup(self, target: int, codes: Codes) -> Float[Array, "n d"]:
        """p(target | parents), row by row, by attention."""
        queries = np.full(codes.shape, UNKNOWN)
        parents = list(self.structure.parents[target])
        queries[parents] = codes[parents]
        return _ask(self.network, target, queries)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Codes, int]:
        """n rows, one pass per variable and chunk; and how many met an unseen configuration."""
        pieces = [
            self.network.generate(rows.stop - rows.start, rng).T
            for rows in chunks(n, _chunk(self.network))
        ]
        X = np.concatenate([np.empty((len(self.sizes), 0), dtype=np.int64), *pieces], axis=1)
        return X, int(self.meets_unseen(range(len(X)), X).sum())


def _ask(network: CountingTransformer, target: int, queries: Codes) -> Float[Array, "q d"]:
    found = np.empty((queries.shape[1], network.sizes[target]))
    for rows in chunks(len(found), _chunk(network)):
        found[rows] = as_shares(network.conditional(target, queries[:, rows].T))
    return found


def _chunk(network: CountingTransformer) -> int:
    return max(1, MAX_SCORES // len(network.tokens))
