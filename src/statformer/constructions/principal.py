"""Weights under which `PrincipalNetwork` is plain PCA: every row and every observed cell counts 1.

On a complete table each layer is then exact orthogonal iteration (power steps with Gram-Schmidt),
and with missing cells an EM step of probabilistic PCA (Tipping and Bishop 1999). Reference:
LAPACK's eigenvectors; error: that of the iteration, (lambda_(k+1) / lambda_k)^steps. The sigmoid
of the logit 300 is 1 exactly in float64.

Axes: l layers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from statformer.nn.principal import Form

_SHARP = 300.0


def principal_weights(form: Form, n_layers: int = 1) -> dict[str, Float[np.ndarray, "l"]]:
    """Logits at +300 for rows (and cells), and the prior of probabilistic PCA as it is."""
    weights = {"b_out": np.full(n_layers, _SHARP), "log_prior": np.zeros(n_layers)}
    if form == "cells":
        weights["cell_b_out"] = np.full(n_layers, _SHARP)
    return weights
