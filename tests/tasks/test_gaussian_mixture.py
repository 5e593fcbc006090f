"""The priors of mixtures: reproducible, separable piece by piece, and with the truth attached."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from statformer.batch import TaskBatch
from statformer.tasks.gaussian_mixture import (
    RATES,
    GaussianMixturePrior,
    PaperMixturePrior,
    TGMMPrior,
    compact,
    posterior,
)
from statformer.tasks.stream import TaskStream

PRIORS = {
    "ours": GaussianMixturePrior(n_points=(40, 120), n_features=(2, 6), n_components=(1, 6)),
    "paper": PaperMixturePrior(n_points=60),
    "tgmm": TGMMPrior(n_points=60, n_features=3),
}
SMALL = PRIORS["ours"]
PLAIN = GaussianMixturePrior(
    n_points=(200, 200), n_features=(2, 2), n_components=(2, 4), separation=(3.0, 3.0)
).only()


def sample(prior: object, step: int = 0, tasks: range = range(16), seed: int = 0) -> TaskBatch:
    return prior.sample(TaskStream(seed, step, tasks))


# ---------------------------------------------------------------------------------------------
# Reproducible draws


@pytest.mark.parametrize("name", PRIORS)
def test_the_same_stream_gives_the_same_batch(name: str) -> None:
    one, two = sample(PRIORS[name]), sample(PRIORS[name])
    assert torch.equal(one.X, two.X)
    assert torch.equal(one.y, two.y)
    for key, value in one.latent.items():
        assert torch.equal(value, two.latent[key]), key
    for other in (sample(PRIORS[name], step=1), sample(PRIORS[name], seed=1)):
        sums = [batch.latent["means"].abs().flatten(1).sum(-1) for batch in (one, other)]
        assert not torch.isin(*sums).any()


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("tasks", [range(5, 9), range(15, 16), range(3, 16, 4)])
def test_a_task_does_not_depend_on_the_batch_around_it(name: str, tasks: range) -> None:
    for step in range(3):
        whole, part = sample(PRIORS[name], step), sample(PRIORS[name], step, tasks)
        rows = list(tasks)
        assert torch.equal(part.y, whole.y[rows])
        assert torch.equal(part.n_components, whole.n_components[rows])
        torch.testing.assert_close(part.X, whole.X[rows], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            part.latent["means"], whole.latent["means"][rows], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", PRIORS)
def test_labels_count_the_components_that_own_points(name: str) -> None:
    for step in range(5):
        batch = sample(PRIORS[name], step)
        for y, there, count in zip(batch.y, batch.is_point, batch.n_components, strict=True):
            found = y[there & (y >= 0)].unique()
            if name == "ours":  # the other two never renumber: an empty component is rare there
                assert found.tolist() == list(range(int(count)))
            assert set(found.tolist()) <= set(range(int(count)))
            assert (y[~there] == -1).all()


# ---------------------------------------------------------------------------------------------
# Ranges


def test_sizes_stay_in_their_ranges_and_vary() -> None:
    sizes = []
    for step in range(60):
        batch = sample(SMALL, step, range(3))
        b, n, d = batch.X.shape
        c = batch.latent["weights"].shape[1]
        assert b == 3
        assert 40 <= n <= 120
        assert 2 <= d <= 6
        assert 1 <= c <= 6
        present = (batch.latent["weights"] > 0).sum(-1)
        assert (present <= c).all()
        assert ((present >= (c + 1) // 2) | (present == 1)).all()
        assert (batch.n_components <= present).all()
        assert batch.is_point.all()
        assert batch.is_feature.all()
        sizes.append((n, d, c))
    n, d, c = zip(*sizes, strict=True)
    assert set(d) == set(range(2, 7))
    assert set(c) == set(range(1, 7))
    assert min(n) < 50
    assert max(n) > 100


def test_one_component_in_ten_where_the_range_allows_it() -> None:
    prior = replace(SMALL, n_components=(1, 6))
    seen, eligible = 0, 0
    for step in range(24):
        batch = sample(prior, step, range(96))
        if batch.latent["weights"].shape[1] < 4:
            continue  # K = 1 comes without the rule too
        eligible += 96
        seen += int(((batch.latent["weights"] > 0).sum(-1) == 1).sum())
    assert eligible > 300
    assert 0.06 < seen / eligible < 0.15
    for step in range(4):
        weights = sample(replace(SMALL, n_components=(2, 6)), step, range(64)).latent["weights"]
        assert ((weights > 0).sum(-1) >= 2).all()


def test_the_cell_budget_cuts_long_tables_only() -> None:
    wide = GaussianMixturePrior(n_features=(40, 40), n_components=(15, 15), cell_budget=None)
    stream = range(2)
    free = [sample(wide, step, stream).X.shape[1] for step in range(8)]
    cut = [sample(replace(wide, cell_budget=100_000), step, stream).X.shape[1] for step in range(8)]
    assert max(free) > 200
    assert max(cut) <= max(4 * 15, 100_000 / (15 * 40 * 3.5))
    assert min(cut) >= 4 * 15
    small = GaussianMixturePrior(n_features=(2, 2), n_components=(2, 2), cell_budget=None)
    assert [sample(small, s, stream).X.shape for s in range(8)] == [
        sample(replace(small, cell_budget=100_000), s, stream).X.shape for s in range(8)
    ]


@pytest.mark.parametrize(("n", "d", "c"), [(20, 1, 5), (1000, 2, 2), (100, 64, 20), (20, 3, 1)])
def test_the_ends_of_the_ranges_work(n: int, d: int, c: int) -> None:
    prior = GaussianMixturePrior((n, n), (d, d), (c, c), cell_budget=None)
    batch = sample(prior, tasks=range(3))
    assert batch.X.shape == (3, n, d)
    assert batch.X.isfinite().all()


def test_all_ingredients_together_stay_finite() -> None:
    for step in range(4):
        assert sample(SMALL.only(*RATES), step).X.isfinite().all()


# ---------------------------------------------------------------------------------------------
# Ingredients taken out and put in


@pytest.mark.parametrize("name", RATES)
def test_without_leaves_other_tables_as_they_were_to_the_bit(name: str) -> None:
    changed = 0
    for step in range(4):
        full, less = sample(SMALL, step), sample(SMALL.without(name), step)
        off = ~full.latent[name]
        assert torch.equal(full.X[off], less.X[off])
        assert torch.equal(full.y[off], less.y[off])
        assert not less.latent[name].any()
        for other in set(RATES) - {name}:
            assert torch.equal(full.latent[other], less.latent[other])
        changed += int((full.X != less.X).flatten(1).any(-1).sum())
    assert changed > 0


@pytest.mark.parametrize("name", RATES)
def test_only_turns_an_ingredient_on_everywhere(name: str) -> None:
    changed = n_tables = 0
    for step in range(3):
        one, none = sample(SMALL.only(name), step), sample(SMALL.only(), step)
        assert one.latent[name].all()
        assert not any(one.latent[other].any() for other in set(RATES) - {name})
        assert none.latent["is_gaussian"].all()
        assert not one.latent["is_gaussian"].any()
        changed += int((one.X != none.X).flatten(1).any(-1).sum())
        n_tables += len(one.X)
    assert changed > 0.3 * n_tables  # a piece may pick none of the components or columns


def test_rates_are_rates() -> None:
    tables = 128 * 8
    seen = dict.fromkeys(RATES, 0)
    for step in range(8):
        latent = sample(SMALL, step, range(128)).latent
        for name in RATES:
            seen[name] += int(latent[name].sum())
    for name, rate in RATES.items():
        assert abs(seen[name] / tables - rate) < 4 * math.sqrt(rate * (1 - rate) / tables), name


def test_unknown_ingredients_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown ingredients \['spice'\]; choose from"):
        SMALL.without("spice")
    with pytest.raises(ValueError, match=r"unknown ingredients \['spice'\]; choose from"):
        SMALL.only("skew", "spice")
    with pytest.raises(ValueError, match=r"rates has unknown ingredients \['spice'\]; use"):
        GaussianMixturePrior(rates={"spice": 0.5})


# ---------------------------------------------------------------------------------------------
# The Bayes-optimal posterior


def complete(batch: TaskBatch) -> torch.Tensor:
    """Tables in which every component owns points, so that y was not renumbered."""
    return batch.n_components == (batch.latent["weights"] > 0).sum(-1)


def test_the_posterior_is_scipys() -> None:
    batch = sample(PLAIN, tasks=range(3))
    P = posterior(batch)
    for t in range(3):
        weights = batch.latent["weights"][t].double().numpy()
        joint = np.stack(
            [
                weight * stats.multivariate_normal(mean, covariance).pdf(batch.X[t].double())
                for weight, mean, covariance in zip(
                    weights,
                    batch.latent["means"][t].double().numpy(),
                    batch.latent["covariances"][t].double().numpy(),
                    strict=True,
                )
            ],
            axis=1,
        )
        np.testing.assert_allclose(P[t], joint / joint.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("name", ["ours", "paper", "tgmm"])
def test_the_posterior_is_calibrated(name: str) -> None:
    """Whoever states the posterior is right as often as it says: on every level of confidence."""
    prior = {
        "ours": PLAIN,
        "paper": PaperMixturePrior(separation=(1.0, 3.0), sigma=2.0),
        "tgmm": TGMMPrior(n_points=200, n_features=1),
    }[name]
    confidence, right = [], []
    for step in range(3):
        batch = sample(prior, step, range(64))
        P = posterior(batch)
        torch.testing.assert_close(P.sum(-1), torch.ones_like(P[..., 0]))
        there = batch.is_point.clone()
        if name == "ours":
            there &= complete(batch)[:, None]
        top = P.max(-1)
        confidence.append(top.values[there])
        right.append((top.indices == batch.y)[there].double())
    sure, hit = torch.cat(confidence), torch.cat(right)
    assert len(sure) > 5000
    for low, high in ((0.0, 0.6), (0.6, 0.9), (0.9, 0.999), (0.0, 1.1)):
        pick = (sure >= low) & (sure < high)
        assert pick.sum() > 100
        gap = (hit - sure)[pick]
        assert abs(gap.mean()) < 4.5 * gap.std() / math.sqrt(len(gap)), (low, high)


def test_the_bayes_error_falls_with_separation() -> None:
    errors = []
    for separation in (0.5, 1.5, 3.0, 6.0, 12.0):
        prior = replace(PLAIN, separation=(separation, separation))
        batch = sample(prior, tasks=range(64))
        wrong = (posterior(batch).argmax(-1) != batch.y).double().mean(-1)
        errors.append(wrong[complete(batch)].mean().item())
    assert (np.diff(errors) < 0).all()
    assert errors[0] > 0.25
    assert errors[-1] < 0.03


def test_no_rule_beats_the_posterior() -> None:
    batch = sample(PLAIN, tasks=range(64))
    ok = complete(batch)
    best = (posterior(batch).argmax(-1) == batch.y).double().mean(-1)[ok]
    far = torch.full_like(batch.latent["weights"], 1e6) * (batch.latent["weights"] == 0)
    nearest = (torch.cdist(batch.X, batch.latent["means"]) + far[:, None]).argmin(-1)
    other = (nearest == batch.y).double().mean(-1)[ok]
    assert best.mean() > other.mean() + 0.005


# ---------------------------------------------------------------------------------------------
# The paper's family and TGMM's


@pytest.mark.parametrize(("c", "d"), [(2, 1), (2, 5), (3, 2), (5, 4), (6, 9), (1, 3)])
def test_centres_of_the_papers_family_are_delta_apart(c: int, d: int) -> None:
    prior = PaperMixturePrior(30, d, c, separation=(3.0, 5.0), sigma=2.0)
    batch = sample(prior)
    delta = batch.latent["delta"]
    assert ((delta > 6.0) & (delta < 10.0)).all()
    assert delta.std() > 0.1
    apart = torch.cdist(batch.latent["means"].double(), batch.latent["means"].double())
    off = ~torch.eye(c, dtype=torch.bool)
    expected = delta[:, None].double().expand(-1, c * (c - 1))
    torch.testing.assert_close(apart[:, off], expected, rtol=1e-4, atol=1e-4)


def test_points_of_the_papers_family_are_isotropic_around_their_centre() -> None:
    prior = PaperMixturePrior(400, 3, 3, sigma=1.5)
    batch = sample(prior, tasks=range(32))
    at = batch.y[..., None].expand(-1, -1, 3)
    noise = (batch.X - torch.gather(batch.latent["means"], 1, at)) / 1.5
    flat = noise.reshape(-1, 3).double().numpy()
    np.testing.assert_allclose(np.cov(flat.T), np.eye(3), atol=0.05)
    assert stats.kstest(flat[:, 0], "norm").pvalue > 1e-3
    share = torch.nn.functional.one_hot(batch.y, 3).double().mean((0, 1))
    np.testing.assert_allclose(share, np.full(3, 1 / 3), atol=0.02)
    directions = batch.latent["means"][:, 0] - batch.latent["means"][:, 1]
    assert abs(torch.nn.functional.normalize(directions, dim=-1).mean(0)).max() < 0.4


def test_too_few_columns_for_equidistant_centres() -> None:
    with pytest.raises(ValueError, match="n_features=2 cannot hold 4 equidistant centres"):
        PaperMixturePrior(n_features=2, n_components=4)


def test_tgmm_follows_its_rules() -> None:
    prior = TGMMPrior(n_points=90, n_features=4, n_components=(2, 5))
    batch = sample(prior, tasks=range(300))
    weights, means, K = batch.latent["weights"], batch.latent["means"], batch.n_components
    assert set(K.tolist()) == {2, 3, 4, 5}
    torch.testing.assert_close(weights.sum(-1), torch.ones(300))
    lengths = batch.is_point.sum(-1)
    assert lengths.min() >= 45
    assert lengths.max() <= 90
    assert len(set(lengths.tolist())) > 30
    assert means.abs().max() <= 5.0
    for t in range(300):
        k = int(K[t])
        w = weights[t, :k]
        assert (w.diff() >= 0).all()  # ascending
        assert w[-1] <= 4.0 * w[0] + 1e-5  # 0.8 over 0.2
        assert not weights[t, k:].any()
        unit = torch.nn.functional.normalize(means[t, :k], dim=-1)
        assert ((unit @ unit.T).fill_diagonal_(-1.0) < 0.8).all()
        n = int(lengths[t])
        assert batch.is_point[t, :n].all()
        assert not batch.X[t, n:].any()
    at = batch.y.clamp_min(0)[..., None].expand(-1, -1, 4)
    noise = (batch.X - torch.gather(means, 1, at))[batch.is_point].double().numpy()
    np.testing.assert_allclose(np.cov(noise.T), np.eye(4), atol=0.05)


# ---------------------------------------------------------------------------------------------
# compact


def test_compact_renumbers_in_order_and_leaves_noise() -> None:
    y = torch.tensor([[3, 3, 1, -1, 5], [0, 0, 0, 0, 0], [-1, -1, -1, -1, -1], [4, 2, 0, 1, 3]])
    renumbered, count = compact(y, 6)
    assert renumbered.tolist() == [[1, 1, 0, -1, 2], [0] * 5, [-1] * 5, [4, 2, 0, 1, 3]]
    assert count.tolist() == [3, 1, 0, 5]


def test_rare_components_are_renumbered_away() -> None:
    """With 20 points and up to 5 components some own nothing; labels stay without gaps."""
    prior = GaussianMixturePrior((20, 20), (2, 2), (5, 5)).only("outliers")
    batch = sample(prior, tasks=range(200))
    assert (batch.n_components < (batch.latent["weights"] > 0).sum(-1)).any()
    for y, count in zip(batch.y, batch.n_components, strict=True):
        assert y[y >= 0].unique().tolist() == list(range(int(count)))
