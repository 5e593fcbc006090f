"""The recipe of the shipped layers, tiny: it learns, and what it exports is the network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from statformer.batch import Tables, TaskBatch
from statformer.nn.em_network import EMNetwork, as_numpy, layer_shapes
from statformer.nn.standardize import robust_scale
from statformer.objectives.clustering import match, matched_cross_entropy
from statformer.pretraining import Result, pretrain
from statformer.pretraining.recipe import get_recipe
from statformer.pretraining.recipes import mixture
from statformer.pretraining.recipes.mixture import MixtureRecipe, standardised_tables
from statformer.tasks.gaussian_mixture import GaussianMixturePrior
from statformer.tasks.stream import TaskStream

PRIOR = GaussianMixturePrior(n_points=(30, 60), n_features=(1, 4), n_components=(2, 4))
N_STEPS = 40


def small(**options: object) -> MixtureRecipe:
    given = {
        "n_layers": 2,
        "n_hidden": 8,
        "batch_size": 8,
        "peak_learning_rate": 2e-2,
        "ema_decay": None,
        "eval_every": 1000,
        "prior": PRIOR,
    }
    return MixtureRecipe(**{**given, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("training") / "mixture"
    return pretrain(small(), out_dir=folder, n_steps=N_STEPS, checkpoint_every_s=1e9)


def test_the_loop_lowers_the_loss(trained: Result) -> None:
    recipe = small()
    before = recipe.evaluate(recipe.build(0))
    after = trained.evaluation
    assert trained.n_skipped == 0
    assert after["eval_loss"] < 0.97 * before["eval_loss"]
    assert recipe.evaluate(trained.module) == after  # the tasks of an evaluation are fixed


def test_the_export_is_the_network(trained: Result) -> None:
    """The file's "em." tensors in a numpy EMNetwork answer as the module does."""
    tensors = load_file(trained.weights_path)
    assert {k: v.shape for k, v in tensors.items()} == {
        f"em.{k}": shape for k, shape in layer_shapes(2, 8).items()
    }
    network = EMNetwork(as_numpy({k.removeprefix("em."): v for k, v in tensors.items()}))
    batch = small().sample(TaskStream(5, 0, range(4)))
    with torch.no_grad():
        expected = trained.module(batch.tables, batch.start).responsibilities[-1].numpy()
    tables = Tables(batch.tables.X.numpy(), batch.tables.weight.numpy())
    found = network(tables, batch.start.numpy()).responsibilities[-1]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    untrained = small().build(0)
    with torch.no_grad():
        other = untrained(batch.tables, batch.start).responsibilities[-1].numpy()
    assert np.abs(found - other).max() > 1e-3


def test_the_card_names_the_recipe(trained: Result) -> None:
    card = json.loads(trained.card_path.read_text())
    assert card["recipe"] == "mixture"
    assert card["n_steps"] == N_STEPS
    assert card["settings"]["n_hidden"] == 8
    assert card["settings"]["prior"]["n_points"] == [30, 60]


def test_a_batch_is_standardised_and_begins_from_lloyd() -> None:
    batch = small().sample(TaskStream(0, 0, range(8)))
    assert batch.tables.X.dtype == torch.float64
    centre, scale = robust_scale(batch.tables.X, batch.tables.weight)
    torch.testing.assert_close(centre, torch.zeros_like(centre), atol=1e-9, rtol=0.0)
    torch.testing.assert_close(scale, torch.ones_like(scale), atol=1e-5, rtol=0.0)
    assert set(batch.start.unique().tolist()) == {0.0, 1.0}  # one-hot
    assert bool((batch.start.sum(-1) == 1).all())
    K = batch.y.amax(-1) + 1
    assert bool(((batch.start.sum(1) > 0).sum(-1) <= K).all())  # no more centres than components


def test_padded_rows_have_no_weight_and_no_value() -> None:
    X = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0))
    is_point = torch.arange(10) < torch.tensor([[10], [6]])
    batch = TaskBatch(
        X, torch.zeros(2, 10, dtype=torch.int64), torch.ones(2, dtype=torch.int64), is_point,
        torch.ones(2, 3, dtype=torch.bool),
    )  # fmt: skip
    tables = standardised_tables(batch)
    assert not tables.X[1, 6:].any()
    assert tables.weight.sum(-1).tolist() == [10.0, 6.0]
    short = TaskBatch(
        X[1:, :6], batch.y[1:, :6], batch.n_components[1:], is_point[1:, :6], batch.is_feature[1:]
    )
    torch.testing.assert_close(tables.X[1:, :6], standardised_tables(short).X)


def test_a_left_out_ingredient_trains_without_it_and_is_evaluated_with_it() -> None:
    everything = GaussianMixturePrior(
        (30, 60), (1, 4), (2, 4), rates={"outliers": 1.0, "skew": 1.0}
    )
    whole = small(prior=everything)
    for without in ("outliers", ["outliers"], ("outliers",)):
        less = small(prior=everything, without=without)
        assert not bool((less.sample(TaskStream(0, 0, range(8))).y == -1).any())
    assert bool((whole.sample(TaskStream(0, 0, range(8))).y == -1).any())
    module = whole.build(0)
    assert whole.evaluate(module) == less.evaluate(module)
    with pytest.raises(ValueError, match="unknown ingredients"):
        small(without="spice").sample(TaskStream(0, 0, range(8)))


def test_a_rank_sees_its_slice_of_the_batch() -> None:
    whole = small().sample(TaskStream(0, 3, range(8)))
    part = small().sample(TaskStream(0, 3, range(4, 8)))
    torch.testing.assert_close(part.tables.X, whole.tables.X[4:], rtol=1e-4, atol=1e-4)
    assert part.start.shape == whole.start[4:].shape
    assert bool((part.y == whole.y[4:]).all())


def test_the_loss_weighs_the_last_and_the_middle_layer() -> None:
    recipe = small(n_layers=4)
    module, batch = recipe.build(0), recipe.sample(TaskStream(0, 0, range(8)))
    loss, _ = recipe.loss(module, batch, 0.0)
    with torch.no_grad():
        r = module(batch.tables, batch.start).responsibilities
        columns = match(r[3], batch.y)
        middle = matched_cross_entropy(r[1], batch.y, columns).mean().item()
        last = matched_cross_entropy(r[3], batch.y, columns).mean().item()
    assert loss.item() == pytest.approx(last + 0.3 * middle)
    assert middle != last
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters())


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    recipe = MixtureRecipe()
    rates = [recipe.learning_rate(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(recipe.peak_learning_rate / 50)
    assert max(rates) == pytest.approx(recipe.peak_learning_rate, rel=0.02)
    assert rates.index(max(rates)) < 60
    assert rates[-1] < 1e-4 * recipe.peak_learning_rate
    assert min(rates) > 0


def test_the_factory_takes_options_of_the_command_line() -> None:
    assert mixture.recipe(without="outliers", n_layers=3).n_layers == 3
    assert get_recipe("mixture", n_hidden=4).build(0).layers["b_hidden"].shape == (12, 4)
    with pytest.raises(ValueError, match="colour"):
        get_recipe("mixture", colour="red")
