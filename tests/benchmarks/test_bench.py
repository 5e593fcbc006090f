"""The whole bench at sizes of seconds: what the file holds, and that verdicts follow the labels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.benchmarks import (
    calibration,
    cost,
    development,
    effort,
    given_k,
    indices,
    judging,
    paper_family,
    peak_memory,
    pictures,
    unknown_k,
)
from statformer.benchmarks.batteries import IN_PRIOR, LEFT, SHAPED, SINGLE, Battery, batteries
from statformer.benchmarks.incomplete import MARGINALISING, STEPMIX
from statformer.benchmarks.mixture import bench_mixture
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import LEFT_OUT, Progress, Sizes
from statformer.benchmarks.summary import sheets
from statformer.benchmarks.targets import targets
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT

SOME = ("wide prior", "shapes", "missing: MCAR 40%", "mixed columns")  # beside those left out


@pytest.mark.filterwarnings("ignore")
def test_parts_c_d_and_f_fill_one_file(
    weights: str, sizes: Sizes, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(sizes: Sizes) -> list[Battery]:
        return [b for b in batteries(sizes) if b.group == LEFT or b.name in SOME]

    monkeypatch.setattr(given_k, "batteries", some)
    without = tmp_path / "training"
    checkpoint = without / "judge_without_skew" / "final.safetensors"
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
    data = bench_mixture(sizes, "cdf", **options)
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
    assert [sum(c["part"] == p for c in cells.values()) for p in "cdf"] == [8, 1, 4 + len(LEFT_OUT)]
    for cell in cells.values():
        check_cell(cell)
    assert set(MARGINALISING) < set(cells["f: missing: MCAR 40%"]["ari"])
    assert STEPMIX in cells["f: mixed columns"]["ari"]
    assert STEPMIX not in cells["f: wide prior"]["ari"]
    lacking = [k for k, c in cells.items() if "missing" in c]
    assert len(lacking) == len(LEFT_OUT) - 1
    left_out = [t for t in stored["targets"] if t["goal"].startswith("left out, pooled")]
    assert len(left_out) == len(given_k.SINGLE_RIVALS) + 1
    assert {t["status"] for t in left_out} <= {MISSING, SHORT}
    assert {p.part for p in seen} == set("cdf")
    titles = [sheet.title for sheet in sheets(stored)]
    assert titles[-1] == "To reach"
    assert len(titles) == 2 + 1 + 3 + 1

    # a finished file is not measured again; a checkpoint that arrives is
    seen.clear()
    other = without / "judge_without_outliers" / "final.safetensors"
    other.parent.mkdir()
    other.write_bytes(Path(weights).read_bytes())
    again = bench_mixture(sizes, "cdf", **options)
    assert {p.cell for p in seen} == {"left out: outliers"}
    assert again["cells"]["f: shapes"] == cells["f: shapes"]
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_mixture(dataclasses.replace(sizes, tables=4), "d", **options)


def check_cell(cell: dict[str, Any]) -> None:
    if "missing" in cell:
        return
    if cell["part"] == "f":
        assert cell["n"] == 2
        rivals = {*given_k.SINGLE_RIVALS}
        assert rivals <= set(cell["ours minus"]) <= {*rivals, STEPMIX, *MARGINALISING}
        assert set(cell["crash rate"]) == {given_k.OURS, *cell["ours minus"]}
        for name, interval in cell["ari"].items():
            scores = [s for s in cell["scores"][name] if s is not None]
            assert interval["value"] == pytest.approx(np.mean(scores), abs=1e-4)
            assert interval["low"] - 1e-9 <= interval["value"] <= interval["high"] + 1e-9
            assert interval["n"] == len(scores)
    if cell["part"] == "c":
        assert set(cell["errors"]) == set(paper_family.METHODS)
        assert cell["n points"] == 200 * cell["n"]
    if cell["part"] == "d":
        assert cell["filled cells"] == 1
        assert cell["K"] == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_parts_g_to_j_fill_one_file(weights: str, sizes: Sizes, tmp_path: Path) -> None:
    data = bench_mixture(sizes, "ghij", weights=weights, without=tmp_path)
    cells = data["cells"]
    assert "false splits where K = 1" in cells["g: one cluster"]
    assert all(i["value"] <= 0 for i in cells["g: shapes"]["log score"].values())
    judged = cells["h: wide prior"]
    assert {judging.JUDGE, *indices.NAMES} < set(judged[judging.GIVEN])
    best = judged[judging.GIVEN][judging.BEST]["value"]
    assert all(found["value"] <= best + 1e-9 for found in judged[judging.GIVEN].values())
    assert set(cells["i: wide prior"]["ECE"]) == set(calibration.METHODS)
    assert set(cells["j: shapes"]["K given"]["ari"]) == set(effort.EFFORTS)
    assert {sheet.title for sheet in sheets(data)} >= {"K unknown", "What effort buys"}
    assert {t["part"] for t in data["targets"]} == {"g", "h", "i", "all"}
    pytest.importorskip("matplotlib")
    found = pictures.draw(data, tmp_path / "pictures")
    assert len(found) == 3
    assert all(path.stat().st_size > 10_000 for path in found)


def rows_of(labels: np.ndarray, y: np.ndarray, rival: np.ndarray) -> dict[str, list[Any]]:
    """Scores of 30 tables: ours from `labels`, every rival from `rival`."""
    n = len(y)
    rows: dict[str, list[Any]] = {"K": [2] * n, "kind": [""] * n, given_k.BAYES: [None] * n}
    rows[given_k.OURS] = [ari(a, b) for a, b in zip(y, labels, strict=True)]
    for name in (*given_k.SINGLE_RIVALS, given_k.SELECTOR):
        rows[name] = [ari(a, b) for a, b in zip(y, rival, strict=True)]
    for name in (given_k.OURS, *given_k.SINGLE_RIVALS, given_k.SELECTOR):
        rows[f"crashed: {name}"] = [0] * n
    return rows


def cells_of(labels: np.ndarray, y: np.ndarray, rival: np.ndarray) -> dict[str, Any]:
    cell = given_k.summary(rows_of(labels, y, rival))
    groups = {"left out: skew": LEFT, "shapes": SHAPED, "wide prior": IN_PRIOR}
    return {f"f: {name}": {"part": "f", "group": g, **cell} for name, g in groups.items()}


def test_wrong_labels_turn_reached_to_short() -> None:
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(60) % 2, (30, 1))
    flipped = rng.random(y.shape) < 0.1
    rival = np.where(flipped, 1 - y, y)

    def statuses(labels: np.ndarray) -> dict[str, str]:
        found = targets(cells_of(labels, y, rival), "f")
        return {t.goal: t.status for t in found if not t.goal.startswith("missing")}

    assert set(statuses(y).values()) == {REACHED}
    planted = rng.integers(0, 2, size=y.shape)
    wrong = statuses(planted)
    assert wrong.pop("crash rate 0") == REACHED
    assert set(wrong.values()) == {SHORT}


def test_a_tie_is_not_behind_but_not_above_either() -> None:
    y = np.tile(np.arange(60) % 2, (30, 1))
    found = {t.goal: t.status for t in targets(cells_of(y, y, y), "f")}
    assert found["left out, pooled: ARI minus B' 0.01 above 0"] == SHORT
    assert found["shapes: not behind its best rival"] == REACHED
    assert found["no battery significantly behind its best rival"] == REACHED
    assert found["shapes: within 0.05 of Genie 0.3"] == REACHED


def test_the_best_rival_is_named_without_the_tables_it_meets() -> None:
    """A rival that is best on even tables alone is named for odd ones, where it loses."""
    n = 40
    even = np.arange(n) % 2 == 0
    scores = {
        given_k.OURS: np.full(n, 0.5),
        "lucky": np.where(even, 0.9, 0.1),
        "steady": np.full(n, 0.4),
    }
    found = given_k.best_rival([scores], ["lucky", "steady"])
    assert found["named"] == ["steady", "lucky"]
    assert found["value"] == pytest.approx((0.1 + 0.4) / 2)


def test_a_crash_is_told() -> None:
    y = np.tile(np.arange(60) % 2, (30, 1))
    rows = rows_of(y, y, y)
    rows["crashed: Ward"][3] = 1  # a rival's crash is its own affair
    cells = {"f: x": {"part": "f", "group": IN_PRIOR, **given_k.summary(rows)}}
    assert targets(cells, "f")[-1].status == REACHED
    rows[f"crashed: {given_k.OURS}"][3] = 1
    cells = {"f: x": {"part": "f", "group": IN_PRIOR, **given_k.summary(rows)}}
    assert targets(cells, "f")[-1].status == SHORT
    assert "f: x" in targets(cells, "f")[-1].found


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
    def cells(ours: float, theirs: float, split: float) -> dict[str, Any]:
        rows: dict[str, list[Any]] = {"K": [1.0] * 40}
        for name in unknown_k.METHODS:
            p = ours if name == unknown_k.OURS else theirs
            for measure in unknown_k.MEASURES:
                rows[f"{name}: {measure}"] = [p - 0.01, p + 0.01] * 20
            rows[f"{name}: exact"] = [1.0 - split] * 40
        about = {"part": "g", "group": SINGLE}
        return {"g: one cluster": {**about, **unknown_k.summary(rows)}}

    good = targets(cells(-0.5, -0.9, 0.02), "g")
    bad = targets(cells(-0.9, -0.5, 0.3), "g")
    assert [t.status for t in good if t.is_headline][:3] == [REACHED] * 3
    assert [t.status for t in bad if t.is_headline][:3] == [SHORT] * 3
    assert [t.status for t in targets({}, "g")] == [MISSING] * 3


def test_confidence_is_compared_with_hits() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 6000)
    proba = np.full((6000, 3), 0.1)
    proba[np.arange(6000), (y + (rng.random(6000) < 0.2)) % 3] = 0.8  # right in 80 %
    turned = proba[:, [2, 0, 1]]  # clusters carry no names
    bins, brier, nll = calibration.scores(y, turned)
    assert calibration.ece(bins) == pytest.approx(0.0, abs=0.02)
    sure = np.where(turned > 0.5, 1.0, 0.0)
    assert calibration.ece(calibration.scores(y, sure)[0]) == pytest.approx(0.2, abs=0.02)
    own = np.take_along_axis(proba, y[:, None], axis=1)[:, 0]
    assert nll == pytest.approx(-np.log(own).mean())
    assert brier == pytest.approx(((proba - np.eye(3)[y]) ** 2).sum(axis=1).mean())
    interval = calibration.ece_interval([np.stack([bins] * 5)])
    assert interval.low == pytest.approx(interval.high)  # all tables alike


def test_more_clusters_than_components_cost_their_share() -> None:
    y = np.repeat([0, 1], 50)
    proba = np.repeat([[0.6, 0.0, 0.4], [0.0, 1.0, 0.0]], 50, axis=0)
    bins, brier, nll = calibration.scores(y, proba)
    assert bins[:, 2].sum() == 100
    assert brier == pytest.approx((0.4**2 + 0.4**2) / 2)
    assert nll == pytest.approx(-np.log(0.6) / 2)


def test_indices_like_the_truth_best_on_clear_clusters() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    Z = rng.normal(size=(120, 2)) + 9.0 * np.eye(3)[y][:, :2]
    merged, shuffled = np.minimum(y, 1), rng.permutation(y)
    split = np.where((y == 0) & (Z[:, 0] > Z[y == 0, 0].mean()), 3, y)
    candidates = {"true": y, "merged": merged, "shuffled": shuffled, "split": split}
    found = indices.inner_indices(Z, list(candidates.values()))
    for name in (indices.SILHOUETTE, indices.CALINSKI, indices.DAVIES, indices.BIC):
        assert found[name].argmax() == 0, name
    assert found[indices.AGREEMENT].argmin() == 2

    def refit(rows: np.ndarray, draw: int) -> dict[object, np.ndarray]:
        order = np.random.default_rng(draw).permutation(len(rows)) % 3
        own = np.array([np.abs(Z - row).sum(axis=1).argmin() for row in rows])
        return {"true": y[own], "merged": merged[own], "shuffled": order, "split": split[own]}

    stable = indices.stability(Z, candidates, refit, np.random.default_rng(0))
    assert stable[0] == pytest.approx(1.0)
    assert stable.argmin() == 2
    one = indices.inner_indices(Z, [np.zeros(120, dtype=np.int64)])
    assert np.isneginf(one[indices.SILHOUETTE]).all()


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
    tie = {"value": 0.0, "low": -0.1, "high": 0.1, "n": 20}
    many = {
        "part": "e",
        "n tables": 1000,
        "timings": {
            cost.FAST: [timing(ours, is_valid)],
            cost.SWEEP: sweep,
            cost.CONSTRUCTED: [timing(12.0)],
        },
        "ari, ours minus": {cost.SWEEP: tie, cost.CONSTRUCTED: tie},
    }
    mine = [timing(0.02 * ours, is_valid)]
    one = {"part": "e", "timings": {cost.OURS: mine, cost.EM_TEN: [timing(0.05)]}}
    unknown = {"part": "e", "timings": {cost.FAST: [timing(0.1 * ours, is_valid)]}}
    long = {
        "part": "e",
        "peak bytes above data": 2 * 10**8,
        "timings": {cost.FAST: [timing(ours, is_valid)], cost.MINI_BATCH: [timing(0.9)]},
    }
    cells = {
        "e: many tables, K unknown": many,
        "e: one table, K given": one,
        "e: one table, K unknown": unknown,
        "e: 1000000 rows": long,
    }
    found = targets(cells, "e")
    assert [t.status for t in found] == [status] * 5 + [REACHED]
    many["ari, ours minus"][cost.SWEEP] = {**tie, "value": -0.2, "low": -0.3, "high": -0.1}
    assert targets(cells, "e")[0].status == (SHORT if is_valid else INVALID)
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
    with pytest.raises(ValueError, match="part=z is unknown; choose from c,d,e,f,g,h,i,j"):
        bench_mixture(sizes, ["c", "z"], weights=weights)
    with pytest.raises(ValueError, match="rival B' itself"):
        bench_mixture(sizes, ["c"], weights="constructed")
    with pytest.raises(ValueError, match="no CSV file"):
        bench_mixture(sizes, ["d"], weights=weights, tables=tmp_path)
    with pytest.raises(FileNotFoundError):
        bench_mixture(sizes, ["c"], weights=str(tmp_path / "none.safetensors"))
