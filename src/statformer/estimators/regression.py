"""`AttentionRegressor`: ridge or Lasso, its strength chosen by validation in the context.

Axes: n rows, d columns, v outputs, k candidates.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from statformer.constructions.algorithm_selection import mixing_weights
from statformer.estimators.base import as_generator, check_count, check_weights_of_rows
from statformer.nn.folded import lasso_gaps, n_ridge_layers, ridge_factors, shrinking_stack

RIDGE_PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)
LASSO_PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003)
TIE = 1e-9  # gamma of the choice: losses nearer than this are one
CHECK_EVERY = 50  # Lasso layers between two looks at the duality gap
ROUNDING = 1e-15  # of a gap of standardised outputs; no smaller one is asked for

Matrix = np.ndarray


class Candidate(NamedTuple):
    """A kind, "ridge" or "lasso", and its penalty."""

    kind: str
    penalty: float


class AttentionRegressor(RegressorMixin, BaseEstimator):
    """Linear regression by layers that are gradient steps; a choice among rivals by validation.

    Columns and outputs are centred and divided by their standard deviations. Each candidate is a
    stack of attention layers that minimises, from w = 0,

        ridge   (1 / 2n) |X w - y|^2 + (penalty / 2) |w|^2
        lasso   (1 / 2n) |X w - y|^2 + penalty |w|_1

    on the rows that train. The candidate of least squared error on the rows that validate is fitted
    again to all rows (that is ours; the theorem answers with the first fit). Several outputs are
    regressions of their own, each with its own choice.

    Parameters
    ----------
    ridge_penalties, lasso_penalties : sequences of numbers above 0
        The candidates; either may be empty. Units are those of the standardised columns, so a ridge
        of penalty p is scikit-learn's ``Ridge(alpha=n * p)`` after its ``StandardScaler``, and a
        Lasso ``Lasso(alpha=p * std(y))``.
    validation_fraction : float in (0, 1)
        Share of the distinct rows that validate; at least one. Copies of a row are on one side.
    tol : float in (0, 1)
        Fitted values are within tol standard deviations of y (root mean square over the rows) of
        those of the exact minimum. It decides the number of layers.
    max_layers : int
        Most layers of a Lasso, which are run one after another. A ridge has the layers it needs:
        equal affine layers are summed in closed form, and any number costs the same.
    random_state : int, RandomState, Generator or None
        Which rows validate. None gives fresh numbers, without touching numpy's global state.

    Attributes
    ----------
    coef_ : (d,) or (v, d), in the caller's units; intercept_ : float or (v,)
    kind_ : "ridge" or "lasso"; penalty_ : float; n_layers_ : int, of the fit to all rows. Arrays
        (v,) where y had two axes.
    candidates_ : list of (kind, penalty), in the order of
    validation_losses_ : (k,) or (k, v), half the mean squared error in units of var(y).
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Warns ConvergenceWarning where the chosen Lasso has not reached tol after max_layers.

    Source: Bai et al. 2023 (arXiv 2306.04637), Theorems 4, 10 and 16. The layers are run on the
    second moments of the tokens, which is the same function (`nn/folded.py`).
    """

    coef_: np.ndarray
    intercept_: Any
    kind_: Any
    penalty_: Any
    n_layers_: Any
    validation_losses_: np.ndarray

    def __init__(
        self,
        ridge_penalties: Sequence[float] = RIDGE_PENALTIES,
        lasso_penalties: Sequence[float] = LASSO_PENALTIES,
        *,
        validation_fraction: float = 0.2,
        tol: float = 1e-4,
        max_layers: int = 100_000,
        random_state: Any = None,
    ) -> None:
        self.ridge_penalties = ridge_penalties
        self.lasso_penalties = lasso_penalties
        self.validation_fraction = validation_fraction
        self.tol = tol
        self.max_layers = max_layers
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> AttentionRegressor:
        """Fit all candidates, choose, and fit the chosen one to all rows.

        Parameters
        ----------
        X : array or DataFrame (n, d) of numbers
        y : (n,) or (n, v) of numbers
        sample_weight : (n,) or None
            How often each row counts, in fits and in validation.

        Raises ValueError where X or y holds NaN or infinity or there are fewer than two rows, and
        TypeError or ValueError for arguments out of range.
        """
        candidates = self._candidates()
        fraction = _check_share("validation_fraction", self.validation_fraction)
        tol, cap = _check_share("tol", self.tol), check_count("max_layers", self.max_layers)
        X, y = validate_data(
            *(self, X, y),
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        weight = check_weights_of_rows(sample_weight, len(X))
        Y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        X, Y, weight = X[weight > 0], Y[weight > 0], weight[weight > 0]

        validates = _split(X, Y, fraction, as_generator(self.random_state))
        train = _Table.of(X[~validates], Y[~validates], weight[~validates])
        fits = [train.fit(candidates, output, tol, cap) for output in range(Y.shape[1])]
        judge = validates if validates.any() else ~validates
        losses = np.stack(
            [
                train.loss(fit.w, output, X[judge], Y[judge], weight[judge])
                for output, fit in enumerate(fits)
            ]
        )
        chosen = mixing_weights(losses, TIE).argmax(axis=1)
        self._refit(_Table.of(X, Y, weight), [candidates[j] for j in chosen], tol, cap)
        self.candidates_ = candidates
        self.validation_losses_ = losses.T
        if y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])
            self.kind_, self.penalty_ = str(self.kind_[0]), float(self.penalty_[0])
            self.n_layers_ = int(self.n_layers_[0])
            self.validation_losses_ = losses[0]
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "n *v"]:
        """<coef, x> + intercept of each row."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def _refit(self, table: _Table, chosen: list[Candidate], tol: float, cap: int) -> None:
        fits = [table.fit([candidate], output, tol, cap) for output, candidate in enumerate(chosen)]
        for candidate, fit in zip(chosen, fits, strict=True):
            if not fit.reached[0]:
                warnings.warn(
                    f"the Lasso of penalty {candidate.penalty:g} has not reached tol={tol:g} after "
                    f"max_layers={cap}; raise max_layers or tol, or leave small penalties out",
                    ConvergenceWarning,
                    stacklevel=3,
                )
        self.coef_ = np.stack([fit.w[0] for fit in fits]) * table.y_scale[:, None] / table.x_scale
        self.intercept_ = table.y_mean - self.coef_ @ table.x_mean
        self.kind_ = np.array([candidate.kind for candidate in chosen])
        self.penalty_ = np.array([candidate.penalty for candidate in chosen])
        self.n_layers_ = np.array([fit.n_layers[0] for fit in fits])

    def _candidates(self) -> list[Candidate]:
        """Ridges, then Lassos, each from the strongest on: of equal candidates the first wins."""
        named = {"ridge_penalties": self.ridge_penalties, "lasso_penalties": self.lasso_penalties}
        found: list[Candidate] = []
        for name, penalties in named.items():
            if isinstance(penalties, (str, numbers.Number)):
                raise TypeError(f"{name}={penalties!r} should be a sequence of numbers above 0")
            for penalty in sorted(penalties, reverse=True):
                if not isinstance(penalty, numbers.Real) or not 0 < penalty < np.inf:
                    raise ValueError(f"{name} holds {penalty!r}; pass finite numbers above 0")
                found.append(Candidate(name.removesuffix("_penalties"), float(penalty)))
        if not found:
            raise ValueError("ridge_penalties and lasso_penalties are both empty; pass one number")
        return found


