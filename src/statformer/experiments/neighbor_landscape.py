"""The loss over (xi_1, xi_2) is not convex.

Li et al. 2024 (arXiv 2411.10830), figure 2 at d = N = 4; item 4 of what a reproduction must show.
A segment along which the loss lies above its chord is searched on one half of the prompts and
judged on the other, with a normal interval over prompts:

    violation = L((a + b) / 2) - (L(a) + L(b)) / 2 > 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._neighbor_training import NOT_THE_AUTHORS, draw
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.neighbor import family_selection
from statformer.objectives.nearest_neighbor import neighbor_loss
from statformer.plotting.chart import Chart, HeatMap, Panel
from statformer.tasks.labelled_points import LabelledPoints, LabelledPointsPrior

FAR = 20.0  # xi_1 from -FAR / 4 to FAR, xi_2 from -FAR / 2 to FAR
Z = 1.96
NOTHING = 1e-6  # a violation that rounding could make


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Sequence[Row]:
    """The loss at every place of a grid, and the worst violation of convexity with its interval."""
    prior, n_places = LabelledPointsPrior(cell["n"], cell["d"]), cell["places"]
    search, judge = draw(prior, cell["prompts"], rng), draw(prior, cell["prompts"], rng)
    xi_1 = torch.linspace(-FAR / 4, FAR, n_places)
    xi_2 = torch.linspace(-FAR / 2, FAR, n_places)
    places = torch.cartesian_prod(xi_1, xi_2)
    with torch.no_grad():
        found = torch.stack(
            [neighbor_loss(_answer(xi, search, harm), search.target) for xi in places]
        )
        a, middle, b = _worst_segment(found.reshape(n_places, n_places).double().numpy())
        ends = [places[i * n_places + j] for i, j in (a, middle, b)]
        each = [
            0.5 * (_answer(xi, judge, harm) - judge.target).square().double().numpy() for xi in ends
        ]
    above = each[1] - 0.5 * (each[0] + each[2])
    value, half = float(above.mean()), float(Z * above.std() / np.sqrt(len(above)))
    where = " to ".join(f"({x:.1f}, {y:.1f})" for x, y in (ends[0].tolist(), ends[2].tolist()))
    judged = {"violation": value, "low": value - half, "high": value + half, "where": where}
    return [
        {"xi_1": x, "xi_2": y, "loss": z, **judged}
        for (x, y), z in zip(places.tolist(), found.tolist(), strict=True)
    ]


def _answer(xi: torch.Tensor, batch: LabelledPoints, harm: str) -> torch.Tensor:
    if harm == "no softmax":  # linear attention: an answer linear in xi, a loss quadratic in it
        inner = (batch.X @ batch.query[:, :, None])[..., 0]
        linear: torch.Tensor = (xi[0] * inner - xi[1]).mul(batch.y).mean(dim=1)
        return linear
    if harm == "labels alike":  # all labels are 0, and so are answers and losses
        batch = replace(batch, y=torch.zeros_like(batch.y))
    answer: torch.Tensor = family_selection(xi, batch.X, batch.y[..., None], batch.query).labels()
    return answer[:, 0, 0]


Place = tuple[int, int]


def _worst_segment(loss: np.ndarray) -> tuple[Place, Place, Place]:
    """The three evenly spaced places of the grid whose middle lies highest above the chord."""
    n, m = loss.shape
    best, found = -np.inf, ((0, 0), (0, 0), (0, 0))
    for di in range(n // 2 + 1):
        for dj in range(-(m // 2), m // 2 + 1):
            if (di, dj) <= (0, 0):
                continue
            j0, j1 = abs(dj), m - abs(dj)
            if di >= n - di or j0 >= j1:
                continue
            middle = loss[di : n - di, j0:j1]
            one = loss[: n - 2 * di, j0 - dj : j1 - dj]
            other = loss[2 * di :, j0 + dj : j1 + dj]
            above = middle - 0.5 * (one + other)
            i, j = np.unravel_index(int(above.argmax()), above.shape)
            if above[i, j] > best:
                best, at = float(above[i, j]), (int(i) + di, int(j) + j0)
                found = ((at[0] - di, at[1] - dj), at, (at[0] + di, at[1] + dj))
    return found


def holds(table: pd.DataFrame) -> Verdict:
    """On every seed the segment's loss lies above its chord, interval included."""
    verdicts = []
    for (n, d), rows in table.groupby(["n", "d"]):
        weakest = rows.sort_values("low").iloc[0]
        verdicts.append(
            Verdict.above(
                float(weakest["violation"]),
                NOTHING,
                interval=(float(weakest["low"]), float(weakest["high"])),
                threshold_source="derived",
                what=f"height above the chord at N={n}, d={d}, least of {rows['seed'].nunique()} "
                f"seeds, from {weakest['where']},",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The loss over (xi_1, xi_2), the mean over seeds."""
    panels = []
    for (n, d), rows in table.groupby(["n", "d"]):
        z = rows.pivot_table(index="xi_2", columns="xi_1", values="loss", aggfunc="mean")
        heat = HeatMap(
            [float(x) for x in z.columns],
            [float(y) for y in z.index],
            z.to_numpy().tolist(),
            "loss",
            contours=True,
        )
        panels.append(Panel(f"N={n}, d={d}", "xi_1", "xi_2", heat=heat))
    return Chart(panels, "1/2 mean squared error of the two-parameter family, on uniform points.")


EXPERIMENT = Experiment(
    claim="The loss of one softmax-attention layer over its two parameters is not convex.",
    paper="2411.10830",
    source="abstract and figure 2 (caption): highly non-convex at d = N = 4; item 4 of what a "
    "reproduction must show",
    kind="existence",
    grid={"n": (4,), "d": (4,), "prompts": (100_000,), "places": (61,)},
    quick={"n": (4,), "d": (4,), "prompts": (10_000,), "places": (31,)},
    tiny={"n": (4,), "d": (4,), "prompts": (1000,), "places": (13,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=NOT_THE_AUTHORS,
    cost="quick 3 s; full about 2 min, on one core (full is reckoned from steps)",
    controls={
        name: Control(measure=partial(measure, harm=name), says=says)
        for name, says in {
            "no softmax": "linear attention, whose loss is convex",
            "labels alike": "answers are 0 everywhere, and the loss is flat",
        }.items()
    },
)
