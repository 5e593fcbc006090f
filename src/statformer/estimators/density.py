"""The fitted mixture, frozen: densities, responsibilities and samples in the caller's units.

Two read-outs of one set of centres. The density is the plain Gaussian mixture
sum_k pi_k N(x; mu_k, Sigma_k). The responsibilities are the network's last E layer, with its
learned temperature, strength and tails, and reads values beyond 20 scales compressed. With
constructed weights and no such values the two agree.

Axes: n rows, d columns of the matrix, p columns the network sees, c components.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.mixture import GaussianMixture

from statformer.batch import Centres, Readout, Tables
from statformer.estimators.context import Standardizer
from statformer.estimators.devices import Backend
from statformer.estimators.problems import n_parameters
from statformer.nn.em_network import log_density, respond

CHUNK_ELEMENTS = 2**22  # rows x components x features of one chunk of `predict`: 32 MB


@dataclass(frozen=True)
class FrozenMixture:
    """Centres in standardised units (leading axis 1), their read-out, and the way back to units.

    covariance_type is what counts as a parameter; covariances are full matrices whatever it is.
    """

    standardizer: Standardizer
    centres: Centres
    readout: Readout
    covariance_type: str = "full"

    @property
    def n_components(self) -> int:
        """c."""
        return int(self.centres.weights.shape[1])

    @property
    def n_rows_per_chunk(self) -> int:
        """Rows whose distances to all centres fit into `CHUNK_ELEMENTS`."""
        _, c, p = self.centres.means.shape
        d = len(self.standardizer.centre)
        return max(1, CHUNK_ELEMENTS // max(c * p, d))

    @property
    def n_parameters(self) -> int:
        """Free numbers of the mixture, for `bic` and `aic`.

        Weights, means and covariances of `covariance_type`; with a projection, those in p
        columns and one residual variance.
        """
        _, c, p = self.centres.means.shape
        extra = 0 if self.standardizer.directions is None else 1
        return n_parameters(self.covariance_type, c, p) + extra

    def responsibilities(
        self, X: Float[np.ndarray, "n d"], on: Backend
    ) -> Float[np.ndarray, "n c"]:
        """The last E layer: each row alone against the centres."""
        centres, readout = on.put_record(self.centres), on.put_record(self.readout)
        with on.inference():
            r = on.get(respond(_table(self.standardizer(X), on), centres, readout)[0])
        found: Float[np.ndarray, "n c"] = r
        return found

    def log_density(self, X: Float[np.ndarray, "n d"], on: Backend) -> Float[np.ndarray, " n"]:
        """log sum_k pi_k N(x; mu_k, Sigma_k), normalised in the caller's units."""
        u = self.standardizer.project(self.standardizer.standardize(X))
        with on.inference():
            inside = on.get(log_density(_table(u, on), on.put_record(self.centres))[0])
        total: Float[np.ndarray, " n"] = (
            inside + self.standardizer.residual_density(X) + self.standardizer.log_volume()
        )
        return total

    def means(self) -> Float[np.ndarray, "c d"]:
        """Means in the caller's units."""
        return self.standardizer.means_to_units(self.centres.means[0])

    def covariances(self) -> Float[np.ndarray, "c d d"]:
        """Covariances in the caller's units, squared."""
        return self.standardizer.covariances_to_units(self.centres.covariances[0])

    def reordered(self, order: Int[np.ndarray, " k"]) -> FrozenMixture:
        """The components `order`, in this order; weights sum to 1 again."""
        c, r = self.centres, self.readout
        weights = c.weights[:, order]
        centres = Centres(
            weights / weights.sum(),
            c.means[:, order],
            c.covariances[:, order],
            c.is_component[:, order],
        )
        readout = Readout(r.temperature, r.strength, r.rho[:, order], r.nu[:, order])
        return replace(self, centres=centres, readout=readout)

    def sample(
        self, n_samples: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
        """Rows sorted by component, and their components."""
        counts = rng.multinomial(n_samples, self.centres.weights[0])
        y = np.repeat(np.arange(self.n_components), counts)
        p = self.centres.means.shape[2]
        factor = np.linalg.cholesky(self.centres.covariances[0])
        noise = rng.standard_normal((n_samples, p))
        z = self.centres.means[0][y] + np.einsum("nij,nj->ni", factor[y], noise)
        s = self.standardizer
        if s.directions is not None:
            V = s.directions
            across = np.sqrt(s.residual) * rng.standard_normal((n_samples, len(V)))
            z = s.origin + z @ V.T + across - (across @ V) @ V.T
        return s.centre + s.scale * z, y

    def to_sklearn(self, random_state: Any = None) -> GaussianMixture:
        """The same density as a fitted GaussianMixture with full covariances."""
        gmm = GaussianMixture(self.n_components, random_state=random_state)
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
        gmm.means_, gmm.covariances_ = self.means(), self.covariances()
        gmm.converged_, gmm.n_iter_, gmm.lower_bound_ = True, 0, -np.inf
        gmm.lower_bounds_ = []
        gmm.n_features_in_ = d
        return gmm


def _table(u: Float[np.ndarray, "n p"], on: Backend) -> Tables:
    return on.put_record(Tables(u[None], np.ones((1, len(u)))))
