"""The recipe of the random-DAG network, tiny: it learns, and what it exports is the network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.pretraining import Result, pretrain
from statformer.pretraining.recipe import get_recipe
from statformer.pretraining.recipes.random_dag import (
    RandomDagRecipe,
    averaging,
    largest_sets,
    prepared,
)
from statformer.tasks.mixed_bayes_net import MixedBayesNetPrior
from statformer.tasks.stream import TaskStream
from statformer.weights import load_weights

# Additive tables: what model averaging does not know of.
PRIOR = MixedBayesNetPrior((4, 5), (3, 3), (20, 60), edges=(0.7, 1.0), laws=("additive",))


def small(**options: object) -> RandomDagRecipe:
    given = {
        "n_hidden": 8,
        "batch_size": 16,
        "peak_learning_rate": 1e-2,
        "ema_decay": None,
        "n_evaluations": 4,
        "prior": PRIOR,
    }
    return RandomDagRecipe(**{**given, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("training") / "random_dag"
    return pretrain(small(), out_dir=folder, n_steps=80, checkpoint_every_s=1e9)


def test_training_helps_where_the_theorem_does_not_hold(trained: Result) -> None:
    after = trained.evaluation
    assert trained.n_skipped == 0
    assert after["eval_divergence"] < 0.985 * after["start_divergence"]
    assert after["eval_surprise"] < 0.95 * after["start_surprise"]
    assert after["start_divergence"] < after["flat_divergence"]
    assert small().evaluate(trained.module) == after  # the tasks of an evaluation are fixed


def test_the_export_is_the_network(trained: Result) -> None:
    weights, card = load_weights(trained.weights_path)
    assert card["recipe"] == "random_dag"
    assert card["settings"]["prior"]["laws"] == ["additive"]
    network = ParentSetNetwork(weights)
    batch = PRIOR.sample(TaskStream(5, 0, range(3)))
    m = len(batch.sizes) - 1
    sets = all_subsets(range(m), m)
    ready = prepared(batch, sets)
    with torch.no_grad():
        p, _ = trained.module(ready.reading, ready.counts, ready.is_subset)
    for i in range(3):
        codes = np.array(np.unravel_index(batch.rows[i].numpy(), batch.sizes[:-1])).T
        X = np.column_stack([codes, batch.last[i].numpy()])
        queries = np.array(np.unravel_index(batch.queries[i].numpy(), batch.sizes[:-1])).T
        queries = np.column_stack([queries, queries[:, 0] * 0])
        found = network(X, batch.sizes, m, sets).predict(queries)
        np.testing.assert_allclose(found, p[i].numpy(), atol=2e-4)


def test_the_loss_of_the_start_is_near_one() -> None:
    recipe = small()
    batch = recipe.sample(TaskStream(0, 0, range(64)))
    loss, parts = recipe.loss(averaging(dict.fromkeys((0.1, 0.3, 1.0, 3.0, 10.0), 1.0)), batch, 0.0)
    assert parts["divergence"] == parts["of_start"]
    assert parts["surprise"] == parts["surprise_of_start"]
    assert 0.9 < loss.item() < 1.0
    assert recipe.loss(averaging(), batch, 0.0)[0].item() > loss.item()


def test_the_true_set_is_the_parents() -> None:
    batch = PRIOR.sample(TaskStream(3, 0, range(40)))
    m = len(batch.sizes) - 1
    sets = all_subsets(range(m), 2)
    found = prepared(batch, sets).true_set.tolist()
    for i, one in enumerate(found):
        parents = tuple(batch.parents[i].nonzero()[:, 0].tolist())
        assert one == (sets.index(parents) if len(parents) <= 2 else -1)
    assert -1 in found


def test_candidates_vary_from_batch_to_batch() -> None:
    recipe = small(prior=MixedBayesNetPrior((5, 5), (2, 2), (20, 20)))
    found = [recipe.sample(TaskStream(0, step, range(2))).is_subset.shape[0] for step in range(40)]
    assert {16, 8} <= set(found)
    assert len(set(found)) > 3


def test_a_step_stays_small() -> None:
    assert largest_sets((2,) * 10) == 4
    assert largest_sets((2,) * 8) == 7
    assert largest_sets((4,) * 5) == 4
    assert largest_sets((2, 2)) == 1


def test_the_command_line_finds_the_recipe_and_its_card_is_json() -> None:
    recipe = get_recipe("random_dag", n_hidden=3)
    assert recipe.build(0).sets["b_1"].shape == (3,)
    json.dumps(recipe.settings())
    with pytest.raises(ValueError, match="options"):
        get_recipe("random_dag", hidden=3)


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    recipe = RandomDagRecipe()
    rates = [recipe.learning_rate(step, 1000) for step in range(1000)]
    assert rates[0] < 0.1 * max(rates)
    assert rates[-1] < 1e-4 * max(rates)
    assert max(rates) == pytest.approx(recipe.peak_learning_rate, rel=0.02)
