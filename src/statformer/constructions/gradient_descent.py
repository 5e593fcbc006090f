"""Weights under which a ReLU Transformer is gradient descent for ridge, Lasso or logistic risk.

The constructions of Bai et al. 2023 (arXiv 2306.04637: Proposition C.2, Theorems 4, 7 and 10). The
text that we had lacks their displayed matrices: the query and value maps follow the text, and the
numbers in them are derived. `docs/theorems/gradient_descent.md` has the derivation.

Reference: `reference.gradient_descent`; error: float64 rounding for ridge and Lasso (1e-12 in the
tests), and `sigmoid_error` per derivative for the logistic risk.

Axes: b tables, n context points, q queries, d features, k models, t tokens (n + q), m token width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Float
from scipy.special import expit

from statformer.batch import Array
from statformer.nn.layout import TokenLayout
from statformer.nn.relu_transformer import ReluLayer, ReluTransformer

Blocks = Mapping[tuple[str, str], float]
_SIGMOID_CURVATURE = 1.0 / (6.0 * math.sqrt(3.0))  # the largest |sigmoid''|


@dataclass(frozen=True)
class Head:
    """relu of one bilinear score, and what is taken where it is positive, by named blocks."""

    score: Blocks
    value: Blocks


@dataclass(frozen=True)
class Unit:
    """c relu(a s + b y + e): one term of a loss's derivative by the prediction s."""

    c: float
    a: float
    b: float
    e: float = 0.0

    def scaled(self) -> Unit:
        """The same function with |a| + |b| + |e| = 1, as the bound on the mask asks."""
        size = abs(self.a) + abs(self.b) + abs(self.e)
        return Unit(self.c * size, self.a / size, self.b / size, self.e / size)


# s - y = 2 relu((s - y) / 2) - 2 relu((y - s) / 2), exactly
SQUARE = (Unit(2.0, 0.5, -0.5), Unit(-2.0, -0.5, 0.5))


def logistic_units(bound: float, n_units: int) -> tuple[Unit, ...]:
    """sigmoid(s) - y for |s| <= bound and y >= 0: a broken line through n_units + 1 knots, minus y.

    Raises ValueError for fewer than one unit or a bound that is not positive.
    """
    if n_units < 1 or not bound > 0:
        raise ValueError(f"n_units={n_units}, bound={bound!r}: pass at least 1, and above 0")
    knots = np.linspace(-bound, bound, n_units + 1)
    slopes = np.diff(expit(knots)) / np.diff(knots)
    bends = np.diff(slopes, prepend=0.0)
    line = [Unit(c, 1.0, 0.0, -knot).scaled() for c, knot in zip(bends, knots[:-1], strict=True)]
    return (Unit(float(expit(-bound)), 0.0, 0.0, 1.0), *line, Unit(-1.0, 0.0, 1.0))


def sigmoid_error(bound: float, n_units: int) -> float:
    """h^2 max |sigmoid''| / 8 with knots h apart: how far `logistic_units` are from the truth."""
    return (2.0 * bound / n_units) ** 2 * _SIGMOID_CURVATURE / 8.0


# ---------------------------------------------------------------------------------------------
# Tokens


def prompt_layout(
    n_features: int, n_models: int = 1, extra: Mapping[str, int] | None = None
) -> TokenLayout:
    """Slots of context and query tokens; m = d + k (d + 1) + 3 without extra slots.

    | slot     | width  | context i             | query                   |
    |----------|--------|-----------------------|-------------------------|
    | x        | d      | x_i                   | x                       |
    | y        | 1      | y_i                   | 0                       |
    | w j      | d each | weights of model j, the same on all tokens; 0 at first |
    | f j      | 1 each | <w_j, x_i> once read  | <w_j, x>                |
    | one      | 1      | 1                     | 1                       |
    | t        | 1      | 1 to train, -1 to validate | 0                  |
    """
    slots = {"x": n_features, "y": 1}
    slots |= {f"w {j}": n_features for j in range(n_models)}
    slots |= {f"f {j}": 1 for j in range(n_models)}
    return TokenLayout(slots | {"one": 1, "t": 1} | dict(extra or {}))


def tokens(
    layout: TokenLayout,
    X: Float[Array, "b n d"],
    y: Float[Array, "b n"],
    queries: Float[Array, "b q d"],
    n_validation: int = 0,
) -> Float[Array, "b t m"]:
    """Context and queries in their slots; the last `n_validation` context points validate.

    Raises ValueError for tables of another width, or without a point to train on.
    """
    n, d = X.shape[1:]
    if layout.widths["x"] != d or not 0 <= n_validation < n:
        raise ValueError(
            f"X has {n} points of {d} features, {n_validation} of them to validate; the weights "
            f"are written for {layout.widths['x']} features and at least 1 point to train on"
        )
    xp = array_namespace(X)
    H = xp.zeros((len(X), n + queries.shape[1], layout.width), dtype=X.dtype)
    H[:, :n, layout["x"]], H[:, n:, layout["x"]] = X, queries
    H[:, :n, layout["y"].start] = y
    H[:, :, layout["one"]] = 1.0
    H[:, : n - n_validation, layout["t"]] = 1.0
    H[:, n - n_validation : n, layout["t"]] = -1.0
    return H


