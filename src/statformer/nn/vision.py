"""Networks that look at the patches of a sample: four patch CNNs and a patch transformer.

Axes: b runs side by side, each with weights of its own; n points, p patches (q and k as queries and
keys), d features of one patch, m filters (f = 2 m of both branches), e width of a head, v width of
the values.

The head is the class, the activation its argument, and the argument's type admits the activations
that some paper puts under that head. Weights are handed in; all filters see every patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, einsum, nn

from statformer.nn.attention import softmax


@final
@dataclass(frozen=True)
class Relu:
    """max(z, 0)."""

    def __call__(self, z: Tensor) -> Tensor:
        return torch.relu(z)

    def slope(self, z: Tensor) -> Tensor:
        """The derivative; 0 at 0."""
        return (z > 0).to(z.dtype)


@final
@dataclass(frozen=True)
class ReluPower:
    """max(z, 0)^power with power > 2 (arXiv 2202.06526 and 2409.18685; 3 is our choice)."""

    power: float = 3.0

    def __post_init__(self) -> None:
        if not self.power > 2:
            raise ValueError(f"power={self.power}: pass more than 2, or use Relu")

    def __call__(self, z: Tensor) -> Tensor:
        return torch.relu(z) ** self.power

    def slope(self, z: Tensor) -> Tensor:
        """The derivative."""
        return self.power * torch.relu(z) ** (self.power - 1.0)


@final
@dataclass(frozen=True)
class Quadratic:
    """z^2."""

    def __call__(self, z: Tensor) -> Tensor:
        return z.square()

    def slope(self, z: Tensor) -> Tensor:
        """The derivative."""
        return 2.0 * z


@final
@dataclass(frozen=True)
class Linear:
    """z."""

    def __call__(self, z: Tensor) -> Tensor:
        return z

    def slope(self, z: Tensor) -> Tensor:
        """The derivative."""
        return torch.ones_like(z)


Activation = Relu | ReluPower | Quadratic | Linear


def pre_activations(
    W: Float[Tensor, "b m d"], X: Float[Tensor, "b n p d"]
) -> Float[Tensor, "b n p m"]:
    """<w_r, x_p>: every filter on every patch."""
    return einsum("bmd,bnpd->bnpm", W, X)


def filter_gradient(
    activation: Activation,
    pre: Float[Tensor, "b n p m"],
    X: Float[Tensor, "b n p d"],
    upstream: Float[Tensor, "b n #p m"],
) -> Float[Tensor, "b m d"]:
    """dL/dw_r = sum_i sum_p u_ipr s'(<w_r, x_ip>) x_ip, where u = dL/ds(<w_r, x_ip>).

    `pre` are the pre-activations <w_r, x_ip>.
    """
    return einsum("bnpm,bnpd->bmd", upstream * activation.slope(pre), X)


@final
class PatchClassifier(nn.Module):
    """f(x) = F_+(x) - F_-(x), F_j(x) = (1/m) sum_r sum_p s(<w_jr, x_p>): a fixed head of +-1/m.

    s is Relu (Kou et al., arXiv 2303.04145), ReluPower (2202.06526; fine-tuning of 2409.18685) or
    Quadratic (2412.01021, whose factor 1/m is not found). W[:, 0] votes for -1, W[:, 1] for +1.
    """

    def __init__(
        self, W: Float[Tensor, "b 2 m d"], activation: Relu | ReluPower | Quadratic
    ) -> None:
        super().__init__()
        self.W, self.activation = nn.Parameter(W), activation

    @classmethod
    def from_split(
        cls,
        W: Float[Tensor, "b f d"],
        order: Int[Tensor, "b f"],
        activation: Relu | ReluPower | Quadratic,
    ) -> PatchClassifier:
        """Filters learned elsewhere: the first half of `order` votes for -1, the rest for +1.

        A random order is the start of the fine-tuning of arXiv 2409.18685. Raises ValueError for
        an odd number of filters.
        """
        b, f, d = W.shape
        if f % 2:
            raise ValueError(f"W has {f} filters: pass an even number, half of them for each label")
        ordered = W.gather(1, order[..., None].expand(b, f, d))
        return cls(ordered.reshape(b, 2, f // 2, d), activation)

    def pre_activations(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n p f"]:
        """<w_jr, x_p>: the filters of -1 first, then those of +1."""
        return pre_activations(self.W.flatten(1, 2), X)

    def read(self, pre: Float[Tensor, "b n p f"]) -> Float[Tensor, "b n"]:
        """f(x) from the pre-activations."""
        m = self.W.shape[2]
        votes = self.activation(pre).sum(2)
        return (votes[..., m:] - votes[..., :m]).mean(-1)

    def forward(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n"]:
        return self.read(self.pre_activations(X))


@final
class TrainedHeadClassifier(nn.Module):
    """f(x) = sum_r v_r sum_p max(<w_r, x_p>, 0), v trained as well (arXiv 2410.19139).

    The paper has a two-layer ReLU CNN with a trained second layer; its exact formula and the number
    of branches are not found, so one v per filter is our choice.
    """

    activation = Relu()

    def __init__(self, W: Float[Tensor, "b m d"], v: Float[Tensor, "b m"]) -> None:
        super().__init__()
        self.W, self.v = nn.Parameter(W), nn.Parameter(v)

    @classmethod
    def from_scale(cls, W: Float[Tensor, "b m d"], v0: float) -> TrainedHeadClassifier:
        """v = +v0 for the first half of the filters and -v0 for the second (ours).

        Raises ValueError for an odd number of filters.
        """
        b, m, _ = W.shape
        if m % 2:
            raise ValueError(f"W has {m} filters: pass an even number, half of them of each sign")
        signs = torch.ones(b, m, dtype=W.dtype, device=W.device)
        signs[:, m // 2 :] = -1.0
        return cls(W, v0 * signs)

    def forward(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n"]:
        hidden = self.activation(pre_activations(self.W, X)).sum(2)
        return self.read(hidden)

    def read(self, hidden: Float[Tensor, "b n m"]) -> Float[Tensor, "b n"]:
        """f(x) from what each filter finds in all patches."""
        return einsum("bnm,bm->bn", hidden, self.v)


@final
class PatchEncoder(nn.Module):
    """h(x)_r = sum_p s(<w_r, x_p>): an embedding of m coordinates.

    s is Relu (arXiv 2411.02837) or Linear (2409.18685).
    """

    def __init__(self, W: Float[Tensor, "b m d"], activation: Relu | Linear) -> None:
        super().__init__()
        self.W, self.activation = nn.Parameter(W), activation

    def features(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n p m"]:
        """s(<w_r, x_p>), patch by patch, which the patch-wise similarity compares."""
        return self.activation(pre_activations(self.W, X))

    def forward(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n m"]:
        return self.features(X).sum(2)


@final
class TiedDenoiser(nn.Module):
    """out_p = m^(-1/2) sum_r <w_r, x_p>^2 w_r: the second layer is the first (arXiv 2412.01021).

    The paper's quadratic activation and tied layers are known, its normalisation is not found:
    m^(-1/2) is our choice.
    """

    activation = Quadratic()

    def __init__(self, W: Float[Tensor, "b m d"]) -> None:
        super().__init__()
        self.W = nn.Parameter(W)

    def forward(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n p d"]:
        hidden = self.activation(pre_activations(self.W, X))
        return einsum("bnpm,bmd->bnpd", hidden, self.W) * self.W.shape[1] ** -0.5


@final
class PatchViT(nn.Module):
    """f(X) = (1/p) sum_q softmax_k(x_q W_Q W_K' x_k') x_k W_V w_O (arXiv 2409.19345).

    Attention from every patch to every patch, no scale, a linear read-out. The formula is the
    paper's as a summary has it; which of the weights it trains is not found.
    """

    def __init__(
        self,
        W_Q: Float[Tensor, "b d e"],
        W_K: Float[Tensor, "b d e"],
        W_V: Float[Tensor, "b d v"],
        w_O: Float[Tensor, "b v"],
    ) -> None:
        super().__init__()
        self.W_Q, self.W_K = nn.Parameter(W_Q), nn.Parameter(W_K)
        self.W_V, self.w_O = nn.Parameter(W_V), nn.Parameter(w_O)

    def pattern(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n p p"]:
        """How much each patch takes of each patch; rows sum to 1."""
        Q = einsum("bnqd,bde->bnqe", X, self.W_Q)
        K = einsum("bnkd,bde->bnke", X, self.W_K)
        scores = einsum("bnqe,bnke->bnqk", Q, K)
        return softmax(scores, torch.ones_like(scores[:1, :1, :1]).expand(len(X), 1, 1, -1))

    def values(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n p"]:
        """x_k W_V w_O: what the output takes from each patch."""
        return einsum("bnkd,bdv,bv->bnk", X, self.W_V, self.w_O)

    def forward(self, X: Float[Tensor, "b n p d"]) -> Float[Tensor, "b n"]:
        return einsum("bnqk,bnk->bn", self.pattern(X), self.values(X)) / X.shape[2]
