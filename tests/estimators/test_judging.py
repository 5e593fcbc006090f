"""`judge`: which labels it takes, what it hands to the network, how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from judges import judge_weights
from statformer import judge
from statformer.estimators import judging
from statformer.estimators.base import Checkpoint
from statformer.estimators.judging import as_codes
from statformer.estimators.problems import Problem
from statformer.weights import WeightsError

LABELS = ["a", "b", "a", None, "c", "b"]
CODES = [0, 1, 0, -1, 2, 1]


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (LABELS, CODES),
        (tuple(LABELS), CODES),
        (pd.Series(LABELS, index=range(10, 16)), CODES),
        (pd.Series(LABELS, dtype="category"), CODES),
        (pd.Series([5, 7, 5, None, 9, 7], dtype="Int64"), CODES),
        (np.array([5.0, 7.0, 5.0, np.nan, -3.0, 7.0]), CODES),
        (np.array([5, 7, 5, -1, 9, 7]), CODES),
        (pd.Index([5, 7, 5, -1, 9, 7]), CODES),
        ([(1, 2), (1, 3), (1, 2), None, (4,), (1, 3)], CODES),
        ([True, False, True, -1, "-1", False], CODES),
        ([1, "1", 1.0, float("nan"), b"1", "1"], CODES),
    ],
)
def test_any_hashable_labels(labels: Any, codes: list[int]) -> None:
    several, found = as_codes(labels, 6)
    assert not several
    np.testing.assert_array_equal(found, [codes])


@pytest.mark.parametrize(
    "labels",
    [
        [LABELS, [0] * 6],
        [np.array(LABELS, dtype=object), pd.Series([2] * 6)],
        np.array([[5, 7, 5, -1, 9, 7], [1] * 6]),
        pd.DataFrame({"mine": LABELS, "yours": 0}),
    ],
    ids=["lists", "arrays", "matrix", "frame"],
)
def test_several_labelings(labels: Any) -> None:
    several, found = as_codes(labels, 6)
    assert several
    np.testing.assert_array_equal(found, [CODES, [0] * 6])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1], ValueError, "labels holds 2 labels, the table has 6 rows"),
        ([], ValueError, "labels holds 0 labels"),
        ([LABELS, [0, 1]], ValueError, r"labels\[1\] holds 2 labels"),
        (np.zeros((6, 2)), ValueError, r"labels\[0\] holds 2 labels.*one labeling each"),
        (pd.DataFrame({"a": [1, 2]}), ValueError, "column 'a' holds 2 labels"),
        ([None, -1, np.nan, -1.0, None, -1], ValueError, "calls every row noise"),
        ([0, 1, [2], 0, 1, 1], TypeError, "labels should hold hashable labels"),
        ("abcdef", TypeError, "labels='abcdef' should be a sequence"),
        (3, TypeError, "labels=3 should be a sequence"),
    ],
)
def test_bad_labels_are_named(labels: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        as_codes(labels, 6)


def test_weights_without_a_judge(checkpoint: Path, tmp_path: Path, overlapping: np.ndarray) -> None:
    layers = {k: v for k, v in load_file(checkpoint).items() if k.startswith("em.")}
    save_file(layers, tmp_path / "layers.safetensors")
    for weights in (tmp_path / "layers.safetensors", "constructed"):
        with pytest.raises(ValueError, match=r"weights=.* hold no judge"):
            judge(overlapping, np.zeros(90), weights=weights)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What reaches `judge_labelings`, which answers with the share of rows in cluster 0."""
    calls: list[tuple] = []

    def judge_labelings(
        problem: Problem, labels: np.ndarray, checkpoint: Checkpoint, *_: Any
    ) -> np.ndarray:
        calls.append((problem, labels, checkpoint))
        return (labels == 0).mean(axis=1)

    monkeypatch.setattr(judging, "judge_labelings", judge_labelings)
    held = Checkpoint("test", em={"b": np.ones(1)}, judge={"w": np.ones(1)})
    monkeypatch.setattr(judging, "resolve_weights", lambda _: held)
    return calls


