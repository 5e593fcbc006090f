"""P(K | X) from runs of the mixture network at several K (ours).

Each K is a token: invariant features of the network's answer at that K, and their steps from K - 1
and to K + 1. A shared perceptron reads each token, the tokens are averaged into a summary of the
table, and a second perceptron turns token and summary into one logit per K.

Written against the array API: numpy for users, torch for training.

Axes: b tables, B runs, k numbers of components (token j is K = j + 1), n points, d features of the
table, c components, f features of a token, m hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from array_api_compat import array_namespace, device

from statformer.batch import Array, Tables, Trace
from statformer.nn.em_network import log_density

N_RUN_FEATURES = 22
N_TOKEN_FEATURES = 3 * (N_RUN_FEATURES + 4) + 4
_TINY = 1e-30


def run_features(tables: Tables, trace: Trace) -> tuple[Array, Array]:
    """What one run says about itself: mean log density "B" and features "B f".

    Nothing here changes with the order of rows or columns or the sign or scale of the table; the
    mean log density does shift with the scale and is compared between K of one table only.
    """
    r, centres, readout = trace.responsibilities[-1], trace.centres[-1], trace.readouts[-1]
    xp = array_namespace(r)
    runs, _, width = centres.means.shape
    starts = runs // tables.X.shape[0]
    w = _as_runs(tables.weight, starts)
    n = xp.sum(w, axis=-1)
    d = xp.full_like(n, float(width))
    if tables.is_feature is not None:  # padded columns do not count
        d = _as_runs(xp.sum(xp.astype(tables.is_feature, r.dtype), axis=-1), starts)
    density = xp.sum(w * log_density(tables, centres), axis=-1) / n
    keep = xp.astype(centres.is_component, r.dtype)
    K = xp.sum(keep, axis=-1)
    pi = centres.weights
    entropy = -xp.sum(w[:, :, None] * r * xp.log(r + _TINY), axis=(1, 2)) / n
    sure = xp.sum(w * xp.max(r, axis=-1), axis=-1) / n
    top = xp.max(r, axis=-1)[:, :, None]
    held = xp.sum(w[:, :, None] * xp.astype(r >= top, r.dtype), axis=1) / n[:, None]
    occupied = xp.sum(xp.where(held > 0, keep, xp.zeros_like(keep)), axis=-1) / K
    factor = xp.linalg.cholesky(centres.covariances)
    log_det = 2.0 * xp.sum(xp.log(xp.linalg.diagonal(factor)), axis=-1) / d[:, None]
    mean_det = xp.sum(pi * log_det, axis=-1)
    spread_det = xp.sqrt(xp.sum(pi * (log_det - mean_det[:, None]) ** 2, axis=-1) + 1e-12)
    tied = xp.sum(pi[:, :, None, None] * centres.covariances, axis=1)
    near, typical = _separation(centres.means, tied, centres.is_component)
    large = xp.full_like(pi, 1e6)
    smallest = xp.min(xp.where(centres.is_component, pi, large), axis=-1)
    balance = -xp.sum(pi * xp.log(pi + _TINY), axis=-1)
    log_nu = xp.sum(pi * xp.log(readout.nu), axis=-1)
    features = [
        xp.log(K),
        entropy,
        entropy / xp.log(K + 1.0),
        xp.log(1.0 - sure + 1e-4),
        occupied,
        mean_det,
        spread_det,
        xp.log(near + 1e-3),
        xp.log(typical + 1e-3),
        xp.log(smallest * K + 1e-6),
        xp.log(smallest * n / d + 1e-6),
        balance,
        balance / xp.log(K + 1.0),
        xp.sum(pi * readout.rho, axis=-1),
        log_nu,
        xp.log(readout.temperature),
        xp.log(readout.strength),
        xp.log(n) / 2.0,
        xp.log(d) / 2.0,
        xp.log(n / d) / 2.0,
        xp.log(K / n * d) / 2.0,
        K / 10.0,
    ]
    return density, xp.clip(xp.stack(features, axis=-1), -12.0, 12.0)


def tokens(density: Array, features: Array, n_points: Array, n_features: Array) -> Array:
    """Tokens "b k f" from the best run at each K: density "b k", features "b k f".

    Adds gains in log density over one component and the penalised gains
    n (l_K - l_1) - (p_K - p_1) log(n) / 2 for the parameter counts p of full, diagonal and
    spherical mixtures (half a difference of BIC), as sign(x) log(1 + |x|).
    """
    xp = array_namespace(density)
    b, k = density.shape
    K = xp.astype(xp.arange(1, k + 1, device=device(density)), density.dtype)[None, :]
    n = n_points[:, None]
    d = xp.asarray(n_features, dtype=density.dtype, device=device(density))
    d = xp.broadcast_to(xp.reshape(d, (-1, 1)), (b, 1))
    gain = density - density[:, :1]
    columns = [_squash(10.0 * gain / d)[..., None]]
    for own in (d * (d + 1.0) / 2.0, d, xp.ones_like(d)):
        penalty = 0.5 * (K - 1.0) * (1.0 + d + own) * xp.log(n)
        columns.append(_squash(n * gain - penalty)[..., None])
    base = xp.concat([features, *columns], axis=-1)
    back = xp.concat([xp.zeros_like(base[:, :1]), base[:, 1:] - base[:, :-1]], axis=1)
    ahead = xp.concat([back[:, 1:], xp.zeros_like(base[:, :1])], axis=1)
    step = xp.concat([xp.zeros_like(gain[:, :1]), gain[:, 1:] - gain[:, :-1]], axis=1)
    after = xp.concat([step[:, 1:], xp.zeros_like(gain[:, :1])], axis=1)
    first = xp.broadcast_to(xp.astype(K < 1.5, density.dtype), (b, k))
    final = xp.broadcast_to(xp.astype(K - k > -0.5, density.dtype), (b, k))
    edges = [_squash(n * step), _squash(n * after), first, final]
    return xp.concat([base, back, ahead, xp.stack(edges, axis=-1)], axis=-1)


class ComponentCount:
    """tokens "b k f" -> log P(K = j + 1 | table) "b k".

    With t_j the standardised token, cut at +-5 so that an unusual table stays within what was seen,
    h_j = tanh(W_2 tanh(W_1 t_j)), s = mean_j h_j, logit_j = w_4' tanh(W_3 (h_j, s, h_j s)).
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = dict(weights)

    def __call__(self, tokens: Array, is_possible: Array) -> Array:
        """is_possible "b k": False for a K that was not tried (its probability is 0)."""
        xp = array_namespace(tokens)
        w = self.weights
        t = xp.clip((tokens - w["mean"]) / w["scale"], -5.0, 5.0)
        h = xp.tanh(xp.matmul(t, w["W_1"]) + w["b_1"])
        h = xp.tanh(xp.matmul(h, w["W_2"]) + w["b_2"])
        there = xp.astype(is_possible, h.dtype)[..., None]
        summary = xp.sum(h * there, axis=1, keepdims=True) / xp.sum(there, axis=1, keepdims=True)
        both = xp.concat([h, summary + xp.zeros_like(h), h * summary], axis=-1)
        hidden = xp.tanh(xp.matmul(both, w["W_3"]) + w["b_3"])
        logit = xp.matmul(hidden, w["w_4"])[..., 0]
        logit = xp.where(is_possible, logit, xp.full_like(logit, -math.inf))
        top = xp.max(logit, axis=-1, keepdims=True)
        return logit - top - xp.log(xp.sum(xp.exp(logit - top), axis=-1, keepdims=True))


