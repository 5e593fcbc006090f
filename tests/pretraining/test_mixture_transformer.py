"""The recipe of the papers' Transformer: it learns, its tasks are its own, its scores are right."""

from __future__ import annotations

import itertools

import pytest
import torch

from statformer.pretraining.recipe import get_recipe
from statformer.pretraining.recipes.mixture_transformer import (
    MixtureTransformerRecipe,
    misclustering,
    recipe,
)
from statformer.reference.em import isotropic_em
from statformer.tasks.stream import TaskStream

N_STEPS = 60


def small(**options: object) -> MixtureTransformerRecipe:
    given = {
        "n_points": 30,
        "n_features": 2,
        "width": 16,
        "n_layers": 2,
        "n_heads": 2,
        "batch_size": 16,
        "peak_learning_rate": 3e-3,
    }
    return recipe(**{**given, **options})


@pytest.mark.parametrize(
    "options", [{}, {"layer_norm": False, "point_layers": True}], ids=["plain", "points, no norm"]
)
def test_the_loss_falls(options: dict[str, object]) -> None:
    made = small(**options)
    module = made.build(0)
    before = made.evaluate(module)
    optimizer = made.optimizer(module.parameters())
    for step in range(N_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = made.learning_rate(step, N_STEPS)
        batch = made.sample(TaskStream(0, step, range(made.batch_size)))
        loss, _ = made.loss(module, batch, step / N_STEPS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), made.max_gradient_norm)
        optimizer.step()
    after = made.evaluate(module)
    assert after["eval_loss"] < 0.75 * before["eval_loss"]
    assert after["eval_error"] < before["eval_error"]
    assert after["eval_error_em"] == before["eval_error_em"]


def test_scores_beside_em_and_bayes() -> None:
    made = small()
    scores = made.evaluate(made.build(0))
    # The error of EM is the reference's, table by table, from the same seeds.
    batch = made.sample(TaskStream(2_000_003, 0, range(256)))
    wrong = []
    for t in range(64):
        last = isotropic_em(
            batch.tables.X[t].double().numpy(),
            batch.start.weights[t].double().numpy(),
            batch.start.means[t].double().numpy(),
            1.0,
            50,
        )[-1]
        r = torch.from_numpy(last.responsibilities)[None]
        wrong.append(misclustering(r, batch.y[t : t + 1]).item())
    assert sum(wrong) / 64 == pytest.approx(scores["eval_error_em"], abs=0.03)
    assert 0.0 < scores["eval_error_bayes"] < scores["eval_error_em"] < 0.3
    assert scores["eval_error"] > scores["eval_error_em"]


def test_misclustering_is_the_best_over_all_numberings() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (5, 12), generator=rng)
    y = torch.randint(0, 3, (5, 12), generator=rng)
    y[:, 0] = -1
    found = misclustering(torch.nn.functional.one_hot(labels, 3).double(), y)
    for t in range(5):
        shares = [
            (torch.tensor(order)[labels[t, 1:]] != y[t, 1:]).double().mean().item()
            for order in itertools.permutations(range(3))
        ]
        assert found[t].item() == pytest.approx(min(shares))


def test_tables_are_centred_and_in_units_of_sigma() -> None:
    units, tens = small(), small(sigma=10.0)
    left, right = (made.sample(TaskStream(1, 0, range(4))) for made in (units, tens))
    torch.testing.assert_close(left.tables.X, right.tables.X, rtol=1e-4, atol=1e-4)
    assert left.tables.X.mean(1).abs().max() < 1e-5


def test_tasks_do_not_depend_on_the_batch_around_them() -> None:
    made = small()
    whole, part = (made.sample(TaskStream(1, 3, range(*r))) for r in ((0, 8), (4, 8)))
    torch.testing.assert_close(whole.tables.X[4:], part.tables.X)
    torch.testing.assert_close(whole.start.means[4:], part.start.means)


def test_options_reach_the_prior() -> None:
    made = get_recipe("mixture_transformer", separation=[2.0, 2.5], n_components=2, width=32)
    assert made.prior.separation == (2.0, 2.5)
    assert made.prior.n_components == 2
    assert made.width == 32
    assert made.settings()["prior"]["separation"] == [2.0, 2.5]
