from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from statformer.benchmarks.features import bench_features
from statformer.benchmarks.features_settings import QUICK
from statformer.benchmarks.features_speed import EXACT, ONE, ONE_64, OURS, SIDE, one_round
from statformer.benchmarks.features_summary import sheets, targets
from statformer.benchmarks.features_trained_head import (
    HEADS,
    OVERFITTED,
    M,
    drawn,
    sampled_error,
    snr_grid,
    train,
)
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

TINY = dataclasses.replace(
    QUICK, points=(8,), strengths=3, rounds=2, plain=1, grid=(3, 2, 1), n_features=60
)


def stream(seed: int) -> TaskStream:
    return TaskStream(seed, 0, range(1), dtype=torch.float64)


def test_a_round_times_every_way_and_finds_one_loss() -> None:
    turn = one_round(HEADS["large"], 8, 60, 3, 2, seed=0)
    assert set(turn.seconds) == {OURS, EXACT, ONE, ONE_64, SIDE}
    assert min(turn.seconds.values()) > 0
    assert turn.gap < 1e-8


def test_a_tiny_bench_ends_with_goals_and_keeps_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    data = bench_features(TINY, json_path=path)
    assert len(data["cells"]) == 4
    assert [target["status"] for target in data["targets"]].count("reached") >= 4
    again = bench_features(TINY, ["b"], json_path=path)
    assert again["cells"] == data["cells"]
    titles = [sheet.title for sheet in sheets(data)]
    assert titles[-1] == "To reach"
    assert len(titles) == 3


def test_a_loss_that_is_far_from_the_plain_one_is_short() -> None:
    cells = bench_features(TINY, ["a"])["cells"]
    cell = next(iter(cells.values()))
    assert targets(cells, ["a"])[0].status == "reached"
    cell["largest gap of the loss in float64"] = 1e-6
    assert targets(cells, ["a"])[0].status == "short"
    cell["speed-up"][ONE] = {"value": 9.0, "low": 8.0, "high": 11.0, "n": 3}
    assert targets(cells, ["a"])[1].status == "short"


@pytest.mark.parametrize("projected", [True, False])
def test_sampled_errors_are_those_of_fresh_samples(projected: bool) -> None:
    """Of a network in d features, on patches drawn as the prior draws them."""
    n, d = 15, 80
    prior = SignalNoisePrior(n, d, signal_norm=1.0, sigma=1.0, projected=projected)
    products = drawn(prior, stream(1))
    norms = torch.tensor([0.8, 2.5], dtype=torch.float64)
    trained = train(products, HEADS["small"], norms, d, dtype=torch.float64)
    assert bool((trained.loss <= OVERFITTED).all())
    found = sampled_error(products, trained, norms, stream(2), projected=projected, n_test=40_000)
    batch = prior.sample(stream(1))
    W = 1e-3 * _second_normals(prior)
    u = batch.signal[0, 1] / batch.signal[0, 1].norm()
    vectors = torch.cat([u[None], batch.noise[0, :, 0]])
    fresh = prior.around(batch.signal, 40_000, stream(3))
    for run, norm in enumerate(norms.tolist()):
        moved = trained.Z[:, run] - products.first
        filters = W + torch.linalg.solve(products.patches, moved).mT @ vectors
        noise = torch.relu(fresh.noise[0, :, 0] @ filters.mT) @ trained.v[run]
        signal = fresh.clean_y[0][:, None] * norm * (filters @ u)
        f = noise + torch.relu(signal) @ trained.v[run]
        wrong = float((f * fresh.clean_y[0] <= 0).double().mean())
        assert float(found[run]) == pytest.approx(wrong, abs=4 * math.sqrt(0.25 / 40_000))
    assert float(found[0]) > 1.5 * float(found[1])


def _second_normals(prior: SignalNoisePrior) -> torch.Tensor:
    """The first filters that `drawn` takes from the stream after the sample, over sigma0."""
    again = stream(1)
    prior.sample(again)
    return again.normal(M, prior.n_features)[0]


@pytest.mark.slow
def test_single_precision_moves_no_test_error_that_matters() -> None:
    n, d = 40, 1000
    products = drawn(SignalNoisePrior(n, d, signal_norm=1.0, sigma=1.0), stream(4))
    norms = torch.as_tensor(snr_grid(6, d) * math.sqrt(d))
    for head in HEADS.values():
        errors = [
            sampled_error(products, train(products, head, norms, d, dtype=dtype), norms, stream(5))
            for dtype in (torch.float32, torch.float64)
        ]
        np.testing.assert_allclose(errors[0], errors[1], atol=2e-3)
