"""Power steps on a weighted table, and their form for missing and doubtful cells (array API).

With every weight 1 a step is exact orthogonal iteration. With cell weights it is one EM step of
probabilistic PCA (Tipping and Bishop 1999; Roweis 1998 for the limit without noise), whose span on
a complete table is again that of the orthogonal iteration: the scores are one linear map of
V (x - mu) for all rows, and the normal equations are the same for all columns.

Axes: b tables, n points, d features, k components; u, v components in pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace, device

from statformer.batch import Array

# Ridges far below anything statistical: they keep systems of empty rows and columns solvable.
_ROW_RIDGE = 1e-9
_COLUMN_RIDGE = 1e-6
# The prior variance of a score is at least this times the noise: EM would let a component weaker
# than the noise vanish, and with it the direction that was asked for.
_LEAST_SIGNAL = 0.02


@dataclass(frozen=True)
class Subspace:
    """Where the layers stand: x is about mean + V' t, cov t = spread, noise around it.

    mean "b d", V "b k d" with orthonormal rows, spread "b k k", noise "b".
    """

    mean: Array
    V: Array
    spread: Array
    noise: Array


@dataclass(frozen=True)
class Scores:
    """Posterior of the scores of each row: mean t "b n k", covariance noise * inverse.

    inverse "b n k k"; None on complete tables.
    """

    t: Array
    inverse: Array | None


def orthonormal(W: Array) -> Array:
    """Orthonormal rows "b k d" with the span of the rows of W (Gram-Schmidt, as QR)."""
    xp = array_namespace(W)
    Q, _ = xp.linalg.qr(xp.matrix_transpose(W))
    return xp.matrix_transpose(Q)


def power_steps(
    X: Array, weight: Array, V: Array, n_steps: int, tol: float | None = None
) -> Subspace:
    """`n_steps` of V <- QR(V S), S the covariance of X "b n d" under row weights "b n".

    With `tol` it stops once no principal angle moved by more.
    """
    xp = array_namespace(X)
    total = xp.sum(weight, axis=1)
    a = weight / total[:, None]
    mean = xp.sum(a[..., None] * X, axis=1)
    Y = X - mean[:, None, :]
    d, k = X.shape[2], V.shape[1]
    whole = xp.sum(a * xp.sum(Y * Y, axis=2), axis=1)
    aY = a[..., None] * Y
    S = xp.matmul(xp.matrix_transpose(aY), Y) if d <= X.shape[1] else None
    for _ in range(n_steps):
        if S is not None:
            W = xp.matmul(V, S)
        else:
            W = xp.matmul(xp.matmul(V, xp.matrix_transpose(aY)), Y)
        before, V = V, orthonormal(W)
        if tol is not None and _stands(before, V, tol):
            break
    t = xp.matmul(Y, xp.matrix_transpose(V))
    spread = xp.matmul(xp.matrix_transpose(t), a[..., None] * t)
    rest = xp.clip(whole - xp.sum(xp.linalg.diagonal(spread), axis=1), 0.0, None)
    return Subspace(mean, V, spread, rest / max(d - k, 1))


def score(Y: Array, cells: Array | None, at: Subspace, prior: Array | float) -> Scores:
    """t_i = (V C_i V' + prior noise spread^-1)^-1 V C_i y_i for rows y = x - mean.

    C_i is the diagonal of the row's cell weights. On complete tables (cells None) t = V y: the
    prior would scale all rows alike.
    """
    xp = array_namespace(Y)
    if cells is None:
        return Scores(xp.matmul(Y, xp.matrix_transpose(at.V)), None)
    b, n, d = Y.shape
    k = at.V.shape[1]
    eye = xp.eye(k, dtype=Y.dtype, device=device(Y))
    pairs = xp.reshape(at.V[:, :, None, :] * at.V[:, None, :, :], (b, k * k, d))
    gram = xp.reshape(xp.matmul(cells, xp.matrix_transpose(pairs)), (b, n, k, k))
    trace = xp.sum(xp.linalg.diagonal(at.spread), axis=1)
    floor = _LEAST_SIGNAL * at.noise + 1e-6 * trace / k + 1e-30
    prior_variance = at.spread + floor[:, None, None] * eye
    precision = (prior * at.noise)[:, None, None] * xp.linalg.inv(prior_variance)
    inverse = xp.linalg.inv(gram + (precision + _ROW_RIDGE * eye)[:, None, :, :])
    right = xp.matmul(cells * Y, xp.matrix_transpose(at.V))
    t = xp.matmul(inverse, right[..., None])[..., 0]
    return Scores(t, inverse)


def em_step(X: Array, cells: Array, weight: Array, at: Subspace, prior: Array | float) -> Subspace:
    """One weighted EM step; cells "b n d" are 0 where missing, weight "b n" weighs rows.

    With a_ij = weight_i cells_ij and E the posterior under `at`, each column j is regressed on
    (1, t): [m_j, w_j] = (sum_i a_ij E[(1, t)(1, t)'])^-1 sum_i a_ij y_ij E[(1, t)]. Then
    V = QR(W), and the mean goes to where the scores have mean 0: mean += m + W' E t. Columns are
    tied by a ridge towards the mean of their normal equations.
    """
    xp = array_namespace(X)
    b, n, d = X.shape
    k = at.V.shape[1]
    Y = X - at.mean[:, None, :]
    posterior = score(Y, cells, at, prior)
    t = posterior.t
    one = xp.ones((b, n, 1), dtype=X.dtype, device=device(X))
    s = xp.concat([one, t], axis=2)
    second = xp.reshape(s[..., :, None] * s[..., None, :], (b, n, (k + 1) ** 2))
    hidden = xp.reshape(at.noise[:, None, None, None] * posterior.inverse, (b, n, k * k))
    a = weight / xp.sum(weight, axis=1, keepdims=True)
    ac = xp.matrix_transpose(a[..., None] * cells)  # b d n
    normal = xp.reshape(xp.matmul(ac, second), (b, d, k + 1, k + 1))
    variance = xp.reshape(xp.matmul(ac, hidden), (b, d, k, k))
    top = xp.zeros((b, d, 1, k + 1), dtype=X.dtype, device=device(X))
    side = xp.zeros((b, d, k, 1), dtype=X.dtype, device=device(X))
    normal = normal + xp.concat([top, xp.concat([side, variance], axis=3)], axis=2)
    right = xp.matmul(xp.matrix_transpose(a[..., None] * cells * Y), s)  # b d (k + 1)
    tie = xp.mean(normal, axis=1, keepdims=True)
    eye = xp.eye(k + 1, dtype=X.dtype, device=device(X))
    size = xp.sum(xp.linalg.diagonal(tie), axis=-1)[..., None, None] / (k + 1)
    system = normal + _COLUMN_RIDGE * tie + (1e-12 * size + 1e-30) * eye
    solved = xp.matmul(xp.linalg.inv(system), right[..., None])[..., 0]
    W = solved[..., 1:]  # b d k
    V, R = xp.linalg.qr(W)
    middle = xp.matmul(a[:, None, :], t)  # b 1 k
    mean = at.mean + solved[..., 0] + xp.sum(W * middle, axis=2)
    spread = xp.matmul(xp.matrix_transpose(t), a[..., None] * t)
    spread = spread - xp.matrix_transpose(middle) * middle
    spread = spread + xp.reshape(xp.matmul(a[:, None, :], hidden), (b, k, k))
    spread = xp.matmul(xp.matmul(R, spread), xp.matrix_transpose(R))
    mass = xp.sum(ac, axis=(1, 2))
    rest = xp.sum(ac * xp.matrix_transpose(Y * Y), axis=(1, 2))
    rest = rest - 2.0 * xp.sum(solved * right, axis=(1, 2))
    fitted = xp.matmul(normal, solved[..., None])[..., 0]
    rest = xp.clip(rest + xp.sum(solved * fitted, axis=(1, 2)), 0.0, None)
    return Subspace(mean, xp.matrix_transpose(V), spread, rest / mass)


def em_steps(
    X: Array,
    cells: Array,
    weight: Array,
    at: Subspace,
    prior: Array | float,
    n_steps: int,
    tol: float | None = None,
) -> Subspace:
    """`n_steps` of `em_step`; with `tol` it stops once no principal angle moved by more."""
    for _ in range(n_steps):
        before, at = at, em_step(X, cells, weight, at, prior)
        if tol is not None and _stands(before.V, at.V, tol):
            break
    return at


def _stands(before: Array, after: Array, tol: float) -> bool:
    """Whether the sine of every principal angle between the two spans is below tol."""
    xp = array_namespace(after)
    cross = xp.matmul(after, xp.matrix_transpose(before))
    outside = after - xp.matmul(cross, before)
    return bool(xp.all(xp.sum(outside * outside, axis=2) < tol * tol))
