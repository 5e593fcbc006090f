"""What the experiments on mean-field Transformers share: a small task, the flow, its limit.

The paper (arXiv 2410.23610) checks neither of its theorems by numbers, and gives no sizes for such
a check. All sizes here are ours: 20 sequences, which are the whole distribution, of 4 tokens of 3
features, S = 4 hidden units, R = 4, in float64. A sequence is a line through 0, three of its
points, and a query:

    tokens (x_i, w x_i, 0) for i = 1, 2, 3, then (x, 0, 1);  y = w x;  w, x_i, x uniform on [-1, 1]

Axes: b runs side by side, n sequences, t tokens, d features of a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.experiments.base import Verdict
from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.nn.mean_field_encoders import (
    Encoder,
    MeanAttention,
    MeanFeedForward,
    PulledBack,
)
from statformer.objectives.mean_field import flow, mean_square
from statformer.optim.descent import descend
from statformer.runs.fits import Fit, fit_line

N_SEQUENCES, N_CONTEXT, D, S, READ = 20, 3, 3, 4, 1
RADIUS, PENALTY, STEP = 4.0, 1e-3, 2.0
TOLERANCE = 0.15  # of a slope; ours
_CACHED = 128  # particles whose arrays stay in the processor's cache


class Sequences(NamedTuple):
    """All of a distribution: tokens, and the answer asked for."""

    H: Float[Tensor, "n t d"]
    y: Float[Tensor, " n"]


def sequences(rng: np.random.Generator) -> Sequences:
    """The task of the module's first lines."""
    w = rng.uniform(-1.0, 1.0, (N_SEQUENCES, 1))
    x = rng.uniform(-1.0, 1.0, (N_SEQUENCES, N_CONTEXT + 1))
    H = np.stack([x, w * x, np.zeros_like(x)], axis=-1)
    H[:, -1, READ], H[:, -1, 2] = 0.0, 1.0
    return Sequences(torch.from_numpy(H), torch.from_numpy(w[:, 0] * x[:, -1]))


def cloud(rng: np.random.Generator, n_runs: int, n_layers: int, n_particles: int) -> Cloud:
    """Independent particles, uniform in the ball."""
    return Cloud.uniform_in_ball(n_runs, n_layers, n_particles, D, S, RADIUS, rng)


