"""Missing cells in the E and M layers: what is not observed is summed out, never filled in.

With O the observed and M the missing columns of a row, and Sigma_OO etc. the blocks of Sigma_k,

    E   m_ik = (x_O - mu_O)' Sigma_OO^-1 (x_O - mu_O), and log |Sigma_OO|
    M   x_ik = (x_O, mu_M + Sigma_MO Sigma_OO^-1 (x_O - mu_O)),
        C_ik = Sigma_MM - Sigma_MO Sigma_OO^-1 Sigma_OM in the block M, 0 elsewhere,
        mu_k = sum_i a_ik x_ik / sum_i a_ik,
        S_k = [sum_i a_ik (x_ik - mu_k)(x_ik - mu_k)' + sum_i w_i r_ik C_ik] / sum_i a_ik

under the centres of the layer before (Dempster, Laird and Rubin 1977; Little and Rubin 2002,
section 11.2). a = w r u: as in Student-t EM (Liu and Rubin 1995), u weighs what is known of a row
and not C, whose own scale 1/u cancels it.

Rows of one pattern O share one matrix: sweeping Sigma on O gives -Sigma_OO^-1, Sigma_OO^-1 Sigma_OM
and C at once, without a factor or an inverse of its own.

Axes: b tables, s starts of a table, B = b s runs, n points, d features, c components, g groups of
rows with one pattern, m rows of a group, N matrices to sweep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from statformer.batch import Array, Centres, Tables
from statformer.nn.moments import Fit, Runs

SINGLE_STEPS = 30  # EM steps of the one Gaussian that the first M layer reads missing cells from
_SINGLE_RIDGE = 1e-4  # of each column's own variance
_CHUNK = 2**15  # numbers swept together on numpy: they stay in a processor's cache
_LEAST_PIVOT = 1e-13  # of its own variance: rounding must not turn a pivot negative
_TINY = 1e-30


class Expected:
    """What centres expect of every row.

    maha "B c n", half_log_det "B c n" = log |Sigma_OO| / 2; and for the M layer, group by group and
    about the origin, filled "B c (g m) d" = x_ik and extra "B c g d d" = C_ik.
    """

    def __init__(
        self,
        maha: Array,
        half_log_det: Array,
        filled: Array | None = None,
        extra: Array | None = None,
    ) -> None:
        self.maha, self.half_log_det = maha, half_log_det
        self.filled: Any = filled
        self.extra: Any = extra


class Patterns:
    """Rows grouped by which of their columns are observed.

    Groups hold at most m rows, m the power of two with the least work, so that all groups of all
    tables are one array. Columns that are padding count as observed zeros: they change nothing.

    counts "b n" is the number of observed real columns of each row.
    """

    def __init__(self, tables: Tables, origin: Array | None = None) -> None:
        xp = array_namespace(tables.X)
        where = device(tables.X)
        self.xp = xp
        self.b, self.n, self.d = tables.X.shape
        observed, real = tables.observed, tables.observed
        if tables.is_feature is not None:
            real = observed & tables.is_feature[:, None, :]
            observed = observed | ~tables.is_feature[:, None, :]
        self.counts = xp.sum(xp.astype(real, tables.X.dtype), axis=-1)
        slots, used, self.m = _group(_on_host(observed))
        self.g = slots.shape[1] // self.m
        self.rows = xp.asarray(slots, device=where)  # b (g m): the row in each slot
        self.used = xp.asarray(used, dtype=tables.X.dtype, device=where)  # b (g m)
        place = np.zeros((self.b, self.n), dtype=np.int64)
        t, at = np.nonzero(used)
        place[t, slots[t, at]] = at
        self.place = xp.asarray(place, device=where)  # b n: the slot of each row
        first = self.rows[:, :: self.m]  # the first row of each group, padding included
        self.mask = xp.take_along_axis(observed, first[:, :, None], axis=1)  # b g d
        X = tables.X if origin is None else tables.X - origin[:, None, :]
        X = xp.where(real, X, xp.zeros_like(X))
        self.X = xp.take_along_axis(X, self.rows[:, :, None], axis=1)  # b (g m) d
        self.origin = origin

    def spread(self, per_table: Array, like: Array) -> Array:
        """Repeat an array of tables (b, ...) over the starts: (B, ...)."""
        starts = like.shape[0] // self.b
        if starts == 1:
            return per_table
        shape = per_table.shape
        wide = self.xp.broadcast_to(per_table[:, None, ...], (self.b, starts, *shape[1:]))
        return self.xp.reshape(wide, (self.b * starts, *shape[1:]))

    def to_slots(self, per_row: Array) -> Array:
        """ "B c n" to "B c (g m)", 0 in slots without a row."""
        B, c, _ = per_row.shape
        index = self.spread(self.rows, per_row)[:, None, :]
        index = self.xp.broadcast_to(index, (B, c, index.shape[-1]))
        used = self.spread(self.used, per_row)[:, None, :]
        return self.xp.take_along_axis(per_row, index, axis=2) * used

    def to_rows(self, per_slot: Array) -> Array:
        """ "B c (g m)" to "B c n"."""
        B, c, _ = per_slot.shape
        index = self.xp.broadcast_to(self.spread(self.place, per_slot)[:, None, :], (B, c, self.n))
        return self.xp.take_along_axis(per_slot, index, axis=2)

    def expect(self, centres: Centres, with_moments: bool = True) -> Expected:
        """Condition every centre on every pattern."""
        xp, g, m, d = self.xp, self.g, self.m, self.d
        B, c, _ = centres.means.shape
        swept, half_log_det = self._sweep(centres.covariances)  # B c g d d, B c g
        means = centres.means
        if self.origin is not None:
            means = means - self.spread(self.origin, means)[:, None, :]
        mask = self.spread(self.mask, means)[:, None, :, None, :]  # B 1 g 1 d
        mean = means[:, :, None, None, :]
        X = xp.reshape(self.spread(self.X, means), (B, 1, g, m, d))
        z = xp.where(mask, X - mean, xp.zeros_like(X))  # B c g m d
        y = xp.matmul(z, swept)  # -Sigma_OO^-1 z, and the regression of M on O
        maha = xp.clip(-xp.sum(z * y, axis=-1), 0.0, None)
        maha = self.to_rows(xp.reshape(maha, (B, c, g * m)))
        wide = xp.broadcast_to(half_log_det[..., None], (B, c, g, m))
        half_log_det = self.to_rows(xp.reshape(wide, (B, c, g * m)))
        if not with_moments:
            return Expected(maha, half_log_det)
        filled = xp.reshape(xp.where(mask, X, mean + y), (B, c, g * m, d))
        gap = xp.astype(~mask[:, :, :, 0, :], swept.dtype)  # B 1 g d
        extra = swept * gap[..., :, None] * gap[..., None, :]
        return Expected(maha, half_log_det, filled, extra)

    def _sweep(self, covariances: Array) -> tuple[Array, Array]:
        """Every Sigma_k swept on every pattern "B c g d d", and log |Sigma_OO| / 2 "B c g"."""
        xp, g, d = self.xp, self.g, self.d
        B, c = covariances.shape[:2]
        # the batch comes last: one rank-one update then runs along memory
        wide = xp.permute_dims(xp.reshape(covariances, (B * c, d, d)), (1, 2, 0))
        masks = xp.permute_dims(xp.reshape(self.mask, (self.b * g, d)), (1, 0))
        total = B * c * g
        step = max(1, _CHUNK // (d * d)) if is_numpy_array(covariances) else total
        every = xp.arange(total, device=device(covariances))
        swept, logs = [], []
        for first in range(0, total, step):
            at = every[first : first + step]
            table = at // (c * g * (B // self.b))
            mask = xp.take(masks, table * g + at % g, axis=1)
            A, log = sweep(xp.take(wide, at // g, axis=2), mask)
            swept.append(xp.permute_dims(A, (2, 0, 1)))
            logs.append(log)
        return (
            xp.reshape(xp.concat(swept, axis=0), (B, c, g, d, d)),
            xp.reshape(xp.concat(logs, axis=0), (B, c, g)),
        )


def sweep(A: Array, mask: Array) -> tuple[Array, Array]:
    """Sweep symmetric matrices "d d N" on the columns of a mask "d N" (Goodnight 1979).

    With O the columns of the mask and M the others the answer is -A_OO^-1 in the block O,
    A_OO^-1 A_OM beside it, A_MM - A_MO A_OO^-1 A_OM in the block M; and log |A_OO| / 2 "N".
    """
    xp = array_namespace(A)
    log_det = xp.zeros_like(A[0, 0])
    one = xp.ones_like(log_det)
    zero = xp.zeros_like(log_det)
    least = [_LEAST_PIVOT * A[j, j] for j in range(A.shape[0])]
    for j, floor in enumerate(least):
        pivot = xp.where(mask[j], xp.maximum(A[j, j], floor), one)
        log_det = log_det + xp.log(pivot)
        column = A[j] + 0.0
        scaled = column * xp.where(mask[j], 1.0 / pivot, zero)
        border = xp.where(mask[j], scaled, column)
        corner = xp.where(mask[j], -1.0 / pivot, column[j])
        A = A - scaled[:, None] * column[None, :]
        A[j] = border
        A[:, j] = border
        A[j, j] = corner
    return A, 0.5 * log_det


class MissingMoments(Runs):
    """The M attention for tables with missing cells; the same answers as `Moments` without any.

    total_variance "b" is the mean variance over columns of one Gaussian fitted to the table, from
    which the first M layer also reads missing cells when the start is responsibilities.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        xp = self.xp
        seen = xp.astype(tables.observed, tables.X.dtype) * tables.weight[:, :, None]
        mass = xp.sum(seen, axis=1)  # b d
        mass = xp.where(mass > 0, mass, xp.ones_like(mass))
        self.origin = xp.sum(seen * tables.X, axis=1) / mass
        variance = xp.sum(seen * (tables.X - self.origin[:, None, :]) ** 2, axis=1) / mass
        if self.keep_feature is not None:
            self.origin = self.origin * self.keep_feature
            variance = variance * self.keep_feature
        self.patterns = Patterns(tables, self.origin)
        self.counts = self.patterns.counts
        self.single = self._single_gaussian(variance)
        self.first = self.patterns.expect(self.single)

    def fit(self, r: Array, u: Array | None, keep: Array, expected: Expected | None = None) -> Fit:
        """The moments above. Without `expected` the single Gaussian stands in for the centres."""
        xp, d, patterns = self.xp, self.d, self.patterns
        runs, c, _ = r.shape
        wr = r * self.spread(self.tables.weight, r)[:, None, :]
        plain = patterns.to_slots(wr)  # B c (g m)
        a = plain if u is None else patterns.to_slots(wr * u)
        if expected is None:
            filled = self.spread(self.first.filled, r)
            extra = self.spread(self.first.extra, r)
        else:
            filled, extra = expected.filled, expected.extra
        mass = xp.sum(a, axis=-1)
        safe = xp.where(mass > _TINY, mass, xp.ones_like(mass))
        mean0 = xp.matmul(a[:, :, None, :], filled)[:, :, 0, :] / safe[..., None]
        away = filled - mean0[:, :, None, :]
        scatter = xp.matmul(xp.permute_dims(away * a[..., None], (0, 1, 3, 2)), away)
        of_group = xp.sum(xp.reshape(plain, (runs, c, patterns.g, patterns.m)), axis=-1)
        flat = xp.reshape(extra, (*extra.shape[:3], d * d))
        within = xp.matmul(of_group[:, :, None, :], flat)
        scatter = (scatter + xp.reshape(within, (runs, c, d, d))) / safe[..., None, None]
        owned = xp.where(keep, xp.sum(wr, axis=-1), xp.zeros_like(mass))
        share = owned / xp.sum(owned, axis=-1, keepdims=True)
        tied = xp.sum(share[..., None, None] * scatter, axis=1)
        mean = mean0 + self.spread(self.origin, r)[:, None, :]
        return Fit(wr, mass, owned, share, mean, scatter, tied, keep)

    def _single_gaussian(self, variance: Array) -> Centres:
        """EM for one Gaussian, from the mean and variance of the observed cells of each column.

        After every step correlations are shrunk by n / (n + d), n the sum of the weights, and
        `_SINGLE_RIDGE` of its variance is added to each column, so that short tables keep a
        regression (ours). A column without variance gets variance 1.
        """
        xp = self.xp
        eye = xp.eye(self.d, dtype=variance.dtype, device=device(variance))
        one = xp.ones_like(self.total)[:, None]
        keep = one > 0
        shrink = (self.total / (self.total + self.n_features))[:, None, None]

        def centre(mean: Array, scatter: Array, own: Array) -> Centres:
            own = xp.where(own > _TINY, own * (1.0 + _SINGLE_RIDGE), xp.ones_like(own))
            covariance = shrink * scatter * (1.0 - eye) + own[..., None] * eye
            return Centres(one, mean[:, None, :], covariance[:, None, :, :], keep)

        r = xp.ones_like(self.tables.weight)[:, None, :]
        single = centre(self.origin, variance[..., None] * eye, variance)
        for _ in range(SINGLE_STEPS):
            fit = self.fit(r, None, keep, self.patterns.expect(single))
            own = fit.own_diagonal[:, 0]
            self.total_variance = xp.sum(own, axis=-1) / self.n_features  # b
            single = centre(fit.mean[:, 0], fit.scatter[:, 0], own)
        return single


