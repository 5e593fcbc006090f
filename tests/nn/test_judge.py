"""The judge: numpy is torch, labelings have no order, padding says nothing, P(K) is one."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from judges import judge_weights
from statformer.nn.judge import (
    N_BINS,
    N_BLOCKS,
    N_COMPANY,
    Evidence,
    Judge,
    Judgement,
    company,
    in_bins,
    judge_shapes,
    of_the_best,
)

N_TOKEN, N_TABLE, J = 7, 3, 9


def evidence(seed: int = 0, b: int = 3, m: int = 12, most: int = 6) -> Evidence:
    """Agreements of nobody in particular; the tables have m, m - 1, ... labelings."""
    rng = np.random.default_rng(seed)
    half = rng.uniform(-0.2, 1.0, (b, m, m))
    alike = (half + half.transpose(0, 2, 1)) / 2
    alike[:, np.arange(m), np.arange(m)] = 1.0
    there = np.arange(m) < (m - np.arange(b))[:, None]
    K = np.where(there, rng.integers(1, most + 1, (b, m)), 1)
    K[:, 0] = most
    return Evidence(
        2 * rng.normal(size=(b, m, N_TOKEN)), rng.normal(size=(b, N_TABLE)), alike, K, there
    )


def judge(seed: int = 0) -> Judge:
    return Judge(judge_weights(seed, N_TOKEN, N_TABLE))


def rows(e: Evidence, index: object) -> Evidence:
    """Some of the tables."""
    return Evidence(*(getattr(e, f.name)[index] for f in fields(e)))


def among(e: Evidence, order: np.ndarray) -> Evidence:
    """The labelings `order` of every table."""
    alike = e.agreement[:, order][:, :, order]
    return Evidence(
        e.tokens[:, order], e.table, alike, e.n_clusters[:, order], e.is_there[:, order]
    )


def assert_same(one: Judgement, two: Judgement, there: np.ndarray) -> None:
    np.testing.assert_allclose(one.logit[there], two.logit[there], atol=1e-10)
    np.testing.assert_allclose(one.doubt[there], two.doubt[there], atol=1e-10)
    np.testing.assert_allclose(one.log_p, two.log_p, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_numpy_is_torch(seed: int) -> None:
    e = evidence(seed)
    one = judge(seed)(e, J)
    put = Evidence(*(torch.from_numpy(getattr(e, f.name)) for f in fields(e)))
    weights = {k: torch.from_numpy(v) for k, v in judge_weights(seed, N_TOKEN, N_TABLE).items()}
    said = Judge(weights)(put, J)
    two = Judgement(*(getattr(said, f.name).numpy() for f in fields(said)))
    assert_same(one, two, np.ones_like(e.is_there))
    np.testing.assert_allclose(one.expected_ari, said.expected_ari.numpy(), atol=1e-10)
    assert one.logit.dtype == one.log_p.dtype == np.float64


def test_every_weight_and_every_input_has_a_say() -> None:
    e = evidence()
    before = judge()(e, J)

    def change(after: Judgement) -> float:
        pairs = [(after.logit, before.logit), (after.doubt, before.doubt)]
        pairs.append((np.exp(after.log_p), np.exp(before.log_p)))
        return max(float(np.abs(a - b).max()) for a, b in pairs)

    weights = judge_weights(0, N_TOKEN, N_TABLE)
    assert weights.keys() == judge_shapes(N_TOKEN, N_TABLE, 8).keys()
    for name in weights.keys() - {"pick"}:  # what `of_the_best` reads
        rng = np.random.default_rng(1)
        factor = 1.0 + 0.1 * rng.normal(size=weights[name].shape)
        of_blocks = len(factor) == N_BLOCKS and factor.ndim > 1  # each block has its own
        for part in range(N_BLOCKS) if of_blocks else [slice(None)]:
            moved = weights[name].copy()
            moved[part] *= factor[part]
            assert change(Judge({**weights, name: moved})(e, J)) > 1e-6, (name, part)
    moved_inputs = {
        "tokens": e.tokens + 0.1,
        "table": e.table + 0.1,
        "agreement": e.agreement * 0.9,
        "n_clusters": np.where(e.n_clusters == 2, 3, e.n_clusters),
        "is_there": e.is_there & (np.arange(12) != 4),
    }
    for name, value in moved_inputs.items():
        assert change(judge()(replace(e, **{name: value}), J)) > 1e-6, name


def test_bins_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    edges = np.cumsum(rng.uniform(0.2, 1.5, (N_TOKEN, N_BINS + 1)), axis=1) - 4.0
    features = 4.0 * rng.normal(size=(3, 5, N_TOKEN))
    found = in_bins(features, edges)
    assert found.shape == (3, 5, N_TOKEN * N_BINS)
    for b, i, f, k in np.ndindex(3, 5, N_TOKEN, N_BINS):
        low, high, value = edges[f, k], edges[f, k + 1], features[b, i, f]
        expected = 0.0 if value < low else 1.0 if value > high else (value - low) / (high - low)
        assert found[b, i, f * N_BINS + k] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_array_equal(in_bins(features[0], edges), found[0])  # rows of a table as well
    # inside the range the bins add up to the value: nothing is lost
    inside = np.clip(features, edges[:, 0], edges[:, -1])
    widths = np.diff(edges, axis=1)
    added = (found.reshape(3, 5, N_TOKEN, N_BINS) * widths).sum(axis=-1) + edges[:, 0]
    np.testing.assert_allclose(added, inside, atol=1e-12)


def test_values_beyond_the_range_change_nothing() -> None:
    """What lies beyond the outermost edges is read as the outermost edges."""
    e = evidence()
    weights = judge_weights(0, N_TOKEN, N_TABLE)
    low, high = weights["table_edges"][:, 0], weights["table_edges"][:, -1]
    asked = Judge(weights)
    for edge, far, inside in ((low, low - 1e6, low + 0.1), (high, high + 1e6, high - 0.1)):
        at = asked(replace(e, table=np.broadcast_to(edge, e.table.shape)), J)
        beyond = asked(replace(e, table=np.broadcast_to(far, e.table.shape)), J)
        assert_same(at, beyond, e.is_there)
        within = asked(replace(e, table=np.broadcast_to(inside, e.table.shape)), J)
        assert np.abs(within.logit - at.logit).max() > 1e-4
    # all tokens of a table stand equally far out: none is apart from the others
    for edge, factor in ((weights["token_edges"][:, 0], 4.0), (weights["token_edges"][:, -1], 9.0)):
        tokens = np.broadcast_to(edge, e.tokens.shape)
        at = asked(replace(e, tokens=tokens), J)
        beyond = asked(replace(e, tokens=factor * tokens), J)
        assert_same(at, beyond, e.is_there)


def test_what_the_best_is_expected_to_reach() -> None:
    logit = np.array([-1.0, 0.0, 3.0])
    found = of_the_best(logit, {"pick": np.array([0.5, -1.0])})
    np.testing.assert_allclose(found, 1.0 / (1.0 + np.exp(1.0 - 0.5 * logit)))
    said = judge()(evidence(), J)
    plain = of_the_best(said.logit, {"pick": np.array([1.0, 0.0])})
    np.testing.assert_allclose(plain, said.expected_ari)


def test_labelings_have_no_order() -> None:
    e = evidence()
    order = np.random.default_rng(0).permutation(12)
    one, two = judge()(e, J), judge()(among(e, order), J)
    moved = Judgement(one.logit[:, order], one.log_p, one.doubt[:, order])
    assert_same(moved, two, np.ones_like(e.is_there))
    assert np.abs(one.logit - two.logit).max() > 1e-3


def test_padding_says_nothing() -> None:
    e = evidence()
    said = judge()(e, J)
    rng = np.random.default_rng(3)
    gone = ~e.is_there
    noisy = replace(
        e,
        tokens=np.where(gone[..., None], 9.0 * rng.normal(size=e.tokens.shape), e.tokens),
        agreement=np.where(gone[:, :, None] | gone[:, None, :], 0.7, e.agreement),
        n_clusters=np.where(gone, 2, e.n_clusters),
    )
    assert_same(judge()(noisy, J), said, e.is_there)
    for b, m in enumerate((12, 11, 10)):
        alone = judge()(among(rows(e, slice(b, b + 1)), np.arange(m)), J)
        np.testing.assert_allclose(alone.logit[0], said.logit[b, :m], atol=1e-10)
        np.testing.assert_allclose(alone.log_p[0], said.log_p[b], atol=1e-10)


def test_probabilities() -> None:
    e = evidence()
    said = judge()(e, J)
    assert said.log_p.shape == (3, J + 1)
    p = np.exp(said.log_p)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    for b in range(3):
        tried = np.unique(e.n_clusters[b][e.is_there[b]])
        assert set(np.flatnonzero(p[b, :-1]) + 1) == set(tried)
    assert (p[:, -1] > 0).all()  # beyond what was tried
    assert ((said.expected_ari > 0) & (said.expected_ari < 1)).all()
    assert ((said.doubt > 0) & (said.doubt < 1)).all()
    # a K that no labeling has counts for nothing, however far the count goes
    np.testing.assert_allclose(judge()(e, 30).log_p[:, :6], said.log_p[:, :6], atol=1e-12)
    assert np.isneginf(judge()(e, 30).log_p[:, 6:-1]).all()


def test_beyond_is_read_off_the_largest_that_was_tried() -> None:
    """With other weights all one, only what is said of the largest K moves "beyond"."""
    e = evidence(b=1, m=6)
    e = replace(e, n_clusters=np.array([[1, 2, 3, 1, 2, 3]]))

    def odds(K: list[int]) -> float:
        log_p = judge()(replace(e, n_clusters=np.array([K])), J).log_p[0]
        return float(log_p[-1] - log_p[0])

    assert odds([1, 2, 3, 1, 2, 3]) != pytest.approx(odds([1, 3, 2, 1, 3, 2]), abs=1e-6)


def test_one_labeling_and_single_precision() -> None:
    e = evidence(b=2, m=1)
    e = replace(e, is_there=np.ones((2, 1), dtype=bool))
    said = judge()(e, J)
    assert np.isfinite(said.logit).all()
    assert np.isfinite(said.log_p[:, [5, -1]]).all()
    full = evidence()
    single = Evidence(
        full.tokens.astype(np.float32),
        full.table.astype(np.float32),
        full.agreement.astype(np.float32),
        full.n_clusters,
        full.is_there,
    )
    weights = {k: np.float32(v) for k, v in judge_weights(0, N_TOKEN, N_TABLE).items()}
    found = Judge(weights)(single, J)
    assert found.logit.dtype == np.float32
    np.testing.assert_allclose(found.logit, judge()(full, J).logit, atol=1e-4)


def test_company_by_a_loop() -> None:
    e = evidence(2)
    found = company(e)
    assert found.shape == (3, 12, 4)
    for b in range(3):
        there = np.flatnonzero(e.is_there[b])
        for i in there:
            others = [j for j in there if j != i]
            same = [j for j in others if e.n_clusters[b, j] == e.n_clusters[b, i]]
            alike = e.agreement[b, i]
            expected = [
                np.mean(alike[others]),
                np.mean(alike[same]) if same else 0.5,
                np.max(alike[same]) if same else -1.0,
                np.log(len(there)) - 3.0,
            ]
            np.testing.assert_allclose(found[b, i], expected)


def test_who_agrees_is_attended_to() -> None:
    """alpha adds the agreement to the scores: without it, agreement enters by company only."""
    weights = judge_weights(0, N_TOKEN, N_TABLE)
    weights["alpha"] = np.zeros_like(weights["alpha"])
    weights["W_token"][-N_COMPANY:] = 0.0
    e = evidence()
    blind = Judge(weights)
    other = replace(e, agreement=e.agreement**3)
    np.testing.assert_array_equal(blind(e, J).logit, blind(other, J).logit)
    weights["alpha"] = np.ones((N_BLOCKS, 4))
    assert np.abs(Judge(weights)(e, J).logit - Judge(weights)(other, J).logit).max() > 1e-4
