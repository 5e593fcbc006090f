"""What the experiments on arXiv 2411.02837 share: its data, both ways of training, and a probe.

Everything is trained in coordinates of the span of the training patches and of the first filters,
which is exact (see `nn.span`) and 13 times smaller than the paper's 2000 features.

The paper's: d = 2000, n = 100, m = 50, mu = 5 e_1, mu' = 15 e_2, noise and views, step size 0.01,
200 epochs, nu = 2 e_1, negatives of the other label. Not found, so ours: the temperature, sigma0,
the number of negatives (all of the other label), the probe's samples and regularisation.

Axes: b runs (1), n points, p patches (2), m filters, r span coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from statformer.nn.span import Span
from statformer.nn.vision import PatchEncoder, Relu
from statformer.objectives.contrastive import (
    InfoNCE,
    at_most,
    cross_modal_gradient,
    cross_modal_loss,
    opposite_labels,
    other_points,
    single_modal_gradient,
    single_modal_loss,
)
from statformer.optim.descent import Descent, descend
from statformer.tasks.paired_modalities import PairedModalitiesPrior
from statformer.tasks.patch_views import with_added_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

METHODS = ("single", "multi")
M, SIGMA_EPS, STEP_SIZE, EPOCHS, NU_NORM = 50, 0.1, 0.01, 200, 2.0
TAU, SIGMA0 = 0.1, 0.01
N_PROBE, N_TEST, RIDGE = 200, 2000, 1.0


@dataclass(frozen=True)
class Faults:
    """What can be broken for a planted fault; the defaults are the paper's.

    similarity     "embedding" also multiplies signal with noise patches
    stop_gradient  without it the view gets a gradient too
    by_label       without it every other sample is a negative
    paired         without it a sample's partner is that of the next sample
    trains         without it no step is taken
    """

    similarity: Literal["patchwise", "embedding"] = "patchwise"
    stop_gradient: bool = True
    by_label: bool = True
    paired: bool = True
    trains: bool = True


NONE = Faults()


class Modality(NamedTuple):
    """One modality of the training set, its vectors, and the filters that it starts with."""

    X: Float[Tensor, "b n p r"]
    mu: Float[Tensor, "b 1 r"]
    xi: Float[Tensor, "b n r"]
    W: Float[Tensor, "b m r"]


class Scene(NamedTuple):
    """The training set of a run: both modalities, the view of the first, and the labels."""

    first: Modality
    second: Modality
    view: Float[Tensor, "b n p r"]
    y: Float[Tensor, "b n"]


def paired_prior(
    n: int, d: int, norm: float, ratio: float, projected: bool
) -> PairedModalitiesPrior:
    """mu = norm e_1 and mu' = ratio norm e_2 in noise of standard deviation 1."""
    first, second = (
        SignalNoisePrior(n, d, signal_norm=length, sigma=1.0, axis=axis, projected=projected)
        for axis, length in enumerate((norm, ratio * norm))
    )
    return PairedModalitiesPrior(first, second)


def scene(
    prior: PairedModalitiesPrior,
    sigma0: float,
    stream: TaskStream,
    *,
    faults: Faults = NONE,
    in_coordinates: bool = True,
) -> Scene:
    """A training set with Gaussian first filters of standard deviation sigma0."""
    batch = prior.sample(stream)
    view = with_added_noise(batch.first, SIGMA_EPS, stream).X
    parts, insides = [], []
    for one in (batch.first, batch.second):
        W = sigma0 * stream.normal(M, one.X.shape[-1])
        mu, xi = one.signal[:, 1:], one.noise[:, :, 0]
        inside = Span.of(mu, xi, W).inside if in_coordinates else _as_it_is
        parts.append(Modality(*(inside(vectors) for vectors in (one.X, mu, xi, W))))
        insides.append(inside)
    first, second = parts
    if not faults.paired:
        second = second._replace(X=second.X.roll(1, 1), xi=second.xi.roll(1, 1))
    return Scene(first, second, insides[0](view), batch.first.y)


def _as_it_is(vectors: Tensor) -> Tensor:
    return vectors