def single_gaussian(tables: Tables) -> Centres:
    """One Gaussian per table, fitted to its observed cells by EM; leading axis b, one component."""
    return MissingMoments(tables).single


def fill(tables: Tables) -> Array:
    """X "b n d" with every missing cell at its conditional mean under `single_gaussian`."""
    moments = MissingMoments(tables)
    xp, patterns = moments.xp, moments.patterns
    b, n, d = tables.X.shape
    at = xp.broadcast_to(patterns.place[:, :, None], (b, n, d))
    filled = xp.take_along_axis(moments.first.filled[:, 0], at, axis=1) + moments.origin[:, None, :]
    return xp.where(tables.observed, tables.X, filled)


def _group(observed: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows "b (g m)" slot by slot, which slots hold one, and m."""
    b, n, d = observed.shape
    packed = np.packbits(observed, axis=-1)
    patterns = [np.unique(table, axis=0, return_inverse=True)[1].reshape(-1) for table in packed]
    counts = [np.bincount(pattern) for pattern in patterns]

    def n_groups(m: int) -> int:
        return max(int((-(-count // m)).sum()) for count in counts)

    largest = max(int(count.max()) for count in counts)
    sizes = [2**power for power in range(largest.bit_length() + 1)]
    m = min(sizes, key=lambda size: n_groups(size) * (3 * d + 8 + 4 * size))
    g = n_groups(m)
    slots, used = np.zeros((b, g * m), dtype=np.int64), np.zeros((b, g * m), dtype=bool)
    for t, (pattern, count) in enumerate(zip(patterns, counts, strict=True)):
        order = np.argsort(pattern, kind="stable")
        rank = np.arange(n) - np.repeat(np.cumsum(count) - count, count)
        groups = -(-count // m)
        start = np.repeat(np.cumsum(groups) - groups, count) * m
        slots[t, start + rank] = order
        used[t, start + rank] = True
    # a slot without a row repeats the first of its group, so that a group has one pattern
    first = np.repeat(slots[:, ::m], m, axis=1)
    return np.where(used, slots, first), used, m


def _on_host(array: Array) -> np.ndarray:
    return array if is_numpy_array(array) else array.detach().cpu().numpy()
