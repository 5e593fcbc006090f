"""Proposals: who makes them, from what, and that neighbours in a batch change nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from judges import write_judged
from proposals.tables import clusters
from statformer import AttentionMixture
from statformer.batch import Centres, Tables
from statformer.constructions.em_network import stack_habits
from statformer.estimators import fitting, layer_runs, proposers
from statformer.estimators.base import resolve_weights
from statformer.estimators.devices import backend
from statformer.estimators.problems import Problem
from statformer.estimators.proposers import (
    GIVEN,
    HABITS,
    SWEEP,
    TEXTBOOK_LOOPS,
    Plan,
    Proposal,
    propose,
)
from statformer.estimators.starts import one_hot
from statformer.nn.em_network import EMNetwork, log_density, respond
from statformer.proposals.kinds import KINDS, LEARNED, LLOYD, MERGED, MIDDLE
from statformer.proposals.merging import owned_labels

ON = backend(None)
ALL = Plan(2, KINDS, 2)


@pytest.fixture(scope="module")
def em(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = write_judged(tmp_path_factory.mktemp("weights") / "small.safetensors")
    return dict(resolve_weights(path).em)


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint has three layers; the early ones are two."""
    monkeypatch.setattr(proposers, "MIDDLE_LAYER", 2)


def problem(seed: int, n: int = 60, d: int = 3, k: int = 3, apart: float = 2.0) -> Problem:
    X = clusters(seed, n, d, k, apart)[0]
    rng = np.random.default_rng(seed)
    return Problem((X - X.mean(0)) / X.std(0), rng.uniform(0.5, 2.0, n), rng, None)


def with_cells(seed: int = 0, n: int = 80) -> Problem:
    """Three numbers with gaps, and a word."""
    X, y = clusters(seed, n, 3, 3, 4.0)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(X, columns=list("abc")).mask(rng.random(X.shape) < 0.15)
    frame["word"] = np.array(["x", "y", "z"])[np.where(rng.random(n) < 0.8, y, rng.integers(3))]
    return fitting.prepare(AttentionMixture(random_state=0), frame, None).problem


def numbered(labels: np.ndarray) -> tuple[int, ...]:
    """Clusters numbered by their first row: two starts with one end differ in numbers only."""
    return tuple(list(dict.fromkeys(labels)).index(k) for k in labels)


def same(one: list[Proposal], two: list[Proposal], atol: float) -> None:
    """The same proposals; of one kind and K, in any order."""

    def key(p: Proposal) -> tuple[Any, ...]:
        return p.kind, p.n_components, numbered(p.labels)

    one, two = sorted(one, key=key), sorted(two, key=key)
    assert [key(p) for p in one] == [key(p) for p in two]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.features, b.features, atol=atol)
        np.testing.assert_allclose(a.top, b.top, atol=max(atol, 1e-6))


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("counts", [[[1, 2, 3], [1, 2, 3]], [[2, 6], [3, 4]]])
def test_company_changes_nothing(
    em: dict[str, np.ndarray], counts: list[list[int]], is_single: bool
) -> None:
    asked = np.array(counts)
    sizes = [{"n": 45, "d": 2, "apart": 6.0}, {"n": 60, "d": 4, "apart": 6.0}]

    def alone(i: int) -> list[Proposal]:
        one = problem(i, **sizes[i])
        return propose([one], asked[i : i + 1], ALL, em, ON, is_single=is_single)[0]

    tables = [problem(i, **size) for i, size in enumerate(sizes)]
    together = propose(tables, asked, ALL, em, ON, is_single=is_single)
    for i in range(2):
        same(together[i], alone(i), 1e-3 if is_single else 1e-8)
    after = [table.rng.random() for table in tables]
    for i, number in enumerate(after):  # as many numbers were drawn
        one = problem(i, **sizes[i])
        propose([one], asked[i : i + 1], ALL, em, ON, is_single=is_single)
        assert one.rng.random() == number


@pytest.mark.parametrize("plan", [SWEEP, GIVEN, Plan(3, (MIDDLE, LEARNED, "valley"), 3)])
def test_every_kind_once_for_every_count(em: dict[str, np.ndarray], plan: Plan) -> None:
    counts = np.array([[1, 2, 4]])
    (found,) = propose([problem(0)], counts, plan, em, ON)
    times = Counter((p.kind, p.n_components) for p in found)
    assert times == {
        (kind, k): plan.n_kept if kind == LEARNED else 1 for kind in plan.kinds for k in (1, 2, 4)
    }
    for p in found:
        assert p.labels.shape == p.top.shape == (60,)
        assert p.labels.min() >= 0
        assert p.labels.max() < p.n_components
        assert np.isfinite(p.features).all()
        assert p.features[2] == pytest.approx(np.log(p.n_components / len(np.unique(p.labels))))
        assert p.run.kind == p.kind