# ---------------------------------------------------------------------------------------------
# The parts


@dataclass(frozen=True)
class Sizes:
    """What the weights depend on beside the layout.

    n_train   context points that train
    n_tokens  all tokens, over which attention is averaged
    radius    R >= |a s + b y + e| of every unit on every token, along the whole path
    """

    n_train: int
    n_tokens: int
    radius: float


def gradient_heads(
    sizes: Sizes, units: Iterable[Unit], step_size: float, model: int = 0, keys: str = "x"
) -> list[Head]:
    """w <- w - step_size (1 / n_train) sum over training points of l'(<w, x_i>, y_i) x_i.

    One head per unit: a <w, x_j> + b y_j + e - 2 R (1 - t_j), which is negative on all but the
    training tokens, takes -(t / n_train) step_size c x_j.
    """
    share = -step_size * sizes.n_tokens / sizes.n_train
    mask = 2.0 * sizes.radius
    return [
        Head(
            {
                (f"w {model}", keys): unit.a,
                ("one", "y"): unit.b,
                ("one", "one"): unit.e - mask,
                ("one", "t"): mask,
            },
            {(keys, f"w {model}"): share * unit.c},
        )
        for unit in units
    ]


def decay_head(step_size: float, penalty: float, model: int = 0) -> Head:
    """w <- w - step_size penalty w: all tokens hold the same w, so their mean is w."""
    w = f"w {model}"
    return Head({("one", "one"): 1.0}, {(w, w): -step_size * penalty})


def read_out_heads(model: int = 0, into: str = "y") -> list[Head]:
    """`into` <- itself + <w, x> on every token; the y of a query is 0."""
    return [Head({("x", f"w {model}"): sign}, {("one", into): sign}) for sign in (1.0, -1.0)]


def shrink(layout: TokenLayout, thresholds: Mapping[int, float]) -> dict[str, Array]:
    """W_in and W_out of w <- sign(w) max(|w| - threshold, 0) for models by number, 4 d units each.

    w - relu(w) + relu(-w) + relu(w - threshold) - relu(-w - threshold).
    """
    d = layout.widths["x"]
    kinds = {"up": (1.0, 0.0, -1.0), "down": (-1.0, 0.0, 1.0)}
    kinds |= {"above": (1.0, -1.0, 1.0), "below": (-1.0, -1.0, -1.0)}
    units = TokenLayout({f"{kind} {j}": d for j in thresholds for kind in kinds})
    reads: dict[tuple[str, str], float] = {}
    writes: dict[tuple[str, str], float] = {}
    for j, threshold in thresholds.items():
        for kind, (sign, shift, back) in kinds.items():
            reads |= {(f"w {j}", f"{kind} {j}"): sign, ("one", f"{kind} {j}"): shift * threshold}
            writes[f"{kind} {j}", f"w {j}"] = back
    return {"W_in": layout.matrix(reads, units), "W_out": units.matrix(writes, layout)}


def attend(layout: TokenLayout, heads: Sequence[Head]) -> dict[str, Array]:
    """W_QK and W_OV "h m m" of some heads."""
    return {
        "W_QK": np.stack([layout.matrix(head.score) for head in heads]),
        "W_OV": np.stack([layout.matrix(head.value) for head in heads]),
    }


# ---------------------------------------------------------------------------------------------
# Whole networks


class DescentTransformer:
    """(X, y, queries) -> predictions "b q": one layer per step, then the read-out."""

    def __init__(self, layout: TokenLayout, step: ReluLayer, n_steps: int, n_context: int) -> None:
        self.layout, self.n_steps, self.n_context = layout, n_steps, n_context
        read_out = ReluLayer(**attend(layout, read_out_heads()))
        self.transformer = ReluTransformer([step] * n_steps + [read_out])

    @property
    def depth(self) -> int:
        """Layers: one per step and the read-out."""
        return self.transformer.depth

    def __call__(
        self, X: Float[Array, "b n d"], y: Float[Array, "b n"], queries: Float[Array, "b q d"]
    ) -> Float[Array, "b q"]:
        H = self.transformer(self._tokens(X, y, queries))
        return H[:, self.n_context :, self.layout["y"].start]

    def path(
        self, X: Float[Array, "b n d"], y: Float[Array, "b n"], queries: Float[Array, "b q d"]
    ) -> list[Float[Array, "b t d"]]:
        """The weights that every token holds at first and after each step."""
        streams = self.transformer.record(self._tokens(X, y, queries))[:-1]
        return [H[:, :, self.layout["w 0"]] for H in streams]

    def _tokens(self, X: Array, y: Array, queries: Array) -> Array:
        if X.shape[1] != self.n_context:
            raise ValueError(
                f"X has {X.shape[1]} points; the weights average over {self.n_context}. "
                "Build the network for this number"
            )
        return tokens(self.layout, X, y, queries)