def count_shapes(n_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of `ComponentCount`."""
    f, m = N_TOKEN_FEATURES, n_hidden
    return {
        "mean": (f,),
        "scale": (f,),
        "W_1": (f, m),
        "b_1": (m,),
        "W_2": (m, m),
        "b_2": (m,),
        "W_3": (3 * m, m),
        "b_3": (m,),
        "w_4": (m, 1),
    }


def _separation(means: Array, tied: Array, keep: Array) -> tuple[Array, Array]:
    """Smallest and mean nearest distance between centres, in the metric of the mean covariance.

    A run with one component counts as separated by 100.
    """
    xp = array_namespace(means)
    whiten = xp.linalg.inv(xp.linalg.cholesky(tied))
    z = xp.matmul(means, xp.permute_dims(whiten, (0, 2, 1)))
    squares = xp.sum(z * z, axis=-1)
    distance = squares[:, :, None] + squares[:, None, :]
    distance = distance - 2.0 * xp.matmul(z, xp.permute_dims(z, (0, 2, 1)))
    c = z.shape[1]
    apart = keep[:, :, None] & keep[:, None, :]
    apart = apart & (xp.eye(c, device=device(z)) < 0.5)[None]
    distance = xp.where(
        apart, xp.sqrt(xp.clip(distance, 1e-12, 1e4)), xp.full_like(distance, 100.0)
    )
    nearest = xp.min(distance, axis=-1)  # B c
    there = xp.astype(keep, nearest.dtype)
    mean = xp.sum(nearest * there, axis=-1) / xp.sum(there, axis=-1)
    return xp.min(nearest, axis=-1), mean


def _squash(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.sign(x) * xp.log(1.0 + xp.abs(x))


def _as_runs(per_table: Array, starts: int) -> Any:
    xp = array_namespace(per_table)
    b, *rest = per_table.shape
    wide = xp.broadcast_to(per_table[:, None, ...], (b, starts, *rest))
    return xp.reshape(wide, (b * starts, *rest))