def test_labels_are_those_of_the_run(em: dict[str, np.ndarray]) -> None:
    """A run answers again as it did: its centres and its read-out say all."""
    asked = np.array([[2, 4], [3, 5]])
    tables = [problem(1, 40, 2), problem(2, 60, 4)]
    for one, found in zip(tables, propose(tables, asked, ALL, em, ON), strict=True):
        share, d = one.weight / one.weight.sum(), one.X.shape[1]
        centred = one.X - share @ one.X
        whole = centred.T @ (centred * share[:, None]) + 1e-4 * np.eye(d)
        alone = -0.5 * (np.linalg.slogdet(2 * np.pi * whole)[1] + d)
        kinds = set()
        for p in found:
            if p.run.centres is None or p.run.readout is None:
                continue
            kinds.add(p.kind)
            c = p.run.centres
            centres = Centres(
                c.weights, c.means[..., :d], c.covariances[..., :d, :d], c.is_component
            )
            r = respond(one.table(), centres, p.run.readout)[0]
            np.testing.assert_array_equal(r.argmax(axis=1), p.labels)
            np.testing.assert_allclose(r.max(axis=1), p.top, atol=1e-6)
            assert c.is_component.sum() <= p.n_components
            density = share @ log_density(one.table(), centres)[0]
            confidence, temperature = share @ r.max(axis=1), np.log(p.run.readout.temperature[0])
            robustness = (c.weights * p.run.readout.rho).sum()
            np.testing.assert_allclose(
                p.features[[0, 1, 3, 4]],
                [(density - alone) / np.sqrt(d), confidence, robustness, temperature],
                atol=1e-6,
            )
        assert kinds == {LEARNED, MIDDLE, *HABITS}


def densest(one: Problem, starts: list[np.ndarray], k: int, network: EMNetwork) -> Any:
    """The densest of the starts, each run alone."""
    share = one.weight / one.weight.sum()
    runs = [network(one.table(), one_hot(start[None], k), record="last") for start in starts]
    return max(runs, key=lambda run: share @ log_density(one.table(), run.centres[-1])[0])


@pytest.mark.parametrize("k", [1, 3])
def test_each_habit_is_as_if_it_ran_alone(em: dict[str, np.ndarray], k: int) -> None:
    one = problem(3)
    plan = Plan(3, KINDS, 3)
    (found,) = propose([one], np.array([[k]]), plan, em, ON)
    starts = [p.run.start for p in found if p.kind == LEARNED]
    assert len(starts) == 3
    networks = {
        kind: EMNetwork(stack_habits([(h.covariance_type, h.ridge)], 1, 1).weights, TEXTBOOK_LOOPS)
        for kind, h in HABITS.items()
    }
    networks |= {
        LEARNED: EMNetwork(em),
        MIDDLE: EMNetwork({name: value[:2] for name, value in em.items()}),
    }
    for kind, network in networks.items():
        p = next(p for p in found if p.kind == kind)
        expected = densest(one, starts, k, network)
        assert p.run.centres is not None
        np.testing.assert_allclose(p.run.centres.means, expected.centres[-1].means, atol=1e-7)
        np.testing.assert_allclose(
            p.run.centres.covariances, expected.centres[-1].covariances, atol=1e-7
        )
        np.testing.assert_array_equal(p.labels, expected.responsibilities[-1][0].argmax(axis=1))
        assert p.run.n_layers == (2 if kind == MIDDLE else None)
    if k > 1:  # the habits differ, so a mix-up would show
        means = [next(p for p in found if p.kind == kind).run.centres.means for kind in networks]
        gaps = [np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]]
        assert min(gaps) > 1e-6
    squares = [within(one, start) for start in starts]
    (best,) = [p for p in found if p.kind == LLOYD]
    assert within(one, best.labels) == pytest.approx(min(squares))
    np.testing.assert_array_equal(best.top, 1.0)


def within(one: Problem, labels: np.ndarray) -> float:
    """Weighted sum of squares around the means of the clusters."""
    total = 0.0
    for k in np.unique(labels):
        X, w = one.X[labels == k], one.weight[labels == k]
        total += float(w @ ((X - np.average(X, axis=0, weights=w)) ** 2).sum(axis=1))
    return total


def test_merged_labels_are_those_of_their_owners(em: dict[str, np.ndarray]) -> None:
    one = problem(4, n=25)
    (found,) = propose([one], np.array([[2, 25]]), Plan(1, MERGED), em, ON)
    assert {p.kind for p in found} == set(MERGED)
    for p in found:
        assert p.run.centres is None
        assert p.run.micro is not None
        assert p.run.owner is not None
        np.testing.assert_array_equal(p.labels, owned_labels(p.run.micro, p.run.owner[None])[0])
    assert all(len(np.unique(p.labels)) == 2 for p in found if p.n_components == 2)


# ---------------------------------------------------------------------------------------------
# Single precision


