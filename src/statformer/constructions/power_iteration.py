"""Weights under which a Transformer is the power method with deflation.

Where the weights come from: He, Cao, Chen, Wu, Fan and Liu (arXiv 2501.01312) prove that a
ReLU-attention Transformer can approximate it; their matrices were not available to us. The weights
below are derived here, not copied from the paper. `docs/theorems/power_iteration.md` has the
derivation and compares the depths.

Reference: `reference.power_iteration.power_iteration`; error: float64 rounding (1e-10 in the tests,
wherever the k components exist: behind the rank of the matrix both normalise rounding noise).

Axes: b tables, n points, d features, k components, t tokens (n points, k components, 1 working),
m token width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.nn import attention
from statformer.nn.attention import Attention
from statformer.nn.layout import TokenLayout
from statformer.nn.power_steps import Normalise
from statformer.nn.transformer import Block, Transformer

_PHI = {"relu": attention.relu, "linear": attention.linear}


@dataclass(frozen=True)
class Head:
    """One bilinear score and one value map by named blocks.

    A score that may be negative (`signed`) takes two ReLU heads of opposite sign, for
    relu(s) - relu(-s) = s; one head is enough for a score that is 0 or 1, and for linear attention.
    """

    W_QK: Mapping[tuple[str, str], float]
    W_OV: Mapping[tuple[str, str], float]
    signed: bool = False


def principal_layout(n_features: int, n_components: int) -> TokenLayout:
    """Slots of data, component and working tokens; m = 7 d + k + 5.

    | slot        | width | data i | component j            | working                   |
    |-------------|-------|--------|------------------------|---------------------------|
    | key         | d     | x_i    | sqrt(lambda_j) v_j     | 0                         |
    | value       | d     | x_i    | -sqrt(lambda_j) v_j    | 0                         |
    | vector      | d     | 0      | 0                      | v, of length 1            |
    | product     | d     | 0      | 0                      | y (scratch)               |
    | root        | d     | 0      | 0                      | y / sqrt|y|               |
    | length      | 1     | 0      | 0                      | |y|                       |
    | start       | d     | 0      | p_j                    | 0                         |
    | result      | d     | 0      | v_j                    | 0                         |
    | eigenvalue  | 1     | 0      | lambda_j               | 0                         |
    | score       | 1     | <x_i, v> and its sign (clustering only)                     |||
    | is_data     | 1     | 1      | 0                      | 0                         |
    | is_working  | 1     | 0      | 0                      | 1                         |
    | component l | 1 each| 0      | 1 where l = j          | 0                         |

    Keys and values of a component are 0 until it is found.
    """
    d = n_features
    slots = {"key": d, "value": d, "vector": d, "product": d, "root": d, "length": 1}
    slots |= {"start": d, "result": d, "eigenvalue": 1, "score": 1, "is_data": 1, "is_working": 1}
    return TokenLayout(slots | {f"component {j}": 1 for j in range(n_components)})


class PowerTransformer(nn.Module):
    """(X, starts) -> (lambda "b k", v "b k d"), by attention and one division per block."""

    def __init__(self, layout: TokenLayout, blocks: list[Block], n_steps: int, scale: float):
        super().__init__()
        self.layout, self.n_steps, self.scale = layout, n_steps, scale
        self.transformer = Transformer(blocks)
        self.n_components = sum(slot.startswith("component ") for slot in layout)

    @property
    def depth(self) -> int:
        """Blocks of this network: k (tau + 1) + 1."""
        return self.transformer.depth

    @property
    def n_heads(self) -> int:
        """Heads of its widest block."""
        return self.transformer.n_heads

    @property
    def theorem_depth(self) -> int:
        """L = 2 tau + 4 k + 1, the paper's number; it is not the depth of this network."""
        return 2 * self.n_steps + 4 * self.n_components + 1

    def forward(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b k d"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k d"]]:
        H = self.transformer(tokens(self.layout, X, starts, self.scale))
        components = H[:, X.shape[1] : -1]
        values = components[..., self.layout["eigenvalue"]].squeeze(-1)
        return values, components[..., self.layout["result"]]

    def record(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b k d"]
    ) -> dict[str, Tensor]:
        """Every attention pattern and residual stream, as `Transformer.record` names them."""
        return self.transformer.record(tokens(self.layout, X, starts, self.scale))


def power_transformer(
    n_features: int,
    n_components: int,
    n_steps: int,
    *,
    phi: str = "relu",
    n_points: int | None = None,
) -> PowerTransformer:
    """The power method on X'X, `n_steps` (tau) steps per component, one after another.

    With `n_points` it works on the covariance of that many points, centred, with the factor
    1 / (n - 1): the first block takes the mean away, which needs a weight -1 / n. Without, nothing
    is centred or scaled and any number of points will do; rows of zeros do not count.

    Raises ValueError for an unknown phi, and for too few or too many components, steps or points.
    """
    _check(n_features, n_components, n_steps, n_points)
    layout = principal_layout(n_features, n_components)
    entry = [fetch_head(0), *([] if n_points is None else [centre_head(n_points)])]
    blocks = [block(layout, entry, phi)]
    power = block(layout, [power_head()], phi)  # one module, used k tau times
    for j in range(n_components):
        blocks += [power] * n_steps
        last = j + 1 == n_components
        blocks.append(block(layout, [store_head(j), *([] if last else [fetch_head(j + 1)])], phi))
    scale = 1.0 if n_points is None else (n_points - 1) ** -0.5
    return PowerTransformer(layout, blocks, n_steps, scale)


