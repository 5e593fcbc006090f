"""Counts, back-off, exact answers and EM agree with the joint law written out."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_nets import GENERAL, SIZES, random_codes, random_tables, with_gaps
from statformer.estimators import bayes_net_em, bayes_net_inference, bayes_net_tables
from statformer.estimators.bayes_net_em import expected_counts
from statformer.estimators.bayes_net_inference import log_likelihood, most_probable, posterior
from statformer.estimators.bayes_net_tables import Tables, check_sizes, count, estimate
from statformer.reference.bayes_net import (
    Structure,
    backed_off,
    conditional_frequencies,
    joint,
)
from statformer.reference.bayes_net import count as count_one_by_one

CHAIN = Structure(tuple((m - 1,) if m else () for m in range(30)))


def network(seed: int = 0) -> Tables:
    p = random_tables(seed=seed)
    return Tables(GENERAL, tuple(p), tuple(np.ones(t.shape[:-1], dtype=bool) for t in p))


def at(law: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The joint law at the known cells of one row, the others left as axes."""
    return law[tuple(slice(None) if cell < 0 else cell for cell in x)]


# ---------------------------------------------------------------------------------------------
# Counting


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_equal_those_of_the_reference(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bayes_net_tables, "CHUNK", 32)
    codes = random_codes(n=150)
    weight = np.random.default_rng(0).random(150) if weighted else None
    expected = count_one_by_one(GENERAL, SIZES, codes.T, weight)
    for found, table in zip(count(GENERAL, SIZES, codes, weight), expected, strict=True):
        np.testing.assert_allclose(found, table)


def test_rows_that_lack_a_member_of_a_family_do_not_count_for_it() -> None:
    codes = with_gaps(random_codes(n=80))
    counts = count(GENERAL, SIZES, codes, None)
    for m, parents in enumerate(GENERAL.parents):
        family = [*parents, m]
        rows = (codes[family] >= 0).all(axis=0)
        assert counts[m].sum() == rows.sum()
        whole = np.where(codes[:, rows] < 0, 0, codes[:, rows])
        np.testing.assert_array_equal(counts[m], count_one_by_one(GENERAL, SIZES, whole.T)[m])


@pytest.mark.parametrize("seed", range(5))
def test_unseen_configurations_take_the_closest_rows(seed: int) -> None:
    structure, sizes = Structure(((), (), (), (0, 1, 2))), (3, 3, 3, 2)
    codes = random_codes(structure, sizes, n=8, seed=seed)
    counts = count(structure, sizes, codes, None)
    tables = estimate(structure, counts, 0.0)
    assert tables.n_unseen[3] > 0
    literal = conditional_frequencies(counts)[3]
    for values in np.ndindex(3, 3, 3):
        expected = backed_off(structure, sizes, codes.T, 3, values)
        np.testing.assert_allclose(tables.probabilities[3][values], expected)
        assert tables.seen[3][values] == (not np.isnan(literal[values]).any())
    smoothed = estimate(structure, counts, 0.5)
    np.testing.assert_allclose(smoothed.probabilities[3], conditional_frequencies(counts, 0.5)[3])
    assert smoothed.n_unseen == (0, 0, 0, 0)


def test_samples_follow_the_joint_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes_net_tables, "CHUNK", 1000)
    tables = network()
    codes, n_unseen = tables.sample(30_000, np.random.default_rng(0))
    seen = np.zeros(SIZES)
    np.add.at(seen, tuple(codes), 1 / codes.shape[1])
    assert 0.5 * np.abs(seen - joint(GENERAL, tables.probabilities)).sum() < 0.02
    assert n_unseen == 0


def test_a_table_that_is_too_large_is_refused() -> None:
    wide = Structure((*[()] * 12, tuple(range(12))))
    with pytest.raises(ValueError, match="'x12' given its 12 parents has 16,777,216 cells"):
        check_sizes(wide, (4,) * 12 + (1,), [f"x{m}" for m in range(13)])


# ---------------------------------------------------------------------------------------------
# Exact answers


