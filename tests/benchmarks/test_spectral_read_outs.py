"""Read-outs of the flattened table: they learn, and each answers in the shape of its target."""

from __future__ import annotations

from dataclasses import replace

import torch

from statformer.benchmarks.spectral_read_outs import LINEAR, MLP, loss_of, train_read_outs
from statformer.tasks.spiked_covariance import PaperGaussianPrior
from statformer.tasks.stream import TaskStream


def test_read_outs_learn_side_by_side() -> None:
    steps: list[int] = []
    found = train_read_outs(5, 2, 1, 60, steps.append)
    assert steps == list(range(60))
    batch = PaperGaussianPrior(5, 2).sample(TaskStream(9, 0, range(512)))
    untrained = train_read_outs(5, 2, 1, 1, steps.append)
    for (name, target), read_out in found.items():
        assert read_out.instances == 60 * 256
        shape = (512, 1) if target == "values" else (512, 1, 2)
        answer = read_out.module(batch.X)
        assert tuple(answer.shape) == shape
        before = loss_of(target, untrained[name, target].module(batch.X), batch)
        assert loss_of(target, answer, batch) < before
    values = {
        name: loss_of("values", found[name, "values"].module(batch.X), batch)
        for name in (LINEAR, MLP)
    }
    assert values[MLP] < 0.5 * values[LINEAR]  # a linear map of X knows nothing of its squares
    one = found[MLP, "values"]
    assert [replace(one, fell=fell).is_converged for fell in (0.5, 0.01)] == [False, True]
    assert torch.get_default_dtype() == torch.float32
