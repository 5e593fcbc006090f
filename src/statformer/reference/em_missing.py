"""EM for mixtures with missing numbers and categorical columns, row by row, written to be read.

Missing numbers are NaN and missing categories -1; both are summed out of the likelihood (Dempster,
Laird and Rubin 1977; Little and Rubin 2002, section 11.2; Liu and Rubin 1995 for Student-t).

Axes: n points, d numeric columns, m categorical columns, c components, k categories of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

from statformer.reference.em import COVARIANCE_TYPES, Mixture

Array = np.ndarray


class MixedMixture(NamedTuple):
    """sum_k pi_k N(mu_k, Sigma_k) prod_j Categorical(theta_jk)."""

    numbers: Mixture
    categories: Sequence[Float[Array, "c k"]]


class Iterate(NamedTuple):
    """One iteration: the mixture of the M step, and the responsibilities under it."""

    mixture: MixedMixture
    responsibilities: Float[Array, "n c"]


def condition(
    x: Float[Array, "d"], mean: Float[Array, "d"], covariance: Float[Array, "d d"]
) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    """x with NaN at mu_M + Sigma_MO Sigma_OO^-1 (x_O - mu_O), and the covariance left there.

    That covariance is Sigma_MM - Sigma_MO Sigma_OO^-1 Sigma_OM in the block of missing columns.
    """
    seen, gone = ~np.isnan(x), np.isnan(x)
    cross = covariance[np.ix_(seen, gone)]
    regression = np.linalg.solve(covariance[np.ix_(seen, seen)], cross).T
    filled, extra = x.copy(), np.zeros_like(covariance)
    filled[gone] = mean[gone] + regression @ (x[seen] - mean[seen])
    extra[np.ix_(gone, gone)] = covariance[np.ix_(gone, gone)] - regression @ cross
    return filled, extra


def mahalanobis(
    x: Float[Array, "d"], mean: Float[Array, "d"], covariance: Float[Array, "d d"]
) -> float:
    """(x_O - mu_O)' Sigma_OO^-1 (x_O - mu_O) over the observed columns; 0 where there is none."""
    seen = ~np.isnan(x)
    z = x[seen] - mean[seen]
    return float(z @ np.linalg.solve(covariance[np.ix_(seen, seen)], z))


def log_density(
    x: Float[Array, "d"],
    mean: Float[Array, "d"],
    covariance: Float[Array, "d d"],
    nu: float = np.inf,
) -> float:
    """log N(x_O; mu_O, Sigma_OO), or log t_nu of as many dimensions as columns are observed."""
    seen = ~np.isnan(x)
    d = int(seen.sum())
    m = mahalanobis(x, mean, covariance)
    log_det = np.linalg.slogdet(covariance[np.ix_(seen, seen)])[1] if d else 0.0
    if np.isinf(nu):
        return float(-0.5 * (d * np.log(2.0 * np.pi) + log_det + m))
    constant = gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu) - 0.5 * d * np.log(nu * np.pi)
    return float(constant - 0.5 * log_det - 0.5 * (nu + d) * np.log1p(m / nu))


def log_joint(
    X: Float[Array, "n d"], codes: Int[Array, "n m"], mixture: MixedMixture, nu: float = np.inf
) -> Float[Array, "n c"]:
    """log pi_k + log density of the observed numbers + sum_j log theta_jk,code."""
    pi, means, covariances = mixture.numbers
    score = np.zeros((len(X), len(pi)))
    for i, (x, code) in enumerate(zip(X, codes, strict=True)):
        for k in range(len(pi)):
            score[i, k] = np.log(pi[k]) + log_density(x, means[k], covariances[k], nu)
            for j, value in enumerate(code):
                if value >= 0:
                    score[i, k] += np.log(mixture.categories[j][k, value])
    return score


def e_step(
    X: Float[Array, "n d"], codes: Int[Array, "n m"], mixture: MixedMixture, nu: float = np.inf
) -> Float[Array, "n c"]:
    """r_ik proportional to exp(log_joint_ik)."""
    score = log_joint(X, codes, mixture, nu)
    return np.asarray(np.exp(score - logsumexp(score, axis=1, keepdims=True)))


