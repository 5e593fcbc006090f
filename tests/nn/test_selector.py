"""The selector: softmax and its hard limit, in numpy and torch, whole and chunk by chunk."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import torch

from statformer.nn.selector import Selection, select


def drawn(seed: int = 0, scale: float = 5.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores "4 30", labels "30 3", counts "4 30" with zeros."""
    rng = np.random.default_rng(seed)
    return (
        scale * rng.normal(size=(4, 30)),
        rng.normal(size=(30, 3)),
        rng.integers(0, 3, size=(4, 30)).astype(float),
    )


def by_hand(scores: np.ndarray, labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    weight = keep * np.exp(scores - scores.max(axis=1, keepdims=True))
    return (weight / weight.sum(axis=1, keepdims=True)) @ labels


def in_chunks(
    scores: np.ndarray, labels: np.ndarray, keep: np.ndarray | None, sizes: list[int]
) -> Selection:
    edges = np.cumsum([0, *sizes])
    assert edges[-1] == scores.shape[1]
    parts = [
        Selection.of(scores[:, a:b], labels[a:b], None if keep is None else keep[:, a:b])
        for a, b in pairwise(edges)
    ]
    return reduce(Selection.merge, parts)


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_is_the_softmax_mean(scale: float) -> None:
    scores, labels, keep = drawn(scale=scale)
    np.testing.assert_allclose(
        select(scores, labels), by_hand(scores, labels, np.ones_like(keep)), atol=1e-12
    )
    np.testing.assert_allclose(
        select(scores, labels, keep), by_hand(scores, labels, keep), atol=1e-12
    )
    np.testing.assert_allclose(
        select(scores, labels, keep > 0), by_hand(scores, labels, keep > 0), atol=1e-12
    )


@pytest.mark.parametrize("sizes", [[30], [1] * 30, [7, 20, 3], [29, 1]])
@pytest.mark.parametrize("counted", [False, True])
def test_chunks_are_the_whole(sizes: list[int], counted: bool) -> None:
    scores, labels, keep = drawn(scale=40.0)
    weight = keep if counted else None
    whole = Selection.of(scores, labels, weight)
    parts = in_chunks(scores, labels, weight, sizes)
    np.testing.assert_allclose(parts.labels(), whole.labels(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(parts.n_effective(), whole.n_effective(), rtol=1e-12)
    np.testing.assert_array_equal(parts.top, whole.top)


def test_a_running_maximum_that_is_not_corrected_would_be_seen() -> None:
    scores, labels, _ = drawn(scale=40.0)
    halves = [Selection.of(scores[:, part], labels[part]) for part in (slice(15), slice(15, 30))]
    uncorrected = sum(h.sums for h in halves) / sum(h.mass for h in halves)[:, None]
    assert np.abs(uncorrected - select(scores, labels)).max() > 1e-3


def test_numpy_is_torch() -> None:
    scores, labels, keep = drawn()
    found = select(*(torch.from_numpy(part) for part in (scores, labels, keep)))
    np.testing.assert_allclose(found.numpy(), select(scores, labels, keep), rtol=0, atol=1e-12)
    single = select(scores.astype(np.float32), labels.astype(np.float32), keep)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found.numpy(), atol=1e-5)


def test_labels_may_belong_to_queries_and_tables_may_come_before() -> None:
    scores, labels, _ = drawn()
    rng = np.random.default_rng(1)
    own = rng.normal(size=(4, 30, 2))
    expected = np.stack([select(scores[[q]], own[q])[0] for q in range(4)])
    np.testing.assert_allclose(select(scores, own), expected, atol=1e-12)
    tables = np.stack([scores, -scores])
    both = select(tables, np.stack([labels, 2.0 * labels]))
    np.testing.assert_allclose(both[1], 2.0 * select(-scores, labels), atol=1e-12)


def test_hard_limit_is_the_first_row_and_ties_share() -> None:
    labels = np.eye(3)
    scores = np.array([[0.2, 1.0, 0.9], [1.0, 0.5, 1.0]])
    np.testing.assert_allclose(
        select(1e4 * scores, labels), [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], atol=1e-12
    )
    sharp = Selection.of(1e4 * scores, labels)
    np.testing.assert_allclose(sharp.n_effective(), [1.0, 2.0])
    assert np.abs(select(10 * scores, labels)[0] - [0, 1, 0]).max() > 0.1  # not yet


def test_a_row_of_count_two_is_two_rows() -> None:
    scores, labels, keep = drawn()
    times = keep[0].astype(int)
    twice = Selection.of(np.repeat(scores[:1], times, axis=1), np.repeat(labels, times, axis=0))
    counted = Selection.of(scores[:1], labels, keep[:1])
    np.testing.assert_allclose(counted.labels(), twice.labels(), atol=1e-12)
    np.testing.assert_allclose(counted.n_effective(), twice.n_effective())


def test_a_chunk_without_a_row_that_counts_is_harmless() -> None:
    scores, labels, _ = drawn()
    nothing = Selection.of(np.full((4, 2), -np.inf), labels[:2])
    whole = Selection.of(scores, labels)
    for joined in (whole.merge(nothing), nothing.merge(whole)):
        np.testing.assert_allclose(joined.labels(), whole.labels(), atol=1e-15)
    with pytest.raises(ValueError, match="no context row that counts"):
        nothing.merge(nothing).labels()
    with pytest.raises(ValueError, match="no context row that counts"):
        select(scores, labels, np.zeros((1, 30)))


def test_gradients_flow_through_chunks_and_rows_that_do_not_count() -> None:
    scores, labels, keep = (torch.from_numpy(part) for part in drawn())

    def gradient(chunked: bool) -> torch.Tensor:
        free = scores.clone().requires_grad_()
        if chunked:
            parts = [
                Selection.of(free[:, s], labels[s], keep[:, s]) for s in (slice(9), slice(9, 30))
            ]
            answer = parts[0].merge(parts[1]).labels()
        else:
            answer = select(free, labels, keep)
        answer.square().sum().backward()
        assert free.grad is not None
        return free.grad

    torch.testing.assert_close(gradient(True), gradient(False), rtol=0, atol=1e-12)
    assert gradient(True).isfinite().all()
    assert (gradient(True)[keep == 0] == 0).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    scores, labels, _ = drawn()
    for wrong in (labels[:-1], labels[:, 0], labels[None, None]):
        with pytest.raises(ValueError, match="do not fit scores of shape"):
            select(scores, wrong)
