"""InfoNCE of patch encoders with the options of two papers, and its gradient in closed form.

Axes: b runs side by side, n points (anchors), j points (negatives), p patches, d features of a
patch, m filters.

The papers: arXiv 2411.02837 (patch-wise similarity, no gradient through the second argument,
negatives of the other label, one or two modalities) and 2409.18685 (SimCLR on embeddings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, einsum

from statformer.nn.vision import PatchEncoder, filter_gradient, pre_activations


class FeatureSlopes(NamedTuple):
    """dL/d(features), for `filter_gradient`; one value for all patches where p is 1."""

    anchor: Float[Tensor, "b n #p m"]
    positive: Float[Tensor, "b n #p m"]
    pool: Float[Tensor, "b j #p m"]


@dataclass(frozen=True)
class InfoNCE:
    """L = -(1/n) sum_i log( e^(s_ii/tau) / (e^(s_ii/tau) + sum_{j in N(i)} e^(s_ij/tau)) ).

    s_ii compares anchor i with its positive, s_ij with member j of a pool.

    similarity     "patchwise": (1/m) sum_p <h(x_p), h(z_p)>, without products of signal and noise
                   patches (2411.02837); "embedding": <sum_p h(x_p), sum_p h(z_p)>, not normalised
                   (2409.18685, whose exact loss is not found: as recommended in our reading)
    stop_gradient  the second argument of s passes no gradient (2411.02837)
    temperature    tau; the papers' values are not found

    An anchor without negatives has loss 0. Raises ValueError for a temperature not above 0.
    """

    temperature: float
    similarity: Literal["patchwise", "embedding"]
    stop_gradient: bool

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: pass a number above 0")

    def loss(
        self,
        anchor: Float[Tensor, "b n p m"],
        positive: Float[Tensor, "b n p m"],
        pool: Float[Tensor, "b j p m"],
        negatives: Bool[Tensor, "b n j"],
    ) -> Float[Tensor, " b"]:
        """The loss of each run; `negatives` says who of the pool is in N(i)."""
        if self.stop_gradient:
            positive, pool = positive.detach(), pool.detach()
        logits = self._logits(anchor, positive, pool, negatives)
        return (torch.logsumexp(logits, -1) - logits[..., 0]).mean(-1)

    @torch.no_grad()
    def slopes(
        self,
        anchor: Float[Tensor, "b n p m"],
        positive: Float[Tensor, "b n p m"],
        pool: Float[Tensor, "b j p m"],
        negatives: Bool[Tensor, "b n j"],
    ) -> FeatureSlopes:
        """dL/ds_ii = -(1 - l_i) / (n tau) and dL/ds_ij = l_ij / (n tau), carried to the features.

        l_i and l_ij are the softmax weights of the positive and of negative j.
        """
        scale = 1.0 / (anchor.shape[1] * self.temperature)
        if self.similarity == "patchwise":
            scale /= anchor.shape[-1]
        weights = torch.softmax(self._logits(anchor, positive, pool, negatives), -1)
        of_positive = scale * (weights[..., :1, None] - 1.0)
        of_pool = scale * weights[..., 1:]
        h, h_positive, h_pool = (self._compared(x) for x in (anchor, positive, pool))
        towards = of_positive * h_positive + einsum("bnj,bjpm->bnpm", of_pool, h_pool)
        if self.stop_gradient:
            return FeatureSlopes(towards, torch.zeros_like(h), torch.zeros_like(h_pool))
        return FeatureSlopes(towards, of_positive * h, einsum("bnj,bnpm->bjpm", of_pool, h))

    def _logits(
        self,
        anchor: Float[Tensor, "b n p m"],
        positive: Float[Tensor, "b n p m"],
        pool: Float[Tensor, "b j p m"],
        negatives: Bool[Tensor, "b n j"],
    ) -> Float[Tensor, "b n j+1"]:
        """s / tau: the positive first, -inf for who of the pool is no negative."""
        h, h_positive, h_pool = (self._compared(x) for x in (anchor, positive, pool))
        to_positive = einsum("bnpm,bnpm->bn", h, h_positive)[..., None]
        to_pool = einsum("bnpm,bjpm->bnj", h, h_pool).masked_fill(~negatives, -torch.inf)
        scale = 1.0 / self.temperature
        if self.similarity == "patchwise":
            scale /= anchor.shape[-1]
        return scale * torch.cat([to_positive, to_pool], -1)

    def _compared(self, features: Float[Tensor, "b n p m"]) -> Float[Tensor, "b n #p m"]:
        """What the similarity multiplies: the patches, or their sum."""
        return features if self.similarity == "patchwise" else features.sum(2, keepdim=True)


def other_points(y: Float[Tensor, "b n"]) -> Bool[Tensor, "b n n"]:
    """N(i) = every j but i (2409.18685, as recommended in our reading)."""
    n = y.shape[1]
    return ~torch.eye(n, dtype=torch.bool, device=y.device).expand(len(y), n, n)


def opposite_labels(y: Float[Tensor, "b n"]) -> Bool[Tensor, "b n n"]:
    """N(i) = every j with y_j != y_i (2411.02837): this loss knows the labels."""
    return y[:, :, None] != y[:, None]


def at_most(
    negatives: Bool[Tensor, "b n j"], n_negatives: int, draws: Float[Tensor, "b n j"]
) -> Bool[Tensor, "b n j"]:
    """The `n_negatives` of each N(i) whose draw is smallest: a random choice for uniform draws.

    The papers' number M is not found. Raises ValueError where an anchor has not so many.
    """
    fewest = int(negatives.sum(-1).min())
    if not 1 <= n_negatives <= fewest:
        raise ValueError(f"n_negatives={n_negatives}: pass 1 to {fewest}, what each anchor has")
    ranked = draws.masked_fill(~negatives, torch.inf).argsort(-1)[..., :n_negatives]
    return torch.zeros_like(negatives).scatter_(2, ranked, torch.ones_like(ranked).bool())


def single_modal_loss(
    objective: InfoNCE,
    encoder: PatchEncoder,
    X: Float[Tensor, "b n p d"],
    view: Float[Tensor, "b n p d"],
    negatives: Bool[Tensor, "b n n"],
) -> Float[Tensor, " b"]:
    """The positive of x_i is its view, its negatives are other x_j."""
    h = encoder.features(X)
    return objective.loss(h, encoder.features(view), h, negatives)


@torch.no_grad()
def single_modal_gradient(
    objective: InfoNCE,
    encoder: PatchEncoder,
    X: Float[Tensor, "b n p d"],
    view: Float[Tensor, "b n p d"],
    negatives: Bool[Tensor, "b n n"],
) -> Float[Tensor, "b m d"]:
    """The gradient of `single_modal_loss`.

    With stop-gradient: dL/dw_r = -(1/(n m tau)) sum_i sum_p s'(<w_r, x_ip>) x_ip
    [(1 - l_i) h_r(view_ip) - sum_j l_ij h_r(x_jp)].
    """
    s, W = encoder.activation, encoder.W
    pre, pre_view = pre_activations(W, X), pre_activations(W, view)
    slopes = objective.slopes(s(pre), s(pre_view), s(pre), negatives)
    of_anchors = filter_gradient(s, pre, X, slopes.anchor + slopes.pool)
    return of_anchors + filter_gradient(s, pre_view, view, slopes.positive)


def cross_modal_loss(
    objective: InfoNCE,
    first: PatchEncoder,
    second: PatchEncoder,
    X: Float[Tensor, "b n p d"],
    paired: Float[Tensor, "b n p f"],
    negatives: Bool[Tensor, "b n n"],
) -> Float[Tensor, " b"]:
    """The sum of both directions: x_i against all x'_j, and x'_i against all x_j (2411.02837)."""
    h, g = first.features(X), second.features(paired)
    return objective.loss(h, g, g, negatives) + objective.loss(g, h, h, negatives)


@torch.no_grad()
def cross_modal_gradient(
    objective: InfoNCE,
    first: PatchEncoder,
    second: PatchEncoder,
    X: Float[Tensor, "b n p d"],
    paired: Float[Tensor, "b n p f"],
    negatives: Bool[Tensor, "b n n"],
) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b m f"]]:
    """The gradients of `cross_modal_loss` for the filters of both encoders."""
    pre, pre_paired = pre_activations(first.W, X), pre_activations(second.W, paired)
    h, g = first.activation(pre), second.activation(pre_paired)
    there = objective.slopes(h, g, g, negatives)
    back = objective.slopes(g, h, h, negatives)
    of_h = there.anchor + back.positive + back.pool
    of_g = back.anchor + there.positive + there.pool
    return (
        filter_gradient(first.activation, pre, X, of_h),
        filter_gradient(second.activation, pre_paired, paired, of_g),
    )


def power_matrix(
    Z: Float[Tensor, "b n d"], views: Float[Tensor, "b n d"], temperature: float
) -> Float[Tensor, "b d d"]:
    """A with -dL/dw = A w at small filters, of SimCLR on Linear encoders; Z are sums of patches.

    n^2 tau A = (n - 1) sum_i (v_i z_i' + z_i v_i') - sum_{i != j} (z_i z_j' + z_j z_i'),

    v_i the view of z_i: every softmax weight is 1/n where the embeddings are 0. So a step of eta
    is one of the power method with I + eta A (Lemma 5.1 of arXiv 2409.18685; its A carries eta).
    The loss is `InfoNCE(temperature, "embedding", stop_gradient=False)` with `other_points`, and
    this form of A is derived for it, exactly and not up to O(1/n).
    """
    n = Z.shape[1]
    own = (n - 1) * (views.mT @ Z + Z.mT @ views)
    total = Z.sum(1, keepdim=True)
    return (own - 2 * (total.mT @ total - Z.mT @ Z)) / (n**2 * temperature)
