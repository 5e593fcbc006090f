"""What the experiments on denoisers and classifiers of patches share (arXiv 2412.01021).

Of the paper's synthetic data only n SNR^2 is known; sizes, schedule, initialisation and step sizes
are ours.

Axes: b runs side by side (strengths of the signal), n points, p patches of a point, q different
patches, f = 2 m filters of both branches, m filters of the denoiser, r coordinates in the span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.experiments._seeds import over_seeds
from statformer.experiments.verdict import Verdict
from statformer.nn.span import Span
from statformer.nn.vision import PatchClassifier, Quadratic, TiedDenoiser
from statformer.objectives.logistic import classifier_gradient
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

N, D, M = 30, 1000, 20
SIGMA0, ALPHA, BETA = 1e-3, 0.8, 0.6
CLASSIFIER_STEP = 0.1
TOLERANCE = 1e-6  # of the largest gradient, where a run has settled

Gradient = Callable[[], Mapping[str, Tensor]]


class Patches(NamedTuple):
    """Different patches "b q r", and how many of the `n_points` samples have each, "b q"."""

    vectors: Float[Tensor, "b q r"]
    counts: Float[Tensor, "b q"]
    n_points: int


@dataclass(frozen=True)
class Runs:
    """Samples of several strengths of the signal in coordinates of the span of all vectors here.

    X "b n p r", y "b n", signal "b 2 r", noise "b n r"; W "b f r" are the first filters, those of
    the class -1 before those of +1; a denoiser takes the first half of them.
    """

    X: Float[Tensor, "b n p r"]
    y: Float[Tensor, "b n"]
    signal: Float[Tensor, "b 2 r"]
    noise: Float[Tensor, "b n r"]
    W: Float[Tensor, "b f r"]

    @property
    def lengths(self) -> Float[Tensor, " b"]:
        """norm(mu)."""
        return self.signal[:, 0].norm(dim=-1)

    @cached_property
    def patches(self) -> Patches:
        """The two signals and all noise: n + 2 patches instead of 2 n."""
        n = self.y.shape[1]
        positive = (self.y > 0).sum(1, keepdim=True).to(self.X.dtype)
        counts = torch.cat([n - positive, positive, torch.ones_like(self.y)], 1)
        return Patches(torch.cat([self.signal, self.noise], 1), counts, n)

    def classifier(self) -> tuple[PatchClassifier, Gradient]:
        """A quadratic classifier at the first filters, and its gradient."""
        b, f, r = self.W.shape
        network = PatchClassifier(self.W.reshape(b, 2, f // 2, r).clone(), Quadratic())
        return network, lambda: {"W": classifier_gradient(network, self.X, self.y)}

    def denoiser(self, alpha: float = ALPHA, beta: float = BETA) -> tuple[TiedDenoiser, Gradient]:
        """A tied denoiser at the first half of the filters, and its gradient."""
        network = TiedDenoiser(self.W[:, : self.W.shape[1] // 2].clone())
        return network, lambda: {"W": denoising_gradient(network, self.patches, alpha, beta)}


def synthetic_runs(
    strengths: Sequence[float],
    seed: int,
    *,
    n: int = N,
    d: int = D,
    m: int = M,
    sigma: float = 1.0,
    sigma0: float = SIGMA0,
) -> Runs:
    """A run for each n SNR^2, all with the same labels, noise and first filters.

    Noise of variance sigma^2, projected off the two orthogonal signals, which point anywhere (ours:
    the paper's covariance is not found); filters N(0, sigma0^2 I).
    """
    parts = []
    for n_snr2 in strengths:
        stream = TaskStream(seed, 0, range(1), dtype=torch.float64)
        prior = SignalNoisePrior(n, d, n_snr2=n_snr2, sigma=sigma, kind="orthogonal", axis=None)
        batch, W = prior.sample(stream), sigma0 * stream.normal(2 * m, d)
        noise = batch.noise[:, :, 0]
        span = Span.of(batch.signal, noise, W)
        vectors = [span.inside(part) for part in (batch.X, batch.signal, noise, W)]
        parts.append((vectors[0], batch.y, *vectors[1:]))
    return Runs(*(torch.cat(part) for part in zip(*parts, strict=True)))


def drawn_seed(rng: np.random.Generator) -> int:
    """A seed of a `TaskStream`."""
    return int(rng.integers(2**62))


@torch.no_grad()
def denoising_gradient(
    network: TiedDenoiser, patches: Patches, alpha: float, beta: float
) -> Float[Tensor, "b m r"]:
    """`expected_denoising_gradient` where patches repeat: a sum over different ones, by counts.

    It has the letters of that function's docstring; every sum over samples and patches becomes one
    over different patches, weighted by their counts.
    """
    W, m = network.W, network.W.shape[1]
    s, weight = m**-0.5, patches.counts[..., None]
    G = W @ W.mT
    lengths = torch.diagonal(G, dim1=1, dim2=2)[:, None]
    c = alpha * (patches.vectors @ W.mT)
    q = c.square() + beta**2 * lengths
    Gq, square = q @ G, G.square()
    of_c, of_q = weight * c, weight * q
    C = (
        2 * s**2 * of_c * Gq
        + 4 * s**2 * beta**2 * (of_c @ square)
        - 2 * s * beta * weight * lengths
    )
    D = 0.5 * s**2 * (q.mT @ of_q) + 4 * s**2 * beta**2 * (c.mT @ of_c) * G
    D = D + 3 * s**2 * beta**4 * patches.counts.sum(1)[:, None, None] * square
    D = D + torch.diag_embed((beta**2 * s**2 * weight * Gq - 2 * s * beta * of_c).sum(1))
    return (alpha * (C.mT @ patches.vectors) + (D + D.mT) @ W) / patches.n_points


class AdaptiveSteps:
    """Step sizes of `descend` that follow the curvature on the way (ours).

        eta_t = min( sqrt(1 + eta_{t-1} / eta_{t-2}) eta_{t-1},
                     |W_t - W_{t-1}| / (4 |g_t - g_{t-1}|),  largest )

    The rule of Malitsky and Mishchenko (arXiv 1910.09529) with 1/4 for their 1/2, and a cap: both
    keep a run close to the gradient flow, so that small steps of one size end at the same place.
    Pass the object to `descend` as the gradient, and `sizes` as the step sizes, which `descend`
    reads anew at every step.
    """

    _FIRST = 1e-3

    def __init__(
        self, network: nn.Module, gradient: Gradient, largest: Float[Tensor, " b"]
    ) -> None:
        self._W, self._gradient, self._largest = network.get_parameter("W"), gradient, largest
        self._size = torch.minimum(torch.full_like(largest, self._FIRST), largest)
        self._faster = torch.full_like(largest, torch.inf)
        self._last: tuple[Tensor, Tensor] | None = None

    @property
    def sizes(self) -> dict[str, Tensor]:
        """By the name of the weight; changed in place."""
        return {"W": self._size}

    def __call__(self) -> Mapping[str, Tensor]:
        slopes = self._gradient()
        W, slope = self._W.detach().clone(), slopes["W"]
        if self._last is not None:
            moved = (W - self._last[0]).flatten(1).norm(dim=1)
            turned = (slope - self._last[1]).flatten(1).norm(dim=1)
            limit = torch.minimum(0.25 * moved / turned, self._largest)
            size = torch.minimum((1.0 + self._faster).sqrt() * self._size, limit)
            # A run that has ended does not move, and has no curvature.
            size = torch.where((moved > 0) & (turned > 0), size, self._size)
            self._faster = size / self._size
            self._size.copy_(size)
        self._last = W, slope
        return slopes


def largest_steps(lengths: Float[Tensor, " b"], scale: float = 0.1) -> Float[Tensor, " b"]:
    """scale min(1, 5 / norm(mu)): the larger the signal, the sharper the loss (ours)."""
    return scale * (5.0 / lengths).clamp_max(1.0)


def largest_product(
    W: Float[Tensor, "b *f r"], vectors: Float[Tensor, "b v r"]
) -> Float[Tensor, " b"]:
    """max |<w, v>| over all filters and vectors: signal and noise learning of the paper."""
    return (W.detach().reshape(len(W), -1, W.shape[-1]) @ vectors.mT).abs().flatten(1).amax(1)


def crossings(x: Float[np.ndarray, " q"], log_R: Float[np.ndarray, " q"]) -> list[float]:
    """Where a curve crosses R = 1 upwards or downwards, on a straight line between its points."""
    found = []
    for i in np.flatnonzero((log_R[:-1] < 0) != (log_R[1:] < 0)):
        part = log_R[i] / (log_R[i] - log_R[i + 1])
        found.append(float(x[i] + part * (x[i + 1] - x[i])))
    return found


def of_log(
    log_values: Sequence[float] | pd.Series,
    side: Literal["below", "above"],
    threshold: float,
    what: str,
) -> Verdict:
    """A threshold of ours for 10^x, from one x per seed: the geometric mean and its interval."""
    found = over_seeds(log_values)
    decide = Verdict.below if side == "below" else Verdict.above
    interval = (10.0**found.low, 10.0**found.high)
    return decide(
        10.0**found.value, threshold, threshold_source="ours", interval=interval, what=what
    )
