"""The recipe of the principal network, tiny: it learns, and what it exports is the network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from principal_networks import gap
from statformer.nn.principal import FORMS, Form, PrincipalNetwork
from statformer.nn.principal_heads import layer_shapes
from statformer.objectives.subspace import distance
from statformer.pretraining import Result, pretrain
from statformer.pretraining.recipe import get_recipe
from statformer.pretraining.recipes.principal import PrincipalRecipe, plain_pca, prepared
from statformer.tasks.corrupted_rows import CorruptedRows
from statformer.tasks.stream import TaskStream
from statformer.weights import load_weights

N_STEPS = 30


def small(form: Form = "rows", **options: object) -> PrincipalRecipe:
    prior = CorruptedRows(
        (30, 60), (4, 8), (1, 3), rates={"rows": 1.0} if form == "rows" else {"cells": 1.0}
    )
    given = {
        "form": form,
        "n_layers": 2,
        "batch_size": 8,
        "peak_learning_rate": 1e-2,
        "ema_decay": None,
        "eval_every": 1000,
        "n_evaluations": 3,
        "prior": prior,
    }
    return PrincipalRecipe(**{**given, **options})


@pytest.fixture(scope="module", params=FORMS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("training") / request.param
    return pretrain(small(request.param), out_dir=folder, n_steps=N_STEPS, checkpoint_every_s=1e9)


def form_of(result: Result) -> Form:
    return result.module.form


def test_training_helps_where_rows_or_cells_are_wrong(trained: Result) -> None:
    recipe = small(form_of(trained))
    before, after = recipe.evaluate(recipe.build(0)), trained.evaluation
    assert trained.n_skipped == 0
    assert after["eval_corrupted"] < before["eval_corrupted"] < after["eval_pca"]
    assert after["eval_clean"] < after["eval_clean_pca"] + 2.0
    assert recipe.evaluate(trained.module) == after  # the tasks of an evaluation are fixed


def test_the_export_is_the_network(trained: Result) -> None:
    form = form_of(trained)
    weights, card = load_weights(trained.weights_path)
    assert {k: v.shape for k, v in weights.items()} == {
        f"{form}.{k}": shape for k, shape in layer_shapes(form, 2).items()
    }
    assert card["settings"]["form"] == form
    assert card["n_steps"] == N_STEPS
    network = PrincipalNetwork({k.partition(".")[2]: v for k, v in weights.items()}, form)
    batch = small(form).sample(TaskStream(5, 0, range(4), dtype=torch.float64))
    k = batch.basis.shape[1]
    with torch.no_grad():
        module = trained.module.double()
        expected = module(batch.X, k, batch.observed).subspaces[-1].numpy()
        other = small(form).build(0).double()(batch.X, k, batch.observed).subspaces[-1].numpy()
    trained.module.float()
    mask = None if batch.observed is None else batch.observed.numpy()
    found = network(batch.X.numpy(), k, observed=mask, polish=False).components
    assert gap(found, expected) < 1e-8
    assert gap(found, other) > 1e-4


def test_a_batch_has_a_mask_where_it_needs_one() -> None:
    complete = CorruptedRows((30, 30), (5, 5), (2, 2), levels={})
    gaps = CorruptedRows((30, 30), (5, 5), (2, 2), levels={"missing": 0.3})
    stream = TaskStream(0, 0, range(4))
    assert prepared(complete.sample(stream), "rows").observed is None
    assert prepared(complete.sample(stream), "cells").observed is not None
    batch = gaps.sample(TaskStream(0, 0, range(4)))
    ready = prepared(batch, "rows")
    assert ready.observed is not None
    assert bool((ready.observed == ~batch.X.isnan()).all())
    assert bool(ready.X.isfinite().all())
    assert not bool(ready.is_clean.any())
    assert bool(prepared(complete.sample(stream), "cells").is_clean.all())


def test_reachable_is_plain_pca_of_the_clean_table() -> None:
    batch = CorruptedRows((60, 60), (6, 6), (2, 2), levels={"rows": 0.2}).sample(
        TaskStream(0, 0, range(6))
    )
    ready = prepared(batch, "rows")
    for i, table in enumerate(batch.clean.double().numpy()):
        V = np.linalg.svd(table - table.mean(0))[2][:2]
        expected = np.sqrt(2.0 - np.square(V @ batch.basis[i].double().numpy().T).sum() + 1e-4)
        assert ready.reachable[i].item() == pytest.approx(expected, abs=1e-3)
    assert bool(
        (distance(plain_pca(ready.X, 2), ready.basis) > ready.reachable).float().mean() > 0.5
    )


def test_clean_tables_pay_for_what_they_lose() -> None:
    recipe = small()
    batch = recipe.sample(TaskStream(0, 0, range(16)))
    V = torch.linalg.qr(torch.randn(16, batch.X.shape[2], batch.basis.shape[1],
                                    generator=torch.Generator().manual_seed(0))).Q.mT  # fmt: skip
    scored = recipe._scored(V, batch)
    plain = distance(V, batch.basis) / (batch.reachable + 0.2)
    assert bool((scored[~batch.is_clean] == plain[~batch.is_clean]).all())
    assert bool((scored[batch.is_clean] > plain[batch.is_clean]).all())


def test_the_command_line_finds_the_recipe_and_its_card_is_json() -> None:
    recipe = get_recipe("principal", form="cells", n_layers=3)
    assert recipe.settings()["form"] == "cells"
    json.dumps(recipe.settings())
    with pytest.raises(ValueError, match="options"):
        get_recipe("principal", shape="cells")


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    recipe = PrincipalRecipe()
    rates = [recipe.learning_rate(step, 1000) for step in range(1000)]
    assert rates[0] < 0.1 * max(rates)
    assert rates[-1] < 1e-4 * max(rates) + 1e-7
    assert max(rates) == pytest.approx(recipe.peak_learning_rate, rel=0.02)


def test_cells_begin_with_the_rows_of_another_run(trained: Result) -> None:
    if form_of(trained) == "cells":
        return
    begun = small("cells", begin=str(trained.out_dir)).build(0).layers
    own, _ = load_weights(trained.weights_path)
    np.testing.assert_array_equal(begun["b_out"].detach().numpy(), np.float32(own["rows.b_out"]))
    assert not begun["W_cell"].any()
    plain = small("cells").build(0).layers
    assert (plain["cell_W_f"] == begun["cell_W_f"]).all()
    assert not (plain["W_2"] == begun["W_2"]).any()
