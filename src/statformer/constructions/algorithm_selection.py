"""Weights under which a ReLU Transformer fits several models and chooses among them in context.

Two mechanisms of Bai et al. 2023 (arXiv 2306.04637): validation after the fits (Proposition 15,
Theorem 16) and a test of the labels before them (their section on pre-ICL testing). Their formulas
are followed; the matrices, and the ramp of the binary test, are derived here, not copied.
`docs/theorems/algorithm_selection.md` has the derivation.

Reference: `mixing_weights` in closed form; error: float64 rounding.

Axes: b tables, n context points, q queries, d features, k models, t tokens, m token width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from statformer.batch import Array
from statformer.constructions.gradient_descent import (
    SQUARE,
    Head,
    Sizes,
    attend,
    decay_head,
    gradient_heads,
    logistic_units,
    prompt_layout,
    read_out_heads,
    tokens,
)
from statformer.nn.layout import TokenLayout
from statformer.nn.relu_transformer import ReluLayer, ReluTransformer

# ---------------------------------------------------------------------------------------------
# Validation after the fits


def mixing_weights(losses: Float[Array, "*k"], gamma: float) -> Float[Array, "*k"]:
    """Weights >= 0 that sum to 1, and are 0 wherever losses_k > min losses + gamma.

    c_k = sum_l relu(losses_k - losses_l),  u_k = relu(1 - c_k / gamma),
    weight_k = relu(1 - u_1 - ... - u_{k-1}) - relu(1 - u_1 - ... - u_k): earlier models go first.

    Raises ValueError for a gamma that is not positive.
    """
    if not gamma > 0:
        raise ValueError(f"gamma={gamma!r} should be above 0; small values choose one model")
    c = np.maximum(losses[..., :, None] - losses[..., None, :], 0.0).sum(axis=-1)
    u = np.maximum(1.0 - c / gamma, 0.0)
    left = np.maximum(1.0 - np.cumsum(u, axis=-1), 0.0)
    return np.asarray(-np.diff(left, prepend=1.0, axis=-1))


def selection_layout(n_features: int, n_models: int) -> TokenLayout:
    """`prompt_layout` and, one each per model, loss j (validation loss), used j (u), and answer."""
    extra = {f"loss {j}": 1 for j in range(n_models)}
    extra |= {f"used {j}": 1 for j in range(n_models)}
    return prompt_layout(n_features, n_models, extra | {"answer": 1})


def selection_layers(
    layout: TokenLayout, n_models: int, sizes: Sizes, n_validation: int, gamma: float
) -> list[ReluLayer]:
    """Three layers from the slots f to the slot answer = sum_k weight_k f_k, on every token.

    Radius as in `Sizes`, and >= |f_k| and |f_k - y|.

    Raises ValueError without validation points, and for a gamma that is not positive.
    """
    if n_validation < 1 or not gamma > 0:
        raise ValueError(
            f"n_validation={n_validation}, gamma={gamma!r}: pass at least 1, and above 0"
        )
    models = range(n_models)
    share = sizes.n_tokens / (2.0 * n_validation)
    evaluate = [head for j in models for head in _squared_error_heads(j, share, sizes.radius)]
    pairs = [(k, j) for k in models for j in models if k != j]
    gaps = TokenLayout({f"gap {k} {j}": 1 for k, j in pairs})
    reads: dict[tuple[str, str], float] = {}
    for k, j in pairs:
        reads |= {(f"loss {k}", f"gap {k} {j}"): 1.0, (f"loss {j}", f"gap {k} {j}"): -1.0}
    writes = {(f"gap {k} {j}", f"used {k}"): 1.0 for k, j in pairs}
    compare = {"W_in": layout.matrix(reads, gaps), "W_out": gaps.matrix(writes, layout)}
    return [
        ReluLayer(**attend(layout, evaluate), **compare),
        ReluLayer(**_shares(layout, n_models, gamma)),
        ReluLayer(**attend(layout, _mixing_heads(n_models, sizes.radius))),
    ]


class RidgeSelector:
    """(X, y, queries) -> predictions "b q": ridges side by side, then the one that validates best.

    Depth: `n_steps` gradient layers, one read-out layer, three selection layers. The last
    `n_validation` points of the context validate, and are never trained on.
    """

    def __init__(
        self,
        n_features: int,
        n_context: int,
        n_validation: int,
        penalties: Sequence[float],
        *,
        step_sizes: Sequence[float],
        n_steps: int,
        gamma: float,
        radius: float,
    ) -> None:
        """One query. Arguments as in `ridge_transformer`, with a step size for every penalty.

        Raises ValueError for unequal numbers of penalties and step sizes, and as
        `selection_layers`.
        """
        if len(penalties) != len(step_sizes):
            raise ValueError(
                f"{len(penalties)} penalties and {len(step_sizes)} step sizes; pass one of each"
            )
        k = len(penalties)
        self.layout, self.n_validation = selection_layout(n_features, k), n_validation
        sizes = Sizes(n_context - n_validation, n_context + 1, radius)
        heads: list[Head] = []
        for j, (penalty, step_size) in enumerate(zip(penalties, step_sizes, strict=True)):
            heads += [
                *gradient_heads(sizes, SQUARE, step_size, j),
                decay_head(step_size, penalty, j),
            ]
        step = ReluLayer(**attend(self.layout, heads))
        reads = [head for j in range(k) for head in read_out_heads(j, f"f {j}")]
        layers = [step] * n_steps + [ReluLayer(**attend(self.layout, reads))]
        layers += selection_layers(self.layout, k, sizes, n_validation, gamma)
        self.transformer = ReluTransformer(layers)

    def __call__(
        self, X: Float[Array, "b n d"], y: Float[Array, "b n"], queries: Float[Array, "b q d"]
    ) -> Float[Array, "b q"]:
        H = self.transformer(tokens(self.layout, X, y, queries, self.n_validation))
        return H[:, X.shape[1] :, self.layout["answer"].start]


def _squared_error_heads(model: int, share: float, radius: float) -> list[Head]:
    """loss <- loss + (1 / 2 n_validation) sum over validation points of (f - y)^2.

    relu(f - y) (f - y) - relu(y - f) (f - y), dead on all tokens but those of t = -1.
    """
    mask = -2.0 * radius
    return [
        Head(
            {
                ("one", f"f {model}"): sign,
                ("one", "y"): -sign,
                ("one", "one"): mask,
                ("one", "t"): mask,
            },
            {(f"f {model}", f"loss {model}"): sign * share, ("y", f"loss {model}"): -sign * share},
        )
        for sign in (1.0, -1.0)
    ]


def _shares(layout: TokenLayout, n_models: int, gamma: float) -> dict[str, Array]:
    """used <- relu(1 - used / gamma), the old value (a sum of gaps) taken away."""
    models = range(n_models)
    units = TokenLayout({f"{kind} {j}": 1 for kind in ("share", "old") for j in models})
    reads: dict[tuple[str, str], float] = {}
    writes: dict[tuple[str, str], float] = {}
    for j in models:
        reads |= {("one", f"share {j}"): 1.0, (f"used {j}", f"share {j}"): -1.0 / gamma}
        reads[f"used {j}", f"old {j}"] = 1.0
        writes |= {(f"share {j}", f"used {j}"): 1.0, (f"old {j}", f"used {j}"): -1.0}
    return {"W_in": layout.matrix(reads, units), "W_out": units.matrix(writes, layout)}


def _mixing_heads(n_models: int, radius: float) -> list[Head]:
    """answer <- sum_k (f_k - f_{k-1}) relu(s_k), s_k = 1 - u_1 - ... - u_{k-1}, f_0 = f_{K+1} = 0.

    A query's f + R >= 0 goes through the relu: relu((f + R) s) = (f + R) relu(s).
    """
    heads = []
    for k in range(n_models + 1):
        for model, sign in ((k, 1.0), (k - 1, -1.0)):
            score = {("one", "one"): radius}
            score |= {("one", f"used {j}"): -radius for j in range(k)}
            if 0 <= model < n_models:
                score[f"f {model}", "one"] = 1.0
                score |= {(f"f {model}", f"used {j}"): -1.0 for j in range(k)}
            heads.append(Head(score, {("one", "answer"): sign}))
    return heads


# ---------------------------------------------------------------------------------------------
# A test before the fits


def binary_layout(n_features: int) -> TokenLayout:
    """`prompt_layout` of two models, least squares (0) and logistic (1), with the test's slots.

    psi (the test), gated (x_i where the labels are binary, else 0), answer.
    """
    return prompt_layout(n_features, 2, {"psi": 1, "gated": n_features, "answer": 1})


class BinaryOrContinuous:
    """(X, y, queries) -> "b q": P(y = 1), logistic, if all labels are 0 or 1, else <w, x>.

        Psi = (1 / n) sum_i psi(y_i),  psi a hat of height 1 and half width `tolerance` at 0 and 1
        passed = relu(2 Psi - 1) - relu(2 Psi - 2): 1 where Psi = 1, 0 where Psi <= 1/2
        answer = passed p + (1 - passed) <w_ls, x>

    The thresholds 1/2 and 1 are ours. Both risks are descended side by side; the logistic one sees
    x_i only where the test has passed.

    Layers: the test; the gate; `n_steps` gradient steps; the read-out; the choice.
    """

    def __init__(
        self,
        n_features: int,
        n_context: int,
        *,
        penalties: tuple[float, float],
        step_sizes: tuple[float, float],
        n_steps: int,
        radius: float,
        n_units: int,
        tolerance: float = 0.1,
    ) -> None:
        """Pairs are of least squares and logistic. Others as in `logistic_transformer`.

        Raises ValueError for a tolerance outside (0, 1/2), where the two hats would overlap.
        """
        if not 0.0 < tolerance < 0.5:
            raise ValueError(f"tolerance={tolerance!r}: pass a number between 0 and 1/2")
        self.layout = layout = binary_layout(n_features)
        sizes = Sizes(n_context, n_context + 1, radius)
        steps = [
            *gradient_heads(sizes, SQUARE, step_sizes[0], 0),
            decay_head(step_sizes[0], penalties[0], 0),
            *gradient_heads(sizes, logistic_units(radius, n_units), step_sizes[1], 1, "gated"),
            decay_head(step_sizes[1], penalties[1], 1),
        ]
        reads = [*read_out_heads(0, "f 0"), *read_out_heads(1, "f 1")]
        self.transformer = ReluTransformer(
            [
                ReluLayer(**attend(layout, _hats(sizes, tolerance)), **_ramp(layout)),
                ReluLayer(**_gate(layout, radius)),
                *[ReluLayer(**attend(layout, steps))] * n_steps,
                ReluLayer(**attend(layout, reads), **_probability(layout, radius, n_units)),
                ReluLayer(**attend(layout, _choice())),
            ]
        )

    def __call__(
        self, X: Float[Array, "b n d"], y: Float[Array, "b n"], queries: Float[Array, "b q d"]
    ) -> Float[Array, "b q"]:
        return self._read("answer", X, y, queries)

    def passed(
        self, X: Float[Array, "b n d"], y: Float[Array, "b n"], queries: Float[Array, "b q d"]
    ) -> Float[Array, "b q"]:
        """What the test says at the queries: 1 binary, 0 continuous."""
        return self._read("psi", X, y, queries)

    def _read(self, slot: str, X: Array, y: Array, queries: Array) -> Array:
        H = self.transformer(tokens(self.layout, X, y, queries))
        return H[:, X.shape[1] :, self.layout[slot].start]


def _hats(sizes: Sizes, tolerance: float) -> list[Head]:
    """psi <- (1 / n) sum over training points of the two hats; six heads."""
    share, mask = sizes.n_tokens / sizes.n_train, (2.0 * sizes.radius + 2.0) / tolerance
    return [
        Head(
            {
                ("one", "y"): 1.0 / tolerance,
                ("one", "one"): shift - centre / tolerance - mask,
                ("one", "t"): mask,
            },
            {("one", "psi"): share * height},
        )
        for centre in (0.0, 1.0)
        for shift, height in ((1.0, 1.0), (0.0, -2.0), (-1.0, 1.0))
    ]


def _ramp(layout: TokenLayout) -> dict[str, Array]:
    """psi <- relu(2 psi - 1) - relu(2 psi - 2), the old value (>= 0) taken away."""
    units = TokenLayout({"half": 1, "whole": 1, "old": 1})
    reads = {("psi", "half"): 2.0, ("one", "half"): -1.0, ("psi", "whole"): 2.0}
    reads |= {("one", "whole"): -2.0, ("psi", "old"): 1.0}
    writes = {("half", "psi"): 1.0, ("whole", "psi"): -1.0, ("old", "psi"): -1.0}
    return {"W_in": layout.matrix(reads, units), "W_out": units.matrix(writes, layout)}


def _gate(layout: TokenLayout, radius: float) -> dict[str, Array]:
    """gated <- relu(x - R (1 - psi)) - relu(-x - R (1 - psi)): x where psi = 1, 0 where psi = 0."""
    units = TokenLayout({"up": layout.widths["x"], "down": layout.widths["x"]})
    reads: dict[tuple[str, str], float] = {}
    for name, sign in (("up", 1.0), ("down", -1.0)):
        reads |= {("x", name): sign, ("one", name): -radius, ("psi", name): radius}
    writes = {("up", "gated"): 1.0, ("down", "gated"): -1.0}
    return {"W_in": layout.matrix(reads, units), "W_out": units.matrix(writes, layout)}


def _probability(layout: TokenLayout, radius: float, n_units: int) -> dict[str, Array]:
    """f 1 <- the broken line of the sigmoid at f 1, the logit taken away."""
    line = logistic_units(radius, n_units)[:-1]
    units = TokenLayout({**{f"unit {i}": 1 for i in range(len(line))}, "up": 1, "down": 1})
    reads: dict[tuple[str, str], float] = {("f 1", "up"): 1.0, ("f 1", "down"): -1.0}
    writes: dict[tuple[str, str], float] = {("up", "f 1"): -1.0, ("down", "f 1"): 1.0}
    for i, unit in enumerate(line):
        reads |= {("f 1", f"unit {i}"): unit.a, ("one", f"unit {i}"): unit.e}
        writes[f"unit {i}", "f 1"] = unit.c
    return {"W_in": layout.matrix(reads, units), "W_out": units.matrix(writes, layout)}


def _choice() -> list[Head]:
    """answer <- psi f_1 + (1 - psi) f_0, psi from the keys, where it is the same everywhere."""
    heads = []
    for sign in (1.0, -1.0):
        heads += [
            Head({("f 1", "psi"): sign}, {("one", "answer"): sign}),
            Head({("f 0", "one"): sign, ("f 0", "psi"): -sign}, {("one", "answer"): sign}),
        ]
    return heads
