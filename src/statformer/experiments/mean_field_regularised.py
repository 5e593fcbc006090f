"""The risk at which a weakly regularised flow ends shrinks with its penalty, at least linearly.

arXiv 2410.23610, Theorem 4.1: the risk after long training is at most eps + C_1 gap + C_2 lambda
for wide and deep networks, if the flow converges; the paper argues for that and does not prove it.
Measured: the risk at the end for several lambda, every other thing equal. It holds where the slope
of log risk on log lambda is at least 0.85, and where the straight line through risks over lambda
begins at 2 % of the risk before training, or below (both ours). Decay takes a time of 1 / lambda,
so the least lambda is the one that has least converged; the last hundredth of each run may lower
the objective by 1 % (ours) at most, or the claim stays undecided. Sizes were chosen in pilot runs.
The paper has no numerical check.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._mean_field import cloud, network, sequences, train
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.mean_field import Cloud
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.fits import fit_line

PENALTIES = (3e-4, 1e-3, 3e-3, 1e-2)
STEP, DRAWS, TIMES = 1.0, 3, 60
STEEPNESS, FLOOR, STILL = 0.85, 0.02, 0.01


def measure(
    cell: Cell, rng: np.random.Generator, *, early: float = 1.0, contradicted: bool = False
) -> Sequence[Row]:
    """The risk over tau of each penalty; all penalties begin with the same particles."""
    task, n_steps = sequences(rng), int(early * cell["n_steps"])
    if contradicted:
        task = task._replace(H=task.H[: len(task.H) // 2].repeat(2, 1, 1))
    one = cloud(rng, DRAWS, cell["depth"], cell["width"])
    parts = [part.repeat(len(PENALTIES), 1, 1, 1, 1) for part in one if part is not None]
    penalties = torch.tensor(PENALTIES, dtype=torch.float64).repeat_interleave(DRAWS)
    track = train(network(Cloud(*parts)), task, n_steps, step=STEP, penalty=penalties)
    before, back = len(track.objective) - 1, max(1, n_steps // 100)
    moved = 1.0 - track.objective[-1] / track.objective[before - back]
    shown = sorted(set(np.geomspace(1, n_steps, TIMES).astype(int).tolist()))
    rows: list[Row] = []
    for run, penalty in enumerate(penalties.tolist()):
        here = {"penalty": penalty, "draw": run % DRAWS}
        rows += [
            {**here, "tau": STEP * k, "risk": float(track.risk[k, run]), "last": k == n_steps}
            for k in shown
        ]
        rows[-1] = {**rows[-1], "moved": float(moved[run]), "untrained": float(track.risk[0, run])}
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """Steepness, the line's beginning, and whether the runs have come to rest."""
    verdicts = []
    for depth, rows in table[table["last"]].groupby("depth"):
        units = rows["seed"].to_numpy() * DRAWS + rows["draw"].to_numpy()
        x, y = np.log10(rows["penalty"].to_numpy()), np.log10(rows["risk"].to_numpy())
        fit = fit_line(x, y, np.random.default_rng(0), units)
        verdicts.append(
            Verdict.above(
                fit.slope,
                STEEPNESS,
                threshold_source="ours",
                interval=fit.interval,
                what=f"L = {depth}: slope of log risk on log λ",
            )
        )
        begins = [
            float(np.polyfit(one["penalty"], one["risk"] / one["untrained"], 1)[1])
            for _, one in rows.groupby(units)
        ]
        found = over_seeds(begins)
        verdicts.append(
            Verdict.below(
                found.value,
                FLOOR,
                threshold_source="ours",
                interval=None if np.isnan(found.low) else found.interval,
                what=f"L = {depth}: risk at λ → 0 / risk untrained",
            )
        )
        moved = float(rows["moved"].max())
        if moved > STILL:
            verdicts.append(
                Verdict(
                    "undecided",
                    f"L = {depth}: the objective still falls by {moved:.2g} in the last hundredth",
                    f"at most {STILL}",
                    "ours",
                    "not converged",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Risk over time for every penalty, and the final risk over the penalty."""
    panels = []
    for depth, here in table.groupby("depth"):
        curves = []
        for penalty, rows in here.groupby("penalty"):
            mean = rows.groupby("tau")["risk"].mean()
            curves.append(Series(f"λ = {penalty:g}", list(mean.index), mean.to_list()))
        panels.append(
            Panel(
                f"Risk during training, L = {depth}",
                "training time τ",
                "risk",
                curves,
                log_x=True,
                log_y=True,
            )
        )
        final = here[here["last"]].groupby("penalty")["risk"]
        mean = final.mean()
        places = [float(x) for x in mean.index]
        points = Series(
            "risk at the end", places, mean.to_list(), final.min().to_list(), final.max().to_list()
        )
        guide = [float(mean.iloc[-1]) * x / places[-1] for x in places]
        panels.append(
            Panel(
                f"Where it ends, L = {depth}",
                "penalty λ",
                "risk",
                [points, Series("proportional to λ", places, guide, style="dashed")],
                log_x=True,
                log_y=True,
            )
        )
    return Chart(panels, "Means over networks and seeds; the band from the least to the largest.")


EXPERIMENT = Experiment(
    claim="The risk after long training is of order λ, and nothing is left of it where λ vanishes.",
    paper="2410.23610",
    source="Theorem 4.1, read in full; the paper has no numerical check of it",
    kind="learnability",
    grid={"depth": (2, 4), "width": (64,), "n_steps": (10_000,)},
    quick={"depth": (2,), "width": (16,), "n_steps": (2500,)},
    tiny={"depth": (1,), "width": (2,), "n_steps": (50,)},
    n_seeds=5,
    quick_seeds=2,
    tiny_seeds=1,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: task, sizes, λ, step and τ are ours",
    controls={
        "stopped early": Control(
            measure=partial(measure, early=0.02), says="a fiftieth of the training"
        ),
        "no function": Control(
            measure=partial(measure, contradicted=True),
            says="every sequence is there twice, with two answers: no network has risk 0",
        ),
    },
    control_size="quick",
    cost="quick 23 s on one core",
)
