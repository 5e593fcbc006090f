"""Weights under which `EMNetwork` is textbook EM: full, diagonal, tied or spherical.

Reference: `reference/em.py`, and scikit-learn's GaussianMixture from the same start; error: float64
rounding (1e-8 in the tests). The choice among covariance targets is a softmax with one logit at
+300 and the others at -300, so every other target has weight 0 exactly in float64.

Axes: l layers (one, looped), b runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from statformer.nn.em_network import COVARIANCE_TARGETS, EMNetwork

_TARGET_OF = {
    "full": "own full",
    "diag": "own diagonal",
    "spherical": "own spherical",
    "tied": "tied full",
}
COVARIANCE_TYPES = tuple(_TARGET_OF)
_SHARP = 300.0


def em_weights(
    covariance_type: str = "full", reg_covar: float = 1e-6
) -> dict[str, Float[np.ndarray, "..."]]:
    """One layer that is one EM iteration: E(pi, mu, Sigma), with `reg_covar` on the diagonal.

    Raises ValueError for an unknown covariance type or a ridge that is not positive.
    """
    if covariance_type not in _TARGET_OF:
        raise ValueError(
            f"covariance_type={covariance_type!r} is unknown; choose from {COVARIANCE_TYPES}"
        )
    if not reg_covar > 0:
        raise ValueError(f"reg_covar={reg_covar!r} must be positive; 1e-6 is usual")
    b_cov = np.full((1, len(COVARIANCE_TARGETS)), -_SHARP)
    b_cov[0, COVARIANCE_TARGETS.index(_TARGET_OF[covariance_type])] = _SHARP
    return {
        "b_cov": b_cov,
        "b_tail": np.array([[-60.0, 3.0]]),  # rho = 1e-26: below what the layer looks at
        "b_table": np.zeros((1, 2)),  # temperature 1, strength 1
        "log_ridge": np.array([math.log(reg_covar)]),
    }


def em_network(
    covariance_type: str = "full", reg_covar: float = 1e-6, n_loops: int = 100
) -> EMNetwork:
    """`n_loops` iterations of EM as a network."""
    return EMNetwork(em_weights(covariance_type, reg_covar), n_loops=n_loops)


def stack_habits(
    habits: Sequence[tuple[str, float]], n_starts: int, n_tables: int, n_loops: int = 100
) -> EMNetwork:
    """EM with a covariance type and ridge per run: all habits of all starts in one batch.

    Runs are ordered (table, habit, start): run (t, h, s) sits at (t H + h) S + s.
    """
    rows = [em_weights(kind, ridge) for kind, ridge in habits]

    def per_run(name: str) -> np.ndarray:
        one_table = np.repeat(np.stack([row[name][0] for row in rows]), n_starts, axis=0)
        return np.concatenate([one_table] * n_tables, axis=0)[None]

    weights = {name: per_run(name) for name in rows[0]}
    for name in ("b_cov", "b_tail", "b_table"):
        weights[name] = weights[name][:, :, None, :]
    return EMNetwork(weights, n_loops=n_loops)
