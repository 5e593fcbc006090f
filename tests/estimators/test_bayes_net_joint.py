"""Cells filled together are the most probable combination, found by trying every one."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_nets import GENERAL, random_codes, random_tables, with_gaps
from statformer.estimators import bayes_net_joint
from statformer.estimators.bayes_net_inference import log_likelihood, most_probable
from statformer.estimators.bayes_net_joint import most_probable_together
from statformer.estimators.bayes_net_tables import Tables
from statformer.reference.bayes_net import Structure, joint

CHAIN = Structure(tuple((m - 1,) if m else () for m in range(40)))


def network(structure: Structure = GENERAL, seed: int = 0) -> Tables:
    sizes = tuple(2 + m % 2 for m in range(len(structure)))
    p = random_tables(structure, sizes, seed=seed)
    return Tables(structure, tuple(p), tuple(np.ones(t.shape[:-1], dtype=bool) for t in p))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("memory", [2**24, 40])
def test_no_combination_is_more_probable(
    seed: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bayes_net_joint, "MAX_NUMBERS", memory)
    tables = network(seed=seed)
    codes = with_gaps(random_codes(sizes=tables.sizes, n=120, seed=seed), 0.5, seed)
    filled = most_probable_together(tables, codes)
    law = joint(GENERAL, list(tables.probabilities))
    for x, found in zip(codes.T, filled.T, strict=True):
        at = tuple(slice(None) if cell < 0 else cell for cell in x)
        assert law[tuple(found)] == pytest.approx(law[at].max())
        assert (found[x >= 0] == x[x >= 0]).all()


def test_it_is_not_what_each_cell_alone_would_be() -> None:
    p = np.array([0.4, 0.35, 0.25]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    seen = np.ones((), dtype=bool), np.ones(3, dtype=bool)
    tables = Tables(Structure(((), (0,))), p, seen)
    gaps = np.full((2, 1), -1)
    assert most_probable(tables, gaps).ravel().tolist() == [0, 1]  # together impossible
    assert most_probable_together(tables, gaps).ravel().tolist() == [0, 0]


def test_long_chains_are_filled_and_wide_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = network(CHAIN)
    codes = with_gaps(random_codes(CHAIN, tables.sizes, n=30), 0.9)
    together, alone = most_probable_together(tables, codes), most_probable(tables, codes)
    gain = log_likelihood(tables, together) - log_likelihood(tables, alone)
    assert gain.min() > -1e-9
    assert gain.max() > 0.1
    monkeypatch.setattr(bayes_net_joint, "MAX_NUMBERS", 5)
    with pytest.raises(ValueError, match="pass joint=False"):
        most_probable_together(tables, codes)


def test_impossible_rows_are_filled_cell_by_cell() -> None:
    p = np.array([0.5, 0.5]), np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.9, 0.1]] * 2)
    seen = np.ones((), dtype=bool), np.ones(2, dtype=bool), np.ones(2, dtype=bool)
    tables = Tables(Structure(((), (0,), (0,))), p, seen)
    codes = np.array([[-1, -1], [1, 0], [-1, -1]])
    found = most_probable_together(tables, codes)
    np.testing.assert_array_equal(found, most_probable(tables, codes))
    assert found[2].tolist() == [0, 0]
