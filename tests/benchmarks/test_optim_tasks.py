"""The tasks of the optimizer bench: seeds decide everything, and the loss can be lowered."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from statformer.benchmarks.optim_digits import _digits
from statformer.benchmarks.optim_language import LanguageModel, Shape, python_text, text
from statformer.benchmarks.optim_recipe import RECIPE
from statformer.benchmarks.optim_settings import Sizes
from statformer.benchmarks.optim_tasks import Task, initialised, tasks
from statformer.pretraining.recipes.mixture import PreparedBatch
from statformer.tasks.stream import TaskStream

TASKS = tasks(Sizes("tiny", steps=(30, 20, 10, 6)))


def first_losses(task: Task, seed: int, n: int = 3) -> list[float]:
    module = task.build(seed)
    batches = itertools.islice(task.batches(seed), n)
    return [task.loss(module, batch).item() for batch in batches]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_everything_follows_from_the_seed(task: Task) -> None:
    before = torch.random.get_rng_state()
    losses = first_losses(task, 3)
    assert losses == first_losses(task, 3)
    if task.name != "digits, logistic regression":  # which begins at zeros, blind to its batch
        assert losses != first_losses(task, 4)
        assert len(set(losses)) == 3  # a new batch each time
    assert bool((torch.random.get_rng_state() == before).all())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_steps_lower_both_losses(task: Task) -> None:
    module = task.build(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    before = task.evaluate(module, 0)
    assert before == task.evaluate(module, 0)
    for batch in itertools.islice(task.batches(0), task.n_steps):
        optimizer.zero_grad()
        task.loss(module, batch).backward()
        optimizer.step()
    after = task.evaluate(module, 0)
    assert after.train < before.train
    assert after.test < before.test
    assert after.train != after.test


def test_the_digits_are_split_and_the_regression_has_a_ridge() -> None:
    X, X_test, y, y_test = _digits()
    assert len(X) + len(X_test) == 1797
    assert (len(y), len(y_test)) == (len(X), len(X_test))
    assert 0.19 < len(X_test) / 1797 < 0.21
    task = TASKS["digits, logistic regression"]
    module = task.build(0)
    assert task.evaluate(module, 0) == pytest.approx((math.log(10), math.log(10)))
    with torch.no_grad():
        module.weight.fill_(2.0)  # all classes alike: only the penalty tells it from zeros
    train, test = task.evaluate(module, 0)
    assert test == pytest.approx(math.log(10), rel=1e-5)
    assert train == pytest.approx(math.log(10) + 640 * 4.0 / (2 * len(X)), rel=1e-5)


def test_a_character_sees_those_before_it_alone() -> None:
    with initialised(0):
        module = LanguageModel(Shape(n_layers=2, n_heads=2, width=8, n_context=6), 11)
    letters = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = letters.clone()
    changed[0, 3] = 9
    with torch.no_grad():
        first, second = module(letters), module(changed)
    torch.testing.assert_close(first[:, :3], second[:, :3])
    assert bool((first[:, 3:] != second[:, 3:]).any(-1).all())


def test_the_target_is_the_next_character() -> None:
    """A model that knows which character follows has no loss."""
    task = python_text(1)
    batch = next(task.batches(0))
    n_letters = len(set(text()))

    class Knows(torch.nn.Module):
        def forward(self, letters: torch.Tensor) -> torch.Tensor:
            assert bool((letters == batch[:, :-1]).all())
            return 100.0 * torch.nn.functional.one_hot(batch[:, 1:], n_letters)

    assert task.loss(Knows(), batch).item() < 1e-6


def test_the_recipe_is_asked_for_its_own_loss_and_tables() -> None:
    task = TASKS["mixture recipe"]
    assert task.max_gradient_norm == RECIPE.max_gradient_norm
    module = task.build(0)
    batch = next(task.batches(5))
    assert isinstance(batch, PreparedBatch)
    same = RECIPE.sample(TaskStream(5, 0, range(RECIPE.batch_size)))
    expected = RECIPE.loss(module, same, 0.0)[0]
    torch.testing.assert_close(task.loss(module, batch), expected)