class _Fits(NamedTuple):
    """w "k d" of the standardised columns, layers "k", and whether tol was reached "k"."""

    w: Matrix
    n_layers: Int[np.ndarray, " k"]
    reached: Bool[np.ndarray, " k"]


class _Table(NamedTuple):
    """What layers hear of a standardised table: S = X'X / n with its eigenvectors, b = X'Y / n."""

    x_mean: Float[np.ndarray, " d"]
    x_scale: Float[np.ndarray, " d"]
    y_mean: Float[np.ndarray, " v"]
    y_scale: Float[np.ndarray, " v"]
    S: Float[np.ndarray, "d d"]
    b: Float[np.ndarray, "v d"]
    energy: Float[np.ndarray, " v"]
    eigenvalues: Float[np.ndarray, " d"]
    U: Float[np.ndarray, "d d"]

    @classmethod
    def of(cls, X: Matrix, Y: Matrix, weight: Float[np.ndarray, " n"]) -> _Table:
        share = weight / weight.sum()
        x_mean, x_scale = _mean_and_scale(X, share)
        y_mean, y_scale = _mean_and_scale(Y, share)
        Z, V = (X - x_mean) / x_scale, (Y - y_mean) / y_scale
        S = (Z * share[:, None]).T @ Z
        b = (V * share[:, None]).T @ Z
        eigenvalues, U = np.linalg.eigh(S)
        energy = share @ V**2
        return cls(
            *(x_mean, x_scale, y_mean, y_scale),
            *(S, b, energy, np.maximum(eigenvalues, 0.0), U),
        )

    def fit(self, candidates: list[Candidate], output: int, tol: float, cap: int) -> _Fits:
        """All candidates for one output."""
        w = np.zeros((len(candidates), len(self.S)))
        n_layers, reached = np.zeros(len(w), dtype=int), np.ones(len(w), dtype=bool)
        lassos = [j for j, candidate in enumerate(candidates) if candidate.kind == "lasso"]
        for j, (kind, penalty) in enumerate(candidates):
            if kind == "ridge":
                depth = n_ridge_layers(self.eigenvalues, penalty, tol)
                step_size = 1.0 / float(self.eigenvalues[-1] + penalty)
                factors = ridge_factors(self.eigenvalues, penalty, step_size, depth)
                n_layers[j] = depth
                w[j] = self.U @ (factors * (self.b[output] @ self.U))
        if lassos:
            penalties = np.array([candidates[j].penalty for j in lassos])
            found = self._lasso(penalties, output, tol, cap)
            w[lassos], n_layers[lassos], reached[lassos] = found
        return _Fits(w, n_layers, reached)

    def _lasso(
        self, penalties: Float[np.ndarray, " k"], output: int, tol: float, cap: int
    ) -> _Fits:
        """Layer by layer until |X w - X w*|^2 / n <= 2 gap <= tol^2 |y|^2 / n for all."""
        b, energy = self.b[[output]], self.energy[[output]]
        w = np.zeros((len(penalties), len(self.S)))
        n_layers = np.zeros(len(w), dtype=int)
        step_size = 1.0 / max(float(self.eigenvalues[-1]), np.finfo(np.float64).tiny)
        while True:
            gaps = lasso_gaps(self.S, b, energy, penalties, w)
            going = 2.0 * gaps > tol**2 * energy + ROUNDING
            more = min(CHECK_EVERY, cap - int(n_layers.max()))
            if not going.any() or more == 0:
                return _Fits(w, n_layers, ~going)
            w[going] = shrinking_stack(self.S, b, penalties[going], step_size, w[going], more)
            n_layers[going] += more

    def loss(
        self, w: Matrix, output: int, X: Matrix, Y: Matrix, weight: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " k"]:
        """Half the mean squared error of each w on other rows, in units of the scale of y."""
        Z = (X - self.x_mean) / self.x_scale
        y = (Y[:, output] - self.y_mean[output]) / self.y_scale[output]
        return np.asarray(0.5 * np.average((w @ Z.T - y) ** 2, axis=1, weights=weight))


