"""Whichever proposal is chosen, the answer reads every row: labels, densities, traces, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from judges import write_judged
from proposals.tables import clusters
from statformer import AttentionMixture, cluster_tables
from statformer.batch import Centres, Tables
from statformer.estimators import pretrained, problems, proposers
from statformer.estimators.answers import answered, is_usable
from statformer.estimators.base import Checkpoint, resolve_weights
from statformer.estimators.devices import backend
from statformer.estimators.problems import Problem, shortened
from statformer.estimators.proposers import HABITS, TEXTBOOK_LOOPS, Plan, Proposal, propose
from statformer.nn.em_network import respond
from statformer.nn.judge import Evidence, Judgement
from statformer.proposals.evidence import N_TOKEN_FEATURES
from statformer.proposals.kinds import KINDS, LEARNED, LLOYD, MERGED, MIDDLE

ON = backend(None)
N_LAYERS, EARLY = 3, 2
FIRST_KIND = N_TOKEN_FEATURES - len(KINDS) - 1


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judged(tmp_path_factory.mktemp("weights") / "judged.safetensors")


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Checkpoint:
    return resolve_weights(path)


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposers, "MIDDLE_LAYER", EARLY)


@pytest.fixture
def prefer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A judge that prefers one kind, and believes in one K."""

    def choose(kind: str, n_components: int = 3, doubt: float = 0.0) -> None:
        def judge(evidence: Evidence, max_components: int) -> Judgement:
            mine = evidence.tokens[..., FIRST_KIND + KINDS.index(kind)] * evidence.is_there
            log_p = np.full((len(mine), max_components + 1), -np.inf)
            log_p[:, n_components - 1] = 0.0
            wrong = evidence.n_clusters != n_components
            return Judgement(8.0 * mine - 4.0 - 20.0 * wrong, log_p, np.full(mine.shape, doubt))

        monkeypatch.setattr(pretrained, "Judge", lambda _: judge)

    return choose


def table(n: int = 90, d: int = 3, apart: float = 4.0) -> np.ndarray:
    return clusters(0, n, d, 3, apart)[0] * np.array([1.0, 10.0, 0.1])[:d] + 5.0


# ---------------------------------------------------------------------------------------------
# Fits


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_is_chosen_answers(path: Path, prefer: Any, kind: str) -> None:
    prefer(kind)
    X = table()
    model = AttentionMixture(weights=path, n_init=2, random_state=0).fit(X)
    assert model.n_components_ == 3
    assert model.n_components_proba_.argmax() == 2
    a, b = resolve_weights(path).judge["pick"]
    assert model.expected_ari_ == pytest.approx(1.0 / (1.0 + np.exp(-4.0 * a - b)))
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert np.isfinite(model.score_samples(X)).all()
    assert model.weights_.sum() == pytest.approx(1.0)
    assert (np.diff(np.bincount(model.labels_)) <= 0).all()
    assert model.means_.shape == (3, 3)
    assert model.covariances_.shape == (3, 3, 3)
    n_layers = {MIDDLE: EARLY, LEARNED: N_LAYERS, LLOYD: 1, **dict.fromkeys(MERGED, 1)}
    trace = model.trace_
    assert trace.shape == (n_layers.get(kind, TEXTBOOK_LOOPS), 90, 3)
    np.testing.assert_allclose(trace[-1], model.predict_proba(X[model.context_]), atol=1e-3)
    np.testing.assert_array_equal(trace[-1].argmax(axis=1), model.labels_[model.context_])


@pytest.mark.parametrize("K", [1, None])
def test_one_cluster_is_learned_layers_and_right_as_often_as_it_is_likely(
    path: Path, monkeypatch: pytest.MonkeyPatch, K: int | None
) -> None:
    def judge(evidence: Evidence, max_components: int) -> Judgement:
        log_p = np.full((1, max_components + 1), -np.inf)
        log_p[0, :2] = np.log([0.7, 0.3])
        logit = promise + np.random.default_rng(0).normal(size=evidence.is_there.shape)
        return Judgement(logit, log_p, np.full(logit.shape, 0.5))

    monkeypatch.setattr(pretrained, "Judge", lambda _: judge)
    X = table()
    promise = -20.0
    model = AttentionMixture(K, weights=path, effort="fast", random_state=0).fit(X)
    assert model.n_components_ == 1
    assert model.expected_ari_ == pytest.approx(0.7 if K is None else 1.0)
    assert model._origin.habit is None
    assert len(model.trace_) == N_LAYERS
    np.testing.assert_array_equal(model.predict_proba(X), 1.0)
    if K is None:  # several clusters that promise more are answered, likely or not
        promise = 20.0
        several = AttentionMixture(weights=path, effort="fast", random_state=0).fit(X)
        assert several.n_components_ > 1
        assert several.n_components_proba_.argmax() == 0
        assert several.expected_ari_ > 0.99


