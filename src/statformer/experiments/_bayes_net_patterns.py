"""Interventions on the last layer of a trained network for Bayesian networks.

The pattern of every head is replaced by one that is made by rule: among the rows that agree with
the query on a set of variables, shares are equal, or each head weighs a row by the row's own value
of the target with the two weights that it is seen to use (`tilts`). Everything else stays.

Axes: b tasks, h heads, t tokens of the context (different rows), v variables, d categories.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statformer.experiments._bayes_net_counts import draw_networks
from statformer.experiments.base import Row
from statformer.nn.attention import FactoredAttention
from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.nn.transformer import Block
from statformer.tasks.bayes_net import STRUCTURES, BayesNetPrior

STRUCTURE = STRUCTURES["general"]
TARGETS = (3, 4)  # of general: those with a parent and with an earlier variable that is none


class ChosenPattern(nn.Module):
    """Attention whose pattern "b h t" is given, whatever it reads; the last token is the query."""

    def __init__(self, attention: nn.Module, chosen: Float[Tensor, "b h t"]) -> None:
        super().__init__()
        assert isinstance(attention, FactoredAttention)
        self.attention = attention
        self.chosen = nn.functional.pad(chosen, (0, 1))[:, :, None]

    def pattern(self, queries: Tensor, keys: Tensor, keep: Tensor) -> Float[Tensor, "b h 1 t"]:
        """`chosen`, whatever the arguments; nothing for the query's own token."""
        return self.chosen

    def read(self, pattern: Tensor, keys: Tensor) -> Tensor:
        """What the heads make of it, unchanged."""
        return self.attention.read(pattern, keys)


@dataclass(frozen=True)
class Reading:
    """One target of a batch, as the network reads it.

    rows "b t v", times "b t", query "b v"; H the stream before the first block, p "b d" the answer,
    pattern "b h t" the last layer's attention of the query's token to the rows.
    """

    network: BayesNetTransformer
    target: int
    rows: Int[Tensor, "b t v"]
    times: Float[Tensor, "b t"]
    query: Int[Tensor, "b v"]
    H: Tensor
    p: Float[Tensor, "b d"]
    pattern: Float[Tensor, "b h t"]

    @classmethod
    def of(
        cls,
        network: BayesNetTransformer,
        context: Int[Tensor, "b n v"],
        query: Int[Tensor, "b v"],
        target: int,
    ) -> Reading:
        """The network's pass over one target."""
        rows, times = network.tokens_of(context, target)
        H = network.embed(rows, query, target)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            p = network.answer(H, times, found)
        pattern = found[f"block {network.transformer.depth}.pattern"][:, :, -1, :-1]
        return cls(network, target, rows, times, query, H, p, pattern)

    def agreeing(self, given: Sequence[int]) -> Float[Tensor, "b t"]:
        """How often each row counts that agrees with the query on most of `given`; else 0."""
        columns = list(given)
        agreement = (self.rows[..., columns] == self.query[:, None, columns]).sum(-1)
        agreement = agreement.masked_fill(self.times == 0, -1)
        return self.times * (agreement == agreement.amax(1, keepdim=True))

    def tilts(self, given: Sequence[int]) -> Float[Tensor, "h d"]:
        """Geometric mean of what a row of each value gets, over the tasks where all values occur.

        Relative to value 0, among the rows that agree on `given`.
        """
        logs = (self.pattern / self.times.clamp_min(1.0)[:, None]).clamp_min(1e-12).log()
        mass = self.agreeing(given)[:, None, :, None] * self._values()[:, None]
        total = mass.sum(2)
        mean = (logs[..., None] * mass).sum(2) / total.clamp_min(1.0)
        complete = (total > 0).all(-1).all(-1)
        tilt = (mean - mean[..., :1])[complete].mean(0)
        return tilt.exp()

    def step(self, given: Sequence[int], tilts: Float[Tensor, "h d"]) -> Float[Tensor, "b h t"]:
        """The rule's pattern: rows that agree on `given`, weighed by their value of the target."""
        weights = torch.einsum("btd,hd->bht", self._values(), tilts)
        mass = weights * self.agreeing(given)[:, None]
        return mass / mass.sum(-1, keepdim=True)

    def answer_with(self, pattern: Float[Tensor, "b h t"]) -> Float[Tensor, "b d"]:
        """The answer when the last layer attends so."""
        copied = copy.deepcopy(self.network)
        last = copied.transformer.blocks[-1]
        assert isinstance(last, Block)
        last.attention = ChosenPattern(last.attention, pattern)  # type: ignore[assignment]
        with torch.no_grad():
            return copied.answer(self.H, self.times)

    def frequencies(self, given: Sequence[int]) -> Float[Tensor, "b d"]:
        """Of the target, among the rows that agree on `given`."""
        mass = self.agreeing(given)
        counts = torch.einsum("bt,btd->bd", mass, self._values())
        return counts / mass.sum(-1, keepdim=True)

    def _values(self) -> Float[Tensor, "b t d"]:
        """One-hot of the target's value."""
        one_hot = nn.functional.one_hot(self.rows[..., self.target], self.p.shape[-1])
        return one_hot.to(self.times.dtype)


def intervene(
    network: BayesNetTransformer,
    n_rows: int,
    n_networks: int,
    rng: np.random.Generator,
    *,
    naive: bool = False,
) -> list[Row]:
    """Total variations per target of "general", mean over networks.

    attention  share of the last layer's attention on the matching rows, mean over heads
    matching   share of rows that match
    replaced   from the answer to the one with the rule's pattern, given the parents
    equal      the same, where all heads give equal shares
    moved      from the answer to the one given a wrong set: a stranger in the place of a parent
    follows    from the latter to the frequencies among the rows of the wrong set

    The two weights of each head are read off other networks. `naive` gives all earlier variables in
    the place of the parents.
    """
    prior = BayesNetPrior("general", n_rows + 1)
    seen, fresh = (draw_networks(prior, n_networks, rng).X for _ in range(2))
    found: list[Row] = []
    for target in TARGETS:
        parents = STRUCTURE[target]
        stranger = next(m for m in range(target) if m not in parents)
        wrong = (*parents[:-1], stranger)
        given = tuple(range(target)) if naive else parents
        tilts = Reading.of(network, seen[:, :-1], seen[:, -1], target).tilts(parents)
        reading = Reading.of(network, fresh[:, :-1], fresh[:, -1], target)
        followed = reading.answer_with(reading.step(wrong, tilts))
        matching = reading.agreeing(parents)
        row = {
            "attention": (reading.pattern.mean(1) * (matching > 0)).sum(-1),
            "matching": matching.sum(-1) / n_rows,
            "replaced": _variation(reading.p, reading.answer_with(reading.step(given, tilts))),
            "equal": _variation(
                reading.p, reading.answer_with(reading.step(given, torch.ones_like(tilts)))
            ),
            "moved": _variation(reading.p, followed),
            "follows": _variation(followed, reading.frequencies(wrong)),
        }
        means = {name: value.mean().item() for name, value in row.items()}
        found.append({"target": target, **means})
    return found


def _variation(p: Tensor, q: Tensor) -> Tensor:
    return 0.5 * (p - q).abs().sum(-1)
