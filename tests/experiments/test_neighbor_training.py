"""Descent in closed form is the recipe's; the landscape's search finds a planted bump."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.experiments._neighbor_training import another_target, descend, draw, marks
from statformer.experiments.neighbor_landscape import _worst_segment
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe
from statformer.tasks.labelled_points import LabelledPoints, LabelledPointsPrior

RECIPE = NearestNeighborRecipe(n_points=5, n_features=3)


@pytest.fixture
def batch() -> LabelledPoints:
    return draw(LabelledPointsPrior(5, 3), 400, np.random.default_rng(0))


def test_the_closed_form_takes_the_recipes_steps(batch: LabelledPoints) -> None:
    found = {k: module.xi.tolist() for k, module in descend(RECIPE, batch, [0, 1, 20])}
    module = RECIPE.build(0)
    optimizer = RECIPE.optimizer(module.parameters())
    for _ in range(20):
        optimizer.zero_grad()
        RECIPE.loss(module, batch, 0.0)[0].backward()
        optimizer.step()
    assert found[0] == [0.0, 0.0]
    assert found[1] != found[0]
    np.testing.assert_allclose(found[20], module.xi.tolist(), rtol=1e-5)


def test_without_a_flag_xi_2_stays(batch: LabelledPoints) -> None:
    _, module = next(descend(RECIPE, batch, [20], has_flag=False))
    xi_1, xi_2 = module.xi.tolist()
    assert xi_1 > 0.5
    assert xi_2 == 0.0


def test_a_full_matrix_moves_slower_by_its_features(batch: LabelledPoints) -> None:
    full = NearestNeighborRecipe(matrix="full", n_points=5, n_features=3)
    _, module = next(descend(full, batch, [1]))
    _, family = next(descend(RECIPE, batch, [1]))
    block = module.attention.W_QK[0, :3, :3]
    assert torch.diagonal(block).sum().item() == pytest.approx(family.xi[0].item(), rel=1e-3)


def test_another_target_is_mostly_not_the_nearest(batch: LabelledPoints) -> None:
    assert (another_target(batch).target == batch.y[:, 0]).all()
    assert (another_target(batch).target != batch.target).double().mean() > 0.2


def test_marks_are_whole_and_end_where_asked() -> None:
    assert marks(16, 4096, 9) == [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


def test_the_search_finds_the_segment_that_is_highest_above_its_chord() -> None:
    loss = np.zeros((7, 9))
    loss[4, 5] = 1.0
    a, middle, b = _worst_segment(loss)
    assert middle == (4, 5)
    assert [(x + y) / 2 for x, y in zip(a, b, strict=True)] == [4.0, 5.0]
    bowl = np.add.outer(np.arange(-3, 4.0) ** 2, np.arange(-4, 5.0) ** 2)
    a, middle, b = _worst_segment(bowl)
    assert bowl[middle] < 0.5 * (bowl[a] + bowl[b])
