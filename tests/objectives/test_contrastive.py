"""InfoNCE and its gradients against loops, automatic differentiation and the papers' identities."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from statformer.nn.vision import Linear, PatchEncoder, Relu
from statformer.objectives.contrastive import (
    InfoNCE,
    at_most,
    cross_modal_gradient,
    cross_modal_loss,
    opposite_labels,
    other_points,
    power_matrix,
    single_modal_gradient,
    single_modal_loss,
)

B, N, P, D, M = 2, 8, 2, 6, 5
TAU = 0.7
PATCHWISE = InfoNCE(TAU, "patchwise", stop_gradient=True)
SIMCLR = InfoNCE(TAU, "embedding", stop_gradient=False)
OPTIONS = [
    InfoNCE(TAU, similarity, stop)
    for similarity, stop in itertools.product(("patchwise", "embedding"), (True, False))
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


X, VIEW = normal(B, N, P, D, seed=7), normal(B, N, P, D, seed=8)
PAIRED = normal(B, N, P, 4, seed=9)
y = torch.tensor([[1.0, -1.0] * 4, [1.0] * 3 + [-1.0] * 5], dtype=torch.float64)


def encoder(seed: int = 0, d: int = D, activation: Relu | Linear = Relu()) -> PatchEncoder:  # noqa: B008
    return PatchEncoder(0.5 * normal(B, M, d, seed=seed), activation)


def similarity(kind: str, h: Tensor, z: Tensor) -> Tensor:
    """Of two samples "p m": the papers' definitions."""
    if kind == "patchwise":
        return sum(h[p] @ z[p] for p in range(P)) / M
    return h.sum(0) @ z.sum(0)


@pytest.mark.parametrize("objective", OPTIONS, ids=str)
def test_the_loss_as_written(objective: InfoNCE) -> None:
    h, z, pool = (normal(B, N, P, M, seed=seed) for seed in (1, 2, 3))
    negatives = opposite_labels(y)
    loss = objective.loss(h, z, pool, negatives)
    for b in range(B):
        total = 0.0
        for i in range(N):
            own = torch.exp(similarity(objective.similarity, h[b, i], z[b, i]) / TAU)
            others = sum(
                torch.exp(similarity(objective.similarity, h[b, i], pool[b, j]) / TAU)
                for j in range(N)
                if y[b, j] != y[b, i]
            )
            total -= torch.log(own / (own + others)) / N
        torch.testing.assert_close(loss[b], total)


@pytest.mark.parametrize("objective", OPTIONS, ids=str)
@pytest.mark.parametrize("activation", [Relu(), Linear()])
@pytest.mark.parametrize("choose", [opposite_labels, other_points])
def test_the_single_modal_gradient_is_the_automatic_one(
    objective: InfoNCE, activation: Relu | Linear, choose: object
) -> None:
    net, negatives = encoder(activation=activation), choose(y)
    single_modal_loss(objective, net, X, VIEW, negatives).sum().backward()
    gradient = single_modal_gradient(objective, net, X, VIEW, negatives)
    torch.testing.assert_close(gradient, net.W.grad, rtol=1e-9, atol=1e-12)
    assert net.W.grad.abs().max() > 1e-3