@pytest.fixture
def read_in(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The precision of every batch that runs."""
    dtypes: list[Any] = []
    read = layer_runs._read

    def spy(*args: Any) -> Any:
        dtypes.append(args[-1])
        return read(*args)

    monkeypatch.setattr(layer_runs, "_read", spy)
    return dtypes


def test_single_precision_is_for_tame_tables(em: dict[str, np.ndarray], read_in: list[Any]) -> None:
    asked, plan = np.array([[2, 3]]), Plan(1, (LEARNED, "full", "tied"))
    (single,) = propose([problem(5, apart=6.0)], asked, plan, em, ON, is_single=True)
    assert set(read_in) == {np.float32}
    read_in.clear()
    (double,) = propose([problem(5, apart=6.0)], asked, plan, em, ON)
    assert set(read_in) == {np.float64}
    for a, b in zip(single, double, strict=True):
        assert adjusted_rand_score(a.labels, b.labels) > 0.95
        np.testing.assert_allclose(a.features, b.features, atol=1e-3)
        assert a.run.centres is not None
        assert a.run.centres.means.dtype == np.float64
    assert any((a.features != b.features).any() for a, b in zip(single, double, strict=True))
    read_in.clear()
    wild = problem(5, apart=6.0)
    wild.X[0, 0] = 31.0
    propose([wild], asked, plan, em, ON, is_single=True)
    assert set(read_in) == {np.float64}


@pytest.mark.parametrize("reason", ["error", "infinite"])
def test_what_fails_in_single_precision_runs_again(
    em: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    asked, plan = np.array([[2, 3]]), Plan(1, (LEARNED, "full"))
    (expected,) = propose([problem(6)], asked, plan, em, ON)
    real = layer_runs.log_density

    def density(tables: Tables, centres: Centres) -> np.ndarray:
        found = real(tables, centres)
        if found.dtype == np.float64:
            return found
        if reason == "error":
            raise np.linalg.LinAlgError
        return np.where(np.arange(found.shape[1]) == 3, np.nan, found)

    monkeypatch.setattr(layer_runs, "log_density", density)
    (found,) = propose([problem(6)], asked, plan, em, ON, is_single=True)
    same(found, expected, 1e-12)


# ---------------------------------------------------------------------------------------------
# Missing and categorical cells


def test_cells_are_read_as_they_are(em: dict[str, np.ndarray]) -> None:
    one = with_cells()
    assert one.cells is not None
    (found,) = propose([one], np.array([[2, 3]]), ALL, em, ON, is_single=True)
    assert Counter(p.kind for p in found) == {k: 4 if k == LEARNED else 2 for k in KINDS}
    for p in found:
        if p.run.centres is None or p.run.readout is None:
            continue
        assert p.run.is_native
        assert p.run.centres.means.shape[2] == one.n_columns == 3
        assert p.run.centres.categories is not None
        assert p.run.centres.categories.shape[2] == 3
        r = respond(one.table(), p.run.centres, p.run.readout)[0]
        np.testing.assert_array_equal(r.argmax(axis=1), p.labels)
        np.testing.assert_allclose(r.max(axis=1), p.top, atol=1e-6)


def test_cells_run_beside_plain_tables(em: dict[str, np.ndarray]) -> None:
    asked = np.array([[2, 3]])
    cells = propose([with_cells()], asked, ALL, em, ON)[0]
    plain = propose([problem(7)], asked, ALL, em, ON)[0]
    found = propose([with_cells(), problem(7)], np.tile(asked, (2, 1)), ALL, em, ON)
    same(found[0], cells, 1e-8)
    same(found[1], plain, 1e-8)


def test_dear_cells_are_filled(em: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposers, "CELL_WORK", 0)
    one = with_cells()
    (found,) = propose([one], np.array([[2, 3]]), ALL, em, ON)
    assert not any(p.run.is_native for p in found)
    assert one.cells is not None
    for p in found:
        if p.run.centres is not None and p.run.readout is not None:
            assert p.run.centres.means.shape[2] == one.X.shape[1] == 6
            plain = Tables(one.X[None], one.weight[None])
            r = respond(plain, p.run.centres, p.run.readout)[0]
            np.testing.assert_array_equal(r.argmax(axis=1), p.labels)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_tiny_tables(em: dict[str, np.ndarray], n: int) -> None:
    X = np.random.default_rng(n).normal(size=(n, 2))
    one = Problem(X, np.ones(n), np.random.default_rng(0), None)
    (found,) = propose([one], np.arange(1, n + 1)[None], ALL, em, ON, is_single=True)
    assert {p.kind for p in found} == set(KINDS)
    assert all(np.isfinite(p.features).all() for p in found)


def test_a_start_is_made_for_every_count(em: dict[str, np.ndarray]) -> None:
    """Far apart, the start is the answer, and each K has its own."""
    X, y = clusters(9, n=80, d=3, k=4, apart=40.0)
    one = Problem(X / X.std(), np.ones(80), np.random.default_rng(0), None)
    (found,) = propose([one], np.array([[1, 2, 3, 4, 5]]), Plan(4, (LLOYD,)), em, ON)
    assert [len(np.unique(p.labels)) for p in found] == [1, 2, 3, 4, 5]
    assert adjusted_rand_score(y, found[3].labels) == 1.0
