"""The whole bench at sizes of seconds: what the file holds, and that verdicts follow the labels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.benchmarks import cost, development, given_k, paper_family, peak_memory, unknown_k
from statformer.benchmarks.mixture import bench_mixture
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import LEFT_OUT, Progress, Sizes
from statformer.benchmarks.summary import sheets
from statformer.benchmarks.targets import INVALID, MISSING, REACHED, SHORT, targets


def test_parts_a_to_d_fill_one_file(
    weights: str, sizes: Sizes, tables: Path, tmp_path: Path
) -> None:
    without = tmp_path / "training"
    checkpoint = without / "mixture_without_skew" / "final.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(Path(weights).read_bytes())
    path = tmp_path / "numbers.json"
    seen: list[Progress] = []
    options: dict[str, Any] = {
        "json_path": path,
        "weights": weights,
        "without": without,
        "tables": tables,
        "command": "statformer bench mixture",
        "callback": seen.append,
    }
    data = bench_mixture(sizes, "abcd", **options)
    stored = json.loads(path.read_text())
    assert stored["cells"] == data["cells"]
    assert {
        "schema",
        "mode",
        "command",
        "commit",
        "versions",
        "machine",
        "weights",
        "inputs",
        "not_run",
        "began",
        "ended",
        "other_load",
        "targets",
        "is_first_look",
    } <= set(stored)
    assert stored["is_first_look"] is True
    assert "autogmm" in stored["not_run"]
    cells = stored["cells"]
    assert [sum(c["part"] == p for c in cells.values()) for p in "abcd"] == [6 + 10 + 2, 4, 8, 1]
    for key, cell in cells.items():
        check_cell(key, cell)
    lacking = [k for k, c in cells.items() if "missing" in c]
    assert len(lacking) == 2 * (len(LEFT_OUT) - 1)
    left_out = [t for t in stored["targets"] if t["goal"].startswith("left-out")]
    assert left_out
    assert {t["status"] for t in left_out} <= {MISSING, SHORT}
    assert {p.part for p in seen} == set("abcd")
    titles = [sheet.title for sheet in sheets(stored)]
    assert titles[-1] == "To reach"
    assert len(titles) == 7

    # a finished file is not measured again; a checkpoint that arrives is
    seen.clear()
    other = without / "mixture_without_outliers" / "final.safetensors"
    other.parent.mkdir()
    other.write_bytes(Path(weights).read_bytes())
    again = bench_mixture(sizes, "abcd", **options)
    assert {p.cell for p in seen} == {"only outliers", "with outliers"}
    assert again["cells"]["a: copula"] == cells["a: copula"]
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_mixture(dataclasses.replace(sizes, tables=4), "d", **options)


def check_cell(key: str, cell: dict[str, Any]) -> None:
    if "missing" in cell:
        return
    if cell["part"] == "a":
        assert cell["n"] == 1
        assert set(cell["ours minus"]) == set(given_k.RIVAL_NAMES)
        assert set(cell["crash rate"]) == {given_k.OURS, *given_k.RIVAL_NAMES}
        for name, interval in cell["ari"].items():
            scores = [s for s in cell["scores"][name] if s is not None]
            assert interval["value"] == pytest.approx(np.mean(scores), abs=1e-4)
            assert interval["low"] - 1e-9 <= interval["value"] <= interval["high"] + 1e-9
            assert interval["n"] == len(scores)
    if cell["part"] == "b":
        for measure in unknown_k.MEASURES:
            assert set(cell[measure]) == set(unknown_k.METHODS)
        assert all(i["value"] <= 0 for i in cell["log score"].values())
        assert "K = 1, in-prior" not in key or "false splits where K = 1" in cell
    if cell["part"] == "c":
        assert set(cell["errors"]) == set(paper_family.METHODS)
        assert cell["n points"] == 200 * cell["n"]
    if cell["part"] == "d":
        assert cell["filled cells"] == 1
        assert cell["K"] == 2


def rows_of(labels: np.ndarray, y: np.ndarray, rival: np.ndarray) -> dict[str, list[Any]]:
    """Scores of 30 tables: ours from `labels`, every rival from `rival`."""
    n = len(y)
    rows: dict[str, list[Any]] = {"K": [2] * n, given_k.BAYES: [None] * n}
    rows[given_k.OURS] = [ari(a, b) for a, b in zip(y, labels, strict=True)]
    for name in given_k.RIVAL_NAMES:
        rows[name] = [ari(a, b) for a, b in zip(y, rival, strict=True)]
    for name in (given_k.OURS, *given_k.RIVAL_NAMES):
        rows[f"crashed: {name}"] = [0] * n
    return rows


def test_wrong_labels_turn_reached_to_short() -> None:
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(60) % 2, (30, 1))
    flipped = rng.random(y.shape) < 0.1
    rival = np.where(flipped, 1 - y, y)

    def statuses(labels: np.ndarray) -> list[str]:
        about = {"part": "a", "group": "in-prior"}
        cells = {"a: x": {**about, **given_k.summary(rows_of(labels, y, rival))}}
        return [t.status for t in targets(cells, "a") if t.goal.startswith("in-prior")]

    assert statuses(y) == [REACHED] * 5
    planted = y.copy()
    planted[:] = rng.integers(0, 2, size=y.shape)
    assert statuses(planted) == [SHORT] * 5


def test_a_tie_is_not_below_but_not_above_either() -> None:
    y = np.tile(np.arange(60) % 2, (30, 1))
    cell = {"part": "a", "group": "in-prior", **given_k.summary(rows_of(y, y, y))}
    found = {t.goal: t.status for t in targets({"a: x": cell}, "a") if t.is_headline}
    assert found["in-prior: ARI minus EM by BIC (4 x 5) above 0"] == SHORT
    assert found["in-prior: ARI minus B' 0.01 not below 0"] == REACHED


def test_p_of_k_is_scored() -> None:
    p = np.array([0.1, 0.6, 0.3] + [0.0] * 17)
    assert unknown_k.score(p, 2) == pytest.approx(
        {"log score": np.log(0.6), "exact": 1, "error": 0}
    )
    assert unknown_k.score(p, 3)["error"] == 1
    assert unknown_k.score(p, 9)["log score"] == pytest.approx(np.log(1e-6))
    assert unknown_k.score(None, 1) == pytest.approx(
        {"log score": np.log(0.1), "exact": 1, "error": 0}
    )
    spread = np.full(20, 0.05)  # probability beyond 10 is handed back to 1..10
    assert unknown_k.score(spread, 4)["log score"] == pytest.approx(np.log(0.1))


def test_better_probabilities_reach_and_worse_ones_do_not() -> None:
    def cell(ours: float, theirs: float) -> dict[str, Any]:
        rows = {"K": [1.0, 2.0] * 20}
        for name in unknown_k.METHODS:
            p = ours if name == unknown_k.OURS else theirs
            for measure in unknown_k.MEASURES:
                rows[f"{name}: {measure}"] = [p - 0.01, p + 0.01] * 20
        return {"part": "b", **unknown_k.summary(rows)}

    good = targets({"b: K unknown, in-prior": cell(0.9, 0.5)}, "b")
    bad = targets({"b: K unknown, in-prior": cell(0.5, 0.9)}, "b")
    assert [t.status for t in good] == [REACHED] * 4
    assert [t.status for t in bad] == [SHORT] * 4


def test_the_papers_family_needs_errors_and_five_percent() -> None:
    def status(ours: int, truth: int) -> str:
        rows = {name: [truth] * 100 for name in paper_family.METHODS}
        rows[paper_family.OURS] = [ours] * 100
        cell = {"part": "c", **paper_family.summary(rows)}
        return targets({"c: separation 3": cell}, "c")[0].status

    assert status(21, 20) == REACHED
    assert status(22, 20) == SHORT
    assert status(5, 5) == MISSING  # 500 errors are too few
    assert [t.status for t in targets({}, "c")] == [MISSING] * 5


def test_known_sigma_em_from_the_truth_is_close_to_bayes() -> None:
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [6.0, 0.0]])
    y = np.arange(300) % 2
    X = means[y] + rng.normal(size=(300, 2))
    assert (paper_family.known_sigma_em(X, means, 1.0) == y).mean() > 0.98


def test_a_table_on_disk(tables: Path) -> None:
    X, y, filled = development.read_table(tables / "groups.csv")
    assert X.shape == (40, 4)  # two numbers, one text of two values
    assert filled == 1
    assert np.isfinite(X).all()
    assert sorted(set(y.tolist())) == [0, 1]
    (tables / "bad.csv").write_text("a,label\n1,x\n2,\n")
    with pytest.raises(ValueError, match=r"bad.csv: 1 rows have no label"):
        development.read_table(tables / "bad.csv")


def timing(seconds: float, is_valid: bool = True, threads: int = 1) -> dict[str, Any]:
    return {"seconds": seconds, "threads": threads, "is_valid": is_valid, "other_load": 0.0}


@pytest.mark.parametrize(
    ("ours", "is_valid", "status"),
    [(1.0, True, REACHED), (4.0, True, SHORT), (1.0, False, INVALID)],
)
def test_speed_is_judged_by_undisturbed_timings(ours: float, is_valid: bool, status: str) -> None:
    sweep = [timing(90.0), timing(40.0, threads=2)]
    many = {
        "part": "e",
        "n tables": 1000,
        "timings": {cost.OURS: [timing(ours, is_valid)], cost.SWEEP: sweep},
    }
    one = {
        "part": "e",
        "timings": {cost.OURS: [timing(0.02 * ours, is_valid)], cost.EM_TEN: [timing(0.05)]},
    }
    long = {"part": "e", "peak bytes above data": 2 * 10**8}
    cells = {
        "e: many tables, K unknown": many,
        "e: one table, K given": one,
        "e: 1000000 rows": long,
    }
    found = targets(cells, "e")
    assert [t.status for t in found] == [status, status, REACHED]
    cells["e: 1000000 rows"]["peak bytes above data"] = 2 * 10**9
    assert targets(cells, "e")[-1].status == SHORT


def test_slopes_are_those_of_powers() -> None:
    at = [10, 20, 40, 80]
    assert cost.slope(at, [3e-3 * n**2 for n in at]) == pytest.approx(2.0)


def test_blobs_are_blobs() -> None:
    X = cost.blobs(70_000, 2, 3)
    assert X.shape == (70_000, 2)
    np.testing.assert_array_equal(X, cost.blobs(70_000, 2, 3))
    assert X.std() > 1.5  # wider than the unit noise: there are centres


@pytest.mark.slow
def test_time_and_memory(
    weights: str, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "threads", lambda: (1,))  # two threads beside other tests crawl
    sizes = dataclasses.replace(sizes, long_rows=(20_000,))
    data = bench_mixture(sizes, "e", json_path=tmp_path / "e.json", weights=weights)
    cells = data["cells"]
    assert set(cells) == {
        "e: one table, K given",
        "e: one table, K unknown",
        "e: many tables, K unknown",
        "e: 20000 rows",
        "e: growth",
    }
    assert 0 < cells["e: 20000 rows"]["peak bytes above data"] < 10**9
    assert cells["e: many tables, K unknown"]["timings"][cost.SWEEP][0]["scaled"]
    for series in cells["e: growth"]["series"].values():
        assert -0.5 < series["slope"] < 3.0
    assert any(sheet.title == "Time" for sheet in sheets(data))


@pytest.mark.slow
def test_workers_change_no_number(weights: str, sizes: Sizes, tmp_path: Path) -> None:
    found = [bench_mixture(sizes, "c", weights=weights, n_workers=n)["cells"] for n in (1, 2)]
    assert found[0] == found[1]


def test_a_bigger_table_takes_more_memory(weights: str) -> None:
    found = peak_memory.peak_bytes(3000, 4, 3, weights)
    assert found is None or found >= 0


def test_requests_that_cannot_be_met(weights: str, sizes: Sizes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="part=z is unknown; choose from a,b,c,d,e"):
        bench_mixture(sizes, ["a", "z"], weights=weights)
    with pytest.raises(ValueError, match="rival B' itself"):
        bench_mixture(sizes, ["a"], weights="constructed")
    with pytest.raises(ValueError, match="no CSV file"):
        bench_mixture(sizes, ["d"], weights=weights, tables=tmp_path)
    with pytest.raises(FileNotFoundError):
        bench_mixture(sizes, ["a"], weights=str(tmp_path / "none.safetensors"))