@pytest.mark.parametrize("objective", OPTIONS, ids=str)
def test_the_cross_modal_gradient_is_the_automatic_one(objective: InfoNCE) -> None:
    first, second = encoder(), encoder(1, d=4)
    negatives = opposite_labels(y)
    cross_modal_loss(objective, first, second, X, PAIRED, negatives).sum().backward()
    of_first, of_second = cross_modal_gradient(objective, first, second, X, PAIRED, negatives)
    torch.testing.assert_close(of_first, first.W.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(of_second, second.W.grad, rtol=1e-9, atol=1e-12)


def test_the_papers_gradient_by_hand() -> None:
    """The step of arXiv 2411.02837 on one filter, written as its sums, with signal and noise."""
    mu = normal(D, seed=4)
    xi, eps = normal(N, D, seed=5), 0.1 * normal(N, D, seed=6)
    labels = y[1]
    samples = torch.stack([labels[:, None] * mu, xi], 1)[None]
    view = torch.stack([labels[:, None] * mu, xi + eps], 1)[None]
    net = PatchEncoder(normal(1, M, D), Relu())
    W = net.W[0].detach()

    def h(r: int, x: Tensor) -> Tensor:
        return (W[r] @ x).clamp_min(0.0)

    def sim(a: Tensor, c: Tensor) -> Tensor:
        return sum(h(r, a[p]) * h(r, c[p]) for r in range(M) for p in range(2)) / M

    step = torch.zeros(D, dtype=torch.float64)
    r = 2
    for i in range(N):
        others = [j for j in range(N) if labels[j] != labels[i]]
        masses = [torch.exp(sim(samples[0, i], view[0, i]) / TAU)]
        masses += [torch.exp(sim(samples[0, i], samples[0, j]) / TAU) for j in others]
        own, *weights = (mass / sum(masses) for mass in masses)
        for p, x in ((0, labels[i] * mu), (1, xi[i])):
            if W[r] @ x > 0:
                step += (1 - own) * h(r, view[0, i, p]) * x
                for weight, j in zip(weights, others, strict=True):
                    step -= weight * h(r, samples[0, j, p]) * x
    step /= N * M * TAU
    negatives = opposite_labels(labels[None])
    gradient = single_modal_gradient(PATCHWISE, net, samples, view, negatives)
    torch.testing.assert_close(-gradient[0, r], step, rtol=1e-10, atol=1e-12)
    # the augmentation noise is detached: the gradient is in the span of mu and the noise vectors
    span = torch.linalg.qr(torch.cat([mu[None], xi[:3]]).mT).Q
    few = samples[:, :3], view[:, :3], torch.ones(1, 3, 3, dtype=torch.bool)
    inside = single_modal_gradient(PATCHWISE, net, *few)
    assert (inside - inside @ span @ span.mT).abs().max() < 1e-12
    leaking = single_modal_gradient(replace(PATCHWISE, stop_gradient=False), net, *few)
    assert (leaking - leaking @ span @ span.mT).abs().max() > 1e-4


def test_small_filters_take_a_step_of_the_power_method() -> None:
    """Lemma 5.1 of arXiv 2409.18685: -eta gradient = A w, A as derived in our reading."""
    net = PatchEncoder(1e-5 * normal(B, M, D), Linear())
    gradient = single_modal_gradient(SIMCLR, net, X, VIEW, other_points(y))
    A = power_matrix(X.sum(2), VIEW.sum(2), TAU)
    torch.testing.assert_close(-gradient, net.W.detach() @ A, rtol=1e-6, atol=1e-12)


def test_the_eigenvalue_transition() -> None:
    """n0 SNR^2 of 10: the first eigenvector is mu, eigenvalue 2 norm^2; of 0.1: it is not."""
    n, d = 60, 300
    labels, xi, fresh = torch.sign(normal(n)), normal(n, d, seed=1), normal(n, d, seed=2)
    e1 = torch.eye(d, dtype=torch.float64)[0]
    for target, aligned in ((10.0, True), (0.1, False)):
        mu = (target * d / n) ** 0.5 * e1
        z, view = (labels[:, None] * mu + noise * (1 - e1) for noise in (xi, fresh))
        values, vectors = torch.linalg.eigh(power_matrix(z[None], view[None], 1.0)[0])
        cosine = float(vectors[:, -1] @ e1)
        assert abs(cosine) > 0.9 if aligned else abs(cosine) < 0.3
        if aligned:
            assert float(values[-1]) == pytest.approx(2 * float(mu @ mu), rel=0.25)


def test_negatives() -> None:
    assert torch.equal(opposite_labels(y)[1, 0], torch.tensor([False] * 3 + [True] * 5))
    assert torch.equal(other_points(y)[0, 1], torch.arange(N) != 1)
    uniform = torch.rand(B, N, N, generator=Generator().manual_seed(0))
    few = at_most(opposite_labels(y), 2, uniform)
    assert (few.sum(-1) == 2).all()
    assert not (few & ~opposite_labels(y)).any()
    for b, i in ((0, 0), (1, 4)):
        candidates = torch.nonzero(opposite_labels(y)[b, i]).flatten()
        smallest = candidates[uniform[b, i, candidates].argsort()[:2]]
        assert set(torch.nonzero(few[b, i]).flatten().tolist()) == set(smallest.tolist())
    with pytest.raises(ValueError, match="n_negatives=4: pass 1 to 3"):
        at_most(opposite_labels(y), 4, uniform)


def test_an_anchor_without_negatives_has_loss_zero() -> None:
    net, nobody = encoder(), torch.zeros(B, N, N, dtype=torch.bool)
    assert (single_modal_loss(PATCHWISE, net, X, VIEW, nobody) == 0).all()
    assert (single_modal_gradient(PATCHWISE, net, X, VIEW, nobody) == 0).all()


def test_the_order_of_points_and_of_patches_does_not_matter() -> None:
    net = encoder()
    order = torch.randperm(N, generator=Generator().manual_seed(0))
    there = single_modal_gradient(PATCHWISE, net, X, VIEW, opposite_labels(y))
    for same in (
        single_modal_gradient(
            PATCHWISE, net, X[:, order], VIEW[:, order], opposite_labels(y[:, order])
        ),
        single_modal_gradient(PATCHWISE, net, X.flip(2), VIEW.flip(2), opposite_labels(y)),
    ):
        torch.testing.assert_close(same, there)


def test_patchwise_similarity_has_no_cross_terms() -> None:
    """With one patch alone in each sample, on different sides, nothing is alike."""
    h = torch.zeros(1, 1, 2, M, dtype=torch.float64)
    z = torch.zeros_like(h)
    h[..., 0, :], z[..., 1, :] = 1.0, 1.0
    zero = torch.zeros_like(h)
    negatives = torch.ones(1, 1, 1, dtype=torch.bool)
    log2 = torch.full((1,), 2.0).double().log()
    torch.testing.assert_close(PATCHWISE.loss(h, z, zero, negatives), log2)
    assert SIMCLR.loss(h, z, zero, negatives) < log2


def test_the_temperature_is_above_zero() -> None:
    with pytest.raises(ValueError, match=r"temperature=0\.0"):
        InfoNCE(0.0, "patchwise", True)