def _split(
    X: Matrix, Y: Matrix, fraction: float, rng: np.random.Generator
) -> Bool[np.ndarray, " n"]:
    """Which rows validate: a share of the distinct rows, with all their copies.

    So a weight of 2 is the same as two rows, and no row is validated by its own copy. Of a table of
    one distinct row, that row does both.
    """
    table = np.ascontiguousarray(np.column_stack([X, Y]))
    _, number = np.unique(table, axis=0, return_inverse=True)
    number = number.reshape(-1)
    n_distinct = int(number.max()) + 1
    if n_distinct == 1:
        return np.zeros(len(X), dtype=bool)
    n_validate = min(max(1, round(fraction * n_distinct)), n_distinct - 1)
    is_drawn = np.zeros(n_distinct, dtype=bool)
    is_drawn[rng.permutation(n_distinct)[:n_validate]] = True
    return np.asarray(is_drawn[number])


def _mean_and_scale(
    Z: Matrix, share: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Weighted mean and standard deviation of the columns; 1 where that is rounding noise."""
    mean = share @ Z
    centred = Z - mean
    mean = mean + share @ centred  # the second pass removes the rounding of the first
    scale = np.sqrt(share @ (Z - mean) ** 2)
    noise = 10.0 * np.finfo(np.float64).eps * np.abs(Z).max(axis=0)
    return mean, np.where(scale > noise, scale, 1.0)


def _check_share(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} should be a number between 0 and 1")
    if not 0.0 < float(value) < 1.0:
        raise ValueError(f"{name}={value!r} should be between 0 and 1, the ends excluded")
    return float(value)