@pytest.mark.parametrize("promising", [2, 5])
def test_the_number_that_promises_most_is_answered(
    path: Path, monkeypatch: pytest.MonkeyPatch, promising: int
) -> None:
    """P(K) alone decides between one cluster and several, not between several."""

    def judge(evidence: Evidence, max_components: int) -> Judgement:
        log_p = np.full((1, max_components + 1), np.log(1e-3))
        log_p[0, 3] = np.log(0.9)
        logit = np.where(evidence.n_clusters == promising, 2.0, 1.0)
        return Judgement(logit, log_p, np.zeros(logit.shape))

    monkeypatch.setattr(pretrained, "Judge", lambda _: judge)
    model = AttentionMixture(weights=path, effort="fast", random_state=0).fit(table())
    assert model.n_components_ == promising
    assert model.n_components_proba_.argmax() == 3
    a, b = resolve_weights(path).judge["pick"]
    assert model.expected_ari_ == pytest.approx(1.0 / (1.0 + np.exp(-2.0 * a - b)))


def test_kinds_give_different_answers(path: Path, prefer: Any) -> None:
    """Else the preference above would prove nothing."""
    scores = {}
    kinds = [LEARNED, MIDDLE, LLOYD, "full", "spherical", "tied", "local", "cut"]
    for kind in kinds:
        prefer(kind)
        model = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(table(apart=1.5))
        scores[kind] = (model.score(table()), *np.bincount(model.labels_))
    assert len(set(scores.values())) == len(kinds), scores


@pytest.mark.parametrize("kind", [LEARNED, MIDDLE, LLOYD, "tied", "cut"])
def test_long_tables_answer_for_every_row(path: Path, prefer: Any, kind: str) -> None:
    prefer(kind)
    X = table(1500)
    model = AttentionMixture(weights=path, effort="fast", n_init=2, random_state=0)
    if kind == "cut":
        model.set_params(effort="balanced")
    model.fit(X)
    assert model.n_components_ == 3
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.trace_.shape[1:] == (1500, 3)
    np.testing.assert_array_equal(model.trace_[-1].argmax(axis=1), model.labels_[model.context_])
    few = AttentionMixture(
        3, weights=path, effort="fast", n_init=2, random_state=0, max_context=300
    )
    if kind != "cut":
        few.fit(X)
        np.testing.assert_array_equal(few.predict(X), few.labels_)
        assert len(few.context_) == 300
        assert adjusted_rand_score(few.labels_, model.labels_) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_tables_with_cells(path: Path, prefer: Any, kind: str) -> None:
    """Where Lloyd or a merge is preferred, layers answer: only they read gaps and words."""
    prefer(kind)
    X, y = clusters(1, 70, 3, 3, 6.0)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X, columns=list("abc")).mask(rng.random(X.shape) < 0.1)
    frame["word"] = np.array(["x", "y", "z"])[y]
    model = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(frame)
    np.testing.assert_array_equal(model.predict(frame), model.labels_)
    np.testing.assert_array_equal(model.trace_[-1].argmax(axis=1), model.labels_[model.context_])
    assert model._mixture.owner is None
    assert model._origin.n_layers
    assert model.means_.shape[1] == 6
    assert adjusted_rand_score(y, model.labels_) > 0.6


