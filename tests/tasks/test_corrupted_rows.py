"""Corrupted low-rank tables: the truth is the truth, and what went wrong is where it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.objectives.subspace import largest_angle
from statformer.tasks.corrupted_rows import (
    CELL_KINDS,
    HELD_OUT,
    MISSING_KINDS,
    ROW_KINDS,
    CorruptedBatch,
    CorruptedRows,
)
from statformer.tasks.low_rank import low_rank
from statformer.tasks.stream import TaskStream

N, D, K, B = 150, 12, 3, 24


def drawn(seed: int = 0, b: int = B, **options: object) -> CorruptedBatch:
    prior = CorruptedRows((N, N), (D, D), (K, K), **options)
    return prior.sample(TaskStream(seed, 0, range(b), dtype=torch.float64))


def pca(X: torch.Tensor, k: int = K) -> torch.Tensor:
    Y = X - X.mean(1, keepdim=True)
    return torch.linalg.eigh(Y.mT @ Y).eigenvectors.flip(2)[:, :, :k].mT


def test_the_basis_is_that_of_the_population() -> None:
    """PCA of a long table comes close to it; the eigenvalues are those of the covariance."""
    n = 10_000
    table = low_rank(TaskStream(0, 0, range(B), dtype=torch.float64), n, D, K)
    assert largest_angle(pca(table.clean), table.basis).median() < 5.0
    assert largest_angle(pca(table.noise), table.basis).median() > 45.0
    Y = table.signal + table.noise
    spread = torch.einsum("bnd,bkd,bne,bke->bk", Y, table.basis, Y, table.basis) / n
    ratio = spread / table.eigenvalues[:, :K]
    assert bool(((ratio - 1.0).abs() < 0.25).all())
    eye = torch.eye(D, dtype=torch.float64).expand(B, -1, -1)
    both = torch.cat([table.basis, table.orthogonal], dim=1)
    torch.testing.assert_close(both @ both.mT, eye, atol=1e-6, rtol=0.0)
    assert table.noise.square().mean().item() == pytest.approx(1.0, abs=0.05)


def test_clean_tables_are_as_they_are() -> None:
    batch = drawn(levels={})
    torch.testing.assert_close(batch.X, batch.clean)
    assert not batch.is_outlying_row.any()
    assert not batch.is_outlying_cell.any()


@pytest.mark.parametrize("kind", [*ROW_KINDS, HELD_OUT[0]])
def test_outlying_rows_are_those_that_changed(kind: str) -> None:
    batch = drawn(levels={"rows": 0.2}, kinds={"rows": (kind,)})
    assert (batch.is_outlying_row.sum(1) == 30).all()
    changed = (batch.X - batch.clean).abs().amax(2) > 1e-9
    assert bool((changed == batch.is_outlying_row).all())
    hurt = largest_angle(pca(batch.X), batch.basis) - largest_angle(pca(batch.clean), batch.basis)
    assert hurt.mean() > (-5.0 if kind == "inside" else 5.0)


@pytest.mark.parametrize("kind", [*CELL_KINDS, *HELD_OUT[1:]])
def test_outlying_cells_are_those_that_changed(kind: str) -> None:
    batch = drawn(levels={"cells": 0.1}, kinds={"cells": (kind,)})
    assert batch.is_outlying_cell.double().mean().item() == pytest.approx(0.1, abs=0.015)
    changed = (batch.X - batch.clean).abs() > 1e-9
    assert not bool((changed & ~batch.is_outlying_cell).any())
    assert (changed & batch.is_outlying_cell).sum() > 0.95 * batch.is_outlying_cell.sum()


@pytest.mark.parametrize("kind", MISSING_KINDS)
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_missing_cells_have_their_share(kind: str, share: float) -> None:
    batch = drawn(levels={"missing": share}, kinds={"missing": (kind,)})
    gone = batch.X.isnan()
    assert gone.double().mean().item() == pytest.approx(share, abs=0.05)
    assert bool((~gone).any(2).all())
    assert bool(((~gone).sum(1) >= K + 3).all())
    torch.testing.assert_close(batch.X[~gone], batch.clean[~gone])
    # the values tell which of them are missing when it is not at random, and only then
    rank = torch.argsort(torch.argsort(batch.clean, dim=1), dim=1).double() / N
    off = (rank[gone].mean() - rank[~gone].mean()).abs()
    ends = ((rank - 0.5).abs()[gone].mean() - (rank - 0.5).abs()[~gone].mean()).abs()
    assert bool(torch.maximum(off, ends) > 0.05) == (kind == "mnar")


def test_student_noise_has_tails_and_the_usual_middle() -> None:
    for piece in ("noise_df", "row_df"):
        batch = drawn(levels={piece: 2.0})
        off = (batch.X - batch.clean).abs().flatten(1)
        assert bool((off.amax(1) > 20.0 * off.median(1).values).all()), piece
        usual = batch.clean - batch.clean.mean(1, keepdim=True)
        assert bool((off.median(1).values < 0.5 * usual.abs().flatten(1).median(1).values).all())


def test_the_prior_has_every_piece_at_its_rate() -> None:
    prior = CorruptedRows((40, 60), (5, 8), (1, 3))
    batches = [prior.sample(TaskStream(1, step, range(64))) for step in range(20)]
    has = {k: torch.cat([b.has[k] for b in batches]).double() for k in batches[0].has}
    clean = (1.0 - torch.stack(list(has.values())).amax(0)).mean().item()
    assert 0.22 < clean < 0.42  # a quarter, and those that got none of the pieces
    assert has["rows"].mean().item() == pytest.approx(0.45 * 0.6, abs=0.04)
    assert has["missing"].mean().item() == pytest.approx(0.45 * 0.6 + 0.15, abs=0.04)
    gaps = (has["missing"] > 0) & (has["rows"] + has["cells"] + has["noise_df"] == 0)
    assert gaps.double().mean().item() > 0.15
    shapes = {(*b.X.shape[1:], b.basis.shape[1]) for b in batches}
    assert len(shapes) > 5
    assert all(40 <= n <= 60 and 5 <= d <= 8 and 1 <= k <= 3 for n, d, k in shapes)


def test_a_table_does_not_depend_on_its_neighbours() -> None:
    prior = CorruptedRows((40, 60), (5, 8), (1, 3))
    whole = prior.sample(TaskStream(3, 0, range(16), dtype=torch.float64))
    part = prior.sample(TaskStream(3, 0, range(8, 12), dtype=torch.float64))
    torch.testing.assert_close(part.X, whole.X[8:12], equal_nan=True)
    np.testing.assert_array_equal(part.is_outlying_cell, whole.is_outlying_cell[8:12])


def test_a_budget_cuts_rows() -> None:
    prior = CorruptedRows((20, 500), (50, 60), cell_budget=3000)
    for step in range(10):
        n, d = prior.sample(TaskStream(0, step, range(1))).X.shape[1:]
        assert n * d <= 3000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"dirt": 0.1}}, "unknown pieces"),
        ({"levels": {"dirt": 0.1}}, "unknown pieces"),
        ({"kinds": {"rows": ("spikes",)}}, "choose from"),
        ({"kinds": {"cells": ()}}, "choose from"),
        ({"kinds": {"noise_df": ("gross",)}}, "choose from"),
    ],
)
def test_unknown_pieces_and_kinds_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorruptedRows(**options)
