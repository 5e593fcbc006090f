"""The recipe of the paper's eigenpair network: it learns, its scores are right, its runs load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from statformer.pretraining import CheckpointError, get_recipe, pretrain
from statformer.pretraining.recipes.eigen_transformer import (
    EigenTransformerRecipe,
    load_eigen_transformer,
    recipe,
)
from statformer.tasks.stream import TaskStream

N_STEPS = 80
RUNS = sorted(Path(__file__).parents[2].glob("training/eigen_*/final.safetensors"))


def small(**options: object) -> EigenTransformerRecipe:
    given = {"n_layers": 2, "width": 16, "n_heads": 2, "peak_learning_rate": 3e-3}
    return recipe(**{**given, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"target": "values"},
        {"target": "vectors", "attention": "softmax"},
        {"target": "vectors", "auxiliary": True, "n_features": 2, "n_components": 2},
    ],
    ids=["values", "vectors, softmax", "vectors, auxiliary"],
)
def test_the_loss_falls(options: dict[str, object], tmp_path: Path) -> None:
    made = small(**options)
    before = made.evaluate(made.build(0))
    result = pretrain(made, out_dir=tmp_path, n_steps=N_STEPS)
    assert result.evaluation["eval_loss"] < 0.9 * before["eval_loss"]


def test_scores_are_those_of_the_components() -> None:
    made = small(n_features=3, n_components=2, n_points=8)
    batch = made.sample(TaskStream(2_000_005, 0, range(2048)))
    truth = batch.tasks.eigenvalues[:, :2]

    class Known(torch.nn.Module):
        """Answers with the truth times given factors."""

        def __init__(self) -> None:
            super().__init__()
            self.factors = torch.nn.Parameter(torch.tensor([1.1, 0.5]))

        def forward(self, X: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
            return truth * self.factors

    scores = made.evaluate(Known())
    assert scores["relative_squared_error_1"] == pytest.approx(0.01, rel=1e-3)
    assert scores["relative_squared_error_2"] == pytest.approx(0.25, rel=1e-3)
    assert scores["eval_loss"] == pytest.approx(0.13, rel=1e-3)


def test_the_defaults_are_the_papers() -> None:
    made = get_recipe("eigen_transformer")
    sizes = made.n_features, made.n_points, made.n_components, made.n_layers, made.width
    assert (*sizes, made.n_heads, made.batch_size) == (2, 5, 1, 12, 64, 4, 64)
    assert (made.attention, made.auxiliary, made.target) == ("relu", False, "values")
    assert isinstance(made.optimizer(made.build(0).parameters()), torch.optim.Adam)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    pretrain(small(target="vectors", auxiliary=True), out_dir=tmp_path / "run", n_steps=2)
    return tmp_path / "run"


def test_a_run_loads_as_it_was(run: Path) -> None:
    network = load_eigen_transformer(run)
    assert not network.training
    sizes = network.n_points, network.n_features, network.n_components, network.n_layers
    assert sizes == (5, 2, 1, 2)
    assert (network.target, network.attention, network.auxiliary) == ("vectors", "relu", True)
    card = json.loads((run / "card.json").read_text())
    assert small(target="vectors", auxiliary=True).evaluate(network) == card["evaluation"]
    same = load_eigen_transformer(run / "final.safetensors").state_dict()
    assert all(torch.equal(same[name], value) for name, value in network.state_dict().items())


def test_foreign_and_damaged_runs_are_refused(run: Path) -> None:
    card = json.loads((run / "card.json").read_text())
    weights = (run / "final.safetensors").read_bytes()
    (run / "final.safetensors").write_bytes(weights[:-8])
    with pytest.raises(CheckpointError, match="no network of its card"):
        load_eigen_transformer(run)
    tensors = safetensors.torch.load(weights)
    tensors["b_out"] = torch.zeros(99)
    (run / "final.safetensors").write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(CheckpointError, match="b_out"):
        load_eigen_transformer(run)
    (run / "card.json").write_text(json.dumps({**card, "recipe": "mixture"}))
    with pytest.raises(CheckpointError, match="recipe 'mixture'"):
        load_eigen_transformer(run)
    (run / "final.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        load_eigen_transformer(run)


@pytest.mark.parametrize("path", RUNS, ids=[path.parent.name for path in RUNS])
def test_kept_runs_score_as_their_cards_say(path: Path) -> None:
    card = json.loads((path.parent / "card.json").read_text())
    found = recipe(**card["settings"]).evaluate(load_eigen_transformer(path))
    assert found == pytest.approx(card["evaluation"], rel=1e-3)
    assert path.stat().st_size == card["n_bytes"]