@pytest.fixture(params=["written out", "contracted"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few unknown variables are written out, many contracted; both ways on the same rows."""
    if request.param == "contracted":
        for module in (bayes_net_inference, bayes_net_em):
            monkeypatch.setattr(module, "WRITTEN_OUT", 0)
    return str(request.param)


@pytest.mark.parametrize("target", range(5))
def test_posteriors_equal_those_of_the_joint_law(target: int, way: str) -> None:
    tables = network(seed=target)
    codes = with_gaps(random_codes(n=120, seed=target), share=0.5, seed=target)
    law = joint(GENERAL, tables.probabilities)
    found, impossible = posterior(tables, codes, target)
    assert not impossible.any()
    for x, p in zip(codes.T, found, strict=True):
        asked = x.copy()
        asked[target] = -1
        kept = np.flatnonzero(asked < 0).tolist().index(target)
        rest = at(law, asked)
        marginal = rest.sum(axis=tuple(a for a in range(rest.ndim) if a != kept))
        np.testing.assert_allclose(p, marginal / marginal.sum(), rtol=1e-10)


def test_likelihoods_equal_those_of_the_joint_law(way: str) -> None:
    tables = network()
    law = joint(GENERAL, tables.probabilities)
    for share in (0.0, 0.4, 1.0):
        codes = with_gaps(random_codes(n=60), share)
        expected = [np.log(at(law, x).sum()) for x in codes.T]
        np.testing.assert_allclose(log_likelihood(tables, codes), expected, atol=1e-12)


def test_the_most_probable_cells_are_those_of_the_posteriors(way: str) -> None:
    tables = network(seed=3)
    codes = with_gaps(random_codes(n=80, seed=3), share=0.5, seed=3)
    filled = most_probable(tables, codes)
    for target, row in enumerate(codes):
        gaps = row < 0
        best = posterior(tables, codes, target)[0].argmax(axis=1)
        np.testing.assert_array_equal(filled[target], np.where(gaps, best, row))


def test_impossible_cells_are_answered_and_marked() -> None:
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    structure = Structure(((), (0,), (1,), (1,)))
    p = (np.array([0.3, 0.7]), certain, certain, certain)
    tables = Tables(structure, p, tuple(np.ones(t.shape[:-1], dtype=bool) for t in p))
    codes = np.array([[-1, -1, 0, 1], [0, -1, 1, -1], [1, -1, 1, 1]]).T
    found, impossible = posterior(tables, codes, 1)
    np.testing.assert_array_equal(impossible, [True, True, False])
    np.testing.assert_allclose(found, [[0.3, 0.7], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(log_likelihood(tables, codes)[:2], -np.inf)


def test_long_chains_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 variables, only the ends of which are known; rows pass through in small pieces."""
    p = random_tables(CHAIN, (3,) * 30)
    tables = Tables(CHAIN, tuple(p), tuple(np.ones(t.shape[:-1], dtype=bool) for t in p))
    codes = np.full((30, 9), -1)
    codes[0], codes[29] = np.divmod(np.arange(9), 3)
    forward = np.linalg.multi_dot(p[1:16])
    backward = np.linalg.multi_dot(p[16:])
    expected = forward[codes[0]] * backward[:, codes[29]].T
    expected /= expected.sum(axis=1, keepdims=True)
    found, _ = posterior(tables, codes, 15)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    monkeypatch.setattr(bayes_net_inference, "MAX_NUMBERS", 100)
    np.testing.assert_allclose(posterior(tables, codes, 15)[0], expected, rtol=1e-10)


def test_too_wide_an_inference_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes_net_inference, "MAX_NUMBERS", 10)
    monkeypatch.setattr(bayes_net_inference, "WRITTEN_OUT", 0)
    structure = Structure(((), (), (), (0, 1, 2), (0, 1, 2, 3)))
    p = random_tables(structure, (3,) * 5)
    tables = Tables(structure, tuple(p), tuple(np.ones(t.shape[:-1], dtype=bool) for t in p))
    with pytest.raises(ValueError, match="exact inference among 5 tables needs"):
        posterior(tables, np.full((5, 1), -1), 4)


# ---------------------------------------------------------------------------------------------
# EM


def em_step(codes: np.ndarray, tables: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """One step by the joint law: every row counts as its completions, with their posterior."""
    law = joint(GENERAL, tables)
    counts, likelihood = [np.zeros_like(t) for t in tables], 0.0
    for x in codes.T:
        rest = at(law, x)
        total = rest.sum()
        likelihood += np.log(total)
        free = np.flatnonzero(x < 0)
        for values in np.ndindex(*rest.shape):
            whole = x.copy()
            whole[free] = values
            for m, parents in enumerate(GENERAL.parents):
                counts[m][(*whole[list(parents)], whole[m])] += rest[values] / total
    return counts, likelihood


def test_em_ends_where_a_step_changes_nothing() -> None:
    codes = with_gaps(random_codes(n=150), share=0.25)
    fit = expected_counts(GENERAL, SIZES, codes, np.ones(150), 0.0)
    assert fit.converged
    assert fit.n_iter > 3
    assert np.diff(fit.log_likelihood).min() > -1e-9  # it never falls
    tables = list(estimate(GENERAL, fit.counts, 0.0).probabilities)
    counts, likelihood = em_step(codes, tables)
    assert abs(likelihood / 150 - fit.log_likelihood[-1]) < 1e-6
    for mine, theirs in zip(fit.counts, counts, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.05)
        assert mine.sum() == pytest.approx(150.0)


def test_em_equals_repeated_steps_from_the_same_start(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statformer.estimators.bayes_net_em.MAX_ITER", 4)
    codes = with_gaps(random_codes(n=40), share=0.4)
    fit = expected_counts(GENERAL, SIZES, codes, np.ones(40), 0.1)
    assert (fit.n_iter, fit.converged) == (4, False)
    tables = estimate(GENERAL, count(GENERAL, SIZES, codes, None), 1.0).probabilities
    for step in range(4):
        counts, likelihood = em_step(codes, list(tables))
        assert fit.log_likelihood[step] == pytest.approx(likelihood / 40, abs=1e-12)
        tables = estimate(GENERAL, counts, 0.1).probabilities
    for mine, theirs in zip(fit.counts, counts, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-10)


def test_em_weighs_rows() -> None:
    codes = with_gaps(random_codes(n=60), share=0.2)
    weight = np.random.default_rng(0).integers(1, 4, 60)
    by_weight = expected_counts(GENERAL, SIZES, codes, weight.astype(float), 0.0)
    repeated = np.repeat(codes, weight, axis=1)
    by_rows = expected_counts(GENERAL, SIZES, repeated, np.ones(repeated.shape[1]), 0.0)
    for a, b in zip(by_weight.counts, by_rows.counts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
