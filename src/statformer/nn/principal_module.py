"""`PrincipalNetwork` as a torch module: the same weights as parameters, for pretraining.

Axes: l layers, f features, h hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from statformer.nn.principal import Form, PrincipalNetwork, PrincipalTrace
from statformer.nn.principal_features import ROW_DISTANCES
from statformer.nn.principal_heads import layer_shapes


class PrincipalModule(nn.Module):
    """Weights of a `PrincipalNetwork` as parameters; `forward` is the network's call."""

    def __init__(self, weights: Mapping[str, Tensor], form: Form) -> None:
        super().__init__()
        self.form = form
        self.layers = nn.ParameterDict({k: nn.Parameter(v) for k, v in weights.items()})

    def forward(
        self, X: Tensor, n_components: int, observed: Tensor | None, *, polish: bool = False
    ) -> PrincipalTrace:
        network = PrincipalNetwork(dict(self.layers.items()), self.form)
        return network(X, n_components, observed=observed, record="all", polish=polish)


def near_power_iteration(form: Form, n_layers: int, generator: torch.Generator) -> PrincipalModule:
    """The start of pretraining: weights that fall gently with the residual of a row or cell.

    Hidden layers are random, their outputs zero. Logits begin at 3 (a weight of 0.95) and fall by
    the log residual in excess of the median one, as the weights of Student-t noise do.
    """
    weights = {name: torch.zeros(shape) for name, shape in layer_shapes(form, n_layers).items()}
    for W in weights.values():
        if W.ndim == 3:
            W.copy_(torch.randn(W.shape, generator=generator) / math.sqrt(W.shape[1]))
    n_plain = weights["W_lin"].shape[1] // 2
    weights["b_out"].fill_(3.0)
    weights["W_lin"][:, [0, n_plain]] = -1.0
    weights["W_lin"][:, 4] = -0.5
    if form == "cells":
        weights["cell_b_out"].fill_(3.0)
        weights["cell_W_lin"][:, :2] = -0.5
        weights["cell_W_lin"][:, 3] = -0.5
    return PrincipalModule(weights, form)


@torch.no_grad()
def adopt_row_head(module: PrincipalModule, rows: Mapping[str, Tensor]) -> None:
    """Give a module of form "cells" the row weights that a network of form "rows" learned.

    Distances that form "rows" does not know, and what rows hear of their cells, begin at weight 0.
    """
    known, many = len(ROW_DISTANCES["rows"]), len(ROW_DISTANCES["cells"])
    layers = module.layers
    for name in ("b_1", "W_pool", "W_2", "b_2", "W_out", "b_out"):
        layers[name].copy_(rows[name])
    layers["W_cell"].zero_()
    for name, n_blocks in (("W_f", 2), ("W_lin", 2), ("W_t", 3)):
        layers[name].zero_()
        for block in range(n_blocks):
            given = rows[name][:, block * known : (block + 1) * known]
            layers[name][:, block * many : block * many + known] = given
        layers[name][:, n_blocks * many :] = rows[name][:, n_blocks * known :]
