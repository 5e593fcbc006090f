"""Compared with its own law, the field of a network's particles is off by 1/L whatever the width.

arXiv 2410.23610, Lemma D.3: |G_network(beta, t) - G(beta, law of its particles, t)| is of order 1/L
without a term in M. G of the law has hidden states and adjoints from the differential equations in
t, which are integrated in both directions. The law here is uniform on a ball of radius 2 around a
drawn point of norm 4: around 0 the mean of the encoders vanishes as M grows, and the error with it.
Even so a part of the error falls like M^(-1/2), down to a constant: widths begin at 16, where pilot
runs showed little of that part (ours). beta are 16 points of that ball. The slopes with
their tolerance of 0.15 are ours, as are the task and the sizes; the paper has no numerical check.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.experiments._mean_field import PENALTY, D, S, network, power_law, sequences
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.objectives.mean_field import adjoint
from statformer.objectives.mean_field_limit import field_at, limit
from statformer.plotting.chart import Chart, Panel, Series

PROBES, SPREAD, CENTRE, N_STEPS = 16, 2.0, 4.0, 2
NARROWEST = 16


def _parts(cloud: Cloud) -> list[Tensor]:
    return [part for part in cloud if part is not None]


def _shifted(centre: Cloud, rng: np.random.Generator, n_layers: int, n_particles: int) -> Cloud:
    around = Cloud.uniform_in_ball(1, n_layers, n_particles, D, S, SPREAD, rng)
    return Cloud(*(x + c for x, c in zip(_parts(around), _parts(centre), strict=True)))


def _probes(net: MeanFieldTransformer, probes: Cloud) -> list[tuple[Tensor, Tensor]]:
    """The probes' weights of each encoder."""
    weights = probes._asdict()
    found = []
    for encoder in net.encoders():
        first, second = (weights[name][:, 0] for name in encoder.names)
        found.append((first, second))
    return found


def deviation(
    net: MeanFieldTransformer,
    law: MeanFieldTransformer,
    probes: Cloud,
    H: Float[Tensor, "n t d"],
    y: Float[Tensor, " n"],
) -> float:
    """The root mean square over t and beta of |G_net - G_law|."""
    found, exact = adjoint(net, H, y), limit(law, H, y, N_STEPS)
    weights, total = _probes(net, probes), 0.0
    for place, (layer, encoder) in enumerate(net.steps()):
        beta = weights[place % len(weights)]
        ours = field_at(encoder, found.states[place], found.adjoints[place], beta, PENALTY)
        theirs = field_at(encoder, exact.states[layer], exact.adjoints[layer], beta, PENALTY)
        total += sum(
            float((a - b).square().sum()) / PROBES for a, b in zip(ours, theirs, strict=True)
        )
    return float(np.sqrt(total / net.n_layers))


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    louder: float = 1.0,
    own: bool = True,
) -> Sequence[Row]:
    """The deviation of one network at every width and depth, all with the same ball."""
    task = sequences(rng)
    point = Cloud.uniform_in_ball(1, 1, 1, D, S, 1.0, rng)
    norm = torch.cat([part.flatten() for part in _parts(point)]).norm()
    centre = Cloud(*(CENTRE / norm * part for part in _parts(point)))
    probes = _shifted(centre, rng, 1, PROBES)
    rows = []
    width = NARROWEST
    while width <= cell["widest"]:
        depth = 4
        while depth <= cell["deepest"]:
            particles = _shifted(centre, rng, depth, width)
            law = particles if own else _shifted(centre, rng, depth, width)
            value = deviation(network(particles, louder), network(law), probes, *task)
            rows.append({"width": width, "depth": depth, "deviation": value})
            depth *= 2
        width *= 4
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """Slope -1 in L and 0 in M: each where the other's effect is taken out as a mean."""
    logs = np.log10(table["deviation"])
    verdicts = []
    for axis, other, power in (("depth", "width", -1.0), ("width", "depth", 0.0)):
        level = logs.groupby([table["seed"], table[other]]).transform("mean")
        y = 10.0 ** (logs - level).to_numpy()
        x, seeds = table[axis].to_numpy(), table["seed"].to_numpy()
        what = f"the field's error in {'L' if axis == 'depth' else 'M'}"
        verdicts.append(power_law(x, y, seeds, power, what)[1])
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The deviation over L for every M."""
    series = []
    for width, rows in table.groupby("width"):
        logs = np.log10(rows["deviation"]).groupby(rows["depth"])
        mean, half = logs.mean(), 1.96 * logs.sem().fillna(0.0)
        series.append(
            Series(
                f"M = {width}",
                mean.index.to_list(),
                (10.0**mean).to_list(),
                (10.0 ** (mean - half)).to_list(),
                (10.0 ** (mean + half)).to_list(),
            )
        )
    depths = sorted(float(depth) for depth in table["depth"].unique())
    at_first = float(table.loc[table["depth"] == depths[0], "deviation"].median())
    guide = [at_first * depths[0] / depth for depth in depths]
    series.append(Series("slope −1", depths, guide, style="dashed"))
    panel = Panel(
        "Field of the particles against that of their law",
        "depth L",
        "root mean square deviation",
        series,
        log_x=True,
        log_y=True,
    )
    return Chart([panel], "Geometric means over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="Against the law of its own particles the field of a network is off by order 1/L, "
    "whatever the width.",
    paper="2410.23610",
    source="Lemma D.3, second part, read in full; the paper has no numerical check of it",
    kind="mechanism",
    grid={"widest": (1024,), "deepest": (128,)},
    quick={"widest": (256,), "deepest": (64,)},
    tiny={"widest": (64,), "deepest": (16,)},
    n_seeds=20,
    quick_seeds=6,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: law, task and sizes are ours",
    controls={
        "whole steps": Control(
            measure=partial(measure, louder=2.0), says="each sub-layer takes a step of 1/L"
        ),
        "another draw": Control(
            measure=partial(measure, own=False),
            says="the law is that of other particles from the same ball",
        ),
    },
    cost="quick 16 s on one core",
)
