"""The data model of signal and noise patches: what the docstrings say it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from statformer.tasks.patch_views import diffused, with_added_noise, with_fresh_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.signal_strength import strength
from statformer.tasks.stream import TaskStream

PRIORS = {
    "antipodal": SignalNoisePrior(40, 30, signal_norm=2.0, sigma=0.5),
    "orthogonal": SignalNoisePrior(40, 30, n_snr2=3.0, sigma=0.5, kind="orthogonal", axis=None),
    "tokens": SignalNoisePrior(
        40, 30, n_snr2=3.0, sigma=0.5, n_patches=5, shuffled=True, label_flip=0.2, axis=None
    ),
    "not projected": SignalNoisePrior(40, 30, signal_norm=2.0, n_snr2=3.0, projected=False),
}


def stream(tasks: range = range(6), step: int = 0) -> TaskStream:
    return TaskStream(3, step, tasks, dtype=torch.float64)


@pytest.mark.parametrize("name", PRIORS)
def test_a_task_does_not_depend_on_the_batch_around_it(name: str) -> None:
    whole, part = PRIORS[name].sample(stream()), PRIORS[name].sample(stream(range(3, 5)))
    for field in ("X", "y", "clean_y", "signal", "noise", "place"):
        torch.testing.assert_close(getattr(whole, field)[3:5], getattr(part, field))
    assert not torch.isclose(whole.noise[3], whole.noise[4]).all(-1).any()


@pytest.mark.parametrize("name", PRIORS)
def test_patches_are_the_parts_they_were_made_of(name: str) -> None:
    batch = PRIORS[name].sample(stream())
    for b in range(6):
        for i in range(40):
            patches = [batch.signal[b, int(batch.clean_y[b, i] > 0)], *batch.noise[b, i]]
            at = int(batch.place[b, i])
            patches[0], patches[at] = patches[at], patches[0]
            torch.testing.assert_close(batch.X[b, i], torch.stack(patches), rtol=0.0, atol=0.0)
    assert set(batch.y.flatten().tolist()) == {-1.0, 1.0}
    if not PRIORS[name].shuffled:
        assert (batch.place == 0).all()


def test_signals_lie_as_their_kind_says() -> None:
    antipodal = PRIORS["antipodal"].signals(stream())
    torch.testing.assert_close(antipodal[:, 0], -antipodal[:, 1])
    torch.testing.assert_close(antipodal[:, 1], 2.0 * torch.eye(30).double()[:1].expand(6, 30))
    orthogonal = PRIORS["orthogonal"].signals(stream())
    norm = PRIORS["orthogonal"].strength.signal_norm
    gram = orthogonal @ orthogonal.mT
    torch.testing.assert_close(gram, (norm**2 * torch.eye(2).double()).expand(6, 2, 2))
    second = SignalNoisePrior(4, 9, signal_norm=3.0, sigma=1.0, kind="orthogonal", axis=5)
    torch.testing.assert_close(second.signals(stream())[0], 3.0 * torch.eye(9).double()[5:7])


def test_a_random_direction_is_uniform() -> None:
    prior = SignalNoisePrior(1, 3, signal_norm=1.0, sigma=1.0, axis=None)
    mu = prior.signals(stream(range(4000)))[:, 1]
    assert mu.mean(0).abs().max() < 0.04
    torch.testing.assert_close(mu.T @ mu / 4000, torch.eye(3).double() / 3, atol=0.03, rtol=0.0)


@pytest.mark.parametrize("name", PRIORS)
def test_noise_has_its_covariance(name: str) -> None:
    prior = replace(PRIORS[name], n_features=4)
    batch = prior.around(prior.signals(stream(range(2))), 60_000, stream(range(2), step=1))
    sigma2 = prior.strength.sigma**2
    for b in range(2):
        xi = batch.noise[b].reshape(-1, 4)
        u = torch.nn.functional.normalize(batch.signal[b], dim=-1)
        basis = u[1:] if prior.kind == "antipodal" else u
        off = basis.mT @ basis if prior.projected else 0.0
        Sigma = sigma2 * (torch.eye(4).double() - off)
        torch.testing.assert_close(xi.mT @ xi / len(xi), Sigma, atol=0.03 * sigma2, rtol=0.0)
        if prior.projected:
            assert (xi @ basis.mT).abs().max() < 1e-12
    flips = (batch.y != batch.clean_y).double().mean()
    assert abs(float(flips) - prior.label_flip) < 0.005
    if prior.shuffled:
        counts = torch.bincount(batch.place.flatten(), minlength=prior.n_patches)
        assert ((counts / 120_000 - 1 / prior.n_patches).abs() < 0.005).all()


def test_identities_of_high_dimension() -> None:
    """Lemmas B.4 and B.5 of arXiv 2411.02837, with delta = 1e-3 each."""
    n, d, m, delta, sigma0 = 40, 2000, 50, 1e-3, 0.01
    prior = SignalNoisePrior(n, d, signal_norm=5.0, sigma=1.5, projected=False)
    batch = prior.sample(stream(range(3)))
    xi, mu = batch.noise[:, :, 0], batch.signal[:, 1]
    sigma, norm = prior.strength.sigma, prior.strength.signal_norm
    squares = xi.square().sum(-1) / (sigma**2 * d)
    assert ((squares >= 0.5) & (squares <= 1.5)).all()
    cross = (xi @ xi.mT).abs() * (1 - torch.eye(n))
    assert cross.max() <= 2 * sigma**2 * math.sqrt(d * math.log(6 * n**2 / delta))
    along = torch.einsum("bnd,bd->bn", xi, mu).abs()
    assert along.max() <= norm * sigma * math.sqrt(2 * math.log(6 * n / delta))
    assert along.max() > 0.1  # not projected
    W = sigma0 * stream(range(3), step=1).normal(m, d)
    largest = torch.einsum("bmd,bd->bm", W, mu).amax(-1)
    assert (largest >= sigma0 * norm / 2).all()
    assert (largest <= math.sqrt(2 * math.log(8 * m / delta)) * sigma0 * norm).all()
    largest = (W @ xi.mT).amax(1)
    unit = sigma0 * sigma * math.sqrt(d)
    assert (largest >= unit / 4).all()
    assert (largest <= 2 * math.sqrt(math.log(8 * m * n / delta)) * unit).all()
    positive = (batch.clean_y > 0).sum(-1)
    assert ((positive - n / 2).abs() <= math.sqrt(n / 2 * math.log(4 / delta))).all()


@pytest.mark.parametrize(("norm", "n_snr2"), [(5.0, 0.75), (15.0, 6.75)], ids=["low", "high"])
def test_strength_from_any_two_of_three(norm: float, n_snr2: float) -> None:
    """The two settings of arXiv 2412.01021, filled with n = 30 and d = 1000."""
    by_norms = SignalNoisePrior(30, 1000, signal_norm=norm, sigma=1.0)
    assert by_norms.n_snr() == pytest.approx(n_snr2, rel=1e-12)
    assert by_norms.n_snr(4.0) == pytest.approx(n_snr2**2 / 30, rel=1e-12)
    by_sigma = SignalNoisePrior(30, 1000, n_snr2=n_snr2, sigma=1.0)
    by_signal = SignalNoisePrior(30, 1000, n_snr2=n_snr2, signal_norm=norm)
    for prior in (by_sigma, by_signal):
        assert prior.strength == pytest.approx((norm, 1.0), rel=1e-12)
    assert replace(by_sigma, n_points=120).strength.signal_norm == pytest.approx(norm / 2)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((None, 1.0, None), "under-specified; pass exactly two"),
        ((None, None, None), "under-specified"),
        ((5.0, 1.0, 0.75), "over-specified; pass exactly two"),
        ((-1.0, 1.0, None), "signal_norm=-1.0: pass a finite number"),
        ((None, 1.0, math.nan), "n_snr2=nan: pass a finite number"),
        ((1.0, 0.0, None), "sigma=0.0: pass a finite number above 0"),
        ((1.0, None, 0.0), "a value of 0 leaves sigma open"),
        ((0.0, None, 1.0), "a value of 0 leaves sigma open"),
    ],
)
def test_a_strength_that_cannot_be_told_is_refused(given: tuple[float, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        strength(30, 1000, *given)


def test_no_signal_at_all_is_a_model() -> None:
    batch = SignalNoisePrior(10, 6, signal_norm=0.0, sigma=1.0, kind="orthogonal").sample(stream())
    assert (batch.X[:, :, 0] == 0).all()
    assert (batch.noise.square().sum(-1) > 0).all()


def test_signals_out_of_distribution() -> None:
    prior = SignalNoisePrior(10, 50, signal_norm=5.0, sigma=1.0, axis=None, projected=False)
    mu = prior.signals(stream())
    same = prior.shifted(mu, 2.0, 1.0, stream(step=1))
    torch.testing.assert_close(same, 0.4 * mu)
    nu = prior.shifted(mu, 2.0, 0.3, stream(step=1))
    torch.testing.assert_close(nu[:, 0], -nu[:, 1])
    torch.testing.assert_close(nu[:, 1].norm(dim=-1), torch.full((6,), 2.0).double())
    cosine = torch.cosine_similarity(nu[:, 1], mu[:, 1], dim=-1)
    torch.testing.assert_close(cosine, torch.full((6,), 0.3).double())
    test = prior.around(nu, 70, stream(step=2))
    torch.testing.assert_close(test.X[:, :, 0], test.y[..., None] * nu[:, None, 1])


def test_views_change_the_noise_alone() -> None:
    prior = PRIORS["tokens"]
    batch = prior.sample(stream())
    near = with_added_noise(batch, 0.1, stream(step=1))
    fresh = with_fresh_noise(batch, prior, stream(step=2))
    assert (near.noise - batch.noise).std() == pytest.approx(0.1, rel=0.02)
    both = torch.stack([fresh.noise.flatten(), batch.noise.flatten()])
    assert torch.corrcoef(both)[0, 1].abs() < 0.02
    assert fresh.noise.std() == pytest.approx(float(batch.noise.std()), rel=0.02)
    for view in (near, fresh):
        torch.testing.assert_close(view.y, batch.y)
        at = batch.place[..., None, None].expand(6, 40, 1, 30)
        torch.testing.assert_close(view.X.gather(2, at), batch.X.gather(2, at))
    assert (torch.einsum("bnkd,bd->bnk", fresh.noise, batch.signal[:, 1]).abs() < 1e-12).all()
    torch.testing.assert_close(batch.with_noise(batch.noise).X, batch.X)


def test_noised_copies_keep_what_a_denoiser_is_to_find() -> None:
    X = PRIORS["orthogonal"].sample(stream()).X
    noised = diffused(X, 0.8, 0.6, stream(step=1))
    torch.testing.assert_close(noised.X, 0.8 * X + 0.6 * noised.eps)
    assert noised.eps.std() == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_patches": 1}, "n_patches=1"),
        ({"label_flip": 0.5}, r"label_flip=0\.5"),
        ({"axis": 30}, "axis=30: pass 0 to 29"),
        ({"axis": 29, "kind": "orthogonal"}, "axis=29: pass 0 to 28"),
        ({"n_features": 1, "kind": "orthogonal"}, "orthogonal signals need 2"),
    ],
)
def test_errors_name_the_remedy(options: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(PRIORS["antipodal"], **options)


def test_shifts_and_views_refuse_what_has_no_meaning() -> None:
    prior = PRIORS["antipodal"]
    mu = prior.signals(stream())
    with pytest.raises(ValueError, match="only an antipodal"):
        PRIORS["orthogonal"].shifted(mu, 1.0, 1.0, stream())
    with pytest.raises(ValueError, match=r"cosine=1\.5"):
        prior.shifted(mu, 1.0, 1.5, stream())
    with pytest.raises(ValueError, match="sigma_eps=-1"):
        with_added_noise(prior.sample(stream()), -1.0, stream())
