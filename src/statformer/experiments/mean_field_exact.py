"""What holds of every mean-field Transformer to rounding: symmetries, increments, the gradient.

arXiv 2410.23610, definitions and the explicit form of the flow: f is homogeneous in V and h in W2,
particles of a layer may be reordered and doubled, an increment over dt/2 is the mean over single
particles, columns of the softmax sum to 1, and M L times the gradient of Q by automatic
differentiation is the field that the adjoint gives. Derived: with mirrored particles (-V, -W2) the
network is the identity. All deviations are relative to the largest entry and must be at most 1e-10
in float64 (derived).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.nn.mean_field_encoders import MeanAttention, MeanFeedForward
from statformer.objectives.mean_field import adjoint, flow, objective
from statformer.objectives.mean_field_limit import field_at
from statformer.plotting.chart import Chart, Panel, Series

D, S, TOKENS, N_SEQUENCES, READ, PENALTY, EXACT = 4, 6, 5, 8, 2, 0.05, 1e-10
CHECKS = {
    "homogeneous": "encoders of cV and cW2",
    "reordered": "particles reordered",
    "doubled": "particles doubled",
    "increment": "increment = mean of single particles",
    "columns": "columns of the softmax",
    "gradient": "M L gradient = field",
    "mirrored": "mirrored particles: identity",
}


def measure(
    cell: Cell, rng: np.random.Generator, *, half_step: bool = True, disturbed: bool = False
) -> Row:
    """The largest deviation of each check; softmax columns only where there is a softmax."""
    H = torch.from_numpy(rng.uniform(-1.0, 1.0, (N_SEQUENCES, TOKENS, D)))
    y = torch.from_numpy(rng.uniform(-1.0, 1.0, N_SEQUENCES))
    with_h = cell["feed_forward"] != "none"
    particles = Cloud.uniform_in_ball(
        2, cell["depth"], cell["width"], D, S if with_h else 0, 4.0, rng
    )
    f = MeanAttention(cell["attention"])
    h = MeanFeedForward(cell["feed_forward"]) if with_h else None

    def network(some: Cloud) -> MeanFieldTransformer:
        return MeanFieldTransformer(some, READ, f, h)

    net = network(particles)
    order = torch.from_numpy(rng.permutation(cell["width"]))
    reordered = _with_particles(particles, order)
    if disturbed:
        reordered.V[0, 0, 0, 0, 0] += 1e-6
    twice = _with_particles(particles, torch.arange(cell["width"]).repeat(2))
    mirrored = particles.with_mirror_images()
    with torch.no_grad():
        last = net.path(H)[-1]
        return {
            "homogeneous": _homogeneity(net, H, rng.uniform(-3.0, 3.0)),
            "reordered": _off(network(reordered).path(H)[-1], last),
            "doubled": _off(network(twice).path(H)[-1], last),
            "increment": _increments(net, H),
            "columns": _columns(f, net, H) if cell["attention"] == "softmax" else 0.0,
            "mirrored": _off(network(mirrored).path(H)[-1], H.expand_as(last)),
            "gradient": _gradient(net, H, y, half_step),
        }


def _off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _with_particles(particles: Cloud, places: Tensor) -> Cloud:
    return Cloud(*(part[:, :, places] for part in particles if part is not None))


def _homogeneity(net: MeanFieldTransformer, H: Tensor, c: float) -> float:
    worst, T = 0.0, H.expand(2, *H.shape)
    for encoder in net.encoders():
        first, second = net.weights(0, encoder)
        outer_first = encoder.names[0] == "V"
        scaled = (c * first, second) if outer_first else (first, c * second)
        once = c * encoder.mean(T, first, second)
        worst = max(worst, _off(encoder.mean(T, *scaled), once))
    return worst


def _increments(net: MeanFieldTransformer, H: Tensor) -> float:
    states, worst = net.path(H), 0.0
    for (layer, encoder), before, after in zip(net.steps(), states[:-1], states[1:], strict=True):
        first, second = net.weights(layer, encoder)
        alone = [
            encoder.mean(before, first[:, [j]], second[:, [j]]) for j in range(net.n_particles)
        ]
        worst = max(worst, _off((after - before) * 2 * net.n_layers, torch.stack(alone).mean(0)))
    return worst


def _columns(f: MeanAttention, net: MeanFieldTransformer, H: Tensor) -> float:
    sums = f.pattern(H.expand(2, *H.shape), net.weights(0, f)[1]).sum(-1)
    return _off(sums, torch.ones_like(sums))


@torch.enable_grad()
def _by_autograd(net: MeanFieldTransformer, H: Tensor, y: Tensor) -> Mapping[str, Tensor]:
    weights = dict(net.named_parameters())
    slopes = torch.autograd.grad(objective(net, H, y, PENALTY).sum(), list(weights.values()))
    size = net.n_layers * net.n_particles
    return {name: size * slope for name, slope in zip(weights, slopes, strict=True)}


def _gradient(net: MeanFieldTransformer, H: Tensor, y: Tensor, half_step: bool) -> float:
    expected, found = _by_autograd(net, H, y), flow(net, H, y, PENALTY).fields
    worst = max(_off(found[name], slope) for name, slope in expected.items())
    if half_step:
        return worst
    # The fault: p of the step after, for the first layer's attention.
    both = adjoint(net, H, y)
    wrong = field_at(
        net.attention, both.states[0], both.adjoints[1], net.weights(0, net.attention), PENALTY
    )
    return max(worst, _off(wrong[0], expected["V"][:, 0]))


def holds(table: pd.DataFrame) -> Verdict:
    """The largest deviation of each check over all cells and seeds."""
    return Verdict.all_of(
        *(
            Verdict.below(float(table[name].max()), EXACT, threshold_source="derived", what=what)
            for name, what in CHECKS.items()
        )
    )


def figure(table: pd.DataFrame) -> Chart:
    """The largest deviation of each check."""
    largest = [max(float(table[name].max()), 1e-18) for name in CHECKS]
    panel = Panel(
        "Exact to rounding",
        "",
        "largest relative deviation",
        [Series("float64", list(range(len(largest))), largest, style="bars")],
        log_y=True,
        categories=list(CHECKS.values()),
        rule=EXACT,
        rule_label="threshold",
    )
    return Chart([panel], "Over all encoders, sizes and seeds.")


_ENCODERS = {"attention": ("softmax", "relu"), "feed_forward": ("huber", "relu", "none")}

EXPERIMENT = Experiment(
    claim="Homogeneity, the symmetries of particles and half steps hold to rounding, and M L times "
    "the gradient is the adjoint's field.",
    paper="2410.23610",
    source="definitions and explicit form of the flow, read in full; mirrored particles: derived",
    kind="existence",
    grid={**_ENCODERS, "depth": (1, 4, 16), "width": (1, 8, 32)},
    quick={**_ENCODERS, "depth": (1, 4), "width": (1, 8)},
    tiny={**_ENCODERS, "depth": (2,), "width": (3,)},
    n_seeds=5,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "adjoint of another step": Control(
            measure=partial(measure, half_step=False),
            says="attention uses p of the step after its own",
        ),
        "disturbed weight": Control(
            measure=partial(measure, disturbed=True), says="one weight is off by 1e-6"
        ),
    },
    cost="quick 2 s on one core",
)
