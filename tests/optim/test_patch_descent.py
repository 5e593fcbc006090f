from __future__ import annotations

import pytest
import torch
from torch import Tensor

from statformer.nn.vision import TrainedHeadClassifier
from statformer.objectives.logistic import logistic_loss, trained_head_gradient
from statformer.optim.descent import descend
from statformer.optim.patch_descent import PatchProducts, descend_patches
from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream

N, D, M = 12, 60, 6
NORMS = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)
SIZES = torch.tensor([0.05, 0.05, 0.02], dtype=torch.float64)


def drawn(projected: bool = True, label_flip: float = 0.2) -> tuple[PatchBatch, Tensor]:
    stream = TaskStream(3, 0, range(1), dtype=torch.float64)
    prior = SignalNoisePrior(
        N, D, signal_norm=1.0, sigma=1.0, axis=None, projected=projected, label_flip=label_flip
    )
    batch = prior.sample(stream)
    assert bool((batch.y != batch.clean_y).any())
    return batch, 0.05 * stream.normal(M, D)


def products_of(batch: PatchBatch, W: Tensor) -> PatchProducts:
    return PatchProducts.of(
        batch.signal[0, 1], batch.noise[0, :, 0], W[0], batch.y[0], batch.clean_y[0]
    )


def plain(
    batch: PatchBatch, W: Tensor, run: int, v0: float, n_steps: int, head_speed: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Filters, second layer and loss of one run in d features."""
    signal = NORMS[run] * batch.clean_y[..., None] * batch.signal[:, 1]
    X = torch.stack([signal, batch.noise[:, :, 0]], dim=2)
    network = TrainedHeadClassifier.from_scale(W.clone(), v0)
    sizes = {"W": SIZES[run, None], "v": head_speed * SIZES[run, None]}
    descend(network, lambda: trained_head_gradient(network, X, batch.y), sizes, n_steps)
    loss = logistic_loss(network(X), batch.y).detach()
    return network.W.detach()[0], network.v.detach()[0], loss[0]


def heads(v0: float) -> Tensor:
    signs = torch.ones(M, dtype=torch.float64)
    signs[M // 2 :] = -1.0
    return (v0 * signs).repeat(len(NORMS), 1)


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize(("v0", "head_speed"), [(1.0, 1.0), (0.01, 1.0), (0.2, 0.0)])
def test_it_walks_beside_plain_descent(projected: bool, v0: float, head_speed: float) -> None:
    batch, W = drawn(projected)
    products = products_of(batch, W)
    vectors = torch.cat([batch.signal[0, 1:], batch.noise[0, :, 0]])
    for n_steps in (0, 1, 2, 120):
        found = descend_patches(products, NORMS, heads(v0), SIZES, n_steps, head_speed=head_speed)
        G = found.filters(products)
        assert found.n_steps.tolist() == [n_steps] * 3
        for run in range(3):
            filters, v, loss = plain(batch, W, run, v0, n_steps, head_speed)
            torch.testing.assert_close(found.Z[:, run], vectors @ filters.mT, rtol=0, atol=1e-8)
            torch.testing.assert_close(found.v[run], v, rtol=0, atol=1e-8)
            torch.testing.assert_close(found.loss[run], loss, rtol=0, atol=1e-8)
            torch.testing.assert_close(G[run], filters @ filters.mT, rtol=0, atol=1e-8)


def test_a_run_ends_at_its_loss_and_the_others_are_not_disturbed() -> None:
    batch, W = drawn(label_flip=0.2)
    products = products_of(batch, W)
    found = descend_patches(products, NORMS, heads(0.3), SIZES, 4000, until=0.1)
    assert len(set(found.n_steps.tolist())) == 3
    assert bool((found.loss <= 0.1).all())
    for run, n_steps in enumerate(found.n_steps.tolist()):
        _, v, loss = plain(batch, W, run, 0.3, n_steps)
        torch.testing.assert_close(found.v[run], v, rtol=0, atol=1e-8)
        torch.testing.assert_close(found.loss[run], loss, rtol=0, atol=1e-8)
        assert float(plain(batch, W, run, 0.3, n_steps - 1)[2]) > 0.1


def test_single_precision_loses_little() -> None:
    batch, W = drawn()
    exact = products_of(batch, W)
    found = [
        descend_patches(products, NORMS, heads(0.3), SIZES, 300)
        for products in (exact, exact.to(torch.float32))
    ]
    assert found[1].Z.dtype == torch.float32
    torch.testing.assert_close(found[1].Z.double(), found[0].Z, rtol=0, atol=1e-3)


def test_a_run_that_diverges_ends_and_says_so() -> None:
    batch, W = drawn()
    sizes = torch.tensor([0.05, 1e200, 0.05], dtype=torch.float64)
    products = products_of(batch, W)
    found = descend_patches(products, NORMS, heads(0.3), sizes, 50)
    assert torch.isfinite(found.loss).tolist() == [True, False, True]
    assert int(found.n_steps[1]) < 50
    alone = descend_patches(products, NORMS[:1], heads(0.3)[:1], sizes[:1], 50)
    torch.testing.assert_close(found.Z[:, :1], alone.Z, rtol=0, atol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    batch, W = drawn()
    with pytest.raises(ValueError, match="3 signal_norms, 1 rows of v and 3 step_sizes"):
        descend_patches(products_of(batch, W), NORMS, heads(0.3)[:1], SIZES, 1)
    with pytest.raises(ValueError, match="12 points of 5 features"):
        PatchProducts.of(
            batch.signal[0, 1, :5],
            batch.noise[0, :, 0, :5],
            W[0, :, :5],
            batch.y[0],
            batch.clean_y[0],
        )