def m_step(
    X: Float[Array, "n d"],
    codes: Int[Array, "n m"],
    responsibilities: Float[Array, "n c"],
    before: MixedMixture,
    covariance_type: str = "full",
    ridge: float = 1e-6,
    sample_weight: Float[Array, "n"] | None = None,
    nu: float = np.inf,
    prior_rows: float = 1.0,
) -> MixedMixture:
    """The M step; missing numbers are read from `before`, whose numbers may be one component.

    With a_ik = w_i r_ik u_ik, u_ik = (nu + d_i) / (nu + m_ik) for Student-t and 1 else, and
    x_ik, C_ik from `condition`,

        pi_k = sum_i w_i r_ik / sum w,   mu_k = sum_i a_ik x_ik / sum_i a_ik,
        S_k = [sum_i a_ik (x_ik - mu_k)(x_ik - mu_k)' + sum_i w_i r_ik C_ik] / sum_i a_ik,
        theta_jkv = (sum_{i: code v} w_i r_ik + alpha share_jv) / (sum_{i: seen} w_i r_ik + alpha),

    alpha = `prior_rows`. Sigma_k from S_k as in `em.m_step`. Raises ValueError for an unknown type.
    """
    if covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type={covariance_type!r} is unknown; choose from {COVARIANCE_TYPES}"
        )
    n, d = X.shape
    c = responsibilities.shape[1]
    w = np.ones(n) if sample_weight is None else sample_weight
    owned = (w[:, None] * responsibilities).sum(axis=0)
    means, S = np.zeros((c, d)), np.zeros((c, d, d))
    for k in range(c):
        of = k if len(before.numbers.weights) == c else 0
        mean, covariance = before.numbers.means[of], before.numbers.covariances[of]
        filled, a = np.zeros((n, d)), np.zeros(n)
        for i, x in enumerate(X):
            d_i = int((~np.isnan(x)).sum())
            filled[i], extra = condition(x, mean, covariance)
            m = mahalanobis(x, mean, covariance)
            u = 1.0 if np.isinf(nu) else (nu + d_i) / (nu + m)
            a[i] = w[i] * responsibilities[i, k] * u
            S[k] += w[i] * responsibilities[i, k] * extra
        means[k] = a @ filled / a.sum()
        for i in range(n):
            away = filled[i] - means[k]
            S[k] += a[i] * np.outer(away, away)
        S[k] /= a.sum()
    weights = owned / owned.sum()
    if covariance_type == "tied":
        S = np.broadcast_to(np.einsum("c,cde->de", weights, S), S.shape)
    elif covariance_type == "diag":
        S = S * np.eye(d)
    elif covariance_type == "spherical" and d:
        S = np.trace(S, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
    theta = [
        _shares(codes[:, j], old.shape[1], responsibilities, w, prior_rows)
        for j, old in enumerate(before.categories)
    ]
    return MixedMixture(Mixture(weights, means, S + ridge * np.eye(d)), theta)


def em(
    X: Float[Array, "n d"],
    codes: Int[Array, "n m"],
    start: MixedMixture,
    n_steps: int,
    covariance_type: str = "full",
    ridge: float = 1e-6,
    sample_weight: Float[Array, "n"] | None = None,
    nu: float = np.inf,
    prior_rows: float = 1.0,
) -> list[Iterate]:
    """An E step under `start`, then `n_steps` times M and E."""
    iterates, mixture = [], start
    responsibilities = e_step(X, codes, mixture, nu)
    for _ in range(n_steps):
        mixture = m_step(
            X,
            codes,
            responsibilities,
            mixture,
            covariance_type,
            ridge,
            sample_weight,
            nu,
            prior_rows,
        )
        responsibilities = e_step(X, codes, mixture, nu)
        iterates.append(Iterate(mixture, responsibilities))
    return iterates


def objective(
    X: Float[Array, "n d"],
    codes: Int[Array, "n m"],
    mixture: MixedMixture,
    sample_weight: Float[Array, "n"] | None = None,
    nu: float = np.inf,
    prior_rows: float = 1.0,
) -> float:
    """What EM never lowers (ridge 0): the log likelihood of what is observed, plus the log prior

    prior_rows sum_jkv share_jv log theta_jkv of the categories.
    """
    w = np.ones(len(X)) if sample_weight is None else sample_weight
    total = float(w @ logsumexp(log_joint(X, codes, mixture, nu), axis=1))
    for j, theta in enumerate(mixture.categories):
        share = _pooled(codes[:, j], theta.shape[1], w)
        total += prior_rows * float((share[share > 0] * np.log(theta[:, share > 0])).sum())
    return total


def _pooled(code: Int[Array, "n"], k: int, w: Float[Array, "n"]) -> Float[Array, "k"]:
    counts = np.array([w[code == value].sum() for value in range(k)])
    return np.asarray(counts / counts.sum())


def _shares(
    code: Int[Array, "n"],
    k: int,
    responsibilities: Float[Array, "n c"],
    w: Float[Array, "n"],
    prior_rows: float,
) -> Float[Array, "c k"]:
    share = _pooled(code, k, w)
    theta = np.zeros((responsibilities.shape[1], k))
    for component in range(len(theta)):
        r = w * responsibilities[:, component]
        for value in range(k):
            theta[component, value] = r[code == value].sum() + prior_rows * share[value]
        theta[component] /= r[code >= 0].sum() + prior_rows
    return theta