@dataclass(frozen=True)
class Louder:
    """A planted fault: an encoder times a factor, with the gradients that belong to it.

    The factor M sums the heads instead of averaging them; 2 takes whole steps for half ones.
    """

    encoder: Encoder
    factor: float

    @property
    def names(self) -> tuple[str, str]:
        """Those of the encoder."""
        return self.encoder.names

    def mean(self, T: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The factor times the mean."""
        return self.factor * self.encoder.mean(T, first, second)

    def pull_back(self, T: Tensor, P: Tensor, first: Tensor, second: Tensor) -> PulledBack:
        """The factor times each gradient."""
        found = self.encoder.pull_back(T, P, first, second)
        dV, dW = found.weights
        return PulledBack(self.factor * found.tokens, (self.factor * dV, self.factor * dW))


def network(particles: Cloud, louder: float = 1.0) -> MeanFieldTransformer:
    """The pair that the paper verifies; `louder` is a planted fault."""
    if louder == 1.0:
        return MeanFieldTransformer(particles, READ)
    f, h = Louder(MeanAttention(), louder), Louder(MeanFeedForward(), louder)
    return MeanFieldTransformer(particles, READ, f, h)


class Track(NamedTuple):
    """What is recorded at tau = 0, step, 2 step, ...: a line per time, a column per run.

    A run whose weights stop being finite has infinite values from then on.

    dissipation  (1/ML) sum |G|^2
    square       (1/ML) sum |beta|^2
    """

    risk: Float[Tensor, "steps b"]
    objective: Float[Tensor, "steps b"]
    dissipation: Float[Tensor, "steps b"]
    square: Float[Tensor, "steps b"]


def train(
    net: MeanFieldTransformer,
    task: Sequences,
    n_steps: int,
    *,
    step: float = STEP,
    penalty: float | Float[Tensor, " b"] = PENALTY,
    scaled: bool = True,
) -> Track:
    """Euler's steps beta <- beta - step M L dQ/dbeta; without M L where not `scaled`."""
    size = net.n_layers * net.n_particles
    found: list[Track] = []

    def gradient() -> dict[str, Tensor]:
        here = flow(net, *task, penalty)
        square = mean_square(dict(net.named_parameters())).detach()
        found.append(Track(here.risk, here.objective, here.dissipation, square))
        return {name: field / size for name, field in here.fields.items()}

    sizes = torch.full((len(net.V),), step * (size if scaled else 1.0), dtype=torch.float64)
    descend(net, gradient, dict.fromkeys(dict(net.named_parameters()), sizes), n_steps)
    gradient()
    missing = [Track(*(torch.full_like(part, torch.inf) for part in found[-1]))]
    found += missing * (n_steps + 1 - len(found))
    return Track(
        *(
            torch.stack(list(part)[: n_steps + 1]).nan_to_num(torch.inf, torch.inf)
            for part in zip(*found, strict=True)
        )
    )


def train_clouds(
    particles: Cloud,
    task: Sequences,
    n_steps: int,
    *,
    step: float = STEP,
    scaled: bool = True,
    louder: float = 1.0,
) -> Track:
    """`train` for many runs, as many at a time as the cache holds."""
    at_a_time = max(1, _CACHED // particles.V.shape[2])
    tracks = []
    for first in range(0, len(particles.V), at_a_time):
        runs = slice(first, first + at_a_time)
        some = particles.of_runs(runs)
        tracks.append(train(network(some, louder), task, n_steps, step=step, scaled=scaled))
    return Track(*(torch.cat(parts, 1) for parts in zip(*tracks, strict=True)))


def limit_risk(particles: Cloud, task: Sequences, n_steps: int) -> tuple[Tensor, Tensor]:
    """Risk over tau, "steps", of one wide run at its own depth L, and in the limit of depth.

    The limit is 2 R_2L - R_L, from the same particles at twice the depth: what is left is of order
    1 / L^2 (ours).
    """
    here = train_clouds(particles, task, n_steps).risk[:, 0]
    deeper = train_clouds(particles.refined(2), task, n_steps).risk[:, 0]
    return here, 2.0 * deeper - here


def largest_gap(
    risk: Float[Tensor, "steps b"], reference: Float[Tensor, " steps"]
) -> Float[np.ndarray, " b"]:
    """sup over tau of |R - R_ref|, for each run."""
    return (risk - reference[:, None]).abs().amax(0).numpy()


def power_law(
    x: np.ndarray, y: np.ndarray, units: np.ndarray, power: float, what: str
) -> tuple[Fit | None, Verdict]:
    """The slope of log10 y on log10 x, bootstrapped over `units`, and whether it is `power`.

    What is not finite has no power: it fails.
    """
    if not np.isfinite(y).all():
        text = f"slope of {what}: some runs diverged"
        return None, Verdict("fails", text, f"{power} ± {TOLERANCE}", "ours", "not finite")
    rng = np.random.default_rng(0)
    fit = fit_line(np.log10(x), np.log10(y), rng, units)
    text, asked = f"slope of {what} {fit}", f"{power} ± {TOLERANCE}"
    off_low, off_high = (end - power for end in fit.interval)
    if off_low >= -TOLERANCE and off_high <= TOLERANCE:
        return fit, Verdict("holds", text, asked, "ours")
    if off_low > TOLERANCE or off_high < -TOLERANCE:
        return fit, Verdict("fails", text, asked, "ours")
    return fit, Verdict("undecided", text, asked, "ours", "the interval straddles an end")
