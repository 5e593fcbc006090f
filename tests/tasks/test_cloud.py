"""Pieces that act on the cloud: weights, spectra, an invertible map, background noise."""

from __future__ import annotations

import numpy as np
import torch

from statformer.tasks import cloud
from statformer.tasks.stream import TaskStream

B = 64


def stream() -> TaskStream:
    return TaskStream(3, 0, range(B))


def test_imbalanced_weights_are_uneven_but_leave_nobody_empty() -> None:
    weights = torch.full((B, 6), 0.2)
    weights[:, 5] = 0.0
    tilted = cloud.imbalanced(stream(), weights, 400)
    torch.testing.assert_close(tilted.sum(-1), torch.ones(B))
    assert (tilted[:, 5] == 0).all()
    assert (tilted[:, :5] > 0.0075).all()
    ratio = tilted[:, :5].amax(-1) / tilted[:, :5].amin(-1)
    assert ratio.median() > 8
    assert ratio.max() < 400


def test_the_spectrum_is_wide_and_separation_as_mahalanobis_sees_it_stays() -> None:
    d = 5
    A = torch.eye(d).expand(B, 3, d, d).contiguous()
    means = TaskStream(1, 0, range(B)).normal(3, d)
    moved, M = cloud.wide_spectrum(stream(), means, A)
    covariance = (M @ M.mT)[:, 0].double()
    values = torch.linalg.eigvalsh(covariance)
    condition = values[:, -1] / values[:, 0]
    assert condition.min() > 9
    assert condition.max() > 2000
    assert condition.max() < 1.1 * cloud.LARGEST_CONDITION
    torch.testing.assert_close(
        values.mean(-1), torch.ones(B, dtype=torch.float64), rtol=1e-3, atol=0
    )
    along = ~(moved == means).all(-1).all(-1)
    assert 0.3 < along.double().mean() < 0.7
    apart = (moved[:, 0] - moved[:, 1]).double()
    mahalanobis = torch.einsum("bi,bij,bj->b", apart, torch.linalg.inv(covariance), apart)
    plain = (means[:, 0] - means[:, 1]).double().square().sum(-1)
    torch.testing.assert_close(mahalanobis[along], plain[along], rtol=0.02, atol=1e-3)


def test_the_coupled_map_is_smooth_and_sends_no_two_points_to_one() -> None:
    X = TaskStream(1, 0, range(B)).normal(300, 4)
    Y = cloud.coupled_map(stream(), X)
    assert Y.isfinite().all()
    nearest = torch.cdist(Y, Y) + 1e3 * torch.eye(300)
    before = torch.cdist(X, X) + 1e3 * torch.eye(300)
    assert (nearest.amin(-1) > 0.02 * before.amin(-1)).all()
    # it bends: the best linear map of X does not give Y
    design = torch.cat([X, torch.ones(B, 300, 1)], -1).double()
    fitted = design @ torch.linalg.lstsq(design, Y.double()).solution
    unexplained = (Y - fitted).square().sum((1, 2)) / (Y - Y.mean(1, keepdim=True)).square().sum(
        (1, 2)
    )
    assert unexplained.median() > 0.05
    # smooth: moving a point a little moves its image a little
    step = 1e-3
    shifted = cloud.coupled_map(stream(), torch.cat([X[:, :1] + step, X[:, 1:]], 1))
    assert (shifted - Y)[:, 0].abs().max() < 100 * step


def test_background_is_at_most_a_fifth_and_inside_the_data() -> None:
    X = TaskStream(1, 0, range(B)).normal(500, 3)
    y = torch.zeros(B, 500, dtype=torch.int64)
    moved, labels = cloud.background(stream(), X, y)
    share = (labels < 0).double().mean(-1)
    assert share.min() > 0.005
    assert share.max() < 0.27
    assert share.max() > 0.15
    assert torch.equal((moved != X).any(-1), labels < 0)
    noise = moved[labels < 0]
    assert noise.abs().max() < 4.0
    kurtosis = (noise**4).mean(0) / (noise**2).mean(0) ** 2
    assert np.allclose(kurtosis.numpy(), 1.8, atol=0.25)  # uniform
