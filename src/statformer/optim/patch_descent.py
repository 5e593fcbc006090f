"""Gradient descent of a patch network with two layers, told in inner products alone.

A ReLU network f(x) = sum_r v_r sum_p max(<w_r, x_p>, 0) on samples of a signal patch s_i |mu| u and
a noise patch xi_i never leaves w_r = w_r(0) + sum_k A_rk x_k, over the t = 1 + n vectors
x = (u, xi_1, ..., xi_n). With K = x x' and Z = <x_k, w_r> a step of the filters is

    C_0r = |mu| v_r sum_i s_i (dL/df_i) 1[s_i Z_0r > 0],   C_ir = v_r (dL/df_i) 1[Z_ir > 0],
    Z <- Z - eta K C,

so features have left the cost; the signal patches, which take two values, count once for all
samples; and runs that differ in |mu|, v or eta share K, hence one matrix product. Derived; the same
numbers as plain descent, which the tests walk beside it.

Axes: t vectors, n points (t = 1 + n), b runs side by side, m filters, d features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, einsum
from torch.nn.functional import softplus

__all__ = ["PatchProducts", "TrainedPatches", "descend_patches"]


@dataclass(frozen=True)
class PatchProducts:
    """What a network can know of one drawn sample, whatever the length of its signal.

    patches  "t t"  inner products of u (of length 1) and the noise vectors
    first    "t m"  those of u and the noise vectors with the first filters
    filters  "m m"  those of the first filters
    y        "n"    labels to learn, -1 or +1
    signs    "n"    signs s_i of the signal; other than y where a label was flipped
    """

    patches: Float[Tensor, "t t"]
    first: Float[Tensor, "t m"]
    filters: Float[Tensor, "m m"]
    y: Float[Tensor, " n"]
    signs: Float[Tensor, " n"]

    @classmethod
    def of(
        cls,
        direction: Float[Tensor, " d"],
        noise: Float[Tensor, "n d"],
        W: Float[Tensor, "m d"],
        y: Float[Tensor, " n"],
        signs: Float[Tensor, " n"],
    ) -> PatchProducts:
        """From the vectors themselves. Raises ValueError for n >= d, where they are dependent."""
        n, d = noise.shape
        if n >= d:
            raise ValueError(f"{n} points of {d} features: pass fewer points than features")
        vectors = torch.cat([direction[None], noise])
        return cls(vectors @ vectors.mT, vectors @ W.mT, W @ W.mT, y, signs)

    def with_signs(self, signs: Float[Tensor, " n"]) -> PatchProducts:
        """The same vectors with other signs of the signal."""
        return replace(self, signs=signs.to(self.signs.dtype))

    def to(self, dtype: torch.dtype) -> PatchProducts:
        """The same in another precision."""
        parts = (self.patches, self.first, self.filters, self.y, self.signs)
        return PatchProducts(*(part.to(dtype) for part in parts))


@dataclass(frozen=True)
class TrainedPatches:
    """Where each run stands after its last step.

    Z        "t b m"  inner products of u and the noise vectors with the filters
    v        "b m"    the second layer
    n_steps  "b"      steps taken
    loss     "b"      logistic loss on the sample; not finite where a run diverged
    """

    Z: Float[Tensor, "t b m"]
    v: Float[Tensor, "b m"]
    n_steps: Int[Tensor, " b"]
    loss: Float[Tensor, " b"]

    def filters(self, products: PatchProducts) -> Float[Tensor, "b m m"]:
        """Inner products of the filters with each other, in float64.

        W = W(0) + A' x with A = K^-1 (Z - Z(0)): W W' = W(0) W(0)' + A' Z(0) + (A' Z(0))' + A' K A.
        """
        exact = products.to(torch.float64)
        moved = self.Z.double() - exact.first[:, None]
        A = torch.linalg.solve(exact.patches, moved.flatten(1)).reshape(moved.shape)
        across = einsum("tbm,tk->bmk", A, exact.first)
        return exact.filters + across + across.mT + einsum("tbm,tbk->bmk", A, moved)


@torch.no_grad()
def descend_patches(
    products: PatchProducts,
    signal_norms: Float[Tensor, " b"],
    v: Float[Tensor, "b m"],
    step_sizes: Float[Tensor, " b"],
    n_steps: int,
    *,
    head_speed: float = 1.0,
    until: float = 0.0,
) -> TrainedPatches:
    """Descent on the logistic loss from the first filters and v, in the precision of `products`.

    signal_norms  |mu| of each run; all see the same noise, labels and first filters
    v             where the second layer starts
    head_speed    share of a step that v takes: 0 for a second layer that is fixed
    until         a run ends where its loss is at most this, and where it is no longer finite

    Raises ValueError where the runs are not counted alike.
    """
    b = len(signal_norms)
    if len(v) != b or len(step_sizes) != b:
        raise ValueError(
            f"{b} signal_norms, {len(v)} rows of v and {len(step_sizes)} step_sizes: pass one each "
            "per run"
        )
    dtype = products.patches.dtype
    norms, sizes, v = (part.to(dtype) for part in (signal_norms, step_sizes, v))
    runs = _Runs(products, norms, sizes, products.first[:, None].repeat(1, b, 1), v)
    ended = TrainedPatches(
        runs.Z.clone(), v.clone(), torch.zeros(b, dtype=torch.int64), torch.zeros_like(norms)
    )
    left = torch.arange(b)
    for step in range(n_steps + 1):
        hidden = runs.hidden()
        margin = runs.margin(hidden)
        loss = softplus(-margin).mean(0)
        ends = (loss <= until) | ~torch.isfinite(loss)
        if step == n_steps:
            ends = torch.ones_like(ends)
        if bool(ends.any()):
            at = left[ends]
            ended.Z[:, at], ended.v[at] = runs.Z[:, ends], runs.v[ends]
            ended.n_steps[at], ended.loss[at] = step, loss[ends]
            if bool(ends.all()):
                break
            left, runs, margin = left[~ends], runs.only(~ends), margin[:, ~ends]
            hidden = runs.hidden()
        runs.step(hidden, margin, head_speed)
    return ended


class _Hidden(NamedTuple):
    """What the filters find: in the noise, and in a signal ahead (s = 1) and behind (s = -1)."""

    noise: Float[Tensor, "n b m"]
    ahead: Float[Tensor, "b m"]
    behind: Float[Tensor, "b m"]


@dataclass
class _Runs:
    """The runs that go on."""

    products: PatchProducts
    norms: Float[Tensor, " b"]
    sizes: Float[Tensor, " b"]
    Z: Float[Tensor, "t b m"]
    v: Float[Tensor, "b m"]

    def hidden(self) -> _Hidden:
        along = self.norms[:, None] * self.Z[0]
        return _Hidden(torch.relu(self.Z[1:]), torch.relu(along), torch.relu(-along))

    def margin(self, hidden: _Hidden) -> Float[Tensor, "n b"]:
        """y_i f(x_i)."""
        ahead, behind = ((self.v * side).sum(-1) for side in (hidden.ahead, hidden.behind))
        of_signal = torch.where(self.products.signs[:, None] > 0, ahead, behind)
        of_noise = einsum("nbm,bm->nb", hidden.noise, self.v)
        return self.products.y[:, None] * (of_noise + of_signal)

    def step(self, hidden: _Hidden, margin: Float[Tensor, "n b"], head_speed: float) -> None:
        y, signs = self.products.y[:, None], self.products.signs[:, None]
        moves = -y * torch.sigmoid(-margin) * (self.sizes / len(y))  # eta dL/df_i
        ahead, behind = ((moves * (signs == side)).sum(0)[:, None] for side in (1.0, -1.0))
        C = torch.empty_like(self.Z)
        C[0] = ahead * (hidden.ahead > 0) - behind * (hidden.behind > 0)
        C[0] *= self.norms[:, None] * self.v
        torch.mul(hidden.noise > 0, moves[..., None] * self.v, out=C[1:])
        of_v = einsum("nb,nbm->bm", moves, hidden.noise)
        of_v += ahead * hidden.ahead + behind * hidden.behind
        self.Z.flatten(1).addmm_(self.products.patches, C.flatten(1), alpha=-1.0)
        self.v = self.v - head_speed * of_v

    def only(self, kept: Bool[Tensor, " b"]) -> _Runs:
        return _Runs(
            self.products,
            self.norms[kept],
            self.sizes[kept],
            self.Z[:, kept].contiguous(),
            self.v[kept],
        )
