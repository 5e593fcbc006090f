"""Effort: one table of what is tried; more of it never means less of anything."""

from __future__ import annotations

import numpy as np
import pytest

from statformer import AttentionMixture, cluster_tables
from statformer.estimators.effort import EFFORTS, effort_of
from statformer.proposals.kinds import KINDS


def test_efforts_rise() -> None:
    assert list(EFFORTS) == ["fast", "balanced", "best"]
    for less, more in zip(list(EFFORTS.values())[:-1], list(EFFORTS.values())[1:], strict=True):
        assert less.n_init <= more.n_init
        for plan, richer in ((less.sweep, more.sweep), (less.given, more.given)):
            assert plan.n_starts <= richer.n_starts
            assert plan.n_kept <= richer.n_kept
            assert set(plan.kinds) <= set(richer.kinds) <= set(KINDS)


def test_n_init_takes_the_place_of_the_efforts_own() -> None:
    assert effort_of(AttentionMixture()) == EFFORTS["balanced"]
    assert effort_of(AttentionMixture(effort="best")) == EFFORTS["best"]
    changed = effort_of(AttentionMixture(effort="fast", n_init=3))
    assert changed.n_init == changed.given.n_starts == 3
    assert changed.sweep == EFFORTS["fast"].sweep


@pytest.mark.parametrize("effort", ["slow", "", None, 3, ["best"]])
def test_unknown_efforts_are_named(effort: object) -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"effort=.* give 'fast', 'balanced' or 'best'"):
        AttentionMixture(2, weights="constructed", effort=effort).fit(X)
    with pytest.raises(ValueError, match="effort="):
        cluster_tables([X], 2, weights="constructed", effort=effort)


@pytest.mark.parametrize(("n_init", "error"), [(0, ValueError), (2.5, TypeError)])
def test_a_bad_n_init_is_named(n_init: object, error: type) -> None:
    with pytest.raises(error, match=f"n_init={n_init}"):
        effort_of(AttentionMixture(n_init=n_init))