def test_one_labeling_gives_a_number(overlapping: np.ndarray, asked: list) -> None:
    labels = np.where(np.arange(90) < 30, "left", "right")
    answer = judge(overlapping, labels)
    assert isinstance(answer, float)
    assert answer == pytest.approx(1 / 3)
    ((problem, codes, checkpoint),) = asked
    assert problem.X.shape == (90, 3)
    assert problem.n_components is None
    assert codes.shape == (1, 90)
    assert checkpoint.name == "test"
    np.testing.assert_array_equal(problem.weight, 1.0)
    np.testing.assert_allclose(np.median(problem.X, axis=0), 0.0, atol=0.1)  # standardised
    several = judge(overlapping, [labels, np.zeros(90)])
    np.testing.assert_allclose(several, [1 / 3, 1.0])


def test_rows_keep_their_labels(overlapping: np.ndarray, asked: list) -> None:
    """Whatever the order of the rows, and where rows are equal."""
    X = np.concatenate([overlapping, overlapping[:30]])
    labels = (X[:, 0] > 0).astype(int)
    order = np.random.default_rng(0).permutation(120)
    judge(X, labels)
    judge(X[order], labels[order])
    (first, codes, _), (second, again, _) = asked
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.weight, 1.0)
    for seen, found in ((first, codes), (second, again)):
        cut = found[0][np.argsort(seen.X[:, 0])]
        assert (np.diff(cut) != 0).sum() == 1, "the labels are a cut along column 0"


def test_frames_with_gaps_and_text(overlapping: np.ndarray, asked: list) -> None:
    frame = pd.DataFrame(overlapping, columns=list("abc")).assign(kind=np.resize(list("xyz"), 90))
    frame.loc[::7, "b"] = np.nan
    frame.loc[3, "kind"] = None
    judge(frame, np.resize([0, 1, None], 90))
    ((problem, codes, _),) = asked
    assert np.isfinite(problem.X).all()
    assert problem.cells is not None
    assert len(problem.X) == len(problem.cells.numbers) == 90
    assert (codes == -1).sum() == 30


def test_long_tables_are_drawn_from(asked: list) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 2))
    judge(X, (X[:, 0] > 0).astype(int))
    judge(X, (X[:, 0] > 0).astype(int))
    (first, codes, _), (second, *_) = asked
    assert len(first.X) == 4096
    np.testing.assert_array_equal(first.X, second.X)
    cut = codes[0][np.argsort(first.X[:, 0])]
    assert (np.diff(cut) != 0).sum() == 1


def test_wrong_lengths_are_named(overlapping: np.ndarray, asked: list) -> None:
    with pytest.raises(ValueError, match="labels holds 89 labels, the table has 90 rows"):
        judge(overlapping, np.zeros(89))
    assert not asked


@pytest.fixture(scope="module")
def with_judge(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint and a judge of random numbers, whose answers differ but mean nothing."""
    weights = {f"judge.{k}": np.float32(v) for k, v in judge_weights(0, n_hidden=16).items()}
    path = tmp_path_factory.mktemp("weights") / "judge.safetensors"
    save_file(load_file(checkpoint) | weights, path)
    return path


def test_the_network_answers(with_judge: Path, blobs: tuple) -> None:
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.resize(list("uvw"), 120))
    frame.loc[::7, "b"] = np.nan
    others = [y, np.arange(120), [None] * 60 + [1] * 60]
    for table in (X, frame):
        alone = judge(table, y, weights=with_judge)
        assert 0.0 < alone < 1.0
        assert judge(table, y, weights=with_judge) == alone
        assert judge(table, 9 - y, weights=with_judge) == pytest.approx(alone, abs=1e-12)
        together = judge(table, others, weights=with_judge)
        assert together.shape == (3,)
        assert len(np.unique(together)) == 3
    order = np.random.default_rng(0).permutation(120)
    moved = judge(frame.iloc[order], y[order], weights=with_judge)
    assert moved == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 2), (30, 40)])
def test_small_and_constant_tables(with_judge: Path, shape: tuple) -> None:
    n = shape[0]
    for X in (np.ones(shape), np.random.default_rng(0).normal(size=shape)):
        for labels in (np.zeros(n), np.arange(n)):
            assert 0.0 < judge(X, labels, weights=with_judge) < 1.0


def test_a_judge_of_another_shape_is_refused(with_judge: Path, tmp_path: Path) -> None:
    arrays = load_file(with_judge)
    arrays["judge.W_token"] = arrays["judge.W_token"][1:].copy()
    save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"judge\.W_token"):
        judge(np.ones((5, 1)), np.zeros(5), weights=tmp_path / "w.safetensors")
