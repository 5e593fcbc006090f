"""Judges for tests: weights drawn at random, and checkpoints that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from checkpoints import write_checkpoint
from statformer.nn.judge import judge_shapes
from statformer.proposals.evidence import N_JUDGE_TABLE, N_TOKEN_FEATURES


def judge_weights(
    seed: int = 0,
    n_token: int = N_TOKEN_FEATURES,
    n_table: int = N_JUDGE_TABLE,
    n_hidden: int = 8,
) -> dict[str, np.ndarray]:
    """Every weight drawn at random, so that every input has a say."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in judge_shapes(n_token, n_table, n_hidden).items():
        width = shape[-2] if name.startswith("W") else 1
        weights[name] = rng.normal(size=shape) / np.sqrt(width)
    weights["token_scale"] = 0.5 + np.abs(weights["token_scale"])
    for name in ("token_edges", "table_edges"):  # ascending, about -3 to 3
        width = 0.3 + np.abs(weights[name])
        weights[name] = np.cumsum(width, axis=1) - width.sum(axis=1, keepdims=True) / 2
    # a higher logit promises more
    weights["pick"][0] = 0.5 + np.abs(weights["pick"][0])
    return weights


def write_judged(
    path: Path, seed: int = 0, n_layers: int = 3, *, is_indifferent: bool = False
) -> Path:
    """Layers near EM, and a judge without meaning.

    An indifferent judge expects the same of every labeling and has no doubts: the first proposal is
    answered, which is that of the layers.
    """
    write_checkpoint(path, n_layers=n_layers, n_hidden=4)
    layers = {k: v for k, v in load_file(path).items() if k.startswith("em.")}
    weights = judge_weights(seed)
    if is_indifferent:
        for name in ("w_ari", "c_ari", "w_doubt"):
            weights[name] = np.zeros_like(weights[name])
        weights["c_doubt"] = np.full_like(weights["c_doubt"], -80.0)
    judge = {f"judge.{k}": np.float32(v) for k, v in weights.items()}
    save_file({**layers, **judge}, path)
    return path
