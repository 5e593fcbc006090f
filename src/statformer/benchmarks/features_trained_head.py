"""Phase diagrams of the patch network with a trained second layer: samples, training, test errors.

What the bench times and the experiments on arXiv 2410.19139 decide with.

The network is f(x) = sum_r v_r sum_p max(<w_r, x_p>, 0); a head says how v starts and whether it
learns. Runs of one sample that differ in the strength of the signal share the noise, the labels,
the first filters and the matrix products (`optim.patch_descent`), in single precision.

Scales and sizes are ours (the paper's were not found): m = 20 filters of entries N(0, 10^-6),
v = +-v0, sigma = 1, noise off the signal. The step size is a quarter of 1 / L, where
L = (m / 8) v^2 ((1 + sqrt(d / n))^2 + |mu|^2) bounds the curvature at a second layer of size v:
small enough to follow the gradient flow, while the loss falls below 0.01 in some hundred steps.

Axes: b strengths of the signal, n points, m filters, t = 1 + n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, einsum

from statformer.optim.patch_descent import PatchProducts, TrainedPatches, descend_patches
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

M, SIGMA0 = 20, 1e-3
OVERFITTED = 0.01  # training loss at which a run ends
MOST_STEPS = 20_000
N_TEST = 4000  # noise vectors of a test set, each with both labels
CUT = 0.2  # of the test error, between benign and harmful
POWER = 4.0  # of the reference n SNR^4 d = const for a fixed second layer
_SHARE = 0.25


@dataclass(frozen=True)
class Head:
    """A second layer +-v0, trained at `speed` times the filters' step size.

    reach  the size for which the step is chosen: v grows where v0 is small
    """

    v0: float
    speed: float = 1.0
    reach: float | None = None

    def weights(self, b: int) -> Float[Tensor, "b m"]:
        """Half of the filters vote for each label."""
        signs = torch.ones(M, dtype=torch.float64)
        signs[M // 2 :] = -1.0
        return self.v0 * signs.repeat(b, 1)


HEADS = {
    "large": Head(1.0),
    "small": Head(0.01, reach=0.5),
    "fixed": Head(1.0 / M, speed=0.0),
    "held": Head(1.0, speed=0.0),
}


def snr_grid(n_snrs: int, d: int) -> Float[np.ndarray, " b"]:
    """Ratios |mu| / (sigma sqrt(d)) on both sides of the boundary for n from 10 to 400."""
    return np.geomspace(0.02, 0.25, n_snrs) * (1000.0 / d) ** (1.0 / POWER)


def drawn(prior: SignalNoisePrior, stream: TaskStream, sigma0: float = SIGMA0) -> PatchProducts:
    """Products of one sample and its first filters; only the direction of its signal counts."""
    batch = prior.sample(stream)
    signal = batch.signal[0, 1]
    W = sigma0 * stream.normal(M, prior.n_features)
    return PatchProducts.of(
        signal / signal.norm(), batch.noise[0, :, 0], W[0], batch.y[0], batch.clean_y[0]
    )


def step_sizes(
    head: Head, n: int, d: int, signal_norms: Float[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """A quarter of 1 / L, see above."""
    v = head.v0 if head.reach is None else head.reach
    widest = (1.0 + math.sqrt(d / n)) ** 2 + signal_norms.square()
    return _SHARE / (M / 8.0 * v**2 * widest)


def train(
    products: PatchProducts,
    head: Head,
    signal_norms: Float[Tensor, " b"],
    d: int,
    *,
    until: float = OVERFITTED,
    dtype: torch.dtype = torch.float32,
) -> TrainedPatches:
    """Descend until the training loss is at most `until`."""
    sizes = step_sizes(head, len(products.y), d, signal_norms)
    return descend_patches(
        products.to(dtype),
        signal_norms,
        head.weights(len(signal_norms)),
        sizes,
        MOST_STEPS,
        head_speed=head.speed,
        until=until,
    )


def sampled_error(
    products: PatchProducts,
    trained: TrainedPatches,
    signal_norms: Float[Tensor, " b"],
    stream: TaskStream,
    *,
    projected: bool = True,
    n_test: int = N_TEST,
) -> Float[Tensor, " b"]:
    """Share of fresh samples on the wrong side, by labels that are not flipped; a tie is one.

    A fresh noise vector meets the filters as N(0, W W') (off the signal: as N(0, W (I - u u') W')),
    so m numbers are drawn instead of d. Both labels are tried with each.
    """
    along, v = trained.Z[0].double(), trained.v.double()
    G = trained.filters(products)
    if projected:
        G = G - along[:, :, None] * along[:, None]
    values, vectors = torch.linalg.eigh(G)
    root = vectors * values.clamp_min(0.0).sqrt()[:, None]
    drawn = stream.normal(n_test, M)[0]
    noise = einsum("bnm,bm->bn", torch.relu(einsum("nk,bmk->bnm", drawn, root)), v)
    signal = signal_norms[:, None] * along
    ahead, behind = ((v * torch.relu(s * signal)).sum(-1, keepdim=True) for s in (1.0, -1.0))
    wrong = (ahead + noise <= 0).double() + (behind + noise >= 0).double()
    return wrong.mean(-1) / 2.0


def phase_rows(
    products: PatchProducts,
    snrs: Float[np.ndarray, " b"],
    head: Head,
    d: int,
    stream: TaskStream,
) -> list[dict[str, float]]:
    """Train at every signal-to-noise ratio: test error, training loss, steps and change of v."""
    norms = torch.as_tensor(snrs * math.sqrt(d))
    trained = train(products, head, norms, d)
    error = sampled_error(products, trained, norms, stream)
    change = (trained.v.double() - head.weights(len(norms))).abs().amax(1) / head.v0
    columns = (snrs, error, trained.loss, trained.n_steps, change)
    names = ("snr", "error", "loss", "n_steps", "change")
    return [
        dict(zip(names, (float(x) for x in row), strict=True)) for row in zip(*columns, strict=True)
    ]
