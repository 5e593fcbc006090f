"""The pieces of the mixture prior: each turns something Gaussian into something found in tables.

A piece takes the task's stream, a mask `on` "b" of the tasks it applies to, and tensors; it draws
the same numbers whether or not a task is on, so that removing a piece leaves all other draws as
they were. All of it is ours.

Axes: b tasks, n points, d features, c components, h hidden units.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.stream import TaskStream

COVARIANCE_KINDS = ("spherical", "diagonal", "tied", "full")


def log_uniform(stream: TaskStream, low: float, high: float, *shape: int) -> Tensor:
    """exp(U(log low, log high))."""
    return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * stream.uniform(*shape))


def mixing_matrices(stream: TaskStream, c: int, d: int) -> Float[Tensor, "b c d d"]:
    """A_k with covariance A_k A_k' of mean variance 1 times a volume.

    One of four kinds per task. Eigenvalues spread log-uniformly over a factor of up to 100;
    volumes are lognormal with standard deviation up to 0.6 of log sd (1 for tied).
    """
    b = len(stream)
    kind = stream.integers(0, len(COVARIANCE_KINDS))  # b
    width = math.log(100.0) * stream.uniform()  # b
    logs = (stream.uniform(c, d) - 0.5) * width[:, None, None]
    variances = torch.exp(logs)
    variances = variances / variances.mean(-1, keepdim=True)
    volume = torch.exp(stream.normal(c) * 0.6 * stream.uniform()[:, None])
    Q, _ = torch.linalg.qr(stream.normal(c, d, d))
    eye = torch.eye(d, dtype=Q.dtype, device=Q.device)
    spherical, diagonal, tied = (kind == i for i in range(3))
    variances = torch.where(spherical[:, None, None], torch.ones_like(variances), variances)
    variances = torch.where(tied[:, None, None], variances[:, :1].expand(b, c, d), variances)
    Q = torch.where((spherical | diagonal)[:, None, None, None], eye, Q)
    Q = torch.where(tied[:, None, None, None], Q[:, :1].expand(b, c, d, d), Q)
    volume = torch.where(tied[:, None], torch.ones_like(volume), volume)
    return Q * torch.sqrt(variances)[..., None, :] * volume[..., None, None]


def separated_centres(
    stream: TaskStream, present: Bool[Tensor, "b c"], d: int, separation: Float[Tensor, " b"]
) -> Float[Tensor, "b c d"]:
    """Centres whose mean distance to the nearest other centre is `separation`.

    They lie in a random subspace of 1 to d dimensions (all d in half of the tasks).
    """
    c = present.shape[1]
    raw = stream.normal(c, d)
    rank = 1 + torch.floor(stream.uniform() * d)
    everything = stream.uniform() < 0.5
    rank = torch.where(everything, torch.full_like(rank, float(d)), rank)
    order = stream.permutation(d)
    raw = raw * (order < rank[:, None])[:, None, :]
    turned, _ = torch.linalg.qr(stream.normal(d, d))
    turn = stream.uniform() < 0.5  # half of the subspaces follow the columns
    raw = torch.where(turn[:, None, None], raw @ turned, raw)
    distance = torch.cdist(raw, raw)
    away = ~(present[:, :, None] & present[:, None, :])
    away = away | torch.eye(c, dtype=torch.bool, device=raw.device)
    nearest = distance.masked_fill(away, math.inf).amin(-1)
    nearest = torch.where(present & torch.isfinite(nearest), nearest, torch.zeros_like(nearest))
    count = present.sum(-1).clamp_min(1)
    mean = nearest.sum(-1) / count
    scale = torch.where(mean > 1e-6, separation / mean.clamp_min(1e-6), torch.ones_like(mean))
    return raw * scale[:, None, None]


def noise(
    stream: TaskStream,
    y: Int[Tensor, "b n"],
    c: int,
    d: int,
    on: dict[str, Bool[Tensor, " b"]],
) -> Float[Tensor, "b n d"]:
    """Noise of mean near 0 and variance near 1 in the frame of each component.

    Gaussian, or per component (each with probability 2/3 where the task is on): Student-t with
    3 to 10 degrees ("heavy_tails") or 1 to 3 ("very_heavy_tails"), uniform on a cube ("uniform"),
    standardised lognormal ("skew").
    """
    n = y.shape[1]
    z = stream.normal(n, d)
    at = y.clamp_min(0)

    def chosen(name: str) -> Bool[Tensor, "b n 1"]:
        component = (stream.uniform(c) < 2 / 3) & on[name][:, None]
        return torch.gather(component, 1, at)[..., None]

    flat = math.sqrt(3.0) * torch.erf(z / math.sqrt(2.0))
    uniform = chosen("uniform")
    s = 0.2 + 0.8 * torch.gather(stream.uniform(c), 1, at)[..., None]
    lognormal = (torch.exp(s * z) - torch.exp(s * s / 2)) / torch.sqrt(
        torch.exp(s * s) * (torch.exp(s * s) - 1)
    )
    side = torch.where(stream.uniform(d) < 0.5, -1.0, 1.0)[:, None, :]
    skew = chosen("skew")
    x = torch.where(uniform, flat, torch.where(skew, side * lognormal, z))
    for name, low, high in (("heavy_tails", 3.0, 10.0), ("very_heavy_tails", 1.0, 3.0)):
        nu = log_uniform(stream, low, high)
        chi = stream.gamma(nu / 2.0, n)[..., None] / (nu / 2.0)[:, None, None]
        tail = torch.rsqrt(chi.clamp_min(1e-6))
        x = torch.where(chosen(name), x * tail, x)
    return x


def bend(
    stream: TaskStream, z: Float[Tensor, "b n d"], y: Int[Tensor, "b n"], c: int, on: Tensor
) -> Float[Tensor, "b n d"]:
    """Bent components: the second axis of the frame gains a (z_1^2 - 1), |a| up to 1.5."""
    amount = (stream.uniform(c) * 3.0 - 1.5) * on[:, None]
    a = torch.gather(amount, 1, y.clamp_min(0))
    if z.shape[-1] < 2:
        return z
    first = z[..., 0].clamp(-4.0, 4.0)
    moved = z[..., 1] + a * (first**2 - 1.0)
    return torch.cat([z[..., :1], moved[..., None], z[..., 2:]], dim=-1)


def smooth_map(stream: TaskStream, X: Float[Tensor, "b n d"], on: Tensor) -> Tensor:
    """x + strength * V tanh(W x + b) on standardised columns: one random smooth network a task."""
    d, h = X.shape[-1], 24
    W = stream.normal(d, h) / math.sqrt(d) * (0.5 + 1.5 * stream.uniform())[:, None, None]
    b = stream.normal(1, h)
    V = stream.normal(h, d) * math.sqrt(3.0 / h)
    strength = 0.3 + 1.7 * stream.uniform()
    Z = standardised(X)
    mapped = Z + strength[:, None, None] * (torch.tanh(Z @ W + b) @ V)
    return torch.where(on[:, None, None], mapped, X)


def skewed_margins(stream: TaskStream, X: Float[Tensor, "b n d"], on: Tensor) -> Tensor:
    """exp(a z) of standardised columns, a in 0.3 to 1.2, in about two thirds of the columns."""
    a = 0.3 + 0.9 * stream.uniform(X.shape[-1])
    pick = (stream.uniform(X.shape[-1]) < 2 / 3) & on[:, None]
    side = torch.where(stream.uniform(X.shape[-1]) < 0.8, 1.0, -1.0)
    Z = standardised(X).clamp(-8.0, 8.0)
    return torch.where(pick[:, None, :], torch.exp((side * a)[:, None, :] * Z), X)


def discretised(stream: TaskStream, X: Float[Tensor, "b n d"], on: Tensor) -> Tensor:
    """Standardised columns rounded to steps of 0.15 to 1.5, in about two thirds of them."""
    step = log_uniform(stream, 0.15, 1.5, X.shape[-1])
    shift = stream.uniform(X.shape[-1])
    pick = (stream.uniform(X.shape[-1]) < 2 / 3) & on[:, None]
    rounded = torch.round(standardised(X) / step[:, None, :] + shift[:, None, :])
    return torch.where(pick[:, None, :], rounded, X)


def irrelevant(stream: TaskStream, X: Float[Tensor, "b n d"], on: Tensor) -> Tensor:
    """Up to half of the columns become noise: Gaussian, uniform or lognormal, all points alike."""
    n, d = X.shape[1:]
    share = 0.5 * stream.uniform()
    pick = (stream.uniform(d) < share[:, None]) & on[:, None]
    pick = pick & (torch.arange(d, device=X.device) > 0)  # one column always stays
    order = torch.argsort(stream.uniform(d), dim=-1)  # ... not always the same one
    pick = torch.gather(pick, 1, order)
    z = stream.normal(n, d)
    kind = stream.integers(0, 3, d)[:, None, :]
    drawn = torch.where(kind == 0, z, torch.where(kind == 1, torch.erf(z / 2**0.5), torch.exp(z)))
    return torch.where(pick[:, None, :], drawn, X)


def outliers(
    stream: TaskStream, X: Float[Tensor, "b n d"], y: Int[Tensor, "b n"], on: Tensor
) -> tuple[Tensor, Tensor]:
    """1 to 10 % of the points become uniform in 1 to 3 times the box of the data; their y is -1."""
    n, d = X.shape[1:]
    share = 0.01 + 0.09 * stream.uniform()
    pick = (stream.uniform(n) < share[:, None]) & on[:, None]
    low, high = X.amin(1, keepdim=True), X.amax(1, keepdim=True)
    grow = (1.0 + 2.0 * stream.uniform())[:, None, None]
    box = (low + high) / 2.0 + grow * (high - low) * (stream.uniform(n, d) - 0.5)
    return torch.where(pick[..., None], box, X), torch.where(pick, torch.full_like(y, -1), y)


def standardised(X: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Columns at mean 0 and mean absolute deviation 0.8 (which a heavy tail does not ruin)."""
    centred = X - X.median(dim=1, keepdim=True).values
    return centred / (centred.abs().mean(dim=1, keepdim=True) / 0.8).clamp_min(1e-6)