def ridge_transformer(
    n_features: int,
    n_context: int,
    *,
    penalty: float,
    step_size: float,
    n_steps: int,
    radius: float,
) -> DescentTransformer:
    """`n_steps` gradient steps on the ridge risk from 0: 3 heads a layer (2 without penalty).

    One query. `radius` as in `Sizes`: max(|<w, x>|, |y|) on the way; `ridge_radius` bounds it.

    Raises ValueError for a negative penalty or fewer than no steps.
    """
    _check(penalty, n_steps)
    layout, sizes = prompt_layout(n_features), Sizes(n_context, n_context + 1, radius)
    heads = gradient_heads(sizes, SQUARE, step_size)
    if penalty > 0:
        heads.append(decay_head(step_size, penalty))
    return DescentTransformer(layout, ReluLayer(**attend(layout, heads)), n_steps, n_context)


def lasso_transformer(
    n_features: int,
    n_context: int,
    *,
    penalty: float,
    step_size: float,
    n_steps: int,
    radius: float,
) -> DescentTransformer:
    """`n_steps` proximal gradient steps on the Lasso risk from 0: 2 heads and 4 d units a layer.

    Arguments as in `ridge_transformer`.
    """
    _check(penalty, n_steps)
    layout, sizes = prompt_layout(n_features), Sizes(n_context, n_context + 1, radius)
    heads = attend(layout, gradient_heads(sizes, SQUARE, step_size))
    step = ReluLayer(**heads, **shrink(layout, {0: step_size * penalty}))
    return DescentTransformer(layout, step, n_steps, n_context)


def logistic_transformer(
    n_features: int,
    n_context: int,
    *,
    penalty: float,
    step_size: float,
    n_steps: int,
    radius: float,
    n_units: int,
) -> DescentTransformer:
    """`n_steps` gradient steps on the logistic risk, its sigmoid a broken line of `n_units` heads.

    Predicts the logit <w, x>. Arguments as in `ridge_transformer`; beyond |<w, x>| = radius the
    line leaves the sigmoid.
    """
    _check(penalty, n_steps)
    layout, sizes = prompt_layout(n_features), Sizes(n_context, n_context + 1, radius)
    heads = gradient_heads(sizes, logistic_units(radius, n_units), step_size)
    if penalty > 0:
        heads.append(decay_head(step_size, penalty))
    return DescentTransformer(layout, ReluLayer(**attend(layout, heads)), n_steps, n_context)


def ridge_radius(
    X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], queries: Float[np.ndarray, "q d"]
) -> float:
    """A radius for ridge from 0 with step sizes up to 1 / (beta + penalty), whatever the penalty.

    Along the eigenvectors of X'X every w_t lies between 0 and the least squares solution w, so
    |<w_t, x>| <= |w| |x|.
    """
    w = np.linalg.lstsq(X, y, rcond=None)[0]
    longest = np.linalg.norm(np.vstack([X, queries]), axis=1).max()
    return float(max(longest * np.linalg.norm(w), np.abs(y).max(), 1.0))


def n_ridge_steps(kappa: float, size: float, error: float) -> int:
    """ceil(2 kappa log(size / (2 error))): within `error` of a ridge prediction of B_x B_w = size.

    For step size 1 / (beta + penalty) and kappa = (beta + penalty) / (alpha + penalty), alpha and
    beta the extreme eigenvalues of X'X / n, and |w_ridge| <= B_w / 2 (Theorem 4; the formula is
    derived from its proof's rate).

    Raises ValueError for a kappa below 1, or sizes that are not positive.
    """
    if not (kappa >= 1 and size > 0 and error > 0):
        raise ValueError(
            f"kappa={kappa!r}, size={size!r}, error={error!r}: pass at least 1, and above 0"
        )
    return max(0, math.ceil(2.0 * kappa * math.log(size / (2.0 * error))))


def _check(penalty: float, n_steps: int) -> None:
    if not penalty >= 0:
        raise ValueError(f"penalty={penalty!r}: pass 0 or more")
    if n_steps < 0:
        raise ValueError(f"n_steps={n_steps}: pass 0 or more")
