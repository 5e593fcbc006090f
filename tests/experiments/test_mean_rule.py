from __future__ import annotations

import pytest
import torch

from statformer.experiments._mean_rule import mean_rule_error
from statformer.optim.patch_descent import PatchProducts
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream


@pytest.mark.parametrize("projected", [True, False])
def test_its_error_is_that_of_fresh_samples(projected: bool) -> None:
    n, d, n_test = 15, 60, 40_000
    stream = TaskStream(0, 0, range(1), dtype=torch.float64)
    prior = SignalNoisePrior(
        n, d, signal_norm=1.0, sigma=1.0, axis=None, projected=projected, label_flip=0.2
    )
    batch = prior.sample(stream)
    u, xi = batch.signal[0, 1], batch.noise[0, :, 0]
    y, signs = batch.y[0], batch.clean_y[0]
    products = PatchProducts.of(u, xi, torch.zeros(2, d, dtype=torch.float64), y, signs)
    norms = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64)
    found = mean_rule_error(products, norms, projected=projected)
    fresh = prior.around(batch.signal, n_test, stream)
    for norm, error in zip(norms, found.tolist(), strict=True):
        w = y @ (norm * signs[:, None] * u + xi)
        truth = fresh.clean_y[0]
        f = norm * truth * (u @ w) + fresh.noise[0, :, 0] @ w
        wrong = float((f * truth <= 0).double().mean())
        assert error == pytest.approx(wrong, abs=4 * (0.25 / n_test) ** 0.5)
    assert found[0] > 0.3
    assert found[2] < 0.1
