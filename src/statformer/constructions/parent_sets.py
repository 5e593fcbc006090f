"""Weights under which `ParentSetNetwork` averages Bayesian models of a variable's parents exactly.

The model: variable t has m predecessors, each its parent with probability p, p ~ U(0, 1); so a set
S of k parents has probability 1 / ((m + 1) choose(m, k)). Given S, the rows of its table are
independent, Dirichlet(a, ..., a), with a from a grid. The network's answer is then

    p(x_t | x_<t, context) = sum_S P(S | context) E[table_S(x_t | x_S) | S, context],

which no other answer beats in expected log score under this model. a = 1 is flat tables: U(0, 1)
for two categories. `docs/theorems/parent_sets.md` has the derivation; ours.

Reference: `reference.parent_sets.averaged`; error: that of floating point.

Axes: g concentrations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from statformer.nn.parent_set_features import CONCENTRATIONS
from statformer.nn.parent_set_head import head_shapes
from statformer.nn.parent_sets import PREFIX

_NEVER = -1e9  # exp(-1e9 + any evidence) is 0 beside the others
_SHUT = -1e4  # sigmoid(-1e4) is 0


def parent_set_weights(
    prior: Mapping[float, float] | None = None,
) -> dict[str, Float[np.ndarray, "..."]]:
    """All learned corrections 0, no back-off, and log probabilities of concentrations.

    prior  probability of each concentration (those of `nn.parent_set_features.CONCENTRATIONS` may
           have one); a = 1 for certain if None. They are divided by their sum.

    Raises ValueError for another concentration, a negative probability, or none above 0.
    """
    prior = {1.0: 1.0} if prior is None else prior
    foreign = sorted(set(prior) - set(CONCENTRATIONS))
    if foreign or min(prior.values(), default=0.0) < 0 or not sum(prior.values()) > 0:
        raise ValueError(
            f"prior={dict(prior)!r}: pass probabilities of some of {CONCENTRATIONS}, not all 0"
        )
    weights = {name: np.zeros(shape) for name, shape in head_shapes(1).items()}
    shares = np.array([prior.get(a, 0.0) for a in CONCENTRATIONS]) / sum(prior.values())
    weights["log_pi"] = np.where(shares > 0, np.log(np.where(shares > 0, shares, 1.0)), _NEVER)
    weights["b_out"][2] = _SHUT
    return {PREFIX + name: value for name, value in weights.items()}
