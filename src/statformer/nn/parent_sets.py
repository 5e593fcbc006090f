"""The network that reads the parents of a variable out of context rows (ours).

Every candidate set S of predecessors is a token. Layer 1 counts: attention whose scores are sharp
in the number of variables of S on which a row agrees with the query (`constructions.bayes_net`),
collapsed to a table of counts per candidate. Layer 2 is a sharp softmax over the candidates, which
selects and averages their tables:

    p(x_t | x_<t) = sum_S w_S p_S(x_t | x_S),      edge(u -> t) = sum_(S contains u) w_S.

With the weights of `constructions.parent_sets` this is exact Bayesian model averaging; those of
`load_weights("random_dag")` were pretrained. Rows and predecessors may come in any order.

Axes: n rows, v variables, s candidate sets, c configurations of one candidate, C of all in a row, d
categories of the target, q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Array
from statformer.nn.parent_set_candidates import CandidateSets
from statformer.nn.parent_set_features import Reading, read
from statformer.nn.parent_set_head import (
    Verdict,
    head_shapes,
    leaning,
    probabilities,
    smoothed,
    weigh,
)

PREFIX = "sets."
_QUERY_CELLS = 2**21  # of the counts that are gathered at a time


@dataclass(frozen=True)
class ParentSetAnswer:
    """What the network says of one target.

    logits  "s"      log posterior of every candidate, up to a constant that does not depend on the
                     list of candidates, as long as `n_predecessors` and the rows are the same. The
                     learned corrections see the other candidates, so theirs is approximate
    counts  "C d"    tables of the context, candidate by candidate
    """

    sets: CandidateSets
    counts: Float[np.ndarray, "C d"]
    logits: Float[np.ndarray, " s"]
    verdict: Verdict

    @cached_property
    def probabilities(self) -> Float[np.ndarray, " s"]:
        """Of the candidates, summing to 1."""
        return probabilities(self.verdict.logits)

    def table(self, i: int) -> Float[np.ndarray, "c d"]:
        """Smoothed p(target | candidate i), every configuration; the last variable runs fastest."""
        one = self.sets.candidates[i]
        c = np.arange(self.sets.n_configurations[i])
        codes = np.zeros((len(c), len(self.sets.sizes)), dtype=np.intp)
        for u in reversed(one):
            c, codes[:, u] = np.divmod(c, self.sets.sizes[u])
        used = np.append(np.flatnonzero(self.sets.is_subset[i]), i)
        return self._at(codes, used)[:, -1]

    def predict(self, codes: Int[np.ndarray, "n v"]) -> Float[np.ndarray, "n d"]:
        """sum_S w_S p_S(target | the row's values); only the cells of candidates are read."""
        every = np.arange(len(self.sets))
        step = max(1, _QUERY_CELLS // (len(every) * self.sets.n_categories))
        parts = [
            (self.probabilities @ self._at(codes[i : i + step], every))
            for i in range(0, len(codes), step)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.sets.n_categories))

    def edge_probability(self, u: int) -> float:
        """How probable it is that u is a parent of the target."""
        has = [u in one for one in self.sets.candidates]
        return float(self.probabilities[has].sum())

    @cached_property
    def _lean(self) -> Float[np.ndarray, "s t"]:
        return leaning(self.verdict.logits, self.sets.is_subset)

    def _at(
        self, codes: Int[np.ndarray, "q v"], used: Int[np.ndarray, " s"]
    ) -> Float[np.ndarray, "q s d"]:
        """p_S at rows of codes, for some candidates that hold their own subsets."""
        v, lean = self.verdict, self._lean[np.ix_(used, used)]
        few = Verdict(v.logits[used], v.shares[used], v.factor[used], v.back_off[used])
        return smoothed(self.counts[self.sets.index(codes)[:, used]], few, lean)


class ParentSetNetwork:
    """(codes, sizes, target, candidates) -> which candidates are the parents, and their tables.

    weights: arrays by the names of `nn.parent_set_head.head_shapes`, after "sets.".
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Raises ValueError for a missing or foreign name, or shapes that do not fit."""
        given = {name.removeprefix(PREFIX): value for name, value in weights.items()}
        width = given["b_1"].shape[0] if "b_1" in given else 1
        shapes = {name: tuple(value.shape) for name, value in given.items()}
        if shapes != head_shapes(width):
            raise ValueError(
                f"weights have shapes {shapes}; pass those of load_weights('random_dag') or of "
                f"parent_set_weights(), such as {head_shapes(width)}"
            )
        self.weights = given

    def __call__(
        self,
        codes: Int[np.ndarray, "n v"],
        sizes: Sequence[int],
        target: int,
        candidates: Sequence[Sequence[int]],
        weight: Float[np.ndarray, " n"] | None = None,
        *,
        n_predecessors: int | None = None,
    ) -> ParentSetAnswer:
        """What the rows say of the candidates.

        codes           "n v" numbers of categories, from 0; rows must have the target and all
                        variables of candidates
        sizes           number of categories of every variable
        candidates      sets of variables; the parents are taken to be among them
        weight          how many times every row counts; once if None
        n_predecessors  how many variables could be parents: enters the prior over sets. Those of
                        any candidate if None; pass it to compare lists of different variables

        Raises ValueError for codes of another width or outside the categories, weights that are
        negative or not finite, and what `CandidateSets` refuses.
        """
        sets = CandidateSets(
            tuple(tuple(int(u) for u in one) for one in candidates),
            tuple(int(d) for d in sizes),
            int(target),
            n_predecessors,
        )
        counts = count(codes, sets, weight)
        return self.answer(sets, counts, read(counts, sets))

    def answer(
        self, sets: CandidateSets, counts: Float[np.ndarray, "C d"], reading: Reading
    ) -> ParentSetAnswer:
        """What this network makes of counts and their reading, which need no weights."""
        verdict = weigh(self.weights, reading)
        return ParentSetAnswer(sets, counts, verdict.logits + reading.shift, verdict)


def count(
    codes: Int[np.ndarray, "n v"],
    sets: CandidateSets,
    weight: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "C d"]:
    """How often each category was seen with each configuration of each candidate.

    Rows that coincide are merged first. Raises ValueError as `ParentSetNetwork` says.
    """
    if codes.ndim != 2 or codes.shape[1] != len(sets.sizes):
        raise ValueError(
            f"codes have shape {codes.shape}; pass 'n v' with v = {len(sets.sizes)} variables"
        )
    used = [*sets.variables, sets.target]
    shape = [sets.sizes[u] for u in used]
    part = codes[:, used]
    foreign = (part < 0) | (part >= np.array(shape))
    if foreign.any():
        i, j = np.argwhere(foreign)[0]
        raise ValueError(
            f"codes: row {i} has {part[i, j]} for variable {used[j]}, whose categories are "
            f"numbered 0 to {shape[j] - 1}; leave out rows with missing cells"
        )
    if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("weight has a negative or infinite entry; pass numbers from 0 on")
    rows, many = _merged(codes, part, shape, weight)
    d, cells = sets.n_categories, int(sets.n_configurations.sum()) * sets.n_categories
    counts = np.zeros(cells)
    step = max(1, _QUERY_CELLS // len(sets))
    for i in range(0, len(rows), step):
        chunk = rows[i : i + step]
        at = sets.index(chunk) * d + chunk[:, [sets.target]]
        w = np.repeat(many[i : i + step], len(sets))
        counts += np.bincount(at.ravel(), w, cells)
    return counts.reshape(-1, d)


def _merged(
    codes: Int[np.ndarray, "n v"],
    part: Int[np.ndarray, "n u"],
    shape: Sequence[int],
    weight: Float[np.ndarray, " n"] | None,
) -> tuple[Int[np.ndarray, "r v"], Float[np.ndarray, " r"]]:
    """Rows that differ, and the weight of all that coincide with each."""
    many = np.ones(len(codes)) if weight is None else np.asarray(weight, dtype=np.float64)
    if np.prod(np.array(shape, dtype=np.float64)) > 2.0**62:
        return codes, many
    place = np.cumprod([1, *shape[:0:-1]])[::-1]
    _, first, which = np.unique(part @ place, return_index=True, return_inverse=True)
    return codes[first], np.bincount(which, many, len(first)).astype(np.float64)
