"""Weights under which `MixtureTransformer` is isotropic EM of known sigma, or Lloyd's k-means.

Where the weights come from: He, Chen, Cao, Fan and Liu (arXiv 2502.06007) prove that a Transformer
can approximate E and M steps; their matrices were not available to us. The weights below are
derived here, not copied from the paper: an E step of isotropic components *is* a softmax of inner
products plus a bias per key. `docs/theorems/em.md` has the derivation.

| version    | M layer                                       | reference      | error, float64   |
|------------|-----------------------------------------------|----------------|------------------|
| "division" | sums by un-normalised attention, then a ratio | `isotropic_em` | rounding, 1e-10  |
| "log"      | softmax over the data of log r                | `isotropic_em` | rounding, 1e-10  |
| "lloyd"    | softmax over the data of a sharp r            | `lloyd`        | `lloyd_error`    |

These are versions (a), (b) and (c) of our notes. The references are in `reference/em.py`. What is
done outside attention and linear maps is listed by `network.non_attention_operations`: squares,
logarithms, a division, a comparison. No width, depth or norm bound of the paper is claimed.

Axes: b tables, n points, d features, c components, m token width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn import attention
from statformer.nn.attention import Attention, Phi
from statformer.nn.layout import TokenLayout
from statformer.nn.mixture import MixtureTransformer, Step
from statformer.nn.read_write import ReadWrite
from statformer.nn.tokens import SlotEmbedding, SlotReadout

VERSIONS = ("division", "log")
_SHARP_E, _SHARP_M = 500.0, 50.0


def em_transformer(
    n_features: int,
    n_components: int,
    sigma: float,
    n_steps: int,
    version: str = "division",
) -> MixtureTransformer:
    """`n_steps` looped layers that are M and E steps for sum_j pi_j N(mu_j, sigma^2 I).

    Equals `reference.em.isotropic_em` from the same start, step by step, up to float64 rounding
    (1e-10 in the tests, in responsibilities, means and weights). A component whose N_j = sum_i r_ij
    is 0 keeps its mean and weight 0 in both.

    Raises ValueError for a sigma that is not positive or an unknown version.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma!r} must be positive; it is the known standard deviation")
    if version not in VERSIONS:
        raise ValueError(f"version={version!r} is unknown; choose from {VERSIONS}")
    layout = TokenLayout.mixture(n_features, n_components)
    refresh = _within(
        layout,
        "refresh",
        "centres",
        {
            ("square(payload)", "bias"): -0.5 / sigma**2,
            ("log(count)", "bias"): 1.0,
            ("copy(bias)", "bias"): -1.0,
        },
    )
    respond = [_clear_data(layout), _attend("E", "data", "centres", e_attention(layout, sigma))]
    estimate = _m_by_division(layout) if version == "division" else _m_by_log(layout)
    return MixtureTransformer(
        SlotEmbedding(layout),
        [[*estimate, refresh, *respond]],
        SlotReadout(layout, sigma),
        entry=[refresh, *respond],
        n_loops=n_steps,
    )


def lloyd_transformer(
    n_features: int,
    n_components: int,
    n_steps: int,
    sharpness: float = _SHARP_E,
    sharpness_m: float = _SHARP_M,
) -> MixtureTransformer:
    """`n_steps` looped layers that are Lloyd's steps: both softmaxes are sharp, pi is left out.

    E scores are `sharpness` (beta) times <x_i, mu_j> - |mu_j|^2 / 2, M scores are `sharpness_m`
    (B_M) times r_ij. Equals `reference.em.lloyd` up to `lloyd_error` wherever each point has a
    margin (`reference.em.assignment_margin`) and every cluster owns a point: without points a
    softmax gives the mean of the table, where Lloyd leaves the centre alone. `sigma` = 1 in the
    read-out centres, and uniform weights.

    Raises ValueError for a sharpness that is not positive.
    """
    for name, value in (("sharpness", sharpness), ("sharpness_m", sharpness_m)):
        if not value > 0:
            raise ValueError(f"{name}={value!r} must be positive; the larger, the harder")
    layout = TokenLayout.mixture(n_features, n_components)
    refresh = _within(
        layout,
        "refresh",
        "centres",
        {("square(payload)", "bias"): -0.5, ("copy(bias)", "bias"): -1.0},
    )
    move = {
        ("copy(sum)", "payload"): 1.0,
        ("copy(payload)", "payload"): -1.0,
        ("copy(sum)", "sum"): -1.0,
    }
    estimate = [
        _attend(
            "M",
            "centres",
            "data",
            _attention(
                layout,
                {("identity", "responsibility"): sharpness_m},
                {("payload", "sum"): 1.0},
            ),
        ),
        _within(layout, "move", "centres", move),
    ]
    sharp = e_attention(layout, sigma=1.0, sharpness=sharpness)
    respond = [_clear_data(layout), _attend("E", "data", "centres", sharp)]
    return MixtureTransformer(
        SlotEmbedding(layout),
        [[*estimate, refresh, *respond]],
        SlotReadout(layout, sigma=1.0, weighs=False),
        entry=[refresh, *respond],
        n_loops=n_steps,
    )


def lloyd_error(
    margin: float, n_points: int, n_components: int, sharpness: float, sharpness_m: float
) -> tuple[float, float]:
    """Bounds on max |r - one-hot|, and on |mean - Lloyd's| per unit of the table's diameter.

    With every margin at least `margin`, the mass of r outside the nearest centre is at most
    leak = (c - 1) exp(-beta margin); then M weighs its own points within exp(-+ B_M leak) of each
    other and foreign points at most exp(-B_M (1 - 2 leak)) as much, of which there are fewer than
    n. Rounding comes on top.
    """
    leak = (n_components - 1) * math.exp(-sharpness * margin)
    uneven = math.expm1(sharpness_m * leak)
    foreign = n_points * math.exp(-sharpness_m * (1.0 - 2.0 * leak))
    return leak, uneven + foreign


