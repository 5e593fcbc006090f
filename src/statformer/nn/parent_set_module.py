"""`ParentSetNetwork` in torch: the same weights as parameters, many tables at once.

Axes: b tables, n rows, q queries, s candidate sets, c configurations of all predecessors, C those
of all candidates in a row, d categories of the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statformer.nn.parent_set_candidates import CandidateSets
from statformer.nn.parent_set_features import CONCENTRATIONS, Reading
from statformer.nn.parent_set_head import head_shapes, leaning, probabilities, smoothed, weigh


class ParentSetModule(nn.Module):
    """Weights of a `ParentSetNetwork` as parameters."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sets = nn.ParameterDict({k: nn.Parameter(v) for k, v in weights.items()})

    def forward(
        self, reading: Reading, counts: Float[Tensor, "b q s d"], is_subset: Tensor
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b s"]]:
        """p(target | query), averaged over the candidates, and the logits of these.

        counts  those of every candidate at the queries
        """
        verdict = weigh(dict(self.sets.items()), reading)
        p = smoothed(counts, verdict, leaning(verdict.logits, is_subset))
        answer = torch.einsum("bs,bqsd->bqd", probabilities(verdict.logits), p)
        return answer, verdict.logits


def near_averaging(n_hidden: int, generator: torch.Generator) -> ParentSetModule:
    """The start of pretraining: model averaging over five concentrations, little back-off.

    Hidden layers are random, their outputs zero; the share of the back-off begins at 0.05.
    """
    weights = {name: torch.zeros(shape) for name, shape in head_shapes(n_hidden).items()}
    for name in ("W_1", "W_2"):
        W = weights[name]
        W.copy_(torch.randn(W.shape, generator=generator) / math.sqrt(W.shape[0]))
    weights["log_pi"].fill_(-math.log(len(CONCENTRATIONS)))
    weights["b_out"][2] = -3.0
    return ParentSetModule(weights)


def total_of(sets: CandidateSets, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Sums over the configurations of every set, as `CandidateSets.total`."""
    owner = torch.as_tensor(sets.owner, device=device)

    def total(values: Tensor) -> Tensor:
        sums = values.new_zeros(*values.shape[:-1], len(sets))
        return sums.index_add_(-1, owner, values)

    return total


def count_tables(
    rows: Int[Tensor, "b n"],
    last: Int[Tensor, "b n"],
    index: Int[Tensor, "c s"],
    sets: CandidateSets,
) -> Float[Tensor, "b C d"]:
    """Tables of all candidates in float64, from the configuration of all predecessors per row.

    index  where each such configuration is found in the table of each set (`CandidateSets.index`)
    """
    b, (c, s), d = len(rows), index.shape, sets.n_categories
    joint = torch.zeros(b, c * d, dtype=torch.float64, device=rows.device)
    joint.scatter_add_(1, rows * d + last, torch.ones_like(rows, dtype=torch.float64))
    joint = joint.reshape(b, c, 1, d).expand(b, c, s, d).reshape(b, c * s, d)
    counts = joint.new_zeros(b, int(sets.n_configurations.sum()), d)
    return counts.index_add_(1, index.reshape(-1), joint)


def counts_at(
    counts: Float[Tensor, "b C d"], queries: Int[Tensor, "b q"], index: Int[Tensor, "c s"]
) -> Float[Tensor, "b q s d"]:
    """What every set counts at the configurations of the queries."""
    b, q = queries.shape
    at = index[queries].reshape(b, -1, 1).expand(-1, -1, counts.shape[-1])
    return counts.gather(1, at).reshape(b, q, index.shape[1], -1)
