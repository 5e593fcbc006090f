"""Layers with learned weights in every place, and records as torch tensors, for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from statformer.nn.em_module import EMModule, near_em
from statformer.nn.em_network import as_numpy

N_LAYERS = 4


def learned(seed: int = 0, n_layers: int = N_LAYERS) -> EMModule:
    """A module whose every weight moved away from the start of pretraining, as training does."""
    generator = torch.Generator().manual_seed(seed)
    module = near_em(n_layers, 6, generator).double()
    with torch.no_grad():
        for parameter in module.parameters():
            moved = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * moved)
        module.layers["log_ridge"] += 3.0
    return module


def weights_of(module: EMModule) -> dict[str, np.ndarray]:
    return as_numpy({name: value.detach() for name, value in module.layers.items()})


def torched(record: Any) -> Any:
    """The same record with torch tensors."""
    values = {
        name: None if value is None else torch.from_numpy(np.ascontiguousarray(value))
        for name, value in vars(record).items()
    }
    return type(record)(**values)
