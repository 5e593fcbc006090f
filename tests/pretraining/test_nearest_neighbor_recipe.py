"""Gradient descent from the structured start finds one nearest neighbour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from statformer.pretraining import get_recipe, pretrain
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe
from statformer.tasks.stream import TaskStream


def descend(recipe: NearestNeighborRecipe, n_steps: int) -> tuple[torch.nn.Module, dict]:
    module = recipe.build(0)
    optimizer = recipe.optimizer([p for p in module.parameters() if p.requires_grad])
    for step in range(n_steps):
        batch = recipe.sample(TaskStream(0, step, range(recipe.batch_size)))
        optimizer.zero_grad()
        recipe.loss(module, batch, 0.0)[0].backward()
        optimizer.step()
    return module, recipe.evaluate(module)


def test_the_start_is_the_known_one() -> None:
    recipe = get_recipe("nearest_neighbor")
    scores = recipe.evaluate(recipe.build(0))
    assert scores["eval_loss"] == pytest.approx(0.378, abs=0.01)
    assert scores["agreement"] == pytest.approx(0.51, abs=0.02)
    assert scores["self_attention"] == pytest.approx(0.2)
    assert (scores["xi_1"], scores["xi_2"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "loss", "xi", "agreement"),
    [
        ({}, 0.108, (4.3, 4.8), 0.967),
        ({"xi_2": 10.0}, 0.072, (5.9, 10.0), 0.983),
        ({"n_features": 8, "n_points": 16}, 0.234, (5.6, 3.5), 0.898),
    ],
)
def test_a_hundred_steps_follow_the_known_curve(
    options: dict[str, float], loss: float, xi: tuple[float, float], agreement: float
) -> None:
    _, scores = descend(NearestNeighborRecipe(**options), 100)
    assert scores["eval_loss"] == pytest.approx(loss, abs=0.01)
    assert (scores["xi_1"], scores["xi_2"]) == pytest.approx(xi, abs=0.15)
    assert scores["agreement"] == pytest.approx(agreement, abs=0.01)


def test_the_full_matrix_learns_too_and_stays_near_the_family() -> None:
    recipe = NearestNeighborRecipe(matrix="full", step_size=4.0)
    module, scores = descend(recipe, 150)
    assert scores["eval_loss"] < 0.12
    assert scores["shifted_mse"] < 0.06
    W, layout = module.attention.W_QK[0].detach(), module.layout
    point = W[layout["point"], layout["point"]]
    assert (point - scores["xi_1"] * torch.eye(4)).abs().max() < 0.1 * scores["xi_1"]
    off = W.clone()
    off[layout["point"], layout["point"]] = 0.0
    off[layout["flag"], layout["flag"]] = 0.0
    assert off.abs().max() < 0.1 * scores["xi_1"]


def test_it_runs_in_the_loop(tmp_path: Path) -> None:
    recipe = get_recipe("nearest_neighbor", batch_size=64, matrix="full")
    result = pretrain(recipe, out_dir=tmp_path, n_steps=3)
    assert result.evaluation["xi_1"] > 0
    assert json.loads((tmp_path / "card.json").read_text())["settings"]["matrix"] == "full"
    with pytest.raises(ValueError, match="matrix='half' is unknown"):
        get_recipe("nearest_neighbor", matrix="half")