def test_cells_that_were_filled_for_the_proposals(
    path: Path, prefer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals on filled gaps; the answer reads the cells as they are, one run more."""
    monkeypatch.setattr(proposers, "CELL_WORK", 0)
    for kind in (LEARNED, "full"):
        prefer(kind)
        X = table(apart=6.0)
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
        model = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(X)
        np.testing.assert_array_equal(model.predict(X), model.labels_)
        assert model._mixture.layout is not None
        far = np.where(np.isnan(X), 1e3, X)
        assert np.abs(model.predict_proba(far) - model.predict_proba(X)).max() > 0.1


@pytest.mark.parametrize("kind", [LEARNED, LLOYD, "full", "valley"])
def test_a_file_answers_as_the_model(path: Path, prefer: Any, tmp_path: Path, kind: str) -> None:
    prefer(kind, doubt=0.25)
    X = table()
    model = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(X)
    model.save(tmp_path / "model")
    again = AttentionMixture.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(again.means_, model.means_)
    np.testing.assert_array_equal(again.weights_, model.weights_)
    np.testing.assert_array_equal(again.covariances_, model.covariances_)
    assert again.expected_ari_ == model.expected_ari_
    assert again.predict_proba(X).min() >= 0.25 / 3


@pytest.mark.parametrize("kind", [LEARNED, LLOYD, "gap"])
def test_doubt_is_spread_evenly(path: Path, prefer: Any, kind: str) -> None:
    X = table(apart=2.0)
    prefer(kind)
    sure = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(X)
    prefer(kind, doubt=0.3)
    unsure = AttentionMixture(3, weights=path, n_init=2, random_state=0).fit(X)
    expected = 0.7 * sure.predict_proba(X) + 0.1
    np.testing.assert_allclose(unsure.predict_proba(X), expected, atol=1e-12)
    np.testing.assert_array_equal(unsure.labels_, sure.labels_)
    np.testing.assert_array_equal(unsure.score_samples(X), sure.score_samples(X))
    np.testing.assert_array_equal(unsure.trace_, sure.trace_)  # before it is spread


@pytest.mark.parametrize(("kind", "K"), [(LEARNED, None), (LLOYD, 2), ("full", 2), ("cut", None)])
def test_many_tables_equal_a_loop(path: Path, prefer: Any, kind: str, K: int | None) -> None:
    prefer(kind, 2)
    tables = [clusters(i, 40 + 10 * i, 2 + i, 2, 6.0)[0] for i in range(3)]
    together = cluster_tables(tables, K, weights=path, n_init=2, random_state=0)
    for X, model in zip(tables, together, strict=True):
        alone = AttentionMixture(K, weights=path, n_init=2, random_state=0).fit(X)
        np.testing.assert_array_equal(model.labels_, alone.labels_)
        np.testing.assert_allclose(model.means_, alone.means_, atol=1e-3)


def test_rows_have_no_order_and_weights_are_copies(path: Path, prefer: Any) -> None:
    rng = np.random.default_rng(0)
    order, times = rng.permutation(90), rng.integers(1, 3, 90)
    for kind in (LEARNED, LLOYD, "diagonal", "spectral"):
        prefer(kind)
        X = table(apart=2.0)
        K = None if kind == LEARNED else 3
        model = AttentionMixture(K, weights=path, n_init=2, random_state=0)
        labels = model.fit(X).labels_
        np.testing.assert_array_equal(model.fit(X[order]).labels_, labels[order])
        copies = model.fit(np.repeat(X, times, axis=0)).means_
        np.testing.assert_array_equal(model.fit(X, sample_weight=times).means_, copies)


@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
def test_the_number_of_clusters_is_looked_for_further(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep goes on where the judge believes that K lies beyond it."""
    seen: list[int] = []

    def judge(evidence: Evidence, max_components: int) -> Judgement:
        top = int(evidence.n_clusters.max())
        seen.append(top)
        log_p = np.full((1, max_components + 1), -np.inf)
        log_p[:, -1], log_p[:, top - 1] = np.log(0.6 if top < 20 else 0.01), np.log(0.4)
        return Judgement(
            np.zeros(evidence.is_there.shape), log_p, np.zeros(evidence.is_there.shape)
        )

    monkeypatch.setattr(pretrained, "Judge", lambda _: judge)
    X = np.random.default_rng(0).normal(size=(60, 2))

    def fit(n: int = 60, **options: Any) -> AttentionMixture:
        seen.clear()
        given = {"weights": path, "effort": "fast", "n_init": 1, "random_state": 0}
        return AttentionMixture(**{**given, **options}).fit(X[:n])

    model = fit(max_components=30)
    assert seen == [10, 20, 20]  # two sweeps, and the answer
    assert model.n_components_proba_.argmax() == 19
    assert model.n_components_proba_.sum() == pytest.approx(1.0)
    fit(8)
    assert seen == [8, 8]


def test_weights_without_a_judge(checkpoint: Checkpoint, path: Path, tmp_path: Path) -> None:
    """Layers alone answer with the densest start; K must be given."""
    from safetensors.numpy import load_file, save_file

    alone = tmp_path / "layers.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k.startswith("em.")}, alone)
    X = table()
    model = AttentionMixture(3, weights=alone, random_state=0).fit(X)
    assert np.isnan(model.expected_ari_)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    scores = [
        AttentionMixture(3, weights=alone, n_init=1, random_state=seed).fit(X).score(X)
        for seed in range(3)
    ]
    assert model.score(X) >= max(scores) - 1e-3
    with pytest.raises(ValueError, match="hold no judge; give n_components"):
        AttentionMixture(weights=alone).fit(X)


# ---------------------------------------------------------------------------------------------
# One proposal, one answer


def proposals(checkpoint: Checkpoint, one: Problem, k: int = 3) -> dict[str, Proposal]:
    (found,) = propose([one], np.array([[k]]), Plan(2, KINDS), dict(checkpoint.em), ON)
    return {p.kind: p for p in found}


def problem(n: int = 80, d: int = 3) -> Problem:
    X = clusters(3, n, d, 3, 2.0)[0]
    rng = np.random.default_rng(0)
    return Problem((X - X.mean(0)) / X.std(0), rng.uniform(0.5, 2.0, n), rng, None)


def responsibilities(centres: Centres, readout: Any, one: Problem) -> np.ndarray:
    plain = Tables(one.X[None], one.weight[None])
    r: np.ndarray = respond(plain, centres, readout)[0]
    return r


def test_an_answer_has_the_labels_of_its_proposal(checkpoint: Checkpoint) -> None:
    one = problem()
    for kind, proposal in proposals(checkpoint, one).items():
        a = answered(proposal, one, one, checkpoint, 0.5, 0.1, ON)
        assert (a.kind, a.expected_ari, a.doubt, a.n_components) == (kind, 0.5, 0.1, 3)
        found = a.solution(np.zeros(5))
        assert (found.kind, found.expected_ari, found.doubt) == (kind, 0.5, 0.1)
        assert found.centres.weights.sum() == pytest.approx(1.0)
        r = responsibilities(found.centres, found.readout, one)
        if kind in MERGED:
            assert found.owner is not None
            r = r @ np.eye(3)[found.owner]
        elif kind == LLOYD:
            means = [
                np.average(one.X[proposal.labels == k], 0, one.weight[proposal.labels == k])
                for k in range(3)
            ]
            np.testing.assert_allclose(found.centres.means[0], means)
            np.testing.assert_array_equal(r.argmax(1), cdist(one.X, np.stack(means)).argmin(1))
            assert adjusted_rand_score(r.argmax(1), proposal.labels) > 0.8
            variance = found.centres.covariances[0, 0, 0, 0]
            gaps = one.X - np.stack(means)[proposal.labels]
            expected = np.average((gaps**2).mean(axis=1), weights=one.weight)
            assert variance == pytest.approx(expected)
            np.testing.assert_array_equal(
                found.centres.covariances[0], np.tile(variance * np.eye(3), (3, 1, 1))
            )
            continue
        np.testing.assert_array_equal(r.argmax(1), proposal.labels)
        assert found.habit == HABITS.get(kind)


def test_a_draw_is_answered_on_all_rows(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more run of the same kind, from the labels that the draw gives to all rows."""
    monkeypatch.setattr(problems, "SWEEP_ROWS", 60)
    one = problem(100)
    short, drawn = shortened(one)
    assert drawn is not None
    assert len(short.X) < 61
    np.testing.assert_array_equal(short.X, one.X[drawn])
    for kind, proposal in proposals(checkpoint, short).items():
        a = answered(proposal, one, short, checkpoint, 0.5, 0.1, ON)
        assert a.start.shape == (100,)
        if kind in (LLOYD, *MERGED):
            continue
        assert proposal.run.centres is not None
        r = responsibilities(proposal.run.centres, proposal.run.readout, one)
        np.testing.assert_array_equal(a.start, r.argmax(axis=1))
        assert np.abs(a.centres.means - proposal.run.centres.means).max() > 1e-4
        again = responsibilities(a.centres, a.readout, one).argmax(axis=1)
        assert adjusted_rand_score(again[drawn], proposal.labels) > 0.3
        assert a.n_layers == {LEARNED: N_LAYERS, MIDDLE: EARLY}.get(kind, TEXTBOOK_LOOPS)


def test_what_owns_nothing_is_left_out(checkpoint: Checkpoint) -> None:
    """Lloyd may lose a cluster; its answer has the others."""
    one = problem(20, 2)
    lost = proposals(checkpoint, one)[LLOYD]
    labels = np.where(lost.labels == 1, 2, lost.labels)
    proposal = Proposal(LLOYD, 3, labels, lost.features, lost.top, lost.run)
    found = answered(proposal, one, one, checkpoint, 0.5, 0.0, ON).solution(np.zeros(3))
    assert found.n_components == 3
    assert found.centres.weights.shape == (1, 2)
    assert np.isfinite(found.centres.means).all()


def test_cells_need_layers(checkpoint: Checkpoint) -> None:
    one = problem()
    cells = problems.Cells(one.X, None, None, None)
    with_cells = problems.Problem(one.X, one.weight, one.rng, None, cells)
    for kind, proposal in proposals(checkpoint, one).items():
        assert is_usable(proposal, one)
        assert is_usable(proposal, with_cells) == (kind not in (LLOYD, *MERGED))
