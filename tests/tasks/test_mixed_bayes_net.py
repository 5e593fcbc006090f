"""The prior of mixed laws: shapes, the truth is what rows follow, and each law has its mark."""

from __future__ import annotations

import math

import pytest
import torch

from statformer.tasks.mixed_bayes_net import LAWS, LastVariableBatch, MixedBayesNetPrior
from statformer.tasks.stream import TaskStream

N_TASKS = 200


def drawn(seed: int = 0, n_tasks: int = N_TASKS, **options: object) -> LastVariableBatch:
    fixed = {"variables": (4, 4), "categories": (2, 2), "n_rows": (300, 300), **options}
    return MixedBayesNetPrior(**fixed).sample(TaskStream(seed, 0, range(n_tasks)))


def digits(batch: LastVariableBatch, at: torch.Tensor) -> list[torch.Tensor]:
    """The predecessors' values of configurations."""
    values = []
    for size in reversed(batch.sizes[:-1]):
        values.append(at % size)
        at = at // size
    return values[::-1]


def test_shapes_stay_within_their_ranges() -> None:
    prior = MixedBayesNetPrior(max_cells=300)
    seen = set()
    for step in range(30):
        batch = prior.sample(TaskStream(0, step, range(3)))
        assert 2 <= len(batch.sizes) <= 10
        assert math.prod(batch.sizes) <= 300
        assert 5 <= batch.rows.shape[1] <= 4000
        assert batch.queries.shape == (3, 16)
        assert int(batch.rows.max()) < math.prod(batch.sizes[:-1])
        assert int(batch.last.max()) < batch.sizes[-1]
        torch.testing.assert_close(batch.truth.sum(-1), torch.ones(3, 16))
        seen |= set(batch.sizes)
    assert seen == {2, 3, 4}


@pytest.mark.parametrize("law", LAWS)
def test_rows_follow_the_truth(law: str) -> None:
    """Among rows at a query's configuration the frequencies are the truth, up to chance."""
    batch = drawn(laws=(law,), n_queries=1, n_rows=(1500, 1500))
    match = batch.rows == batch.queries
    n = match.sum(1)
    hits = (match & (batch.last == 1)).sum(1)
    p = batch.truth[:, 0, 1].double()
    z = (hits - n * p) / (n * p * (1 - p)).sqrt().clamp_min(0.3)
    enough = n * p * (1 - p) > 5
    assert int(enough.sum()) > N_TASKS / 4
    assert z[enough].square().mean().item() == pytest.approx(1.0, abs=0.5)
    assert abs(z[enough].mean().item()) < 0.3


@pytest.mark.parametrize("law", LAWS)
def test_the_truth_depends_on_the_parents_alone(law: str) -> None:
    batch = drawn(laws=(law,), n_tasks=60, n_queries=64, categories=(3, 3), edges=(0.5, 0.5))
    values = torch.stack(digits(batch, batch.queries), -1)  # b q m
    same = (values[:, :, None] == values[:, None]) | ~batch.parents[:, None, None]
    agree = same.all(-1)
    apart = (batch.truth[:, :, None] - batch.truth[:, None]).abs().amax(-1)
    assert apart[agree].max().item() == 0.0
    if law != "grouped":
        assert (apart[~agree] > 1e-6).float().mean().item() > 0.95


def test_edges_are_as_many_as_asked() -> None:
    assert bool(drawn(edges=(1.0, 1.0)).parents.all())
    assert not bool(drawn(edges=(0.0, 0.0)).parents.any())
    share = drawn(edges=(0.2, 0.4)).parents.double().mean().item()
    assert share == pytest.approx(0.3, abs=0.06)


def test_flat_tables_are_uniform_at_a_root() -> None:
    p = drawn(laws=("dirichlet",), edges=(0.0, 0.0), n_tasks=1000).truth[:, 0, 0]
    assert p.mean().item() == pytest.approx(0.5, abs=0.03)
    small = drawn(laws=("based",), edges=(0.0, 0.0), n_tasks=1000).truth[:, 0, 0]
    assert (small - 0.5).square().mean() > (p - 0.5).square().mean()


def test_a_law_is_that_of_the_task_or_of_the_last_variable() -> None:
    """Draws after the laws are the same, so tables differ where the last variable has its own."""
    whole = drawn(laws=("dirichlet", "additive"), n_tasks=400, edges=(0.0, 0.0))
    plain = drawn(laws=("dirichlet",), n_tasks=400, edges=(0.0, 0.0))
    differs = (whole.truth[:, 0] != plain.truth[:, 0]).any(-1)
    assert differs.double().mean().item() == pytest.approx(0.5, abs=0.08)
    rows_differ = (whole.rows != plain.rows).any(1)
    assert (differs == rows_differ).double().mean().item() == pytest.approx(0.75, abs=0.08)


def test_groups_share_their_row() -> None:
    """With groups, fewer distinct rows than configurations of the parents."""
    batch = drawn(laws=("grouped",), edges=(1.0, 1.0), n_queries=200, n_tasks=50)
    plain = drawn(laws=("dirichlet",), edges=(1.0, 1.0), n_queries=200, n_tasks=50)
    count = [len({round(x, 6) for x in task[:, 0].tolist()}) for task in batch.truth]
    usual = [len({round(x, 6) for x in task[:, 0].tolist()}) for task in plain.truth]
    assert sum(count) < 0.8 * sum(usual)


def test_additive_rows_have_no_interaction() -> None:
    batch = drawn(laws=("additive",), edges=(1.0, 1.0), n_queries=300, n_tasks=20)
    for queries, truth in zip(batch.queries, batch.truth.double(), strict=True):
        logit = {c: math.log(p[1] / p[0]) for c, p in zip(queries.tolist(), truth, strict=True)}
        if {0, 1, 2, 3} <= set(logit):
            assert logit[3] - logit[2] == pytest.approx(logit[1] - logit[0], abs=1e-4)


def test_a_task_does_not_depend_on_the_others() -> None:
    whole = drawn(n_tasks=6)
    prior = MixedBayesNetPrior((4, 4), (2, 2), (300, 300))
    part = prior.sample(TaskStream(0, 0, [4]))
    assert bool((whole.rows[4] == part.rows[0]).all())
    torch.testing.assert_close(whole.truth[4], part.truth[0])


@pytest.mark.parametrize(
    "options",
    [{"laws": ()}, {"laws": ("odd",)}, {"variables": (1, 3)}, {"edges": (0.5, 0.2)}],
)
def test_foreign_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        MixedBayesNetPrior(**options)
