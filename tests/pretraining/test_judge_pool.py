"""The judge's training data: the same each time, scored against the truth, as users' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, confusion_matrix

from judges import write_judged
from pretraining.judge_shards import GIVEN, PRIOR, SWEEP, small
from statformer.estimators.base import resolve_weights
from statformer.estimators.devices import backend
from statformer.pretraining import judge_pool
from statformer.pretraining.judge_pool import (
    N_SAMPLED,
    OTHER,
    STRANGE,
    SWEPT,
    TRUE,
    make_shard,
    pool_files,
    read_shard,
)
from statformer.proposals.evidence import N_JUDGE_TABLE, N_RAW_FEATURES
from statformer.proposals.kinds import KINDS
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import WIDE_RATES

Shard = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judged(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def em(path: Path) -> Shard:
    return dict(resolve_weights(path).em)


@pytest.fixture(scope="module")
def shard(em: Shard) -> Shard:
    with pytest.MonkeyPatch.context() as patch:
        small(patch, 3)
        return make_shard(PRIOR, 0, em, backend(None))


def tables(shard: Shard) -> list[Shard]:
    """The labelings of each table."""
    m = shard["n_labelings"]
    ends, pairs = np.cumsum(m), np.cumsum(m**2)
    ragged = ("tokens", "ari", "K", "source", "top", "hit")
    found = []
    for t, size in enumerate(m):
        one = {k: shard[k][ends[t] - size : ends[t]] for k in ragged}
        one["agreement"] = shard["agreement"][pairs[t] - size**2 : pairs[t]].reshape(size, size)
        found.append(one | {k: shard[k][t] for k in ("n_components", "table", "pieces", "shape")})
    return found


def test_shapes_and_ranges(shard: Shard) -> None:
    m, t = shard["n_labelings"].sum(), len(shard["n_labelings"])
    assert 2 <= t <= 6
    assert shard["tokens"].shape == (m, N_RAW_FEATURES)
    assert shard["top"].shape == shard["hit"].shape == (m, N_SAMPLED)
    assert shard["table"].shape == (t, N_JUDGE_TABLE - 1)
    assert shard["pieces"].shape == (t, len(WIDE_RATES))
    assert len(shard["agreement"]) == (shard["n_labelings"] ** 2).sum()
    for name, value in shard.items():
        assert np.isfinite(value).all(), name
    assert set(np.unique(shard["hit"])) == {0, 1}
    assert shard["ari"].max() <= 1.0
    assert ((shard["top"] > 0) & (shard["top"] <= 1)).all()
    for one in tables(shard):
        K, source = one["K"], one["source"]
        assert 1 <= one["n_components"] <= 4
        assert (K[source == TRUE] == one["n_components"]).all()
        assert len(K[source == TRUE]) == len(GIVEN.kinds) + 1
        swept = K[source == SWEPT]
        assert set(swept) == set(range(1, swept.max() + 1))
        assert swept.max() in {3, 5}
        assert len(swept) == len(SWEEP.kinds) * swept.max()
        others = K[source == OTHER]
        assert len(np.unique(others)) <= 1
        assert not (others == one["n_components"]).any()
        assert (others >= 2).all()
        assert 2 <= (source == STRANGE).sum() <= 4
        np.testing.assert_allclose(np.diagonal(one["agreement"]), 1.0)
        np.testing.assert_array_equal(one["agreement"], one["agreement"].T)
        stranger = one["tokens"][:, -1] == 1.0
        np.testing.assert_array_equal(stranger, source == STRANGE)
        np.testing.assert_array_equal(one["tokens"][:, -len(KINDS) - 1 :].sum(axis=1), 1.0)


def test_a_shard_is_the_same_each_time(em: Shard, shard: Shard) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small(patch, 1)
        first, second = (make_shard(PRIOR, i, em, backend(None)) for i in (0, 1))
    for name, value in first.items():
        np.testing.assert_array_equal(shard[name][: len(value)], value)
    t = len(first["n_labelings"])
    n = len(second["n_labelings"])
    np.testing.assert_array_equal(shard["table"][t : t + n], second["table"])
    assert not np.array_equal(first["tokens"][:5], second["tokens"][:5])


def test_scores_are_those_of_the_truth(em: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index and hits, over all rows of the table that belong to a class."""
    small(monkeypatch)
    seen: list[Any] = []
    of_table = judge_pool._of_table

    def spy(table: Any, *proposals: Any) -> Any:
        found = of_table(table, *proposals)
        seen.append((table, [p for several in proposals for p in several], found))
        return found

    monkeypatch.setattr(judge_pool, "_of_table", spy)
    outliers = PRIOR.only("outliers", "discrete")
    make_shard(outliers, 0, em, backend(None))
    assert seen
    for table, proposals, found in seen:
        counts = table.truth >= 0
        assert not counts.all()  # outliers have no class, and are not scored
        truth = table.truth[counts]
        assert table.n_components == len(np.unique(truth))
        for row, proposal in enumerate(proposals):
            labels = proposal.labels[table.place][counts]
            assert found["ari"][row] == pytest.approx(adjusted_rand_score(truth, labels), abs=1e-6)
            assert found["K"][row] == proposal.n_components


