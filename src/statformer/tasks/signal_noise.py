"""Samples of a signal patch and noise patches, the data model of five feature-learning papers.

Axes: b tasks (runs), n points, p patches, k = p - 1 noise patches, d features of one patch.

The papers: arXiv 2412.01021 (diffusion), 2411.02837 (contrastive, see `paired_modalities`),
2410.19139 (trained second layer), 2409.18685 (SimCLR), 2409.19345 (vision transformer).
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, einsum

from statformer.tasks.signal_strength import Strength, strength
from statformer.tasks.stream import TaskStream

Kind = Literal["antipodal", "orthogonal"]


@dataclass(frozen=True)
class PatchBatch:
    """Samples with the parts that they were made of.

    X        "b n p d"  the patches
    y        "b n"      the label that a learner sees, -1 or +1
    clean_y  "b n"      the label whose signal the sample carries; differs where y was flipped
    signal   "b 2 d"    the signal vectors of the labels -1 and +1
    noise    "b n k d"  the noise vectors
    place    "b n"      which patch is the signal; it has changed places with the first
    """

    X: Float[Tensor, "b n p d"]
    y: Float[Tensor, "b n"]
    clean_y: Float[Tensor, "b n"]
    signal: Float[Tensor, "b 2 d"]
    noise: Float[Tensor, "b n k d"]
    place: Int[Tensor, "b n"]

    def with_noise(self, noise: Float[Tensor, "b n k d"]) -> PatchBatch:
        """The same samples with other noise vectors."""
        X = _patches(self.signal, self.clean_y, noise, self.place)
        return replace(self, X=X, noise=noise)


@dataclass(frozen=True)
class SignalNoisePrior:
    """x = (mu_y, xi_1, ..., xi_k): y = -1 or +1 with equal odds, xi_j ~ N(0, sigma^2 I).

    kind          "antipodal": mu_y = y mu (2411.02837, 2410.19139, 2409.18685; [2409.19345 has
                  mu_+ and mu_-, how they lie is not found]); "orthogonal": mu_-1 and mu_+1 at right
                  angles and of one length (2412.01021)
    signal_norm, sigma, n_snr2
                  norm(mu), sigma and n SNR^2 = n norm(mu)^2 / (sigma^2 d): exactly two of the three
    axis          mu is along this coordinate (of two orthogonal signals: along this one for -1, the
                  next for +1); None for a direction drawn uniformly
    projected     the noise is projected off the signal vectors, N(0, sigma^2 (I - sum u u')).
                  2409.18685 and 2409.19345 have it orthogonal; the exact covariance of 2412.01021
                  and whether 2410.19139 projects are not found, so True is our choice there;
                  2411.02837 does not project. A signal of length 0 has no direction: no projection
    n_patches     p = 1 + k. One patch carries the signal: for 2409.19345, where the number of
                  signal tokens is not found, that is our choice
    label_flip    odds that the label a learner sees is the other one (Kou et al., arXiv 2303.04145,
                  in their public script: 0.1; none of the five papers is known to flip)
    shuffled      the signal stands at a patch drawn uniformly (Kou et al.), not at the first
    """

    n_points: int
    n_features: int
    _: KW_ONLY
    signal_norm: float | None = None
    sigma: float | None = None
    n_snr2: float | None = None
    kind: Kind = "antipodal"
    axis: int | None = 0
    projected: bool = True
    n_patches: int = 2
    label_flip: float = 0.0
    shuffled: bool = False

    def __post_init__(self) -> None:
        _ = self.strength  # raises where it cannot be told
        n_signals = _n_signals(self.kind)
        if self.n_features < n_signals:
            raise ValueError(f"n_features={self.n_features}: {self.kind} signals need {n_signals}")
        if self.axis is not None and not 0 <= self.axis <= self.n_features - n_signals:
            raise ValueError(
                f"axis={self.axis}: pass 0 to {self.n_features - n_signals}, or None for any"
            )
        if self.n_patches < 2:
            raise ValueError(f"n_patches={self.n_patches}: pass at least 2, a signal and a noise")
        if not 0 <= self.label_flip < 0.5:
            raise ValueError(f"label_flip={self.label_flip}: pass at least 0 and below 0.5")

    @property
    def strength(self) -> Strength:
        """norm(mu) and sigma, whichever two numbers they were given by."""
        return strength(self.n_points, self.n_features, self.signal_norm, self.sigma, self.n_snr2)

    def n_snr(self, power: float = 2.0) -> float:
        """n SNR^power: 2 in most of the papers, q for networks with ReLU^q (arXiv 2202.06526)."""
        return self.n_points * self.strength.snr(self.n_features) ** power

    def sample(self, stream: TaskStream) -> PatchBatch:
        """`n_points` samples about signal vectors of their own."""
        return self.around(self.signals(stream), self.n_points, stream)

    def signals(self, stream: TaskStream) -> Float[Tensor, "b 2 d"]:
        """The signal vectors of the labels -1 and +1."""
        n_signals, d = _n_signals(self.kind), self.n_features
        if self.axis is None:
            directions = _orthonormal(stream.normal(n_signals, d))
        else:
            directions = torch.zeros(
                len(stream), n_signals, d, dtype=stream.dtype, device=stream.device
            )
            for i in range(n_signals):
                directions[:, i, self.axis + i] = 1.0
        signals = self.strength.signal_norm * directions
        return signals if n_signals == 2 else torch.cat([-signals, signals], dim=1)

    def around(
        self, signals: Float[Tensor, "b 2 d"], n_points: int, stream: TaskStream
    ) -> PatchBatch:
        """Fresh samples about given signal vectors: a test set, or one with other signals."""
        clean_y = 2.0 * stream.integers(0, 2, n_points).to(stream.dtype) - 1.0
        flipped = stream.uniform(n_points) < self.label_flip
        return self.labelled(signals, clean_y, torch.where(flipped, -clean_y, clean_y), stream)

    def labelled(
        self,
        signals: Float[Tensor, "b 2 d"],
        clean_y: Float[Tensor, "b n"],
        y: Float[Tensor, "b n"],
        stream: TaskStream,
    ) -> PatchBatch:
        """Samples of given labels: `clean_y` chooses the signal, `y` is what a learner sees."""
        n = clean_y.shape[1]
        place = stream.integers(0, self.n_patches if self.shuffled else 1, n)
        noise = self.noise(signals, n, stream)
        X = _patches(signals, clean_y, noise, place)
        return PatchBatch(X, y, clean_y, signals, noise, place)

    def noise(
        self, signals: Float[Tensor, "b 2 d"], n_points: int, stream: TaskStream
    ) -> Float[Tensor, "b n k d"]:
        """Noise vectors, off the signals where the prior says so."""
        d = signals.shape[-1]
        xi = self.strength.sigma * stream.normal(n_points, self.n_patches - 1, d)
        if not self.projected:
            return xi
        basis = signals[:, 1:] if self.kind == "antipodal" else signals
        lengths = basis.norm(dim=-1, keepdim=True)
        u = torch.where(lengths > 0, basis / lengths.clamp_min(torch.finfo(xi.dtype).tiny), 0.0)
        return xi - einsum("bnks,bsd->bnkd", einsum("bnkd,bsd->bnks", xi, u), u)

    def shifted(
        self, signals: Float[Tensor, "b 2 d"], norm: float, cosine: float, stream: TaskStream
    ) -> Float[Tensor, "b 2 d"]:
        """Out-of-distribution signals -nu and nu: nu of length `norm`, at `cosine` to mu.

        The rest of nu points anywhere at right angles to mu. The test set of 2411.02837 is
        x = (y nu, zeta) with nu mu' = O(norm(mu)^2 / sqrt(d)) in its theory; its experiment has
        mu = 5 e_1 and nu = 2 e_1, that is norm 2 and cosine 1.

        Raises ValueError for orthogonal signals, which no paper shifts, for signals of length 0,
        a norm below 0 or a cosine outside -1 to 1.
        """
        if self.kind != "antipodal" or self.strength.signal_norm == 0:
            raise ValueError(
                f"kind={self.kind!r}, signal_norm={self.strength.signal_norm}: only an antipodal "
                "signal of some length has a cosine; draw other signals with `signals`"
            )
        if not (norm >= 0 and -1 <= cosine <= 1):
            raise ValueError(f"norm={norm}, cosine={cosine}: pass norm >= 0 and -1 <= cosine <= 1")
        if abs(cosine) < 1 and signals.shape[-1] < 2:
            raise ValueError(f"cosine={cosine}: with one feature, only -1 and 1 are possible")
        mu = signals[:, 1]
        along = mu / mu.norm(dim=-1, keepdim=True)
        nu = norm * cosine * along
        if abs(cosine) < 1:
            across = _orthonormal(torch.stack([along, stream.normal(signals.shape[-1])], 1))[:, 1]
            nu = nu + norm * math.sqrt(1.0 - cosine**2) * across
        return torch.stack([-nu, nu], dim=1)


def _n_signals(kind: Kind) -> int:
    """How many directions the signals of both labels have between them."""
    return {"antipodal": 1, "orthogonal": 2}[kind]


def _orthonormal(vectors: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
    """Gram and Schmidt on few vectors, each direction as it stands: uniform for normal vectors."""
    Q, R = torch.linalg.qr(vectors.mT)
    return (Q * torch.sign(torch.diagonal(R, dim1=-2, dim2=-1))[:, None]).mT


def _patches(
    signals: Float[Tensor, "b 2 d"],
    clean_y: Float[Tensor, "b n"],
    noise: Float[Tensor, "b n k d"],
    place: Int[Tensor, "b n"],
) -> Float[Tensor, "b n p d"]:
    """The signal and its noise vectors, the signal having changed places with patch `place`."""
    mu = torch.where(clean_y[..., None] > 0, signals[:, None, 1], signals[:, None, 0])
    patches = torch.cat([mu[:, :, None], noise], dim=2)
    order = torch.arange(patches.shape[2], device=place.device).repeat(*place.shape, 1)
    order[..., 0] = place
    order.scatter_(2, place[..., None], 0)
    return patches.gather(2, order[..., None].expand_as(patches))
