"""The wide prior: reproducible, separable piece by piece, and every piece is what its name says."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from statformer.batch import TaskBatch
from statformer.tasks.missing import MECHANISMS
from statformer.tasks.shapes import SHAPES
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import GROUPS, WIDE_RATES, WidePrior

SMALL = WidePrior(n_points=(40, 120), n_features=(3, 6), n_components=(1, 6))
NO_MASKS = {"is_shape", "is_gaussian", "weights", "is_categorical", "observed"}


def sample(prior: WidePrior, step: int = 0, tasks: range = range(16), seed: int = 0) -> TaskBatch:
    return prior.sample(TaskStream(seed, step, tasks))


def same(one: torch.Tensor, two: torch.Tensor) -> bool:
    return one.shape == two.shape and torch.equal(one.nan_to_num(-7.5), two.nan_to_num(-7.5))


# ---------------------------------------------------------------------------------------------
# Reproducible draws


def test_the_same_stream_gives_the_same_batch() -> None:
    one, two = sample(SMALL), sample(SMALL)
    assert same(one.X, two.X)
    assert torch.equal(one.y, two.y)
    assert one.latent.keys() == two.latent.keys() == NO_MASKS | set(WIDE_RATES)
    for key, value in one.latent.items():
        assert torch.equal(value, two.latent[key]), key
    for other in (sample(SMALL, step=1), sample(SMALL, seed=1)):
        assert not same(one.latent["weights"], other.latent["weights"])


def test_a_second_draw_from_one_stream_is_new() -> None:
    stream = TaskStream(0, 0, range(4))
    one, two = SMALL.sample(stream), SMALL.sample(stream)
    assert not torch.equal(one.latent["weights"], two.latent["weights"])
    assert not same(one.X, two.X)


@pytest.mark.parametrize("tasks", [range(5, 9), range(15, 16), range(3, 16, 4)])
def test_a_task_does_not_depend_on_the_batch_around_it(tasks: range) -> None:
    for step in range(4):
        whole, part = sample(SMALL, step), sample(SMALL, step, tasks)
        rows = list(tasks)
        assert torch.equal(part.y, whole.y[rows])
        assert torch.equal(part.latent["observed"], whole.latent["observed"][rows])
        close = torch.isclose(part.X, whole.X[rows], rtol=1e-3, atol=1e-3, equal_nan=True)
        assert close.float().mean() > 0.999  # a value at a rounding edge may go either way


# ---------------------------------------------------------------------------------------------
# What every table keeps


@pytest.mark.parametrize("step", range(12))
def test_tables_are_sound(step: int) -> None:
    batch = sample(WidePrior(cell_budget=50_000), step, range(24), seed=5)
    observed = batch.latent["observed"]
    assert torch.equal(batch.X.isnan(), ~observed)
    assert batch.X[observed].isfinite().all()
    assert observed.any(1).all()
    assert observed.any(2).all()
    assert (batch.n_components >= 1).all()
    for y, count in zip(batch.y, batch.n_components, strict=True):
        assert y[y >= 0].unique().tolist() == list(range(int(count)))
    codes = batch.X.mT[batch.latent["is_categorical"]]
    codes = codes[~codes.isnan()]
    assert torch.equal(codes, codes.round())
    assert ((codes >= 0) & (codes < 12)).all()
    weights = batch.latent["weights"]
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights)))


def test_all_pieces_at_once_stay_sound() -> None:
    for step in range(4):
        batch = sample(SMALL.only(*WIDE_RATES), step)
        assert torch.equal(batch.X.isnan(), ~batch.latent["observed"])
        assert batch.X[batch.latent["observed"]].isfinite().all()


@pytest.mark.parametrize(
    ("n", "d", "c"), [(20, 1, 5), (5000, 2, 2), (100, 128, 30), (20, 3, 1), (20, 2, 5)]
)
def test_the_ends_of_the_ranges_work(n: int, d: int, c: int) -> None:
    prior = WidePrior((n, n), (d, d), (c, c), cell_budget=None)
    for chosen in (prior, prior.only(*WIDE_RATES)):
        batch = sample(chosen, tasks=range(3))
        assert batch.X.shape == (3, n, d)
        assert batch.latent["weights"].shape[1] == c


def test_sizes_vary_over_their_ranges() -> None:
    shapes = [sample(WidePrior(), step, range(1)).X.shape[1:] for step in range(60)]
    n, d = zip(*shapes, strict=True)
    assert min(n) < 60
    assert max(n) > 1500
    assert min(d) == 1
    assert max(d) > 80


def test_one_table_in_eight_is_one_cluster() -> None:
    prior = replace(SMALL, n_points=(100, 100))
    single = torch.cat(
        [(sample(prior, s, range(128)).latent["weights"] > 0).sum(-1) == 1 for s in range(8)]
    )
    assert abs(single.double().mean() - 0.12) < 4 * math.sqrt(0.12 * 0.88 / len(single))
    several = sample(replace(prior, n_components=(2, 6)), 0, range(128)).latent["weights"]
    assert ((several > 0).sum(-1) >= 2).all()


def test_one_cluster_tables_come_with_every_piece() -> None:
    seen = dict.fromkeys(WIDE_RATES, 0)
    for step in range(8):
        batch = sample(replace(SMALL, single=1.0), step, range(64))
        assert (batch.n_components == 1).all()
        for name in WIDE_RATES:
            seen[name] += int(batch.latent[name].sum())
    assert min(seen.values()) > 5, seen


# ---------------------------------------------------------------------------------------------
# Pieces taken out and put in


@pytest.mark.parametrize("name", [*WIDE_RATES, *GROUPS])
def test_without_leaves_other_tables_as_they_were_to_the_bit(name: str) -> None:
    names = GROUPS.get(name, (name,))
    changed = 0
    for step in itertools.count():
        full, less = sample(SMALL, step), sample(SMALL.without(name), step)
        had = torch.stack([full.latent[piece] for piece in names]).any(0)
        assert same(full.X[~had], less.X[~had])
        assert torch.equal(full.y[~had], less.y[~had])
        for piece in WIDE_RATES:
            expected = torch.zeros_like(had) if piece in names else full.latent[piece]
            assert torch.equal(less.latent[piece], expected)
        differ = torch.stack(
            [~torch.tensor(same(a, b)) for a, b in zip(full.X, less.X, strict=True)]
        )
        assert not (differ & ~had).any()
        changed += int(differ.sum())
        if changed > 1 and step >= 3:
            break
        assert step < 40


@pytest.mark.parametrize("name", WIDE_RATES)
def test_only_turns_a_piece_on_everywhere(name: str) -> None:
    changed = n_tables = 0
    for step in range(3):
        one, none = sample(SMALL.only(name), step), sample(SMALL.only(), step)
        assert one.latent[name].all()
        assert not any(one.latent[other].any() for other in set(WIDE_RATES) - {name})
        assert none.latent["is_gaussian"].all()
        assert not one.latent["is_gaussian"].any()
        assert bool(one.latent["is_shape"].all()) == (name in SHAPES)
        changed += sum(not same(a, b) for a, b in zip(one.X, none.X, strict=True))
        n_tables += len(one.X)
    assert changed > 0.3 * n_tables  # a piece may pick none of the components


def test_rates_are_rates() -> None:
    tables = 128 * 8
    seen = dict.fromkeys(WIDE_RATES, 0)
    for step in range(8):
        latent = sample(SMALL, step, range(128)).latent
        for name in WIDE_RATES:
            seen[name] += int(latent[name].sum())
    for name, rate in WIDE_RATES.items():
        assert abs(seen[name] / tables - rate) < 4.5 * math.sqrt(rate * (1 - rate) / tables), name


def test_tables_of_one_column_have_no_pieces_that_need_two() -> None:
    batch = sample(replace(SMALL, n_features=(1, 1)).only(*WIDE_RATES))
    for name in (
        *SHAPES,
        *MECHANISMS,
        "wide_spectrum",
        "correlated",
        "nominal",
        "ordinal",
        "coupled_map",
    ):
        assert not batch.latent[name].any(), name
    assert batch.latent["counts"].all()
    assert batch.latent["observed"].all()


def test_unknown_pieces_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown pieces \['spice'\]; choose from"):
        SMALL.without("spice")
    with pytest.raises(ValueError, match=r"unknown pieces \['spice'\]; choose from"):
        SMALL.only("skew", "spice")
    with pytest.raises(ValueError, match=r"rates has unknown pieces \['spice'\]; use"):
        WidePrior(rates={"spice": 0.5})
