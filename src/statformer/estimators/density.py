"""The fitted mixture, frozen: densities, responsibilities and samples in the caller's units.

Two read-outs of one set of centres. The density is the plain Gaussian mixture
sum_k pi_k N(x; mu_k, Sigma_k). The responsibilities are the network's last E layer, with its
learned temperature, strength and tails, and reads values beyond 20 scales compressed. With
constructed weights and no such values the two agree.

Missing cells (NaN) are summed out, and categorical columns have shares instead of Gaussians
(`estimators.cells`); with a projection rows must be complete.

Axes: n rows, d columns of the matrix, p columns the network sees, q categories, c components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.mixture import GaussianMixture

from statformer.batch import Centres, Readout, Tables
from statformer.estimators.cells import CellLayout
from statformer.estimators.context import Standardizer
from statformer.estimators.devices import Backend
from statformer.estimators.problems import n_parameters
from statformer.nn.em_network import log_density, respond

CHUNK_ELEMENTS = 2**22  # rows x components x features of one chunk of `predict`: 32 MB
PIECE_ELEMENTS = 2**18  # the same of what is computed at a time
PIECE_ROWS = 2**10  # and no fewer rows than these


@dataclass(frozen=True)
class FrozenMixture:
    """Centres in standardised units (leading axis 1), their read-out, and the way back to units.

    covariance_type is what counts as a parameter; covariances are full matrices whatever it is.
    owner "c" says to which cluster a component belongs, None where each is a cluster of its own;
    the density is that of the components either way. doubt is the share of the responsibilities
    that is spread evenly over the clusters, r = (1 - doubt) r + doubt / K.
    layout tells numbers from categories, and standardizer is then that of the numbers; None where
    every column of the matrix is a number.
    """

    standardizer: Standardizer
    centres: Centres
    readout: Readout
    covariance_type: str = "full"
    layout: CellLayout | None = None
    owner: Int[np.ndarray, " c"] | None = None
    doubt: float = 0.0

    @property
    def needs_complete_rows(self) -> bool:
        """A projection has no reading of a row with gaps: they must be filled before."""
        return self.standardizer.directions is not None

    @property
    def n_components(self) -> int:
        """Clusters: the components, or their owners."""
        if self.owner is None:
            return int(self.centres.weights.shape[1])
        return int(self.owner.max()) + 1

    @property
    def shares(self) -> Float[np.ndarray, " k"]:
        """The weights of the clusters, sum 1."""
        weights: Float[np.ndarray, " c"] = self.centres.weights[0]
        return weights.copy() if self.owner is None else weights @ self._belongs

    @property
    def _belongs(self) -> Float[np.ndarray, "c k"]:
        """1 where a component belongs to a cluster."""
        assert self.owner is not None
        return np.eye(self.n_components)[self.owner]

    @property
    def n_rows_per_chunk(self) -> int:
        """Rows whose distances to all centres fit into `CHUNK_ELEMENTS`."""
        _, c, p = self.centres.means.shape
        d = len(self.standardizer.centre) if self.layout is None else self.layout.n_columns
        return max(1, CHUNK_ELEMENTS // max(c * p, d))

    @property
    def n_parameters(self) -> int:
        """Free numbers of the mixture, for `bic` and `aic`.

        Weights, means and covariances of `covariance_type`; with a projection, those in p
        columns and one residual variance. Each component has its own shares of the categories.
        """
        _, c, p = self.centres.means.shape
        extra = 0 if self.standardizer.directions is None else 1
        n_shares = 0 if self.layout is None else self.layout.n_categories - len(self.layout.sizes)
        return n_parameters(self.covariance_type, c, p, n_shares) + extra

    def responsibilities(
        self, X: Float[np.ndarray, "n d"], on: Backend
    ) -> Float[np.ndarray, "n c"]:
        """The last E layer: each row alone against the centres; NaN is a cell nobody saw.

        Components of one cluster are summed, and `doubt` is spread.
        """
        centres, readout = on.put_record(self.centres), on.put_record(self.readout)
        parts = []
        with on.inference():
            for rows in self._readable(X):
                z = self.standardizer(rows[:, self._numbers])
                parts.append(on.get(respond(self._tables(rows, z, on), centres, readout)[0]))
        found: Float[np.ndarray, "n c"] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.owner is not None:
            found = found @ self._belongs
        if self.doubt > 0:
            found = (1.0 - self.doubt) * found + self.doubt / self.n_components
        return found

    def log_density(self, X: Float[np.ndarray, "n d"], on: Backend) -> Float[np.ndarray, " n"]:
        """log sum_k pi_k N(x_O; mu_kO, Sigma_kOO) prod_q theta_kq^e_q in the caller's units.

        Normalised over the cells of a row that are there; without gaps and categories that is
        log sum_k pi_k N(x; mu_k, Sigma_k).
        """
        parts, s = [], self.standardizer
        centres = on.put_record(self.centres)
        with on.inference():
            for rows in self._readable(X):
                numbers = rows[:, self._numbers]
                z = s.standardize(numbers)
                inside = on.get(log_density(self._tables(rows, s.project(z), on), centres)[0])
                gaps = np.isnan(z)
                volume: Any = s.log_volume()
                if gaps.any():  # only the cells that are there have a unit
                    volume = volume + gaps @ np.log(s.scale)
                parts.append(inside + s.residual_density(numbers) + volume)
        total: Float[np.ndarray, " n"] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return total

    @property
    def _numbers(self) -> Any:
        """Index of the numbers among the columns of the matrix."""
        return slice(None) if self.layout is None else list(self.layout.numbers)

    def _readable(self, X: Float[np.ndarray, "n d"]) -> Iterator[Float[np.ndarray, "n d"]]:
        """Pieces that stay in a processor's cache; short ones where gaps ask for many matrices."""
        size = max(self.centres.means.shape[1] * self.centres.means.shape[2], X.shape[1], 1)
        step = max(PIECE_ELEMENTS // size, PIECE_ROWS)
        if not self.needs_complete_rows and np.isnan(X).any():
            _, c, p = self.centres.means.shape
            step = max(1, CHUNK_ELEMENTS // (c * max(p, 1) ** 2))
        for first in range(0, max(len(X), 1), step):
            yield X[first : first + step]

    def _tables(
        self, X: Float[np.ndarray, "n d"], z: Float[np.ndarray, "n p"], on: Backend
    ) -> Tables:
        """Rows of the matrix as one table; z their standardised numbers."""
        layout = CellLayout(tuple(range(z.shape[1]))) if self.layout is None else self.layout
        return on.put_record(layout.cells(X, z).tables(np.ones(len(X))))

    def means(self) -> Float[np.ndarray, "k d"]:
        """Means of the clusters in the caller's units; those of a category are its shares."""
        means = self._component_means()
        if self.owner is None:
            return means
        within = self._belongs * self.centres.weights[0][:, None] / self.shares
        return within.T @ means

    def _component_means(self) -> Float[np.ndarray, "c d"]:
        numbers = self.standardizer.means_to_units(self.centres.means[0])
        if self.layout is None or self.centres.categories is None:
            return numbers
        means = np.empty((len(numbers), self.layout.n_columns))
        means[:, self._numbers] = numbers
        means[:, self.layout.places[0]] = self.layout.shown(self.centres.categories[0])
        return means

    def covariances(self) -> Float[np.ndarray, "k d d"]:
        """Covariances of the clusters in the caller's units, squared.

        Those of a cluster of several components are within plus between them. Within a component a
        category has those of its shares, diag(theta) - theta theta' within a categorical column and
        0 else.
        """
        if self.owner is not None:
            return self._pooled()
        numbers = self.standardizer.covariances_to_units(self.centres.covariances[0])
        if self.layout is None or self.centres.categories is None:
            return numbers
        d, at = self.layout.n_columns, self.layout.places[0]
        covariances = np.zeros((len(numbers), d, d))
        own = np.array(self.layout.numbers, dtype=np.int64)
        covariances[:, own[:, None], own] = numbers
        covariances[:, at[:, None], at] = self.layout.shown_covariances(self.centres.categories[0])
        return covariances

    def _pooled(self) -> Float[np.ndarray, "k d d"]:
        """Covariances of clusters that own several components."""
        within = self._belongs * self.centres.weights[0][:, None] / self.shares
        own = self.standardizer.covariances_to_units(self.centres.covariances[0])
        means, centre = self._component_means(), self.means()
        found = np.einsum("ck,cij->kij", within, own)
        for k, middle in enumerate(centre):
            away = means - middle
            found[k] += away.T @ (away * within[:, k : k + 1])
        return found

    def reordered(self, order: Int[np.ndarray, " k"]) -> FrozenMixture:
        """The clusters `order`, in this order; weights sum to 1 again."""
        if self.owner is None:
            return self._chosen(order)
        place = np.full(self.n_components, -1)
        place[order] = np.arange(len(order))
        owner = place[self.owner]
        kept = np.flatnonzero(owner >= 0)
        return replace(self._chosen(kept), owner=owner[kept])

    def _chosen(self, order: Int[np.ndarray, " k"]) -> FrozenMixture:
        c, r = self.centres, self.readout
        weights = c.weights[:, order]
        centres = Centres(
            weights / weights.sum(),
            c.means[:, order],
            c.covariances[:, order],
            c.is_component[:, order],
            None if c.categories is None else c.categories[:, order],
        )
        readout = Readout(r.temperature, r.strength, r.rho[:, order], r.nu[:, order])
        return replace(self, centres=centres, readout=readout)

    def sample(
        self, n_samples: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
        """Rows of the matrix sorted by cluster, and their clusters."""
        counts = rng.multinomial(n_samples, self.centres.weights[0])
        y = np.repeat(np.arange(len(counts)), counts)
        if self.owner is not None:
            y = y[np.argsort(self.owner[y], kind="stable")]
        p = self.centres.means.shape[2]
        factor = np.linalg.cholesky(self.centres.covariances[0])
        noise = rng.standard_normal((n_samples, p))
        z = self.centres.means[0][y] + np.einsum("nij,nj->ni", factor[y], noise)
        s = self.standardizer
        if s.directions is not None:
            V = s.directions
            across = np.sqrt(s.residual) * rng.standard_normal((n_samples, len(V)))
            z = s.origin + z @ V.T + across - (across @ V) @ V.T
        numbers = s.centre + s.scale * z
        cluster = y if self.owner is None else self.owner[y]
        if self.layout is None or self.centres.categories is None:
            return numbers, cluster
        X = np.zeros((n_samples, self.layout.n_columns))
        X[:, self._numbers] = numbers
        X[:, self.layout.places[0]] = self.layout.draw(self.centres.categories[0][y], rng)
        return X, cluster

    def to_sklearn(self, random_state: Any = None) -> GaussianMixture:
        """The same density as a fitted GaussianMixture with full covariances.

        Its components are those of the mixture, which may be more than the clusters.

        Raises ValueError where there are categorical columns.
        """
        if self.layout is not None and self.layout.blocks:
            raise ValueError(
                f"to_sklearn() has no place for {len(self.layout.blocks)} categorical columns: "
                "GaussianMixture knows numbers only; use score_samples and predict_proba here, or "
                "fit again without those columns"
            )
        n_components = self.centres.weights.shape[1]
        gmm = GaussianMixture(n_components, random_state=random_state)
        d = len(self.standardizer.centre)
        unit = replace(
            self.standardizer, centre=np.zeros(d), scale=np.ones(d)
        ).covariances_to_units(self.centres.covariances[0])
        factor = np.linalg.cholesky(unit)  # standardised: condition numbers know no units
        inverse = np.linalg.solve(factor, np.broadcast_to(np.eye(d), factor.shape))
        gmm.precisions_cholesky_ = np.swapaxes(inverse, 1, 2) / self.standardizer.scale[:, None]
        with np.errstate(over="ignore", under="ignore"):
            gmm.precisions_ = gmm.precisions_cholesky_ @ np.swapaxes(gmm.precisions_cholesky_, 1, 2)
        gmm.weights_ = self.centres.weights[0].copy()
        alone = replace(self, owner=None)
        gmm.means_, gmm.covariances_ = alone.means(), alone.covariances()
        gmm.converged_, gmm.n_iter_, gmm.lower_bound_ = True, 0, -np.inf
        gmm.lower_bounds_ = []
        gmm.n_features_in_ = d
        return gmm
