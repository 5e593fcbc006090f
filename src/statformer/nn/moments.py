"""The M attention of `EMNetwork`: weighted moments of many centres by one matrix product.

Axes: b tables, s starts of a table, B = b s runs, n points, d features, c components, p packed
pairs of features d (d + 1) / 2.
"""

from __future__ import annotations

from array_api_compat import array_namespace, device

from statformer.batch import Array, Tables

_TINY = 1e-30


class Runs:
    """What belongs to a table, repeated over its starts.

    n_features "b" counts the real columns (at least 1), total "b" sums the weights. counts "b n" is
    the number of observed columns of each row, None where all are; has_numbers "b" is 0 for tables
    of categorical columns only, None where no such table can be among them.
    """

    counts: Array | None = None

    def __init__(self, tables: Tables) -> None:
        xp = array_namespace(tables.X)
        self.xp, self.tables = xp, tables
        b, n, d = tables.X.shape
        self.b, self.n, self.d = b, n, d
        self.has_numbers: Array | None = None
        if tables.is_feature is None:
            self.n_features = xp.full((b,), float(d), dtype=tables.X.dtype, device=device(tables.X))
            self.keep_feature = None
        else:
            self.keep_feature = xp.astype(tables.is_feature, tables.X.dtype)
            self.n_features = xp.sum(self.keep_feature, axis=-1)
            if tables.onehot is not None:
                self.has_numbers = xp.clip(self.n_features, 0.0, 1.0)
                self.n_features = xp.clip(self.n_features, 1.0, None)
        self.total = xp.sum(tables.weight, axis=-1)  # b

    def spread(self, per_table: Array, like: Array) -> Array:
        """Repeat an array of tables (b, ...) over the starts: (B, ...)."""
        starts = like.shape[0] // self.b
        if starts == 1:
            return per_table
        xp, shape = self.xp, per_table.shape
        wide = xp.broadcast_to(per_table[:, None, ...], (self.b, starts, *shape[1:]))
        return xp.reshape(wide, (self.b * starts, *shape[1:]))

    def mean(self, per_point: Array) -> Array:
        """Weighted mean over the points, "B n" -> "B"."""
        w = self.spread(self.tables.weight, per_point)
        total = self.spread(self.total, per_point)
        return self.xp.sum(w * per_point, axis=-1) / total


