"""Checkpoints for tests: EM with own full covariances, every weight disturbed at random."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from statformer.nn.em_network import layer_shapes


def write_checkpoint(path: Path, n_layers: int = 4, n_hidden: int = 8, noise: float = 0.05) -> Path:
    rng = np.random.default_rng(0)
    shapes = {f"em.{k}": s for k, s in layer_shapes(n_layers, n_hidden).items()}
    weights = {k: np.float32(noise * rng.normal(size=s)) for k, s in shapes.items()}
    weights["em.b_cov"] += np.float32([2, -2, -2, -2, -2, -2, -2])
    weights["em.b_tail"] += np.float32([-3.0, math.log(4.0)])
    weights["em.log_ridge"] += np.float32(math.log(1e-3))
    save_file(weights, path)
    return path