class Contrast:
    """One encoder trained against views, or two against each other, from a scene's first filters.

    `encoder` is that of the first modality, which is compared between the methods.
    """

    def __init__(
        self,
        scene: Scene,
        method: str,
        tau: float,
        *,
        negatives: Bool[Tensor, "b n n"] | None = None,
        faults: Faults = NONE,
    ) -> None:
        self.scene, self.method, self.trains = scene, method, faults.trains
        self.objective = InfoNCE(tau, faults.similarity, faults.stop_gradient)
        choose = opposite_labels if faults.by_label else other_points
        self.negatives = choose(scene.y) if negatives is None else negatives
        self.encoder = PatchEncoder(scene.first.W.clone(), Relu())
        self.partner = PatchEncoder(scene.second.W.clone(), Relu())
        names = ("encoder",) if method == "single" else ("encoder", "partner")
        self.network = nn.ModuleDict({name: getattr(self, name) for name in names})

    def loss(self) -> float:
        """The training loss as it stands."""
        first, second = self.scene.first.X, self.scene.second.X
        with torch.no_grad():
            if self.method == "single":
                loss = single_modal_loss(
                    self.objective, self.encoder, first, self.scene.view, self.negatives
                )
            else:
                loss = cross_modal_loss(
                    self.objective, self.encoder, self.partner, first, second, self.negatives
                )
        return float(loss)

    def gradient(self) -> dict[str, Tensor]:
        """Of the loss, for each trained encoder."""
        first, second = self.scene.first.X, self.scene.second.X
        if self.method == "single":
            slope = single_modal_gradient(
                self.objective, self.encoder, first, self.scene.view, self.negatives
            )
            return {"encoder.W": slope}
        slopes = cross_modal_gradient(
            self.objective, self.encoder, self.partner, first, second, self.negatives
        )
        return dict(zip(("encoder.W", "partner.W"), slopes, strict=True))

    def descend(self, epochs: int, watch: Callable[[int], None] | None = None) -> Descent:
        """Full-batch gradient descent; `watch(t)` sees the filters before step t and at the end.

        Where the loss has become 0 the filters stay as they are. Raises ArithmeticError where it
        diverges.
        """
        sizes = {
            name: torch.full((1,), STEP_SIZE if self.trains else 0.0, dtype=W.dtype)
            for name, W in self.network.named_parameters()
        }
        result = descend(self.network, self.gradient, sizes, epochs, watch=watch)
        if bool(result.diverged):
            raise ArithmeticError(f"{self.method} diverged; the temperature is too low")
        if watch is not None:
            for t in range(int(result.n_steps) + 1, epochs + 1):
                watch(t)
        return result


def few_negatives(scene: Scene, n_negatives: int, stream: TaskStream) -> Bool[Tensor, "b n n"]:
    """`n_negatives` of the other label for each anchor, drawn once; 0 for all of them."""
    negatives = opposite_labels(scene.y)
    if n_negatives == 0:
        return negatives
    return at_most(negatives, n_negatives, stream.uniform(*negatives.shape[1:]))


class Probe:
    """A logistic head on frozen embeddings of out-of-distribution samples x = (y nu, zeta).

    nu is parallel to mu, and zeta is drawn in coordinates, which is exact. The head minimises
    sum_i log(1 + exp(-y_i f(x_i))) + (ridge / 2) |head|^2 on `N_PROBE` samples and is scored on
    `N_TEST` others. The embeddings are divided by their root mean square over those that the head
    is fitted on, so that the ridge means the same for filters of any length.
    """

    def __init__(self, prior: SignalNoisePrior, scene: Scene, stream: TaskStream) -> None:
        mu = scene.first.mu
        nu = prior.shifted(torch.cat([-mu, mu], 1), NU_NORM, 1.0, stream)
        self._fresh = partial(prior.around, nu, stream=stream)
        self.train = (scene.first.X, scene.y)
        self.fit_on = self.samples(N_PROBE)
        self.test = self.samples(N_TEST)

    def samples(self, n: int) -> tuple[Tensor, Tensor]:
        """Fresh samples and their labels."""
        batch = self._fresh(n_points=n)
        return batch.X, batch.y

    def accuracy(
        self,
        encoder: PatchEncoder,
        *,
        ridge: float = RIDGE,
        fit_on: tuple[Tensor, Tensor] | None = None,
        test: tuple[Tensor, Tensor] | None = None,
    ) -> float:
        """Share of the test samples that the fitted head gets right."""
        H, y = _embedded(encoder, *(self.fit_on if fit_on is None else fit_on))
        H_test, y_test = _embedded(encoder, *(self.test if test is None else test))
        scale = np.sqrt(np.mean(H**2))
        head = LogisticRegression(C=1.0 / ridge, solver="newton-cholesky").fit(H / scale, y)
        return float(head.score(H_test / scale, y_test))


@torch.no_grad()
def _embedded(encoder: PatchEncoder, X: Tensor, y: Tensor) -> tuple[Any, np.ndarray]:
    return encoder(X)[0].numpy(), y[0].numpy()


def stream_of(rng: np.random.Generator) -> TaskStream:
    """The stream of one run in float64."""
    return TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