class Moments(Runs):
    """The M attention: weighted sums over points, all starts of a table in one product.

    phi_i = (1, x_i, x_ij x_ij' for j <= j') is built once per call; a "B c n" times phi "b n ."
    gives every moment of every centre of every start. Columns are centred first, so that the
    difference of second moments loses no digits to the table's mean.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        xp, (b, n, d) = self.xp, tables.X.shape
        self.origin = xp.sum(tables.weight[:, :, None] * tables.X, axis=1) / self.total[:, None]
        X = tables.X - self.origin[:, None, :]
        if self.keep_feature is not None:
            X = X * self.keep_feature[:, None, :]
        first, second = _pairs(d)
        where = device(tables.X)
        self.first = xp.asarray(first, device=where)
        self.second = xp.asarray(second, device=where)
        self.packed = xp.asarray(_unpack(d), device=where)
        self.twice = xp.where(
            self.first == self.second,
            xp.asarray(1.0, dtype=X.dtype, device=where),
            xp.asarray(2.0, dtype=X.dtype, device=where),
        )
        ones = xp.ones((b, n, 1), dtype=X.dtype, device=where)
        pairs = xp.take(X, self.first, axis=2) * xp.take(X, self.second, axis=2)
        self.phi = xp.concat([ones, X, pairs], axis=2)
        variance = xp.sum(tables.weight[:, :, None] * X**2, axis=1) / self.total[:, None]
        self.total_variance = xp.sum(variance, axis=-1) / self.n_features  # b

    def distances(self, whiten: Array, means: Array) -> Array:
        """|W_k (x_i - mu_k)|^2 "B c n" as theta_k' phi_i: the E attention's query-key product.

        theta = (m' P m, -2 P m, P_jj and 2 P_jj') with P = W' W and m = mu - origin.
        """
        xp, d = self.xp, self.d
        runs, c = means.shape[:2]
        P = xp.matmul(xp.permute_dims(whiten, (0, 1, 3, 2)), whiten)
        m = means - self.spread(self.origin, means)[:, None, :]
        if self.keep_feature is not None:
            m = m * self.spread(self.keep_feature, means)[:, None, :]
        wide = xp.matmul(P, m[..., None])[..., 0]
        offset = xp.sum(m * wide, axis=-1, keepdims=True)
        pairs = xp.take(xp.reshape(P, (runs, c, d * d)), self.first * d + self.second, axis=2)
        theta = xp.concat([offset, -2.0 * wide, pairs * self.twice], axis=2)
        flat = xp.reshape(theta, (self.b, (runs // self.b) * c, theta.shape[2]))
        maha = xp.matmul(flat, xp.permute_dims(self.phi, (0, 2, 1)))
        return xp.clip(xp.reshape(maha, (runs, c, self.n)), 0.0, None)

    def fit(self, r: Array, u: Array | None, keep: Array, expected: object = None) -> Fit:
        """The moments under responsibilities r and robustness weights u; nothing is missing."""
        xp, d = self.xp, self.d
        runs, c, n = r.shape
        wr = r * self.spread(self.tables.weight, r)[:, None, :]
        a = wr if u is None else wr * u
        flat = xp.reshape(a, (self.b, (runs // self.b) * c, n))
        sums = xp.reshape(xp.matmul(flat, self.phi), (runs, c, self.phi.shape[2]))
        mass = sums[..., 0]
        safe = xp.where(mass > _TINY, mass, xp.ones_like(mass))
        mean0 = sums[..., 1 : d + 1] / safe[..., None]
        pairs = sums[..., d + 1 :] / safe[..., None]
        pairs = pairs - xp.take(mean0, self.first, axis=2) * xp.take(mean0, self.second, axis=2)
        scatter = xp.reshape(xp.take(pairs, self.packed, axis=2), (runs, c, d, d))
        owned = mass if u is None else xp.sum(wr, axis=-1)
        owned = xp.where(keep, owned, xp.zeros_like(owned))
        share = owned / xp.sum(owned, axis=-1, keepdims=True)
        tied = xp.sum(share[..., None, None] * scatter, axis=1)
        mean = mean0 + self.spread(self.origin, r)[:, None, :]
        if self.keep_feature is not None:
            mean = mean * self.spread(self.keep_feature, r)[:, None, :]
        return Fit(wr, mass, owned, share, mean, scatter, tied, keep)


class Fit:
    """What the M attention found.

    weighted "B c n" = w r, mass "B c" = sum w r u, owned "B c" = sum w r, share "B c" = pi, mean
    "B c d", own scatters "B c d d", the tied scatter "B d d", keep "B c".
    """

    def __init__(
        self,
        weighted: Array,
        mass: Array,
        owned: Array,
        share: Array,
        mean: Array,
        scatter: Array,
        tied: Array,
        keep: Array,
    ) -> None:
        xp = array_namespace(owned)
        self.weighted, self.mass, self.owned, self.share = weighted, mass, owned, share
        self.mean, self.scatter, self.tied, self.keep = mean, scatter, tied, keep
        self.own_diagonal = xp.clip(xp.linalg.diagonal(scatter), 0.0, None)  # B c d
        self.tied_diagonal = xp.clip(xp.linalg.diagonal(tied), 0.0, None)  # B d


def _pairs(d: int) -> tuple[list[int], list[int]]:
    first = [i for i in range(d) for j in range(i, d)]
    second = [j for i in range(d) for j in range(i, d)]
    return first, second


def _unpack(d: int) -> list[int]:
    """Where entry (i, j) of a symmetric matrix sits among the packed pairs."""
    place: dict[tuple[int, int], int] = {}
    for index, (i, j) in enumerate(zip(*_pairs(d), strict=True)):
        place[i, j] = place[j, i] = index
    return [place[i, j] for i in range(d) for j in range(d)]
