"""EM for Gaussian mixtures unrolled as attention layers, with a learned regulariser.

Centre tokens carry (pi, mu, Sigma). In each layer the centres attend to the data (M: weighted
moments), a small network regularises the covariances, and the data attend to the centres (E:
responsibilities). Ancestors: Neural EM (Greff et al. 2017), differentiable EM (Kim 2022) and OTKE
(Mialon et al. 2021). The layer itself is ours. Nothing here asks for the number of columns,
components or rows, and nothing here is evidence for a theorem about softmax Transformers; for
that see `nn/mixture.py`.

Written once against the array API: numpy for users, torch for training.

Axes: b tables, s starts of a table, n points, d features, c components, l layers, f invariant
features of a centre token, k hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from array_api_compat import array_namespace, device

from statformer.batch import Array, Centres, Readout, Tables, Trace
from statformer.nn.categories import (
    Categories,
    centres_with_a_column,
    with_a_column,
    without_the_column,
)
from statformer.nn.e_attention import Seen, attend
from statformer.nn.missing import MissingMoments
from statformer.nn.moments import Fit, Moments

COVARIANCE_TARGETS = (
    "own full",
    "own diagonal",
    "own spherical",
    "tied full",
    "tied diagonal",
    "tied spherical",
    "tied full at own volume",
)
N_FEATURES = 16
# Learned layers move far from one to the next (a temperature of 0.02, then of 11), so that missing
# cells expected under the centres of the layer before are stale. They are expected again under the
# layer's own centres, responsibilities as they are (ours; +0.02 ARI at 40 % missing). Plain EM
# does without: it would climb the same likelihood, two steps at a time.
REFILLS = 2
_TINY = 1e-30


class EMNetwork:
    """(tables, start) -> trace: M, regularise, E in every layer.

    With r the responsibilities, u the robustness weights and w the weights of rows, layer l is

        M   n_k = sum_i w_i r_ik,  a_ik = w_i r_ik u_ik,  mu_k = sum_i a_ik x_i / sum_i a_ik,
            S_k = sum_i a_ik (x_i - mu_k)(x_i - mu_k)' / sum_i a_ik,  pi_k = n_k / sum_k n_k
        R   Sigma_k = sum_j c_jk T_jk + ridge I,  T the `COVARIANCE_TARGETS` of S_k and of the
            tied scatter sum_k n_k S_k / sum_k n_k,  c_k = softmax of seven outputs
        E   score_ik = temperature [(1 - rho_k) log N(x_i; mu_k, Sigma_k)
                       + rho_k log t_nu_k(x_i; mu_k, Sigma_k) + strength log pi_k],
            r_i = softmax_k score_i,  u_ik = (1 - rho_k) + rho_k (nu_k + d) / (nu_k + m_ik)

    where m is the squared Mahalanobis distance. The scatter is divided by sum a, the
    parameter-expanded form of Student-t EM, and not by sum w r. Missing cells are summed out
    (`nn.missing`), categorical columns have shares per component (`nn.categories`).

    Parameters
    ----------
    weights : mapping of arrays, leading axis = layer
        Biases "b_cov" (l, 7), "b_tail" (l, 2) for (rho, nu), "b_table" (l, 2) for (temperature,
        strength), "log_ridge" (l,); and, unless the weights are constructed, "W_hidden"
        (l, f, k), "b_hidden" (l, k), "W_cov" (l, k, 7), "W_tail" (l, k, 2), "W_table" (l, k, 2).
        Biases may carry one value per run instead: (l, b s, 1, 7), ..., log_ridge (l, b s).
    n_loops : int, optional
        Apply a single layer this often (constructed weights are one layer, looped).
    """

    def __init__(self, weights: Mapping[str, Array], n_loops: int | None = None) -> None:
        self.weights = dict(weights)
        depth = int(self.weights["b_cov"].shape[0])
        if n_loops is not None and depth != 1:
            raise ValueError(
                f"n_loops={n_loops} needs weights of one layer, these have {depth}; "
                "leave n_loops out or pass the weights of a single layer"
            )
        self.n_layers = depth if n_loops is None else n_loops
        self.is_looped = n_loops is not None

    def __call__(
        self,
        tables: Tables,
        start: Centres | Array,
        *,
        tol: float | None = None,
        record: str = "all",
    ) -> Trace:
        """Run all layers; B = b s runs, the s starts of a table side by side.

        start: `Centres` with leading axis B (a plain E step with them comes first) or
        responsibilities "B n c" (begins with the M layer; components that own no weight are
        absent). tol: stop when no run gained more than this in log density per unit of weight
        (plain EM only). record: "all" keeps every layer in the trace, "last" the last one.
        """
        is_without_numbers = tables.X.shape[2] == 0
        tables = with_a_column(tables)
        moments = Moments(tables) if tables.observed is None else MissingMoments(tables)
        categories = None if tables.onehot is None else Categories(tables)
        if isinstance(start, Centres):
            start, keep = centres_with_a_column(start), start.is_component
            seen = attend(moments.tables, start, _plain_readout(start), moments)
        else:
            xp = array_namespace(start)
            r = xp.permute_dims(start, (0, 2, 1))
            keep = xp.sum(r * moments.spread(tables.weight[:, None, :], r), axis=-1) > 0
            seen = Seen(r)
        trace = Trace()
        before = None
        for layer in range(self.n_layers):
            w = self._layer(0 if self.is_looped else layer)
            fitted = moments.fit(seen.r, seen.u, keep, seen.expected)
            knobs = _Knobs(w, fitted, moments, seen)
            centres, readout = _regularise(fitted, knobs, moments), knobs.readout
            if isinstance(moments, MissingMoments) and "W_hidden" in w:
                for _ in range(REFILLS):
                    again = moments.patterns.expect(centres)
                    fitted = moments.fit(seen.r, seen.u, keep, again)
                    knobs = _Knobs(w, fitted, moments, seen)
                    centres, readout = _regularise(fitted, knobs, moments), knobs.readout
            if categories is not None:
                centres = replace(centres, categories=categories.theta(fitted.weighted))
            seen = attend(moments.tables, centres, readout, moments)
            if record == "last":
                trace = Trace()
            xp = array_namespace(seen.r)
            trace.responsibilities.append(xp.permute_dims(seen.r, (0, 2, 1)))
            trace.centres.append(without_the_column(centres) if is_without_numbers else centres)
            trace.readouts.append(readout)
            if tol is not None:
                now = moments.mean(seen.evidence)
                if before is not None and bool(xp.all(xp.abs(now - before) < tol)):
                    break
                before = now
        return trace

    def _layer(self, layer: int) -> dict[str, Array]:
        return {name: value[layer] for name, value in self.weights.items()}


def respond(tables: Tables, centres: Centres, readout: Readout) -> Array:
    """One E layer: responsibilities "B n c" of each row alone under frozen centres."""
    seen = attend(with_a_column(tables), centres_with_a_column(centres), readout)
    return array_namespace(seen.r).permute_dims(seen.r, (0, 2, 1))


def log_density(tables: Tables, centres: Centres) -> Array:
    """log sum_k pi_k N(x; mu_k, Sigma_k) "B n": the normalised density of the centres.

    With missing cells and categories log sum_k pi_k N(x_O; mu_kO, Sigma_kOO) prod_q theta_kq^e_q:
    the density of what is observed.
    """
    readout = _plain_readout(centres)
    return attend(with_a_column(tables), centres_with_a_column(centres), readout).evidence


def _plain_readout(centres: Centres) -> Readout:
    xp = array_namespace(centres.weights)
    one = xp.ones_like(centres.weights[:, 0])
    zero = xp.zeros_like(centres.weights)
    return Readout(one, one, zero, zero + 10.0)


class _Knobs:
    """The small network: invariant features of each centre token -> what R and E need."""

    def __init__(
        self,
        w: Mapping[str, Array],
        fit: Fit,
        moments: Moments | MissingMoments,
        seen: Seen,
    ) -> None:
        r = seen.r
        xp = array_namespace(r)
        runs, c, _ = r.shape
        d = moments.spread(moments.n_features, r)
        self.own_variance = xp.sum(fit.own_diagonal, axis=-1) / d[:, None]  # B c
        self.tied_variance = xp.sum(fit.tied_diagonal, axis=-1) / d  # B
        log_ridge = w["log_ridge"]
        self.ridge = xp.exp(log_ridge) + xp.zeros_like(d)  # B
        cov, tail, table = w["b_cov"], w["b_tail"], w["b_table"]
        if "W_hidden" in w:
            features = _features(fit, self, moments, seen)
            hidden = xp.tanh(xp.matmul(features, w["W_hidden"]) + w["b_hidden"])
            cov = cov + xp.matmul(hidden, w["W_cov"])
            tail = tail + xp.matmul(hidden, w["W_tail"])
            pooled = xp.sum(fit.share[..., None] * hidden, axis=1, keepdims=True)
            table = table + xp.matmul(pooled, w["W_table"])
        zero = xp.zeros((runs, c, 1), dtype=r.dtype, device=device(r))
        cov = cov + zero
        cov = xp.exp(cov - xp.max(cov, axis=-1, keepdims=True))
        self.mix = cov / xp.sum(cov, axis=-1, keepdims=True)  # B c 7
        tail = tail + zero
        rho = 1.0 / (1.0 + xp.exp(-_clip(tail[..., 0], -60.0, 60.0)))
        nu = 1.0 + xp.exp(_clip(tail[..., 1], -4.0, 6.0))
        table = xp.exp(_clip(table + zero[:, :1, :], -4.0, 4.0))
        self.readout = Readout(table[:, 0, 0], table[:, 0, 1], rho, nu)


def _features(fit: Fit, knobs: _Knobs, moments: Moments | MissingMoments, seen: Seen) -> Array:
    """Invariant features "B c f" of each centre token (differences of logs: no units).

    Invariant to a common rescaling of the table except for the ridge, to the order and sign of
    columns, to the order of rows and components, and free of d, c and n in their size.
    """
    r, maha = seen.r, seen.maha
    xp = array_namespace(r)
    d = moments.spread(moments.n_features, r)[:, None]  # B 1
    one = xp.ones_like(fit.share)
    total = moments.spread(moments.total, r)[:, None]
    n_components = xp.sum(xp.astype(fit.keep, r.dtype), axis=-1)[:, None]
    ridge = knobs.ridge[:, None]
    own, tied = knobs.own_variance + ridge, knobs.tied_variance[:, None] + ridge
    whole = moments.spread(moments.total_variance, r)[:, None] + ridge
    own_diag = _mean_log(fit.own_diagonal + ridge[..., None], moments, r, d)
    tied_diag = _mean_log((fit.tied_diagonal + ridge)[:, None, :], moments, r, d)
    # a cluster of fewer points than columns has no determinant; a hundredth of its variance helps
    own_floor, tied_floor = ridge + 0.01 * own, ridge + 0.01 * tied
    own_det = _log_det(_add_ridge(fit.scatter, own_floor[..., None], moments, r)) / d
    tied_det = _log_det(_add_ridge(fit.tied[:, None, :, :], tied_floor[..., None], moments, r)) / d
    mass = fit.owned + 1e-6
    weighted, dot = fit.weighted, xp.linalg.vecdot
    if maha is None:
        mean_maha, kurtosis = xp.zeros_like(one), xp.zeros_like(one)
        entropy = -dot(weighted, xp.log(r + _TINY)) / mass
    else:
        far = weighted * maha
        of_first, of_second = mass * d, mass * d * (d + 2.0)
        if moments.counts is not None:  # rows of d_i observed columns: E m = d_i under the model
            counts = moments.spread(moments.counts, r)[:, None, :]
            of_first = xp.sum(weighted * counts, axis=-1) + 1e-6 * d
            of_second = xp.sum(weighted * counts * (counts + 2.0), axis=-1)
            of_second = of_second + 1e-6 * d * (d + 2.0)
        mean_maha = xp.log(xp.sum(far, axis=-1) / of_first + 1e-6)
        kurtosis = xp.log(dot(far, maha) / of_second + 1e-6)
        # log r is the score minus its log-sum-exp
        entropy = (dot(weighted, seen.evidence[:, None, :]) - dot(weighted, seen.score)) / mass
    mean_u = xp.zeros_like(one) if seen.u is None else fit.mass / mass - 1.0
    columns = [
        xp.log(fit.share + 1e-6) / 2.0,
        xp.log(fit.owned / d + 1e-6) / 2.0,
        xp.log(d) / 2.0 * one,
        xp.log(n_components) * one,
        xp.log(total) / 3.0 * one,
        xp.log(own / tied),
        xp.log(tied / whole) * one,
        own_det - tied_det,
        own_diag - own_det,
        (tied_diag - tied_det) * one,
        own_diag - xp.log(own),
        (tied_diag - xp.log(tied)) * one,
        entropy * 4.0,
        mean_maha,
        kurtosis,
        mean_u,
    ]
    if moments.has_numbers is not None:  # no column, no shape: the ridge alone is not a feature
        has = moments.spread(moments.has_numbers, r)[:, None]
        columns[5:12] = [column * has for column in columns[5:12]]
        columns[13:16] = [column * has for column in columns[13:16]]
    return _clip(xp.stack(columns, axis=-1), -8.0, 8.0)


def _mean_log(variances: Array, moments: Moments | MissingMoments, r: Array, d: Array) -> Array:
    xp = array_namespace(variances)
    logs = xp.log(variances)
    if moments.keep_feature is not None:
        logs = logs * moments.spread(moments.keep_feature, r)[:, None, :]
    return xp.sum(logs, axis=-1) / d


def _add_ridge(scatter: Array, ridge: Array, moments: Moments | MissingMoments, r: Array) -> Array:
    """scatter + ridge I, with ones on the diagonal of padded columns (their log is 0)."""
    xp = array_namespace(scatter)
    eye = xp.eye(moments.d, dtype=scatter.dtype, device=device(scatter))
    if moments.keep_feature is None:
        return scatter + ridge[..., None] * eye
    keep = moments.spread(moments.keep_feature, r)[:, None, :]
    return scatter + (ridge * keep + (1.0 - keep))[..., None] * eye


def _log_det(matrices: Array) -> Array:
    xp = array_namespace(matrices)
    factor = xp.linalg.cholesky(matrices)
    return 2.0 * xp.sum(xp.log(xp.linalg.diagonal(factor)), axis=-1)


def _regularise(fit: Fit, knobs: _Knobs, moments: Moments | MissingMoments) -> Centres:
    """Sigma_k = sum_j c_jk T_jk + ridge I; absent components get the identity."""
    xp = array_namespace(fit.share)
    c = knobs.mix
    # the floor is far below any ridge: a tied variance of rounding errors must not be divided by
    ratio = knobs.own_variance / (knobs.tied_variance + 1e-10)[:, None]
    tied_part = c[..., 3] + c[..., 6] * ratio
    full = c[..., 0][..., None, None] * fit.scatter
    full = full + tied_part[..., None, None] * fit.tied[:, None, :, :]
    diagonal = (
        c[..., 1][..., None] * fit.own_diagonal
        + (c[..., 2] * knobs.own_variance)[..., None]
        + c[..., 4][..., None] * fit.tied_diagonal[:, None, :]
        + (c[..., 5] * knobs.tied_variance[:, None])[..., None]
        + knobs.ridge[:, None, None]
    )
    if moments.keep_feature is not None:
        keep = moments.spread(moments.keep_feature, fit.share)[:, None, :]
        diagonal = diagonal * keep + (1.0 - keep)
    eye = xp.eye(moments.d, dtype=full.dtype, device=device(full))
    covariances = full + diagonal[..., None] * eye
    there = fit.keep[..., None, None]
    return Centres(
        fit.share,
        xp.where(fit.keep[..., None], fit.mean, xp.zeros_like(fit.mean)),
        xp.where(there, covariances, eye + xp.zeros_like(covariances)),
        fit.keep,
    )


def _clip(x: Array, low: float | None, high: float | None) -> Array:
    return array_namespace(x).clip(x, low, high)


def layer_shapes(n_layers: int, n_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a learned network."""
    n_cov = len(COVARIANCE_TARGETS)
    return {
        "W_hidden": (n_layers, N_FEATURES, n_hidden),
        "b_hidden": (n_layers, n_hidden),
        "W_cov": (n_layers, n_hidden, n_cov),
        "b_cov": (n_layers, n_cov),
        "W_tail": (n_layers, n_hidden, 2),
        "b_tail": (n_layers, 2),
        "W_table": (n_layers, n_hidden, 2),
        "b_table": (n_layers, 2),
        "log_ridge": (n_layers,),
    }


def as_numpy(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The same weights as float64 numpy arrays."""
    import numpy as np

    return {k: np.asarray(v, dtype=np.float64) for k, v in weights.items()}
