"""Networks of the spectral paper at small sizes: trained within a cell, scored per component.

Sizes and lengths are far below the authors' (12 layers, width 64 to 256, 16,000 to 150,000 steps on
a GPU). The rest is theirs as far as it is known: Gaussian instances, a new covariance each; ReLU
attention; the relative squared error of eigenvalues; the cosine of eigenvectors, whose sign is
forgiven here.

Axes: b instances, n points, d features, k components.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from statformer.benchmarks.optim_run import torch_threads
from statformer.experiments.base import Row
from statformer.objectives.eigenpairs import abs_cosine, relative_squared_error
from statformer.pretraining.recipes.eigen_transformer import EigenTransformerRecipe
from statformer.runs.intervals import Interval, mean_interval
from statformer.tasks.eigenpairs import EigenBatch
from statformer.tasks.stream import TaskStream

N_POINTS = {2: 5, 3: 8, 5: 10, 10: 10}
N_COMPONENTS = {2: 1, 3: 2, 5: 3, 10: 3}
N_INSTANCES = 1024
SMALLER = (
    "3 layers of width 32 on one core for seconds in place of 12 layers on a GPU for hours; "
    "warm-up and a cosine to zero in place of a constant rate"
)


def recipe_of(target: str, n_features: int, **options: object) -> EigenTransformerRecipe:
    """The recipe at D features: N = 5, 8, 10, 10 and k = 1, 2, 3, 3 at D = 2, 3, 5, 10."""
    sizes = {
        "n_features": n_features,
        "n_points": N_POINTS[n_features],
        "n_components": N_COMPONENTS[n_features],
        "n_layers": 3,
        "width": 32,
    }
    return EigenTransformerRecipe(target=target, **(sizes | options))  # type: ignore[arg-type]


def trained(recipe: EigenTransformerRecipe, n_steps: int, seed: int) -> nn.Module:
    """The network after `n_steps` on fresh instances; nothing else is random."""
    module = recipe.build(seed)
    optimizer = recipe.optimizer(module.parameters())
    with torch_threads(1):
        for step in range(n_steps):
            batch = recipe.sample(TaskStream(seed, step, range(recipe.batch_size)))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate(step, n_steps)
            loss, _ = recipe.loss(module, batch, step / n_steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), recipe.max_gradient_norm)
            optimizer.step()
    return module.eval()


def answers(recipe: EigenTransformerRecipe, module: nn.Module, batch: EigenBatch) -> Tensor:
    """The network's answers; auxiliary rows get starts that follow from the instances' number."""
    starts = TaskStream(0, 0, range(len(batch.X))).normal(recipe.n_components, recipe.n_features)
    with torch.no_grad():
        found: Tensor = module(batch.X, starts)
    return found


def fresh(recipe: EigenTransformerRecipe, seed: int) -> EigenBatch:
    """Instances that no training has seen: streams of trainings have other seeds."""
    return recipe.sample(TaskStream(seed, 0, range(N_INSTANCES))).tasks


def component_rows(answer: Tensor, batch: EigenBatch, target: str) -> list[Row]:
    """A row per component: the mean of the paper's metric over the instances."""
    k = answer.shape[1]
    if target == "values":
        metric = relative_squared_error(answer, batch.eigenvalues[:, :k])
    else:
        metric = abs_cosine(answer, batch.eigenvectors[:, :k])
    return [{"component": j + 1, "score": metric[:, j].mean().item()} for j in range(k)]


def two_seeds(rng: np.random.Generator) -> tuple[int, int]:
    """Of the training and of the test instances."""
    first, second = rng.choice(2**31, size=2, replace=False).tolist()
    return first, second


def mean_score(rows: pd.DataFrame, component: int | None = None) -> Interval:
    """The score of one component, or the mean over components, with its interval over seeds."""
    rows = rows if component is None else rows[rows["component"] == component]
    return mean_interval([rows.groupby("seed")["score"].mean().to_numpy()])


def paired(rows: pd.DataFrame, by: str, first: object, second: object) -> Interval:
    """Mean score of `first` minus that of `second`, paired by seed."""
    wide = rows.pivot_table(index="seed", columns=by, values="score")
    return mean_interval([(wide[first] - wide[second]).to_numpy()])
