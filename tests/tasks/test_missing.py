"""Missing cells: the share, what survives, and who decides which cells go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from statformer.tasks.missing import MECHANISMS, MOST_MISSING, observed_cells
from statformer.tasks.stream import TaskStream


def drawn(
    names: tuple[str, ...], n: int = 600, d: int = 4, b: int = 64
) -> tuple[torch.Tensor, ...]:
    X = TaskStream(1, 0, range(b)).normal(n, d)
    on = torch.tensor([name in names for name in MECHANISMS]).expand(b, -1)
    return X, observed_cells(TaskStream(0, 0, range(b)), X, on)


def smallest_p(X: torch.Tensor, observed: torch.Tensor, own: bool) -> np.ndarray:
    """Per table, how surely the values of some column say which cells are missing (own or not)."""
    found = []
    for x, seen in zip(X.numpy(), observed.numpy(), strict=True):
        d = x.shape[1]
        ps = [1.0]
        for i in range(d):
            for j in range(d):
                gone = ~seen[:, j]
                if (i == j) != own or gone.sum() < 20 or (~gone).sum() < 20:
                    continue
                ps.append(stats.ks_2samp(x[gone, i], x[~gone, i]).pvalue)
        found.append(min(ps) * len(ps))
    return np.array(found)


@pytest.mark.parametrize("names", [(m,) for m in MECHANISMS] + [MECHANISMS])
def test_shares_reach_from_little_to_the_most(names: tuple[str, ...]) -> None:
    _, observed = drawn(names)
    share = 1.0 - observed.double().mean((1, 2))
    assert share.min() < 0.08
    assert share.max() > (0.45 if len(names) == 1 else 0.35)
    assert share.max() < MOST_MISSING + 0.1
    assert 0.18 < share.mean() < 0.32
    assert share.std() > 0.1


def test_nothing_is_missing_where_nothing_is_on() -> None:
    assert drawn(())[1].all()


def test_completely_at_random_depends_on_no_value() -> None:
    X, observed = drawn(("mcar",))
    assert (smallest_p(X, observed, own=True) < 0.01).mean() < 0.05
    assert (smallest_p(X, observed, own=False) < 0.01).mean() < 0.05


def test_at_random_depends_on_one_complete_column() -> None:
    X, observed = drawn(("mar",))
    assert (smallest_p(X, observed, own=False) < 1e-3).mean() > 0.8
    complete = observed.all(1).sum(-1)
    assert (complete >= 1).all()
    for x, seen in zip(X.numpy(), observed.numpy(), strict=True):
        kept = np.flatnonzero(seen.all(axis=0))
        others = [j for j in range(4) if (~seen[:, j]).sum() > 100]
        if len(kept) != 1 or not others:
            continue
        # given the driver's rank, nothing else matters: own values tell nothing
        j = others[0]
        rank = stats.rankdata(x[:, kept[0]])
        band = np.abs(rank - np.median(rank)) < 100
        gone = ~seen[band, j]
        if min(gone.sum(), (~gone).sum()) > 20:
            assert stats.ks_2samp(x[band, j][gone], x[band, j][~gone]).pvalue > 1e-4


def test_not_at_random_depends_on_the_cell_itself() -> None:
    X, observed = drawn(("mnar",))
    assert (smallest_p(X, observed, own=True) < 1e-3).mean() > 0.8
    assert (smallest_p(X, observed, own=False) < 0.01).mean() < 0.05


def test_rows_keep_a_cell_and_columns_two() -> None:
    for n, d in ((20, 2), (5, 3), (200, 2), (2, 2)):
        _, observed = drawn(MECHANISMS, n, d, 128)
        assert observed.any(2).all()
        assert (observed.sum(1) >= 2).all()


def test_one_column_cannot_lose_cells() -> None:
    with pytest.raises(ValueError, match="X has 1 column"):
        drawn(("mcar",), d=1)
