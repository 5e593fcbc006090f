"""Two modalities share their labels and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from statformer.tasks.paired_modalities import PairedModalitiesPrior
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream


def test_the_defaults_are_the_papers() -> None:
    prior = PairedModalitiesPrior()
    assert prior.first.n_snr() == pytest.approx(1.25)
    assert prior.second.n_snr() == pytest.approx(11.25)
    assert prior.norm_ratio == pytest.approx(3.0)
    pair = prior.sample(TaskStream(0, 0, range(2)))
    e = torch.eye(2000)
    for b in range(2):
        y = pair.first.y[b, :, None]
        torch.testing.assert_close(pair.first.X[b, :, 0], 5.0 * y * e[0])
        torch.testing.assert_close(pair.second.X[b, :, 0], 15.0 * y * e[1])
    noise = torch.stack([pair.first.noise.flatten(), pair.second.noise.flatten()])
    torch.testing.assert_close(noise.cov(), torch.eye(2), atol=0.01, rtol=0.0)
    assert pair.first.noise[..., 0].abs().max() > 0.1  # not projected off mu


def test_widths_may_differ_but_not_sizes() -> None:
    first = SignalNoisePrior(12, 8, signal_norm=1.0, sigma=1.0)
    pair = PairedModalitiesPrior(first, replace(first, n_features=5)).sample(
        TaskStream(0, 0, range(3))
    )
    assert pair.second.X.shape == (3, 12, 2, 5)
    torch.testing.assert_close(pair.first.y, pair.second.clean_y)
    with pytest.raises(ValueError, match="n_points: 12 and 13 cannot be paired"):
        PairedModalitiesPrior(first, replace(first, n_points=13))
    with pytest.raises(ValueError, match="label_flip"):
        PairedModalitiesPrior(first, replace(first, label_flip=0.1))
