"""The recipe of the paper's network for Bayesian networks: settings, held-out structures, runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from statformer.pretraining import CheckpointError, get_recipe, pretrain
from statformer.pretraining.recipes.bayes_net import (
    SHIPPED,
    is_held_out,
    load_bayes_net_transformer,
    recipe,
)
from statformer.tasks.bayes_net import BayesNetPrior
from statformer.tasks.stream import TaskStream


def test_the_papers_sizes() -> None:
    def settings(**options: object) -> tuple[int, ...]:
        made = get_recipe("bayes_net", size="paper", **options)
        width = made.build(0).W_in.shape[1]
        return made.n_layers, made.n_heads, width, made.n_context, made.batch_size

    assert settings() == (4, 8, 256, 200, 64)
    assert settings(structure="random", n_variables=7) == (12, 8, 256, 500, 16)
    assert settings(protocol="prediction") == (4, 8, 256, 500, 64)
    made = recipe(size="paper")
    assert made.learning_rate(1999, 100_000) == pytest.approx(3e-4, rel=2e-3)
    assert made.learning_rate(99_999, 100_000) == pytest.approx(1e-6, rel=1e-2)
    assert recipe(protocol="prediction").prior().concentration == 0.4
    sachs = recipe(structure="sachs").prior()
    assert (sachs.n_categories, sachs.concentration) == (3, 0.1)


@pytest.mark.parametrize("protocol", ["frequencies", "prediction"])
def test_the_loss_falls(protocol: str, tmp_path: Path) -> None:
    made = recipe(structure="wet grass", protocol=protocol, n_context=30, batch_size=16)
    before = made.evaluate(made.build(0))
    result = pretrain(made, out_dir=tmp_path, n_steps=120)
    assert result.evaluation["eval_loss"] < 0.8 * before["eval_loss"]


def test_random_structures_keep_some_unseen() -> None:
    made = recipe(structure="random", n_context=1, batch_size=2000)
    drawn = made.prior().sample(TaskStream(0, 0, range(2000)))
    assert 0.08 < is_held_out(drawn.adjacency).double().mean() < 0.18
    batch = made.sample(TaskStream(0, 0, range(2000)))
    assert not is_held_out(batch.tasks.adjacency).any()
    assert len(batch.tasks.X) > 1500
    for name in ("general", "tree5", "chain5", "chain", "general7"):
        named = BayesNetPrior(name, 1).sample(TaskStream(0, 0, range(1)))
        assert is_held_out(named.adjacency).all(), name


def test_all_tasks_of_a_step_share_the_target_whatever_the_rank() -> None:
    made = recipe()
    targets = {made.sample(TaskStream(0, 7, part)).target for part in (range(4), range(4, 9))}
    assert len(targets) == 1
    assert {made.sample(TaskStream(0, step, range(1))).target for step in range(40)} == set(
        range(5)
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    pretrain(recipe(structure="wet grass", n_context=5), out_dir=tmp_path / "run", n_steps=2)
    return tmp_path / "run"


def test_a_run_loads_as_it_was(run: Path) -> None:
    network = load_bayes_net_transformer(run)
    assert not network.training
    assert (network.n_variables, network.n_categories) == (4, 2)
    card = json.loads((run / "card.json").read_text())
    assert recipe(**card["settings"]).evaluate(network) == card["evaluation"]


def test_foreign_and_damaged_runs_are_refused(run: Path) -> None:
    card = json.loads((run / "card.json").read_text())
    weights = (run / "final.safetensors").read_bytes()
    (run / "final.safetensors").write_bytes(weights[:-8])
    with pytest.raises(CheckpointError, match="no network of its card"):
        load_bayes_net_transformer(run)
    tensors = safetensors.torch.load(weights) | {"b_out": torch.zeros(9)}
    (run / "final.safetensors").write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(CheckpointError, match="b_out"):
        load_bayes_net_transformer(run)
    (run / "card.json").write_text(json.dumps({**card, "recipe": "mixture"}))
    with pytest.raises(CheckpointError, match="recipe 'mixture'"):
        load_bayes_net_transformer(run)
    with pytest.raises(FileNotFoundError):
        load_bayes_net_transformer(run / "absent")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_score_as_their_cards_say(name: str) -> None:
    folder = Path(__file__).parents[2] / "src" / "statformer" / "weights"
    card = json.loads((folder / f"{name}.json").read_text())
    network = load_bayes_net_transformer(name)
    found = recipe(**card["settings"]).evaluate(network)
    assert found == pytest.approx(card["evaluation"], rel=1e-3)
    with torch.no_grad():  # red where a weight is moved
        network.W_out[0, 0] += 0.5
    assert recipe(**card["settings"]).evaluate(network) != pytest.approx(found, rel=1e-3)


def test_unknown_options_are_refused() -> None:
    for match, options in {
        "size='big'": {"size": "big"},
        "protocol='mle'": {"protocol": "mle"},
        "structure='star'": {"structure": "star"},
    }.items():
        with pytest.raises(ValueError, match=match):
            recipe(**options)