# ---------------------------------------------------------------------------------------------
# The parts


def tokens(
    layout: TokenLayout,
    X: Float[Tensor, "b n d"],
    starts: Float[Tensor, "b k d"],
    scale: float,
) -> Float[Tensor, "b t m"]:
    """Points, components and the working token in their slots; x_i is multiplied by `scale`.

    Raises ValueError for tables or starts of another width or number than the weights.
    """
    b, n, d = X.shape
    k = starts.shape[1]
    written = layout.widths["key"], sum(slot.startswith("component ") for slot in layout)
    if (d, k) != written or starts.shape[2] != d:
        raise ValueError(
            f"X has {d} columns and starts has shape {tuple(starts.shape)}; these weights are "
            f"written for {written[0]} columns and {written[1]} starts of that length"
        )
    H = X.new_zeros(b, n + k + 1, layout.width)
    H[:, :n, layout["key"]] = H[:, :n, layout["value"]] = scale * X
    H[:, :n, layout["is_data"]] = 1.0
    H[:, n:-1, layout["start"]] = starts
    for j in range(k):
        H[:, n + j, layout[f"component {j}"]] = 1.0
    H[:, -1, layout["is_working"]] = 1.0
    return H


def power_head() -> Head:
    """sum_i <v, x_i> x_i - sum_l <v, w_l> w_l with w_l = sqrt(lambda_l) v_l: a deflated product."""
    return Head({("vector", "key"): 1.0}, {("value", "product"): 1.0}, signed=True)


def fetch_head(j: int) -> Head:
    """The working token takes the start of component j."""
    return Head({("is_working", f"component {j}"): 1.0}, {("start", "product"): 1.0})


def store_head(j: int) -> Head:
    """Component j takes the eigenpair that the working token holds, and becomes a key."""
    moves = {("root", "key"): 1.0, ("root", "value"): -1.0}
    moves |= {("vector", "result"): 1.0, ("length", "eigenvalue"): 1.0}
    return Head({(f"component {j}", "is_working"): 1.0}, moves)


def centre_head(n_points: int) -> Head:
    """Every point loses the mean of the points.

    sum_i <v, x_i - mean> x_i is the centred product already; values are centred for the rounding.
    """
    share = -1.0 / n_points
    return Head({("is_data", "is_data"): 1.0}, {("key", "key"): share, ("value", "value"): share})


def attend(layout: TokenLayout, heads: list[Head], phi: str) -> Attention:
    """The attention of some heads; a signed one becomes a pair under ReLU.

    Raises ValueError for an activation that is neither "relu" nor "linear".
    """
    if phi not in _PHI:
        raise ValueError(f"phi={phi!r} is unknown; choose from {tuple(_PHI)}")
    W_QK, W_OV = [], []
    for head in heads:
        score, value = (torch.from_numpy(layout.matrix(W)) for W in (head.W_QK, head.W_OV))
        signs = (1.0, -1.0) if head.signed and phi == "relu" else (1.0,)
        W_QK += [sign * score for sign in signs]
        W_OV += [sign * value for sign in signs]
    return Attention(torch.stack(W_QK), torch.stack(W_OV), _PHI[phi])


def normalise(layout: TokenLayout) -> Normalise:
    """vector, root and length from the product, which is cleared; the old ones are taken away."""
    width = layout.widths["product"]
    rows = Normalise.rows(width)
    writes = {("unit", "vector"): 1.0, ("root", "root"): 1.0, ("length", "length"): 1.0}
    clears = {(slot, slot): -1.0 for slot in ("vector", "root", "length", "product")}
    return Normalise(
        torch.from_numpy(layout.matrix({("product", "y"): 1.0}, TokenLayout({"y": width}))),
        torch.from_numpy(rows.matrix(writes, layout)),
        torch.from_numpy(layout.matrix(clears)),
    )


def block(layout: TokenLayout, heads: list[Head], phi: str) -> Block:
    """Attention by `heads`, then the division."""
    return Block(attend(layout, heads, phi), normalise(layout))


def _check(n_features: int, n_components: int, n_steps: int, n_points: int | None) -> None:
    if not 1 <= n_components <= n_features:
        raise ValueError(
            f"n_components={n_components}: pass 1 to n_features={n_features}, there are no more"
        )
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps}: pass at least 1; without a step there is no value")
    if n_points is not None and n_points < 2:
        raise ValueError(f"n_points={n_points}: a covariance needs at least 2 points")
