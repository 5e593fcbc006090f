"""What the judge reads: tokens say what they are called, tables side by side stay themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from judges import judge_weights
from proposals.tables import clusters, labelings
from statformer.nn.judge import Judge
from statformer.proposals.evidence import (
    N_JUDGE_TABLE,
    N_RAW_FEATURES,
    N_SHARP,
    N_TOKEN_FEATURES,
    Labelings,
    described,
    evidence,
    sharpened,
    view_of,
)
from statformer.proposals.kinds import KINDS, RUN_FEATURES, STRANGER
from statformer.proposals.labelings import LABELING_FEATURES, N_LABELING_FEATURES, describe
from statformer.proposals.table_features import table_features
from statformer.proposals.view import MAX_ROWS

ONES = np.ones(90)


def told(seed: int = 0, m: int = 4, n: int = 90) -> Labelings:
    X, y = clusters(seed, n=n)
    labels = labelings(seed, y, m)
    rng = np.random.default_rng(seed)
    view, drawn = view_of(X, np.ones(n), rng)
    kinds = rng.integers(STRANGER, len(KINDS), m)
    features = rng.normal(size=(m, len(RUN_FEATURES)))
    K = np.array([len(np.unique(row)) for row in labels])
    return described(view, labels[:, drawn], kinds, features, K, table_features(X, np.ones(n)))


def test_a_token_is_labeling_run_and_kind() -> None:
    X, y = clusters(0)
    labels = labelings(0, y)
    view, drawn = view_of(X, ONES, np.random.default_rng(0))
    kinds = np.array([0, len(KINDS) - 1, STRANGER, 2])
    features = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]] * 3 + [[np.exp(9), -1e4, 0, 0, 0]])
    K = np.array([3, 4, 4, 4])
    found = described(view, labels[:, drawn], kinds, features, K, table_features(X, ONES))
    assert found.tokens.shape == (4, N_TOKEN_FEATURES)
    own, run = N_LABELING_FEATURES, N_LABELING_FEATURES + len(RUN_FEATURES)
    raw = found.tokens[:, -N_RAW_FEATURES:]
    np.testing.assert_array_equal(found.tokens, sharpened(raw))
    np.testing.assert_array_equal(raw[:, :own], describe(view, labels))
    np.testing.assert_array_equal(raw[0, own:run], features[0])
    np.testing.assert_array_equal(raw[3, own:run], [20, -20, 0, 0, 0])
    who = raw[:, run:]
    assert who.shape == (4, len(KINDS) + 1)
    np.testing.assert_array_equal(who.argmax(axis=1), [0, len(KINDS) - 1, len(KINDS), 2])
    np.testing.assert_array_equal(who.sum(axis=1), 1.0)
    np.testing.assert_array_equal(found.K, K)
    np.testing.assert_array_equal(found.table, table_features(X, ONES))
    expected = [[adjusted_rand_score(a, b) for b in labels] for a in labels]
    np.testing.assert_allclose(found.agreement, expected, atol=1e-12)


def test_sharpened_by_hand() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(size=(3, N_RAW_FEATURES))
    at = LABELING_FEATURES.index
    share = at("same among 10 neighbours")
    raw[:, share] = [1.0, 0.997, 1.0 + 1e-12]  # rounding may leave a share beyond 1
    found = sharpened(raw)
    assert found.shape == (3, N_TOKEN_FEATURES)
    assert N_TOKEN_FEATURES == N_SHARP + N_RAW_FEATURES
    np.testing.assert_array_equal(found[:, N_SHARP:], raw)
    np.testing.assert_allclose(found[:, 1], -np.log([0.003, 0.006, 0.003]), rtol=1e-9)
    shares = (
        "same among 5 neighbours",
        "same among 10 neighbours",
        "worst same among 10",
        "kept by a refit",
        "posterior of own",
    )
    for i in range(3):
        expected = [-np.log(max(1.0 - raw[i, at(name)], 0.0) + 0.003) for name in shares]
        expected.append(np.log(raw[i, at("rows off the main piece")] + 0.003))
        expected.append(raw[i, at("shortest cut edge")] - raw[i, at("longest kept edge")])
        np.testing.assert_allclose(found[i, :N_SHARP], expected, rtol=1e-12)
    for name in shares:  # a share that grows is a token that grows
        more = raw.copy()
        more[:, at(name)] -= 0.5
        assert ((sharpened(more) - found)[:, shares.index(name)] < 0).all()


def test_a_token_does_not_depend_on_the_company() -> None:
    one, two = told(m=3), told(m=6)
    own = N_SHARP + N_LABELING_FEATURES
    np.testing.assert_allclose(two.tokens[:3, :own], one.tokens[:, :own], atol=1e-9)
    np.testing.assert_allclose(two.agreement[:3, :3], one.agreement, atol=1e-12)


def test_long_tables_are_read_on_a_draw() -> None:
    n = MAX_ROWS + 200
    X, _ = clusters(1, n=n)
    weight = np.arange(1.0, n + 1.0)
    view, drawn = view_of(X, weight, np.random.default_rng(0))
    assert len(drawn) == MAX_ROWS == view.n
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(view.weight, weight[drawn])
    other = view_of(X, weight, np.random.default_rng(1))[1]
    assert not np.array_equal(drawn, other)
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(view_of(X[:MAX_ROWS], weight[:MAX_ROWS], rng)[1], range(MAX_ROWS))
    assert rng.random() == np.random.default_rng(5).random()  # nothing was drawn


def test_tables_side_by_side() -> None:
    tables = [told(0, m=3), told(1, m=5), told(2, m=1)]
    e = evidence(tables, [True, False, False])
    assert e.tokens.shape == (3, 5, N_TOKEN_FEATURES)
    assert e.table.shape == (3, N_JUDGE_TABLE)
    np.testing.assert_array_equal(e.is_there.sum(axis=1), [3, 5, 1])
    np.testing.assert_array_equal(e.table[:, -1], [1, 0, 0])
    for row, one in enumerate(tables):
        k = len(one.K)
        np.testing.assert_array_equal(e.tokens[row, :k], one.tokens)
        np.testing.assert_array_equal(e.agreement[row, :k, :k], one.agreement)
        np.testing.assert_array_equal(e.n_clusters[row, :k], one.K)
        np.testing.assert_array_equal(e.table[row, :-1], one.table)
        assert not e.tokens[row, k:].any()


@pytest.mark.parametrize("given", [True, False])
def test_a_judgement_does_not_depend_on_the_other_tables(given: bool) -> None:
    tables = [told(0, m=3), told(1, m=5)]
    judge = Judge(judge_weights())
    both = judge(evidence(tables, [given, True]), 8)
    alone = judge(evidence(tables[:1], [given]), 8)
    np.testing.assert_allclose(both.logit[0, :3], alone.logit[0], atol=1e-10)
    np.testing.assert_allclose(both.log_p[0], alone.log_p[0], atol=1e-10)
    other = judge(evidence(tables[:1], [not given]), 8)
    assert np.abs(other.logit - alone.logit).max() > 1e-4
