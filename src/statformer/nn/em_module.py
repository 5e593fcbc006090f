"""`EMNetwork` as a torch module: the same weights as parameters, for pretraining.

Axes: l layers, f features, k hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from statformer.batch import Array, Centres, Tables, Trace
from statformer.nn.em_network import EMNetwork, layer_shapes


class EMModule(nn.Module):
    """Weights of an `EMNetwork` as parameters; `forward` is the network's call."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.ParameterDict({k: nn.Parameter(v) for k, v in weights.items()})

    def forward(self, tables: Tables, start: Centres | Array, record: str = "all") -> Trace:
        return EMNetwork(dict(self.layers.items()))(tables, start, record=record)


def near_em(n_layers: int, n_hidden: int, generator: torch.Generator) -> EMModule:
    """The start of pretraining: close to EM with own full covariances, and nowhere saturated.

    Output weights are zero; the covariance logits sit at +-2 (exact EM wants +-300, where
    gradients vanish), the ridge at 1e-3 and rho at 0.05.
    """
    weights = {name: torch.zeros(shape) for name, shape in layer_shapes(n_layers, n_hidden).items()}
    W = weights["W_hidden"]
    W.copy_(torch.randn(W.shape, generator=generator) / math.sqrt(W.shape[1]))
    weights["b_cov"].fill_(-2.0)
    weights["b_cov"][:, 0] = 2.0
    weights["b_tail"][:, 0] = -3.0
    weights["b_tail"][:, 1] = math.log(4.0)
    weights["log_ridge"].fill_(math.log(1e-3))
    return EMModule(weights)
