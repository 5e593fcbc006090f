"""The paper's trained network as a line of the bench: laws for the last row of every network.

Axes: b networks, n context rows, v variables, d categories.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.tasks.bayes_net import BayesNetBatch


def answers(
    network: BayesNetTransformer, batch: BayesNetBatch, n: int
) -> Float[np.ndarray, "b v d"]:
    """p(v | earlier variables of the last row), given the first `n` rows; one pass per variable.

    It sees no structure: that of a single-structure network is in its weights.
    """
    context, query = batch.X[:, :n], batch.X[:, -1]
    with torch.no_grad():
        laws = [network(context, query, target) for target in range(context.shape[2])]
    return torch.stack(laws, dim=1).double().numpy()
