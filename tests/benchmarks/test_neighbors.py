"""The neighbours bench at sizes of seconds: what the file holds, and that verdicts follow it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from statformer.benchmarks import neighbors_cost as cost
from statformer.benchmarks import neighbors_predictions as predictions
from statformer.benchmarks import neighbors_shifted as shifted
from statformer.benchmarks import neighbors_tuned
from statformer.benchmarks.neighbors import bench_neighbors
from statformer.benchmarks.neighbors_settings import Sizes
from statformer.benchmarks.neighbors_summary import sheets
from statformer.benchmarks.neighbors_targets import targets
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT

TINY = Sizes(
    "tiny",
    rows=(300,),
    columns=(3, 6),
    products=1e4,
    queries=(5, 20),
    kd_tree_queries=3,
    rounds=1,
    seeds=1,
    prompts=50,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clear groups and a text column, with the label last."""
    folder = tmp_path_factory.mktemp("tables")
    rows = [f"{i % 3 / 10 + 5 * (i % 2)},{'uv'[i % 2]},{['no', 'yes'][i % 2]}" for i in range(40)]
    (folder / "groups.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """A part of the digits, small grids, one layer, and no process for memory."""
    X, y = predictions.load_digits(return_X_y=True)
    some = np.flatnonzero(y < 3)[:60]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "load_digits", lambda **_: (X[some], y[some]))
        patch.setattr(neighbors_tuned, "NEIGHBORS", (1, 4))
        patch.setattr(neighbors_tuned, "N_FOLDS", 3)
        patch.setattr(predictions, "PRIOR_ROWS", (0.1, 1.0))
        patch.setattr(predictions, "N_FOLDS", 3)
        patch.setattr(shifted, "SHAPES", ((4, 4),))
        patch.setattr(cost, "LARGE", 800)
        patch.setattr(cost, "MEMORY_ROWS", 300)
        patch.setattr(cost, "MEMORY_QUERIES", 11)
        patch.setattr(cost, "peak_bytes", lambda *_: 10**6)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "x.json"


@pytest.fixture(scope="module")
def measured(few: None, folder: Path, path: Path) -> dict[str, Any]:
    """A run of all parts into `path`."""
    return bench_neighbors(TINY, json_path=path, tables=folder)


def test_the_file_and_its_sheets(
    measured: dict[str, Any], few: None, folder: Path, path: Path
) -> None:
    assert json.loads(path.read_text()) == json.loads(json.dumps(measured))
    assert set(measured["cells"]) == {
        "a: 300 x 3, float32",
        "a: 300 x 3, float64",
        "a: 300 x 6, float32",
        "a: 300 x 6, float64",
        "b: groups",
        "b: digits",
        *(f"c: n 4, d 4, margin {m}, error {e}" for m in ("0.5", "1") for e in ("0.01", "1e-06")),
    }
    cell = measured["cells"]["a: 300 x 6, float64"]
    assert cell["queries"] == {m: 3 if m == cost.KD_TREE else 5 for m in cost.METHODS}
    assert set(cell["labels as brute force"].values()) == {1.0}
    assert set(cell["peak bytes above data"]) == set(cost.METHODS)
    cell = measured["cells"]["a: 300 x 3, float32"]
    assert cell["queries"][cost.OURS] == 11
    assert set(cell["peak bytes above data"]) == {*cost.METHODS, cost.SOFT}
    for timing in cell["timings"].values():
        assert min(timing["seconds per query"].values()) > 0.0
        assert min(timing["build seconds"].values()) > 0.0
    groups = measured["cells"]["b: groups"]
    assert (groups["rows"], groups["columns"], groups["classes"]) == (40, 3, 2)
    assert groups["accuracy"][predictions.OURS]["value"] == 1.0
    assert len(groups["chosen"][predictions.WITH_PRIOR]) == 3
    assert measured["versions"]["faiss-cpu"]
    titles = [sheet.title for sheet in sheets(measured)]
    assert titles[0] == "Microseconds per query, one nearest neighbour"
    assert titles[-1] == "To reach"
    assert all(len(row) == len(s.header) for s in sheets(measured) for row in s.rows)

    seen: list[Progress] = []
    before = measured["cells"]["a: 300 x 3, float32"]["timings"]
    again = bench_neighbors(TINY, "a", json_path=path, tables=folder, callback=seen.append)
    assert again["cells"]["a: 300 x 3, float32"]["timings"] == before  # read, not timed again
    assert [p.done for p in seen] == [1, 2, 3, 4]
    with (folder / "groups.csv").open("a") as file:
        file.write("1,0.1,u,no\n")
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_neighbors(TINY, json_path=path, tables=folder)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="part=z is unknown; choose from a,b,c"):
        bench_neighbors(TINY, ["z"])
    with pytest.raises(FileNotFoundError, match="pass --tables"):
        bench_neighbors(TINY, tables=tmp_path)


def test_verdicts_follow_the_numbers(measured: dict[str, Any]) -> None:
    cells = copy.deepcopy(measured["cells"])
    timed = [cell for cell in cells.values() if cell["part"] == "a"]
    timings = [timing for cell in timed for timing in cell["timings"].values()]
    for timing in timings:
        timing["is_valid"] = True
        timing["seconds per query"] = {
            cost.OURS: 1.0,
            cost.BRUTE: 1.0,
            cost.KD_TREE: 0.1,
            cost.FAISS: 0.5,
        }

    def verdicts(part: str = "a") -> list[str]:
        return [target.status for target in targets(cells, [part])]

    assert verdicts() == [REACHED, REACHED, REACHED, REACHED]
    timings[-1]["seconds per query"][cost.BRUTE] = 0.99
    timings[0]["seconds per query"][cost.FAISS] = 0.49
    assert verdicts() == [SHORT, SHORT, REACHED, REACHED]
    timings[-1]["is_valid"] = False  # an invalid timing proves nothing, for or against
    assert verdicts() == [REACHED, SHORT, REACHED, REACHED]
    timed[1]["labels as brute force"][cost.OURS] = 0.999
    timed[0]["peak bytes above data"][cost.OURS] = 999_000_000
    assert verdicts() == [REACHED, SHORT, SHORT, REACHED]
    timed[0]["peak bytes above data"][cost.SOFT] = 1_001_000_000
    assert verdicts()[3] == SHORT
    for cell in timed:
        cell["peak bytes above data"].pop(cost.SOFT, None)
    assert verdicts()[3] == MISSING
    for timing in timings:
        timing["is_valid"] = False
    assert verdicts()[:2] == [INVALID, INVALID]

    for cell in (cells["b: groups"], cells["b: digits"]):
        for rival in predictions.RIVALS:
            cell["ours minus"][rival]["log loss"] = {"value": -0.1, "low": -0.2, "high": 0.1}
    assert verdicts("b")[:3] == [REACHED] * 3
    gap = {"value": 0.1, "low": 0.05, "high": 0.2}
    cells["b: digits"]["ours minus"][predictions.WITH_PRIOR]["log loss"] = gap
    found = targets(cells, "b")
    assert [t.status for t in found[:3]] == [REACHED, REACHED, SHORT]  # half is not most
    assert "clearly higher on digits" in found[2].found

    assert verdicts("c") == [REACHED]
    cells["c: n 4, d 4, margin 1, error 0.01"]["shifted"]["largest attention that misses"] = 0.011
    assert verdicts("c") == [SHORT]


def test_rivals_answer_one_nearest_neighbour() -> None:
    X, y, queries = cost.table(400, 50, 5, "float32")
    nearest = ((queries[:, None].astype(float) - X[None]) ** 2).sum(-1).argmin(1)
    for name in cost.METHODS:
        answer = cost.searcher(name, 1).fit(X, y).predict(queries)
        np.testing.assert_array_equal(answer, y[nearest], err_msg=name)
    np.testing.assert_array_equal(cost.table(400, 50, 5, "float32")[0], X)


_PEAK_BYTES = cost.peak_bytes  # before any fixture replaces it


def test_memory_of_blocks_is_less_than_a_matrix_of_scores() -> None:
    peak = _PEAK_BYTES(cost.OURS, 20_000, 2000, 4, "float32")
    assert peak is not None
    assert peak < 20_000 * 2000 * 4 / 2


def test_losses_and_bins() -> None:
    y = np.array([0, 1, 1, 0])
    p = np.array([[1.0, 0.0], [0.3, 0.7], [0.9, 0.1], [0.0, 1.0]])
    assert predictions.log_losses(y, p).mean() == pytest.approx(log_loss(y, p))
    bins = predictions.row_bins(y, p)
    assert bins.sum(axis=(0, 1)).tolist() == [4.0, pytest.approx(3.6), 2.0]
    assert bins[1, 10].tolist() == [1.0, 0.7, 1.0]
    assert bins[0, 14].tolist() == [1.0, 1.0, 1.0]


def test_the_layer_meets_its_error_and_a_dull_one_does_not() -> None:
    cell = shifted.measure(8, 4, 0.5, 1e-3, 200)
    assert cell["shifted"]["largest attention that misses"] <= 1e-3
    assert cell["shifted"]["mean squared error"] < 1e-5
    assert cell["shifted"]["of the mean label"] > 0.3
    assert cell["unshifted"]["mean squared error"] > cell["shifted"]["mean squared error"]
    assert cell["unshifted"]["nearest has the most attention"] == 1.0
    prompts = shifted.ShiftedPointsPrior(8, 4, 0.5).sample(shifted.TaskStream(0, 0, range(200)))
    dull = shifted.NeighborTransformer.from_family(4, 2.0, 3.0)
    assert shifted.score(dull, prompts)["largest attention that misses"] > 0.1
