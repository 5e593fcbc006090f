"""What the random-DAG network reads of a candidate parent set: numbers made of its counts (ours).

Nothing here is learned. Written against the array API: numpy for users, torch for training.

Axes: s candidate sets, C configurations of all sets in a row, d categories of the target, g
concentrations, f features; any axes of tables may come before them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from statformer.batch import Array
from statformer.nn.parent_set_candidates import CandidateSets
from statformer.nn.special import log_gamma

CONCENTRATIONS = (0.1, 0.3, 1.0, 3.0, 10.0)
FLAT = CONCENTRATIONS.index(1.0)
N_FEATURES = 17 + len(CONCENTRATIONS)
_NONE = -1e30


@dataclass(frozen=True)
class Reading:
    """What is read of the counts.

    features   "... s f"  numbers of about unit size
    evidence   "... s g"  log p(the target's column | the others, S) minus `shift`, for tables whose
                          rows are Dirichlet(a_g, ..., a_g)
    shift      "..."      largest evidence of a = 1
    log_prior  "s"        of the sets
    """

    features: Array
    evidence: Array
    shift: Array
    log_prior: Array

    def attention(self) -> Array:
        """Posterior "... s" of the sets where all concentrations are as likely beforehand."""
        xp = array_namespace(self.evidence)
        logits = log_sum_exp(self.evidence) + self.log_prior
        power = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
        return power / xp.sum(power, axis=-1, keepdims=True)


def log_gamma_from_0(x: Array) -> Array:
    """log Gamma(x), x > 0."""
    xp = array_namespace(x)
    return log_gamma(x + 1.0) - xp.log(x)


def read(
    counts: Array,
    sets: CandidateSets,
    total: Callable[[Array], Array] | None = None,
    log_gamma: Callable[[Array], Array] = log_gamma_from_0,
) -> Reading:
    """Reading of the tables of counts "... C d".

    total      sums "... C" -> "... s" over the configurations of a set, for arrays that are not
               numpy's
    log_gamma  torch has a fast one

        log evidence = sum_c [log G(d a) - log G(N_c + d a) + sum_x log G(n_cx + a) - log G(a)]

    with G the gamma function, n_cx the counts of a configuration and N_c their sum.
    """
    xp = array_namespace(counts)
    total = sets.total if total is None else total
    of = _alike(counts)
    d = sets.n_categories
    rows = xp.sum(counts, axis=-1)
    grid = [log_rising(counts, rows, a, d, log_gamma) for a in CONCENTRATIONS]
    evidence = xp.stack([total(one) for one in grid], axis=-1)
    shift = xp.max(evidence[..., FLAT], axis=-1)
    evidence = evidence - shift[..., None, None]
    features = _features(counts, rows, evidence, shift, sets, total, of)
    return Reading(features, evidence, shift, of(sets.log_prior))


def log_rising(
    counts: Array,
    rows: Array,
    a: float,
    d: int,
    log_gamma: Callable[[Array], Array] = log_gamma_from_0,
) -> Array:
    """Log evidence of every configuration "... C" under Dirichlet(a, ..., a)."""
    xp = array_namespace(counts)
    inside = xp.sum(log_gamma(counts + a), axis=-1) - log_gamma(rows + d * a)
    return inside + (math.lgamma(d * a) - d * math.lgamma(a))


def log_sum_exp(values: Array) -> Array:
    """log sum exp over the last axis."""
    xp = array_namespace(values)
    top = xp.max(values, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(values - top), axis=-1)) + top[..., 0]


def _signed_log(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.sign(x) * xp.log1p(xp.abs(x))


def _x_log_x(x: Array) -> Array:
    xp = array_namespace(x)
    return x * xp.log(xp.where(x > 0, x, xp.ones_like(x)))


def _alike(like: Array) -> Callable[[Array], Array]:
    xp = array_namespace(like)
    return lambda values: xp.asarray(values, dtype=like.dtype, device=device(like))


def _features(
    counts: Array,
    rows: Array,
    evidence: Array,
    shift: Array,
    sets: CandidateSets,
    total: Callable[[Array], Array],
    of: Callable[[Array], Array],
) -> Array:
    xp = array_namespace(counts)
    d = sets.n_categories
    k, q, m = of(sets.n_variables), of(sets.n_configurations), float(sets.n_possible)
    marginal = xp.sum(counts[..., : int(sets.n_configurations[0]), :], axis=-2)
    n = xp.sum(marginal, axis=-1)[..., None]
    some = xp.where(n > 0, n, xp.ones_like(n))
    fit = total(xp.sum(_x_log_x(counts), axis=-1) - _x_log_x(rows))
    fit_alone = (xp.sum(_x_log_x(marginal), axis=-1)[..., None] - _x_log_x(n)) / some
    bic = fit - 0.5 * xp.log(some) * (d - 1) * q
    alone = log_rising(marginal, n[..., 0], 1.0, d)[..., None] - shift[..., None]
    is_seen = xp.astype(rows > 0, counts.dtype)
    is_lonely = xp.astype(rows < 2.0, counts.dtype)
    is_pure = xp.astype(xp.max(counts, axis=-1) >= rows, counts.dtype) * (1.0 - is_lonely)
    logit = log_sum_exp(evidence) - math.log(len(CONCENTRATIONS)) + of(sets.log_prior)
    best_below, worst_below, best_above = _neighbours(logit, sets)
    full, most = xp.zeros_like(logit), math.log(max(d, 2))
    columns = [
        0.5 * _signed_log(logit - xp.max(logit, axis=-1, keepdims=True)),
        *(
            0.5 * _signed_log(evidence[..., g] - evidence[..., FLAT])
            for g in range(len(CONCENTRATIONS))
            if g != FLAT
        ),
        0.3 * _signed_log(evidence[..., FLAT] - alone),
        -fit / some / most,
        3.0 * (fit / some - fit_alone) / most,
        0.5 * _signed_log(bic - xp.max(bic, axis=-1, keepdims=True)),
        full + 0.4 * k,
        full + k / max(m, 1.0),
        full + 0.3 * xp.log(q),
        full + 0.3 * xp.log1p(n),
        full + most,
        total(is_seen) / q,
        0.4 * xp.log1p(n / q),
        total(rows * is_pure) / some,
        total(rows * is_lonely) / some,
        0.5 * _signed_log(logit - best_below),
        0.5 * _signed_log(logit - worst_below),
        0.5 * _signed_log(logit - best_above),
        full + 0.2 * m,
    ]
    return xp.stack(columns, axis=-1)


def _neighbours(logit: Array, sets: CandidateSets) -> tuple[Array, Array, Array]:
    """Best and worst logit with one variable less, best with one more; its own where none is."""
    xp = array_namespace(logit)
    below = xp.asarray(sets.is_one_smaller, device=device(logit))
    none = xp.full_like(logit, _NONE)
    other = logit[..., None, :]

    def best(values: Array, mask: Array) -> Array:
        return xp.max(xp.where(mask, values, none[..., None, :]), axis=-1)

    ups = best(other, below), -best(-other, below), best(other, below.T)
    return tuple(xp.where(xp.abs(one) < -_NONE, one, logit) for one in ups)
