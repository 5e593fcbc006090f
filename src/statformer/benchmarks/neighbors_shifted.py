"""(c) The constructed layer on the shifted prompts of Li et al. 2024, and on the unshifted ones.

Shifted: Gaussian labels, the query equal to a context point, no other within the margin. The layer
is written for a share `error` of the attention that may miss the nearest point. On the unshifted
prompts there is no margin, and near ties are split. Axes: n context points, d features.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from statformer.benchmarks.neighbors_settings import Bench
from statformer.benchmarks.settings import Progress
from statformer.constructions.nearest_neighbor import nearest_neighbor_transformer
from statformer.nn.neighbor import NeighborTransformer
from statformer.tasks.labelled_points import (
    LabelledPoints,
    LabelledPointsPrior,
    ShiftedPointsPrior,
)
from statformer.tasks.stream import TaskStream

SHAPES = ((4, 4), (16, 8), (64, 16))  # n, d
MARGINS = (0.5, 1.0)
ERRORS = (1e-2, 1e-6)
SEED = 20241116
SHIFTED, UNSHIFTED = "shifted", "unshifted"


def run(bench: Bench) -> None:
    """Measure the cells that the record does not hold yet."""
    cells = list(product(SHAPES, MARGINS, ERRORS))
    for i, ((n, d), margin, error) in enumerate(cells):
        name = f"n {n}, d {d}, margin {margin:g}, error {error:g}"
        if f"c: {name}" not in bench.record:
            cell = measure(n, d, margin, error, bench.sizes.prompts)
            bench.record.put(f"c: {name}", {"part": "c", **cell})
        bench.callback(Progress("c", name, i + 1, len(cells)))


def measure(n: int, d: int, margin: float, error: float, n_prompts: int) -> dict[str, Any]:
    """Errors of one layer on both kinds of prompts, and the error it is written for."""
    # a shifted query equals a context point; the nearest point of another may be at the other pole
    layers = {
        SHIFTED: nearest_neighbor_transformer(d, n, margin, error, least_similarity=1.0),
        UNSHIFTED: nearest_neighbor_transformer(d, n, margin, error),
    }
    priors: dict[str, ShiftedPointsPrior | LabelledPointsPrior] = {
        SHIFTED: ShiftedPointsPrior(n, d, margin),
        UNSHIFTED: LabelledPointsPrior(n, d),
    }
    scores = {}
    for kind, layer in layers.items():
        prompts = priors[kind].sample(TaskStream(SEED, 0, range(n_prompts)))
        scores[kind] = score(layer, prompts)
    return {"prompts": n_prompts, "n": n, "d": d, "margin": margin, "error": error, **scores}


@torch.no_grad()
def score(layer: NeighborTransformer, prompts: LabelledPoints) -> dict[str, float]:
    """Errors of the answers against one nearest neighbour, and the attention that misses it."""
    X, query, target = (part.double() for part in (prompts.X, prompts.query, prompts.target))
    y = prompts.y.double()[..., None]
    answer = layer(X, y, query)[:, 0]
    pattern = layer.pattern(X, y, query)
    on_nearest = pattern.gather(1, prompts.nearest[:, None])[:, 0]
    is_mode = pattern[:, :-1].argmax(dim=1) == prompts.nearest
    return {
        "mean squared error": float((answer - target).square().mean()),
        "of the mean label": float((prompts.y.double().mean(dim=1) - target).square().mean()),
        "largest attention that misses": float((1.0 - on_nearest).max()),
        "nearest has the most attention": float(is_mode.double().mean()),
        "sign as one nearest neighbour": float((answer.sign() == target.sign()).double().mean()),
    }