def test_hits_follow_the_best_matching() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 4, 200)
    labels = np.where(rng.random(200) < 0.7, (truth + 2) % 4, rng.integers(0, 6, 200))
    sampled = rng.choice(np.flatnonzero(truth >= 0), 50)
    found = judge_pool._hits(truth, labels, sampled)
    table = confusion_matrix(labels[truth >= 0], truth[truth >= 0], labels=range(6))
    clusters, classes = linear_sum_assignment(-table)
    of = dict(zip(clusters, classes, strict=True))
    expected = [of.get(labels[i], -1) == truth[i] for i in sampled]
    np.testing.assert_array_equal(found, expected)
    assert 0.5 < found.mean() < 1.0


def test_a_table_of_few_distinct_rows_is_left_out() -> None:
    X = np.repeat(np.arange(4.0)[:, None], 10, axis=0) * [1.0, 2.0]
    y = np.repeat([0, 1, 2, 2], 10)
    none = np.zeros(0, dtype=np.int64)
    pieces = np.zeros(len(WIDE_RATES), dtype=bool)
    rng = np.random.default_rng(0)
    assert judge_pool._prepared(X, y, none, pieces, rng) is None
    assert judge_pool._prepared(X, y * 0 - 1, none, pieces, rng) is None
    found = judge_pool._prepared(X, y * 0, none, pieces, rng)
    assert found is not None
    np.testing.assert_array_equal(found.problem.weight, 10.0)
    np.testing.assert_array_equal(found.problem.X[found.place][:, 0] > 0, X[:, 0] > 1.5)


def test_a_sweep_goes_mostly_far_enough() -> None:
    rng = np.random.default_rng(0)
    for K in range(1, 25):
        tops = np.array([judge_pool._top(K, rng) for _ in range(200)])
        assert set(tops) <= {10, 20, 30}
        assert (tops >= K).mean() > 0.45
        if K > 10:
            assert (tops < K).any()


def test_strangers_are_labelings_of_all_kinds(em: Shard) -> None:
    drawn = PRIOR.sample(TaskStream(0, 0, [0]))
    none = np.zeros(0, dtype=np.int64)
    pieces = np.zeros(len(WIDE_RATES), dtype=bool)
    scores = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = np.nan_to_num(drawn.X[0].double().numpy())
        table = judge_pool._prepared(X, np.arange(len(X)) % 3, none, pieces, rng)
        assert table is not None
        found = judge_pool._strangers(table.problem, table.truth, table.place, 3, rng)
        assert len(found) == 4
        for labels in found:
            assert labels.shape == (len(table.problem.X),)
            np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
            scores.append(adjusted_rand_score(table.truth, labels[table.place]))
    assert max(scores) == 1.0
    assert min(scores) < 0.05


def test_main_writes_what_is_missing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    small(monkeypatch)
    monkeypatch.setattr(judge_pool, "PRIOR", PRIOR)
    given = [str(tmp_path), "--tables", "4", "--weights", str(path)]
    judge_pool.main([*given, "--process", "1", "--n-processes", "2"])
    assert [file.name for file in pool_files(tmp_path)] == ["shard-00001.safetensors"]
    before = pool_files(tmp_path)[0].read_bytes()
    judge_pool.main(given)
    files = pool_files(tmp_path)
    assert [file.stem for file in files] == ["shard-00000", "shard-00001"]
    assert files[1].read_bytes() == before
    assert len(list((tmp_path / "pool").iterdir())) == 2  # nothing half-written is left
    assert capsys.readouterr().out.count("shard-") == 2
    judge_pool.main([*given[:2], "2", *given[3:], "--first", "7", "--without", "missing"])
    assert pool_files(tmp_path)[-1].stem == "shard-00007"
    last = read_shard(pool_files(tmp_path)[-1])
    columns = [list(WIDE_RATES).index(k) for k in ("mcar", "mar", "mnar")]
    assert not last["pieces"][:, columns].any()
