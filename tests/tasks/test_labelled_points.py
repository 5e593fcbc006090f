"""Labelled points on the sphere: what the docstrings say they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.reference.nearest_neighbor import nearest_index
from statformer.tasks.labelled_points import LabelledPointsPrior, ShiftedPointsPrior
from statformer.tasks.stream import TaskStream

PRIORS = {
    "uniform": LabelledPointsPrior(12, 3),
    "shifted": ShiftedPointsPrior(12, 3, margin=1.0),
}


def stream(tasks: range = range(200)) -> TaskStream:
    return TaskStream(0, 0, tasks, dtype=torch.float64)


@pytest.mark.parametrize("name", PRIORS)
def test_a_task_does_not_depend_on_the_batch_around_it(name: str) -> None:
    whole, part = PRIORS[name].sample(stream()), PRIORS[name].sample(stream(range(3, 5)))
    torch.testing.assert_close(whole.X[3:5], part.X)
    torch.testing.assert_close(whole.target[3:5], part.target)


@pytest.mark.parametrize("name", PRIORS)
def test_the_target_is_the_label_of_the_nearest_unit_vector(name: str) -> None:
    batch = PRIORS[name].sample(stream())
    torch.testing.assert_close(batch.X.norm(dim=-1), torch.ones(200, 12, dtype=torch.float64))
    torch.testing.assert_close(batch.query.norm(dim=-1), torch.ones(200, dtype=torch.float64))
    for X, y, query, nearest, target in zip(
        batch.X, batch.y, batch.query, batch.nearest, batch.target, strict=True
    ):
        assert nearest_index(X.numpy(), query[None].numpy())[0] == nearest
        assert y[nearest] == target


def test_points_are_uniform_and_labels_are_fair_signs() -> None:
    batch = LabelledPointsPrior(50, 3).sample(stream())
    points = batch.X.reshape(-1, 3)
    assert points.mean(0).abs().max() < 0.03
    third = torch.eye(3, dtype=torch.float64) / 3
    torch.testing.assert_close(points.T @ points / len(points), third, atol=0.02, rtol=0.0)
    assert set(batch.y.unique().tolist()) == {-1.0, 1.0}
    assert abs(batch.y.mean()) < 0.03


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_shifted_prompts_have_a_margin_around_a_context_point(margin: float) -> None:
    batch = ShiftedPointsPrior(12, 3, margin).sample(stream())
    distance = (batch.X - batch.query[:, None]).square().sum(-1)
    own = torch.nn.functional.one_hot(batch.nearest, 12).bool()
    assert (distance[own] == 0).all()
    assert distance[~own].min() > margin - 1e-12
    before = LabelledPointsPrior(12, 3).sample(stream()).X  # the same draws
    was_near = (before - batch.query[:, None]).square().sum(-1) <= margin
    torch.testing.assert_close(
        batch.X, torch.where((was_near & ~own)[..., None], -before, before), rtol=0.0, atol=0.0
    )
    assert 0.05 < was_near.double().mean() < 0.65
    assert np.abs(batch.y.std().item() - 1.0) < 0.05
    assert len(batch.nearest.unique()) == 12


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="n_points=0"):
        LabelledPointsPrior(0, 3)
    with pytest.raises(ValueError, match=r"margin=2\.5"):
        ShiftedPointsPrior(3, 3, 2.5)
