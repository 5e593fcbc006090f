"""The error of the constructed network falls with depth until EM's own fixed point (2502.06007).

A check that follows from the theory, without a number of the paper [derived]: T layers are T EM
steps, so the misclustering at depth T has to come down to that of textbook EM run to convergence
from the same start, and to stay there. Isotropic mixtures of known sigma, one k-means++ start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from statformer.experiments._em_networks import double, em_network, held_out, small_recipe
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.mixture_transformer import SeededBatch, misclustering
from statformer.reference.em import assign, isotropic_em

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
WITHIN = 0.001  # of the error of the fixed point at the largest depth
_STEPS, _MOST_STEPS, _STILL = 100, 2000, 1e-9


def measure(cell: Cell, rng: np.random.Generator, m_reads: bool = True) -> Sequence[Row]:
    """Error of the network at each depth and of EM's fixed point, and how far the means are.

    With `m_reads` False the M layer brings nothing to the centres.
    """
    recipe = small_recipe(
        n_points=200,
        n_features=4,
        n_components=cell["k"],
        separation=(cell["separation"], cell["separation"]),
    )
    batch = held_out(recipe, cell["n_tables"], block=int(rng.integers(2**31)))
    network = em_network(batch, max(DEPTHS))
    if not m_reads:
        steps = list(network.layers[0])  # type: ignore[call-overload]
        W_OV = next(step.module.W_OV for step in steps if step.name == "M")
        with torch.no_grad():
            W_OV.zero_()
    with torch.no_grad():
        trace = network(*double(batch))
    fixed, fixed_means = _fixed_points(batch)
    X, means = double(batch)[0].X.numpy(), batch.start.means.double().numpy()
    first = np.stack([assign(table, start) for table, start in zip(X, means, strict=True)])
    hot = torch.nn.functional.one_hot(torch.from_numpy(first), cell["k"]).double()
    at_fixed = _error(fixed, batch)
    rows = [{"depth": 0, "error": _error(hot, batch), "fixed": at_fixed, "distance": np.nan}]
    for T in DEPTHS:
        away = (trace.centres[T - 1].means - fixed_means).norm(dim=-1).amax(-1).mean()
        error = _error(trace.responsibilities[T - 1], batch)
        rows.append({"depth": T, "error": error, "fixed": at_fixed, "distance": away.item()})
    return rows


def _error(responsibilities: torch.Tensor, batch: SeededBatch) -> float:
    return misclustering(responsibilities, batch.y).double().mean().item()


def _fixed_points(batch: SeededBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Responsibilities "b n c" and means "b c d" of textbook EM when nothing moves any more."""
    tables, start = double(batch)
    found, centres = [], []
    for X, first, pi in zip(tables.X.numpy(), start.means.numpy(), start.weights, strict=True):
        weights, means = pi.numpy(), first
        before = np.zeros((len(X), len(means)))
        for _ in range(_MOST_STEPS // _STEPS):
            (weights, means, _), after = isotropic_em(X, weights, means, 1.0, _STEPS)[-1]
            moved, before = np.abs(after - before).max(), after
            if moved < _STILL:
                break
        found.append(before)
        centres.append(means)
    return torch.from_numpy(np.stack(found)), torch.from_numpy(np.stack(centres))


def holds(table: pd.DataFrame) -> Verdict:
    """The error falls from depth 0, and at the largest depth is that of the fixed point."""
    depth = table["depth"]
    by_seed = ["seed", "k", "separation"]
    first = table[depth == 0].set_index(by_seed)["error"]
    last = table[depth == max(DEPTHS)].set_index(by_seed)
    fall = over_seeds((first - last["error"]).groupby("seed").mean())
    left = (last["error"] - last["fixed"]).abs().groupby(["k", "separation"]).mean()
    return Verdict.all_of(
        Verdict.above(
            fall.value,
            0.0,
            threshold_source="derived",
            interval=fall.interval,
            what=f"fall of the error from depth 0 to {max(DEPTHS)}",
        ),
        Verdict.below(
            float(left.max()),
            WITHIN,
            threshold_source="ours",
            what="largest mean distance to the error of EM's fixed point",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Error over depth with the fixed point, and the distance of the means to it."""
    errors, away = [], []
    for (k, separation), rows in table.groupby(["k", "separation"]):
        name = f"k = {k}, separation {separation:g}"
        curve = seed_curve(rows, "depth", "error")
        x = list(curve["x"])
        errors.append(
            Series(name, x, list(curve["value"]), list(curve["low"]), list(curve["high"]))
        )
        level = [float(rows["fixed"].mean())] * len(x)
        errors.append(Series(f"fixed point, {name}", x, level, style="dashed"))
        far = seed_curve(rows[rows["depth"] > 0], "depth", "distance")
        away.append(Series(name, list(far["x"]), list(far["value"])))
    return Chart(
        [
            Panel("Error by depth", "depth T", "misclustered share", errors),
            Panel("Means", "depth T", "distance to EM's fixed point", away, log_x=True, log_y=True),
        ],
        "Constructed network and textbook EM from the same k-means++ start; bands over seeds.",
    )


EXPERIMENT = Experiment(
    claim="The constructed network's error falls with depth until EM's own fixed point.",
    paper="2502.06007",
    source="a check derived from the theory: hand-built weights, error against T",
    kind="existence",
    grid={"k": (2, 3, 4), "separation": (2.0, 2.5, 3.0, 4.0, 5.0), "n_tables": (100,)},
    quick={"k": (3,), "separation": (2.5, 3.0, 4.0), "n_tables": (40,)},
    tiny={"k": (3,), "separation": (4.0,), "n_tables": (10,)},
    n_seeds=20,
    quick_seeds=4,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 16 s of one core",
    not_the_authors="sizes and separations are ours; the paper's were not found",
    controls={
        "M reads nothing": Control(
            measure=lambda cell, rng: measure(cell, rng, m_reads=False),
            says="the value matrix of the M layer is 0",
        )
    },
)
