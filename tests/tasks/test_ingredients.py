"""Each piece of the mixture prior does what its name says, and nothing where it is off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from statformer.tasks import ingredients
from statformer.tasks.stream import TaskStream

B, N, D, C = 60, 240, 4, 2
Y = (torch.arange(N) % C).expand(B, N)
NOISES = ("heavy_tails", "very_heavy_tails", "skew", "uniform")
ON, OFF = torch.ones(B, dtype=torch.bool), torch.zeros(B, dtype=torch.bool)


def stream(seed: int = 0) -> TaskStream:
    return TaskStream(seed, 0, range(B))


def noise(name: str | None) -> Tensor:
    on = {k: ON if k == name else OFF for k in NOISES}
    return ingredients.noise(stream(), Y, C, D, on)


def gaussian(seed: int = 9) -> Tensor:
    """Tables of two Gaussian clusters with correlated columns, "b n d"."""
    z = stream(seed).normal(N, D)
    z = z + 2.0 * z[..., :1]
    return z + 6.0 * Y[..., None]


def by_component(x: Tensor) -> np.ndarray:
    """Values "b c m" of each component of each table."""
    return torch.stack([x[:, Y[0] == k] for k in range(C)], dim=1).flatten(2).double().numpy()


def touched(name: str) -> np.ndarray:
    """Which components "b c" the noise changed."""
    return (by_component(noise(name)) != by_component(noise(None))).any(-1)


def changed_columns(before: Tensor, after: Tensor) -> Tensor:
    return (before != after).any(1)


# ---------------------------------------------------------------------------------------------
# Noise inside a component


def test_noise_is_gaussian_where_nothing_is_on() -> None:
    x = noise(None).double().numpy()
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("name", NOISES)
def test_two_thirds_of_the_components_are_touched(name: str) -> None:
    assert abs(touched(name).mean() - 2 / 3) < 0.15


def test_uniform_noise_fills_a_cube() -> None:
    x = by_component(noise("uniform"))[touched("uniform")]
    assert np.abs(x).max() <= math.sqrt(3.0) + 1e-6
    scaled = (x.ravel() / math.sqrt(3.0) + 1.0) / 2.0
    assert stats.kstest(scaled, "uniform").pvalue > 1e-3


def test_skewed_noise_is_skewed_to_either_side_with_mean_0_and_variance_1() -> None:
    pick = touched("skew")
    columns = noise("skew").double()
    skewness, means, variances = [], [], []
    for k in range(C):
        x = columns[:, Y[0] == k].numpy()[pick[:, k]]  # tables points columns
        skewness.append(stats.skew(x, axis=1))
        means.append(x.mean(1))
        variances.append(x.var(1))
    found = np.concatenate(skewness)
    plain = stats.skew(noise(None).double().numpy(), axis=1)
    assert np.median(np.abs(found)) > 5 * np.median(np.abs(plain))
    assert 0.3 < (found > 0).mean() < 0.7
    assert abs(np.concatenate(means).mean()) < 0.02
    assert abs(np.concatenate(variances).mean() - 1.0) < 0.15


def test_heavy_tails_are_heavier_than_gaussian_and_lighter_than_very_heavy() -> None:
    far = {
        name: (np.abs(by_component(noise(name))[touched(name)]) > 5.0).mean()
        for name in ("heavy_tails", "very_heavy_tails")
    }
    gauss = (np.abs(by_component(noise(None))) > 5.0).mean()
    assert gauss < 1e-5
    assert 1e-3 < far["heavy_tails"] < 0.02
    assert far["very_heavy_tails"] > 4 * far["heavy_tails"]


def test_a_heavy_tail_stretches_a_point_as_a_whole() -> None:
    """Student-t in all columns at once: one factor per point, so directions stay."""
    ratio = noise("heavy_tails") / noise(None)
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    assert (ratio > 0).all()


# ---------------------------------------------------------------------------------------------
# Covariances, centres, bends


def test_the_four_kinds_of_covariance_are_equally_frequent() -> None:
    d, c = 3, 3
    many = TaskStream(0, 0, range(800))
    A = ingredients.mixing_matrices(many, c, d).double()
    S = A @ A.mT
    eye = torch.eye(d, dtype=torch.float64)
    trace = torch.diagonal(S, dim1=-2, dim2=-1).mean(-1)
    is_diagonal = ((S * (1 - eye)).abs() < 1e-5).flatten(1).all(1)
    is_spherical = ((S - trace[..., None, None] * eye).abs() < 1e-5).flatten(1).all(1)
    is_tied = ((S - S[:, :1]).abs() < 1e-5).flatten(1).all(1) & ~is_diagonal
    kinds = [
        is_spherical,
        is_diagonal & ~is_spherical,
        is_tied,
        ~is_diagonal & ~is_tied,
    ]
    shares = [kind.double().mean().item() for kind in kinds]
    np.testing.assert_allclose(shares, [0.25] * 4, atol=0.06)
    assert (trace[is_tied] - 1.0).abs().max() < 1e-5
    values = torch.linalg.eigvalsh(S)
    assert (values[..., -1] / values[..., 0]).max() < 100.0 * 1.001
    assert (values[..., -1] / values[..., 0])[~is_spherical].max() > 20.0
    volumes = 0.5 * torch.log(trace[~is_tied])
    assert 0.1 < volumes.std() < 0.6


@pytest.mark.parametrize("d", [1, 2, 8])
def test_the_mean_nearest_distance_is_the_separation(d: int) -> None:
    present = torch.arange(5) < (2 + torch.arange(B) % 4)[:, None]
    separation = torch.linspace(1.0, 12.0, B)
    centres = ingredients.separated_centres(stream(), present, d, separation)
    for t in range(B):
        k = int(present[t].sum())
        apart = torch.cdist(centres[t, :k].double(), centres[t, :k].double())
        nearest = apart.fill_diagonal_(math.inf).amin(-1).mean()
        assert nearest.item() == pytest.approx(separation[t].item(), rel=1e-3)


def test_some_centres_lie_in_few_dimensions() -> None:
    present = torch.ones(B, 7, dtype=torch.bool)
    centres = ingredients.separated_centres(stream(), present, 6, torch.full((B,), 4.0))
    ranks = torch.linalg.matrix_rank(centres, rtol=1e-4)
    assert (ranks == 6).double().mean() > 0.4
    assert (ranks < 4).double().mean() > 0.1
    unused = (centres.abs() < 1e-6).all(1).sum(-1)
    assert ((ranks < 6) & (unused == 0)).any()  # some subspaces are turned,
    assert ((ranks < 6) & (unused == 6 - ranks)).any()  # some follow the columns


def test_a_bend_is_a_parabola_in_the_second_axis() -> None:
    z = stream(3).normal(N, D)
    bent = ingredients.bend(stream(), z, Y, C, ON)
    assert torch.equal(bent[..., 0], z[..., 0])
    assert torch.equal(bent[..., 2:], z[..., 2:])
    parabola = z[..., 0].clamp(-4, 4) ** 2 - 1.0
    amount = (bent - z)[..., 1] / parabola
    for k in range(C):
        own = amount[:, Y[0] == k]
        mostly = own.median(1, keepdim=True).values
        assert ((own - mostly).abs() < 0.05).double().mean() > 0.98  # one amount per component
        assert mostly.abs().max() <= 1.5
        assert mostly.std() > 0.5
    assert torch.equal(ingredients.bend(stream(), z, Y, C, OFF), z)
    line = z[..., :1]
    assert torch.equal(ingredients.bend(stream(), line, Y, C, ON), line)


# ---------------------------------------------------------------------------------------------
# Maps of the whole table


@pytest.mark.parametrize(
    "piece",
    [
        ingredients.smooth_map,
        ingredients.skewed_margins,
        ingredients.discretised,
        ingredients.irrelevant,
    ],
)
def test_a_piece_that_is_off_changes_nothing(piece) -> None:
    X = gaussian()
    assert torch.equal(piece(stream(), X, OFF), X)
    mixed = torch.arange(B) % 2 == 0
    some, every = piece(stream(), X, mixed), piece(stream(), X, ON)
    assert torch.equal(some[mixed], every[mixed])
    assert torch.equal(some[~mixed], X[~mixed])
    assert (every != X).flatten(1).any(1).double().mean() > 0.3


def test_the_smooth_map_is_a_function_of_the_row_smooth_and_not_affine() -> None:
    X = gaussian()
    X[:, 1] = X[:, 0]
    X[:, 3] = X[:, 2] + 1e-3
    mapped = ingredients.smooth_map(stream(), X, ON)
    torch.testing.assert_close(mapped[:, 1], mapped[:, 0])
    assert (mapped[:, 3] - mapped[:, 2]).abs().max() < 0.05
    residuals = []
    for t in range(B):
        A = torch.cat([X[t], torch.ones(N, 1)], dim=1).double()
        target = mapped[t].double()
        fitted = A @ torch.linalg.lstsq(A, target).solution
        residuals.append(((target - fitted).var() / target.var()).item())
    assert np.median(residuals) > 0.01
    assert min(residuals) > 1e-6


def test_skewed_margins_are_exponentials_of_two_thirds_of_the_columns() -> None:
    X = gaussian()
    after = ingredients.skewed_margins(stream(), X, ON)
    picked = changed_columns(X, after)
    assert abs(picked.double().mean() - 2 / 3) < 0.1
    columns, before = after.mT[picked].double(), X.mT[picked].double()
    assert (columns > 0).all()
    Z = torch.log(columns)
    rates = []
    for z, x in zip(Z, before, strict=True):
        slope, _, r, _, _ = stats.linregress(x.numpy(), z.numpy())
        assert abs(r) > 0.9999
        rates.append(slope)
    assert 0.65 < np.mean(np.array(rates) > 0) < 0.92
    skewness = stats.skew(columns.numpy(), axis=1)
    assert (skewness > 0).mean() > 0.95


def test_discretised_columns_have_few_values_in_the_same_order() -> None:
    X = gaussian()
    after = ingredients.discretised(stream(), X, ON)
    picked = changed_columns(X, after)
    assert abs(picked.double().mean() - 2 / 3) < 0.1
    columns, before = after.mT[picked], X.mT[picked]
    assert torch.equal(columns, columns.round())
    counts = torch.tensor([len(column.unique()) for column in columns])
    assert counts.max() <= 60
    assert counts.float().median() < 20
    assert len(X[0, :, 0].unique()) > 200
    order = before.argsort(dim=1)
    assert (torch.gather(columns, 1, order).diff(dim=1) >= 0).all()


def test_irrelevant_columns_know_nothing_and_one_column_always_stays() -> None:
    X = gaussian()
    after = ingredients.irrelevant(stream(), X, ON)
    picked = changed_columns(X, after)
    assert (~picked).any(1).all()
    assert 0.1 < picked.double().mean() < 0.3
    assert (picked.double().mean(0) > 0.05).all()  # not always the same column stays
    informed, noise_columns = [], []
    for t in range(B):
        for j in range(D):
            r = abs(np.corrcoef(after[t, :, j], Y[t])[0, 1])
            (noise_columns if picked[t, j] else informed).append(r)
    assert np.mean(noise_columns) < 0.1
    assert max(noise_columns) < 0.35
    assert np.mean(informed) > 0.5
    single = ingredients.irrelevant(stream(), X[..., :1], ON)
    assert torch.equal(single, X[..., :1])


def test_outliers_are_few_far_and_without_a_component() -> None:
    X = gaussian()
    after, y = ingredients.outliers(stream(), X, Y, ON)
    out = y == -1
    share = out.double().mean(1)
    assert 0.03 < share.mean() < 0.08
    assert share.max() < 0.16
    assert torch.equal(after[~out], X[~out])
    assert torch.equal(y[~out], Y[~out])
    low, high = X.amin(1), X.amax(1)
    middle, half = ((low + high) / 2)[:, None], ((high - low) / 2)[:, None]
    place = ((after - middle) / half).abs().amax(-1)
    assert place[out].max() <= 3.0
    assert (place[out] > 1.0).double().mean() > 0.4  # many outside the box of the data
    assert (place[~out] <= 1.0 + 1e-5).all()
    same, labels = ingredients.outliers(stream(), X, Y, OFF)
    assert torch.equal(same, X)
    assert torch.equal(labels, Y)


def test_log_uniform_is_uniform_in_the_logarithm() -> None:
    draws = ingredients.log_uniform(stream(), 0.1, 10.0, 200).double().numpy().ravel()
    assert draws.min() > 0.1
    assert draws.max() < 10.0
    logs = (np.log10(draws) + 1.0) / 2.0
    assert stats.kstest(logs, "uniform").pvalue > 1e-3


def test_standardised_columns_survive_a_constant_and_a_heavy_tail() -> None:
    X = gaussian()
    X[:, :, 1] = 4.0
    X[:, 0, 2] = 1e5
    Z = ingredients.standardised(X)
    assert Z.isfinite().all()
    assert not Z[..., 1].any()
    torch.testing.assert_close(Z[..., 0].abs().mean(1), torch.full((B,), 0.8))
    assert Z[..., 0].median(1).values.abs().max() == 0.0
