"""The E attention of `EMNetwork`: the data attend to the centres.

Axes: b tables, s starts of a table, B = b s runs, n points, d features, c components.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device

from statformer.batch import Array, Centres, Readout, Tables
from statformer.nn.categories import category_score
from statformer.nn.missing import Expected, MissingMoments, Patterns
from statformer.nn.moments import Moments
from statformer.nn.special import log_gamma

_ABSENT = -1e30  # score of a centre token that is padding
_TINY = 1e-30


class Seen:
    """What the E attention saw: responsibilities, and how it came to them ("B c n" each).

    evidence "B n" is the log-sum-exp of the scores; u the robustness weights, None where every
    rho is 0; expected what the M layer takes for missing cells. A start given as responsibilities
    has nothing but those.
    """

    def __init__(
        self,
        r: Array,
        score: Array | None = None,
        evidence: Array | None = None,
        maha: Array | None = None,
        u: Array | None = None,
        expected: Expected | None = None,
    ) -> None:
        self.r = r
        self.score: Any = score
        self.evidence: Any = evidence
        self.maha, self.u, self.expected = maha, u, expected


def attend(
    tables: Tables,
    centres: Centres,
    readout: Readout,
    moments: Moments | MissingMoments | None = None,
) -> Seen:
    """The E attention: scores, their softmax over centres, and robustness weights.

    score = A_k m_ik + B_k log(1 + m_ik / nu_k) + C_k collects temperature, rho and strength in
    three numbers per centre, so that few passes over "B c n" remain. u_ik = (1 - rho_k) +
    rho_k (nu_k + d) / (nu_k + m_ik). Categorical columns add temperature sum_q e_iq log theta_kq;
    tables with missing cells go to `_attend_observed`.
    """
    if tables.observed is not None:
        assert not isinstance(moments, Moments)
        return _attend_observed(tables, centres, readout, moments)
    assert not isinstance(moments, MissingMoments)
    xp = array_namespace(tables.X)
    b, _, d = tables.X.shape
    runs, _ = centres.weights.shape
    factor = xp.linalg.cholesky(centres.covariances)
    maha = _distances(tables, factor, centres.means, moments)
    half_log_det = xp.sum(xp.log(xp.linalg.diagonal(factor)), axis=-1)  # B c
    if tables.is_feature is None:
        dim = xp.full((runs, 1), float(d), dtype=maha.dtype, device=device(maha))
    else:
        real = xp.sum(xp.astype(tables.is_feature, maha.dtype), axis=-1)
        dim = xp.reshape(xp.broadcast_to(real[:, None], (b, runs // b)), (runs, 1))
    rho, nu, T = readout.rho, readout.nu, readout.temperature[:, None]
    log_pi = xp.log(xp.clip(centres.weights, _TINY, None))
    gaussian = -half_log_det - 0.5 * dim * math.log(2.0 * math.pi)
    constant = readout.strength[:, None] * log_pi + (1.0 - rho) * gaussian
    is_robust = bool(xp.any(rho > 1e-20))
    if is_robust:
        student = log_gamma(0.5 * (nu + dim)) - log_gamma(0.5 * nu)
        student = student - 0.5 * dim * xp.log(nu * math.pi) - half_log_det
        constant = constant + rho * student
    there = centres.is_component
    zero = xp.zeros_like(constant)
    C = xp.where(there, T * constant, zero + _ABSENT)
    A = xp.where(there, -0.5 * T * (1.0 - rho), zero)
    score = A[..., None] * maha + C[..., None]
    u = None
    if is_robust:
        B = xp.where(there, -0.5 * T * rho * (nu + dim), zero)
        score = score + B[..., None] * xp.log1p(maha / nu[..., None])
        u = (rho * (nu + dim))[..., None] / (nu[..., None] + maha) + (1.0 - rho)[..., None]
    return _soften(tables, centres, T, score, maha, u)


def _attend_observed(
    tables: Tables, centres: Centres, readout: Readout, moments: MissingMoments | None
) -> Seen:
    """The E attention over the observed columns O_i of each row, d_i of them.

    score_ik = temperature [(1 - rho_k) log N(x_iO; mu_kO, Sigma_kOO)
               + rho_k log t_nu_k(x_iO; mu_kO, Sigma_kOO) + strength log pi_k],
    u_ik = (1 - rho_k) + rho_k (nu_k + d_i) / (nu_k + m_ik). A row without any observed column has
    densities 1 and u = 1.
    """
    xp = array_namespace(tables.X)
    patterns = Patterns(tables) if moments is None else moments.patterns
    expected = patterns.expect(centres, with_moments=moments is not None)
    maha, half_log_det = expected.maha, expected.half_log_det  # B c n
    counts = patterns.spread(patterns.counts, maha)[:, None, :]  # B 1 n
    rho, nu, T = readout.rho, readout.nu, readout.temperature[:, None]
    strong = readout.strength[:, None] * xp.log(xp.clip(centres.weights, _TINY, None))
    normal = -0.5 * counts * math.log(2.0 * math.pi) - 0.5 * maha
    inner = (1.0 - rho)[..., None] * normal - half_log_det + strong[..., None]
    u = None
    if bool(xp.any(rho > 1e-20)):
        d = xp.arange(tables.X.shape[2] + 1, dtype=maha.dtype, device=device(maha))
        of_count = log_gamma(0.5 * (nu[..., None] + d)) - 0.5 * d * xp.log(nu * math.pi)[..., None]
        of_count = of_count - log_gamma(0.5 * nu)[..., None]  # B c (d + 1)
        index = xp.broadcast_to(xp.astype(counts, xp.int64), maha.shape)
        far = (nu[..., None] + counts) * xp.log1p(maha / nu[..., None])
        student = xp.take_along_axis(of_count, index, axis=2) - 0.5 * far
        inner = inner + rho[..., None] * student
        u = rho[..., None] * (nu[..., None] + counts) / (nu[..., None] + maha)
        u = u + (1.0 - rho)[..., None]
    there = centres.is_component[..., None]
    score = xp.where(there, T[..., None] * inner, xp.zeros_like(inner) + _ABSENT)
    return _soften(tables, centres, T, score, maha, u, expected)


def _soften(
    tables: Tables,
    centres: Centres,
    T: Array,
    score: Array,
    maha: Array,
    u: Array | None,
    expected: Expected | None = None,
) -> Seen:
    """Categories added, then the softmax over centres."""
    xp = array_namespace(score)
    if tables.onehot is not None:
        score = score + T[..., None] * category_score(tables, centres)
    top = xp.max(score, axis=1, keepdims=True)
    e = xp.exp(score - top)
    total = xp.sum(e, axis=1, keepdims=True)
    evidence = top[:, 0, :] + xp.log(total[:, 0, :])
    return Seen(e / total, score, evidence, maha, u, expected)


def _distances(tables: Tables, factor: Array, means: Array, moments: Moments | None) -> Array:
    """Squared Mahalanobis distances |W (x - mu)|^2 "B c n" with W = L^-1, Sigma = L L'.

    Inside the network the same number comes from `moments.distances`, one product with the
    features that the M attention already holds; rows alone take the longer and more exact way.
    """
    xp = array_namespace(tables.X)
    whiten = xp.linalg.inv(factor)  # B c d d; the array API has no triangular solve
    if moments is not None:
        return moments.distances(whiten, means)
    b, n, d = tables.X.shape
    runs, c = means.shape[:2]
    offset = xp.matmul(whiten, means[..., None])  # B c d 1
    flat = xp.reshape(whiten, (b, (runs // b) * c * d, d))
    z = xp.matmul(flat, xp.permute_dims(tables.X, (0, 2, 1)))
    z = xp.reshape(z, (runs, c, d, n)) - offset
    return xp.sum(z * z, axis=2)
