"""SimCLR pre-training of linear patch filters and their fine-tuning (arXiv 2409.18685).

The paper as seen in secondary accounts: 2m linear filters, embeddings that sum the two patches, an
InfoNCE loss, gradient descent from small Gaussian filters; then a random half of the filters votes
for each label through max(z, 0)^q, q > 2, and gradient descent goes on with the logistic loss. The
exact loss, q, all sizes and all step sizes were not found: those here are ours.

Axes: b runs, n points, f = 2m filters, d features, r span coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statformer.nn.span import Span
from statformer.nn.vision import Linear, PatchClassifier, PatchEncoder, ReluPower
from statformer.objectives.contrastive import (
    InfoNCE,
    other_points,
    power_matrix,
    single_modal_gradient,
)
from statformer.objectives.logistic import classifier_gradient, logistic_loss
from statformer.optim.descent import descend
from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream

TEMPERATURE, GROWTH = 1.0, 0.1
POWER, LOSS, STEP = 3.0, 0.01, 3.0
N_TEST, EVERY = 1000, 5


def pre_train(
    W: Float[Tensor, "b f r"],
    Z: Float[Tensor, "b n r"],
    views: Float[Tensor, "b n r"],
    n_steps: int,
    watch: Callable[[int, PatchEncoder], None] | None = None,
) -> Float[Tensor, "b f r"]:
    """The filters after `n_steps` of descent on InfoNCE; Z and views are sums of patches.

    The step size is GROWTH / lambda_1 of the power matrix, so that a filter's part along the first
    eigenvector grows by 1 + GROWTH per step while embeddings are small. Raises ArithmeticError
    where the descent diverges.
    """
    encoder = PatchEncoder(W.clone(), Linear())
    objective = InfoNCE(TEMPERATURE, "embedding", stop_gradient=False)
    # A linear encoder sees a sample as the sum of its patches: one patch does.
    X, X_views, negatives = Z[:, :, None], views[:, :, None], other_points(Z[..., 0])
    sizes = {"W": step_size(Z, views)}

    def gradient() -> dict[str, Tensor]:
        return {"W": single_modal_gradient(objective, encoder, X, X_views, negatives)}

    result = descend(
        encoder, gradient, sizes, n_steps, watch=lambda t: watch(t, encoder) if watch else None
    )
    if bool(result.diverged.any()):
        raise ArithmeticError("pre-training diverged; its step size is too large")
    return encoder.W.detach()


def step_size(Z: Float[Tensor, "b n r"], views: Float[Tensor, "b n r"]) -> Float[Tensor, " b"]:
    """GROWTH / lambda_1 of the power matrix."""
    return GROWTH / torch.linalg.eigvalsh(power_matrix(Z, views, TEMPERATURE))[:, -1]


def n_pre_training_steps(sigma0: float) -> int:
    """log(1 / sigma0) / log(1 + GROWTH): from sigma0 to 1 along the first eigenvector.

    The paper's number of steps is of this order (Theorem 5.3, as the recursion reads).
    """
    return math.ceil(math.log(1.0 / sigma0) / math.log(1.0 + GROWTH))


def pre_trained(
    W: Float[Tensor, "b f d"],
    batch: PatchBatch,
    view: PatchBatch,
    n_steps: int,
) -> Float[Tensor, "b f d"]:
    """`pre_train` in d features."""
    span = Span.of(batch.signal[:, 1:], batch.noise[:, :, 0], view.noise[:, :, 0], W)
    Z, views = (span.inside(one.X.sum(2)) for one in (batch, view))
    return span.vectors(pre_train(span.inside(W), Z, views, n_steps))


@dataclass(frozen=True)
class FineTuning:
    """Losses and errors of a classifier while it learns: a value per recorded time and run.

    train_loss, test_loss   logistic loss "t b"
    train_error, test_error share of wrong signs "t b"; a zero counts one half
    times   "t", the last of them the end
    """

    times: list[int]
    train_loss: Float[Tensor, "t b"]
    train_error: Float[Tensor, "t b"]
    test_loss: Float[Tensor, "t b"]
    test_error: Float[Tensor, "t b"]


def fine_tune(
    network: PatchClassifier,
    X: Float[Tensor, "b n p r"],
    y: Float[Tensor, "b n"],
    X_test: Float[Tensor, "b n p r"],
    y_test: Float[Tensor, "b n"],
    n_steps: int,
    *,
    loss: float = LOSS,
    times: frozenset[int] = frozenset(),
) -> FineTuning:
    """Descent on the logistic loss until it is below `loss` (looked at EVERY steps), or `n_steps`.

    The step size is STEP over the largest eigenvalue of (1/n) sum_ip x_ip x_ip', so that no
    strength of signal or noise is at an advantage. `times` are recorded on the way, the end always.
    Raises ArithmeticError where the descent diverges.
    """
    rows = X.flatten(1, 2)
    gram = rows @ rows.mT if rows.shape[1] < rows.shape[2] else rows.mT @ rows
    sizes = {"W": STEP * X.shape[1] / torch.linalg.eigvalsh(gram)[:, -1]}
    seen: list[tuple[int, Tensor, Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def look(t: int) -> None:
        f, f_test = network(X), network(X_test)
        seen.append(
            (
                t,
                logistic_loss(f, y),
                wrong(f, y),
                logistic_loss(f_test, y_test),
                wrong(f_test, y_test),
            )
        )

    @torch.no_grad()
    def watch(t: int) -> Tensor | None:
        if t in times:
            look(t)
        return logistic_loss(network(X), y) < loss if t % EVERY == 0 else None

    result = descend(
        network,
        lambda: {"W": classifier_gradient(network, X, y)},
        sizes,
        n_steps,
        watch=watch,
    )
    if bool(result.diverged.any()):
        raise ArithmeticError("fine-tuning diverged; its step size is too large")
    look(int(result.n_steps.max()))
    steps, *columns = zip(*seen, strict=True)
    return FineTuning(list(steps), *(torch.stack(column) for column in columns))


def wrong(f: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """The share of samples on the wrong side; f = 0 counts one half."""
    return (0.5 - 0.5 * torch.sign(f * y)).mean(1)


def tuned(
    W: Float[Tensor, "b f d"],
    order: Int[Tensor, "b f"],
    labelled: PatchBatch,
    prior: SignalNoisePrior,
    stream: TaskStream,
    n_steps: int,
    *,
    times: frozenset[int] = frozenset(),
) -> FineTuning:
    """`fine_tune` of filters in d features, the first half of `order` voting for -1.

    Tested on N_TEST fresh samples about the same signal.
    """
    span = Span.of(labelled.signal[:, 1:], labelled.noise[:, :, 0], W)
    network = PatchClassifier.from_split(span.inside(W), order, ReluPower(POWER))
    test = prior.around(span.inside(labelled.signal), N_TEST, stream)
    X = span.inside(labelled.X)
    return fine_tune(network, X, labelled.y, test.X, test.y, n_steps, times=times)


def cosines(W: Float[Tensor, "b f d"], mu: Float[Tensor, "b d"]) -> Float[Tensor, "b f"]:
    """cos(w_r, mu) of each filter."""
    lengths = W.norm(dim=-1) * mu.norm(dim=-1, keepdim=True)
    return (W @ mu[..., None])[..., 0] / lengths
