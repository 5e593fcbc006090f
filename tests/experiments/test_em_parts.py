"""Parts of the experiments about EM: intervals over seeds, shifted tables, replaced layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from statformer.experiments._em_networks import held_out, network_error, small_recipe
from statformer.experiments._em_replaced import Replacer, _replace_pattern, _replace_stream, _steps
from statformer.experiments._seeds import over_seeds
from statformer.experiments._shifted_mixture import ShiftedPrior
from statformer.experiments._start_networks import BEGINNINGS, BeginningRecipe
from statformer.nn.seeding import lloyd
from statformer.pretraining.recipes.mixture_transformer import misclustering
from statformer.tasks.stream import TaskStream


def test_students_interval() -> None:
    found = over_seeds([1.0, 2.0, 6.0])
    half = 4.302652729911275 * np.sqrt(7.0 / 3.0)  # t at .975 with two degrees, sd^2 = 7
    assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert np.isnan(over_seeds([1.0]).low)
    with pytest.raises(ValueError, match="empty"):
        over_seeds([])


def test_shifted_tables_have_the_weights_variances_and_tails_they_name() -> None:
    prior = ShiftedPrior(400, 2, 2, (50.0, 50.0), first_weight=0.8, aspect=4.0, degrees=8.0)
    batch = prior.sample(TaskStream(1, 0, range(60)))
    assert (batch.y == 0).double().mean().item() == pytest.approx(0.8, abs=0.02)
    at = batch.y[..., None].expand(-1, -1, 2)
    noise = batch.X - torch.gather(batch.latent["means"], 1, at)
    values = torch.linalg.eigvalsh(noise.mT @ noise / 400)
    assert values.mean().item() == pytest.approx(1.0, abs=0.1)
    assert (values[:, 1] / values[:, 0]).mean().item() == pytest.approx(4.0, rel=0.15)
    kurtosis = (noise**4).mean() / (noise**2).mean() ** 2
    assert kurtosis > 3.5  # 3 for Gaussians
    plain = ShiftedPrior(400, 2, 2, (50.0, 50.0)).sample(TaskStream(1, 0, range(60)))
    assert plain.y.double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_theorem_begins_at_lloyd_and_noise_does_not() -> None:
    errors = {}
    for beginning in BEGINNINGS:
        recipe = BeginningRecipe(beginning=beginning)
        batch = held_out(replace(recipe, prior=replace(recipe.prior, separation=(4.0, 4.0))), 60)
        network = recipe.build(0).eval().requires_grad_(False)
        errors[beginning] = float(network_error(network, batch).mean())
    three = lloyd(batch.tables, batch.start.means, batch.start.is_component, 3)
    best = misclustering(three, batch.y).double().mean().item()
    assert errors["theorem"] == pytest.approx(best, abs=0.01)
    assert errors["noise"] > best + 0.03
    assert errors["noise, same network"] > best + 0.03


def test_a_layer_that_is_replaced_by_itself_changes_nothing() -> None:
    recipe = small_recipe(n_layers=2)
    network, batch = recipe.build(3).eval().requires_grad_(False), held_out(recipe, 20)
    seen = network.record(batch.tables, batch.start)
    whole = network(batch.tables, batch.start).responsibilities[-1]
    steps = _steps(network, 1)
    with _replace_stream(steps["centre MLP"], seen["layer 2.centre MLP.centres"]):
        same = network(batch.tables, batch.start).responsibilities[-1]
    torch.testing.assert_close(same, whole)
    one_head = small_recipe(n_layers=2, n_heads=1).build(3).eval().requires_grad_(False)
    pattern = one_head.record(batch.tables, batch.start)["layer 2.E.pattern"][:, 0]
    with _replace_pattern(_steps(one_head, 1)["E"], pattern):
        same = one_head(batch.tables, batch.start).responsibilities[-1]
    whole = one_head(batch.tables, batch.start).responsibilities[-1]
    torch.testing.assert_close(same, whole)
    with _replace_pattern(_steps(one_head, 1)["E"], pattern.roll(1, dims=1)):
        moved = one_head(batch.tables, batch.start).responsibilities[-1]
    assert (moved - whole).abs().max() > 1e-6


def test_unknown_parts_are_refused() -> None:
    recipe = small_recipe(n_layers=1)
    batch = held_out(recipe, 4)
    replacer = Replacer(recipe.build(0).requires_grad_(False), batch)
    with pytest.raises(ValueError, match="part='heads'"):
        replacer.damage(batch, 0, "heads", "EM")