# ---------------------------------------------------------------------------------------------
# The layers


def e_attention(
    layout: TokenLayout, sigma: float, *, sharpness: float = 1.0, flag_gain: float = 0.0
) -> Attention:
    """One softmax head: score(i, j) = beta (<x_i, mu_j> / sigma^2 + c_j) + B s_C(j), value e_j.

    Between data queries and centre keys `flag_gain` (B) shifts all scores alike, so it is left out.
    Over the whole token matrix, data and centres as keys, it has to exceed `required_flag_gain`.
    """
    scores = {
        ("payload", "payload"): sharpness / sigma**2,
        ("one", "bias"): sharpness,
    }
    if flag_gain:
        scores["one", "is_centre"] = flag_gain
    return _attention(layout, scores, {("identity", "responsibility"): 1.0})


def clear_centres(layout: TokenLayout) -> ReadWrite:
    """b <- relu(b - s_C): r of centre tokens to 0, r of data tokens (0 <= r <= 1) untouched.

    Needed only after an E layer over the whole token matrix, where centres are queries too.
    """
    writes = {
        ("excess(responsibility, is_centre)", "responsibility"): 1.0,
        ("copy(responsibility)", "responsibility"): -1.0,
    }
    return ReadWrite(layout, writes)


def required_flag_gain(
    X: Float[Tensor, "b n d"],
    means: Float[Tensor, "b c d"],
    bias: Float[Tensor, "b c"],
    sigma: float,
    leak: float,
) -> Float[Tensor, "b"]:
    """The B above which at most `leak` of the mass of a data query lies on data tokens:

    max_i [ max_i' <x_i, x_i'> / sigma^2 - max_j (<x_i, mu_j> / sigma^2 + c_j) ] + log(n / leak).
    """
    among_data = torch.einsum("bnd,bkd->bnk", X, X).amax(-1) / sigma**2
    to_centres = torch.einsum("bnd,bcd->bnc", X, means) / sigma**2 + bias[:, None]
    return (among_data - to_centres.amax(-1)).amax(-1) + math.log(X.shape[1] / leak)


def _m_by_division(layout: TokenLayout) -> list[Step]:
    """S_j = sum_i r_ij x_i and N_j = sum_i r_ij by un-normalised attention; mu_j <- S_j / N_j."""
    M = _attention(
        layout,
        {("identity", "responsibility"): 1.0},
        {("payload", "sum"): 1.0, ("one", "count"): 1.0},
        attention.linear,
    )
    divide = {
        ("ratio(sum, count, payload)", "payload"): 1.0,
        ("copy(payload)", "payload"): -1.0,
        ("copy(sum)", "sum"): -1.0,
    }
    return [
        _forget_count(layout),
        _attend("M", "centres", "data", M),
        _within(layout, "divide", "centres", divide),
    ]


def _m_by_log(layout: TokenLayout) -> list[Step]:
    """N_j by un-normalised attention; r <- log r; mu_j <- softmax over the data of log r_ij.

    The softmax divides: exp(log r_ij) / sum_i exp(log r_ij) = r_ij / N_j.
    """
    matching = {("identity", "responsibility"): 1.0}
    count = _attention(layout, matching, {("one", "count"): 1.0}, attention.linear)
    take_log = {
        ("log(responsibility)", "responsibility"): 1.0,
        ("copy(responsibility)", "responsibility"): -1.0,
    }
    move = {
        ("if_owned(sum, count, payload)", "payload"): 1.0,
        ("copy(payload)", "payload"): -1.0,
        ("copy(sum)", "sum"): -1.0,
    }
    return [
        _forget_count(layout),
        _attend("count", "centres", "data", count),
        _within(layout, "log", "data", take_log),
        _attend("M", "centres", "data", _attention(layout, matching, {("payload", "sum"): 1.0})),
        _within(layout, "move", "centres", move),
    ]


def _clear_data(layout: TokenLayout) -> Step:
    """Make room for the new responsibilities: the residual stream only ever adds."""
    writes = {("copy(responsibility)", "responsibility"): -1.0}
    return _within(layout, "clear", "data", writes)


def _forget_count(layout: TokenLayout) -> Step:
    return _within(layout, "forget", "centres", {("copy(count)", "count"): -1.0})


def _attention(
    layout: TokenLayout,
    W_QK: Mapping[tuple[str, str], float],
    W_OV: Mapping[tuple[str, str], float],
    phi: Phi = attention.softmax,
) -> Attention:
    """One head from named blocks."""

    def one_head(blocks: Mapping[tuple[str, str], float]) -> Float[Tensor, "1 m m"]:
        return torch.from_numpy(layout.matrix(blocks))[None]

    return Attention(one_head(W_QK), one_head(W_OV), phi)


def _attend(
    name: str,
    queries: Literal["data", "centres"],
    keys: Literal["data", "centres"],
    module: Attention,
) -> Step:
    return Step(name, module, queries=queries, keys=keys)


def _within(
    layout: TokenLayout,
    name: str,
    queries: Literal["data", "centres"],
    writes: Mapping[tuple[str, str], float],
) -> Step:
    return Step(name, ReadWrite(layout, writes), queries=queries)
