"""The spectral bench at sizes of seconds: what the file holds, and that verdicts follow numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.benchmarks import (
    spectral_constructed,
    spectral_cost,
    spectral_networks,
    spectral_peak_memory,
    spectral_robust,
    spectral_tables,
    spectral_two_classes,
)
from statformer.benchmarks.robust_pca_rivals import MIN_COV_DET, RIVALS, SVD
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral import bench_spectral
from statformer.benchmarks.spectral_networks import GAUSSIANS, IMAGES, POWER
from statformer.benchmarks.spectral_pictures import draw
from statformer.benchmarks.spectral_read_outs import LINEAR, MLP
from statformer.benchmarks.spectral_robust import OURS
from statformer.benchmarks.spectral_settings import Sizes
from statformer.benchmarks.spectral_summary import sheets
from statformer.benchmarks.spectral_tables import NEVER, Battery, batteries
from statformer.benchmarks.verdicts import MISSING
from statformer.pretraining import pretrain
from statformer.pretraining.recipes.eigen_transformer import recipe

TINY = Sizes(
    "tiny",
    constructed=1,
    depths=(2, 5),
    instances=8,
    read_out_steps=5,
    tables=3,
    per_job=2,
    shapes=((40, 6, 2),),
    wide=(20, 12, 2),
    many_columns=(30, 20, 2),
    large_cells=(10_000, 20_000),
    rounds=1,
    two_classes=2,
    rows=(30,),
    columns=(5,),
)
SOME = {
    "clean",
    "clean, uniform scores",
    "clean, wide",
    "rows 10%",
    "rows 20%",
    "missing MCAR 30%",
    "held out: swapped_cells, 10%",
    "never: unit errors, 10%",
}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some batteries, one eigengap."""

    def some(sizes: Sizes) -> list[Battery]:
        return [battery for battery in batteries(sizes) if battery.name in SOME]

    monkeypatch.setattr(spectral_robust, "batteries", some)
    monkeypatch.setattr(spectral_constructed, "RATIOS", (0.5,))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two targets, two depths, one with softmax: trained for a step."""
    folder = tmp_path_factory.mktemp("training")
    small: dict[str, Any] = {"width": 8, "n_heads": 2, "n_features": 3, "n_points": 6}
    for name, options in {
        "eigen_values_d3": {"n_layers": 2},
        "eigen_values_d3_shallow": {"n_layers": 1},
        "eigen_vectors_d3": {"target": "vectors", "n_layers": 1},
        "eigen_vectors_d3_softmax": {"target": "vectors", "n_layers": 1, "attention": "softmax"},
    }.items():
        made = recipe(**small, n_components=2, **options)  # type: ignore[arg-type]
        pretrain(made, out_dir=folder / name, n_steps=1)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an mnist.npz of 4 x 4 pixels."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (120, 4, 4)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(120) % 10).astype(np.uint8)
    np.savez(folder / "mnist.npz", **arrays)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_parts_a_b_c_and_e_fill_one_file(
    few: None, networks: Path, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "numbers.json"
    seen: list[Progress] = []
    options: dict[str, Any] = {
        "json_path": path,
        "weights": "constructed",
        "networks": networks,
        "images": images,
        "command": "statformer bench spectral",
        "callback": seen.append,
    }
    data = bench_spectral(TINY, "abce", **options)
    stored = json.loads(path.read_text())
    assert stored["cells"] == data["cells"]
    facts = {"schema", "mode", "command", "commit", "versions", "machine", "weights", "judged"}
    assert facts | {"began", "ended", "targets"} <= set(stored)
    assert stored["is_first_look"] is True
    cells = stored["cells"]
    assert [sum(c["part"] == p for c in cells.values()) for p in "abce"] == [2, 2, len(SOME), 1]
    for cell in cells.values():
        CHECKS[cell["part"]](cell)
    assert cells["c: clean"]["median angle"][OURS] < 60.0
    assert MIN_COV_DET not in cells["c: clean, wide"]["angle"]
    assert MIN_COV_DET in cells["c: clean"]["angle"]
    assert len(sheets(stored)) == 1 + 2 * 2 + 2 + 1 + 1
    pictures = {found.name for found in draw(stored, tmp_path / "plots")}
    assert pictures == {
        "spectral-depth.png",
        "spectral-components.png",
        "spectral-angles.png",
        "spectral-classes.png",
    }

    # a finished file is not measured again; a network that is trained anew is
    seen.clear()
    name = networks / "eigen_vectors_d3_softmax"
    made = recipe(
        target="vectors",
        width=8,
        n_heads=2,
        n_features=3,
        n_points=6,
        n_components=2,
        n_layers=1,
        attention="softmax",
    )
    pretrain(made, out_dir=tmp_path / "again", n_steps=2)
    for file in ("final.safetensors", "card.json"):
        (name / file).write_bytes((tmp_path / "again" / file).read_bytes())
    again = bench_spectral(TINY, "abce", **options)
    assert {p.cell for p in seen if p.part != "b"} == set()
    changed = [key for key in cells if again["cells"][key] != cells[key]]
    assert changed == ["b: vectors, D 3, N 6, k 2"]
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_spectral(dataclasses.replace(TINY, tables=4), "a", **options)


def check_constructed(cell: dict[str, Any]) -> None:
    for name in spectral_constructed.CONSTRUCTIONS:
        assert cell["largest gap to the power method"][name] < 1e-10
    assert cell["theorem depth"] == 2 * cell["steps"] + 4 * 3 + 1


def check_networks(cell: dict[str, Any]) -> None:
    assert set(cell["scores"]) == {GAUSSIANS, IMAGES, *spectral_networks.SPLITS}
    depths = {about["layers"] for about in cell["networks"].values()}
    rivals = {POWER.format(layers) for layers in depths} | {LINEAR, MLP}
    for scores in cell["scores"].values():
        assert set(scores) == {"n", *cell["networks"], *rivals}
        assert all(len(scores[name]["mean"]) == 2 for name in rivals)
    for about in cell["networks"].values():
        assert about["steps"] in {1, 2}


def check_robust(cell: dict[str, Any]) -> None:
    assert cell["n"] == 3
    for name, found in cell["angle"].items():
        assert found["value"] == pytest.approx(np.mean(cell["scores"][name]), abs=0.01)
    assert set(cell["ours minus"]) | {OURS} == set(cell["angle"])
    best = min(cell["angle"][name]["value"] for name in RIVALS if name in cell["angle"])
    assert cell["angle"][cell["best rival"]]["value"] == pytest.approx(best)
    for form, gap in cell["minus the best rival"].items():
        expected = cell["angle"][form]["value"] - best
        assert gap["value"] == pytest.approx(expected, abs=0.01)


def check_two_classes(cell: dict[str, Any]) -> None:
    oracle = [level["oracle"] for level in cell["levels"]]
    assert oracle == sorted(oracle, reverse=True)
    for name in spectral_two_classes.METHODS:
        errors = [level["error"][name]["value"] for level in cell["levels"]]
        assert all(0.0 <= error <= 0.5 for error in errors)
        assert errors[-1] < errors[0]


CHECKS = {
    "a": check_constructed,
    "b": check_networks,
    "c": check_robust,
    "e": check_two_classes,
}


@pytest.mark.filterwarnings("ignore")
def test_part_d_times_every_shape_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (spectral_cost.BUILT, spectral_cost.SKLEARN)
    monkeypatch.setattr(spectral_cost, "METHODS", methods)
    monkeypatch.setattr(spectral_cost, "WIDTHS", (5, 8))
    monkeypatch.setattr(spectral_cost, "PEAK_CELLS", 20_000)
    data = bench_spectral(TINY, "d", weights="constructed", json_path=tmp_path / "d.json")
    cells = data["cells"]
    assert set(cells) == {
        "d: rows: 200 x 50",
        "d: rows: 400 x 50",
        "d: columns: 2000 x 5",
        "d: columns: 2000 x 8",
        "d: single: 200 x 20",
        "d: growth",
    }
    peaks = cells["d: rows: 400 x 50"]["peak bytes above data"]
    assert set(peaks) == set(methods)
    assert cells["d: rows: 200 x 50"]["peak bytes above data"] == {}
    assert set(cells["d: growth"]["slopes"]) == {"rows", "columns"}
    assert [p.name for p in draw(data, tmp_path)] == ["spectral-time.png"]
    assert len(sheets(data)) == 3 + 1


def test_peak_memory_is_what_a_fit_holds_beside_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Copier:
        def __init__(self, name: str, weights: str) -> None:
            self.copies = int(name)

        def fit(self, X: np.ndarray) -> None:
            self.held = [X + i for i in range(self.copies)]

    monkeypatch.setattr(spectral_peak_memory, "estimator", Copier)
    none, three = (
        spectral_peak_memory.peak_bytes(copies, 100_000, 50, "constructed") for copies in "03"
    )
    assert none is not None
    assert three is not None
    assert none < 10_000_000
    assert three == pytest.approx(3 * 40_000_000, rel=0.1)


def test_a_method_that_raises_counts_a_right_angle(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no subspace")

    monkeypatch.setattr(spectral_robust, "RIVALS", {SVD: broken, MIN_COV_DET: broken})
    battery = Battery("clean, uniform scores", NEVER, ((12, 6, 2),), own=("", 0.0))
    rows = spectral_robust.measure(spectral_robust.Job(battery, range(2), "constructed"))
    assert rows[SVD] == [90.0, 90.0]
    assert rows[f"crashed: {SVD}"] == [1, 1]
    assert rows[MIN_COV_DET] == [None, None]
    assert rows[f"crashed: {OURS}"] == [0, 0]


def test_tables_do_not_depend_on_what_else_is_measured() -> None:
    found = {battery.name: battery for battery in batteries(TINY)}
    assert len(found) == len(batteries(TINY))
    assert len({battery.seed for battery in found.values()}) == len(found)
    assert {battery.group for battery in found.values()} == set(spectral_tables.GROUPS)
    for name in ("rows 20%", "missing MNAR 60%", "held out: shifted_columns, 20%"):
        first, again, other = (found[name].table(i) for i in (1, 1, 2))
        np.testing.assert_array_equal(first.X, again.X)
        assert not np.array_equal(first.X, other.X)
        np.testing.assert_allclose(first.basis @ first.basis.T, np.eye(2), atol=1e-10)
    holes = np.mean([np.isnan(found["missing MNAR 60%"].table(i).X).mean() for i in range(20)])
    assert holes == pytest.approx(0.6, abs=0.05)


def test_held_out_kinds_are_those_of_the_prior() -> None:
    from statformer.tasks.corruption import CELL_KINDS, HELD_OUT, ROW_KINDS

    assert set(spectral_tables.HELD_OUT_KINDS) == set(HELD_OUT)
    assert not set(HELD_OUT) & {*CELL_KINDS, *ROW_KINDS}


def test_scores_are_the_metrics_of_the_paper() -> None:
    truth = np.array([[4.0, 2.0], [10.0, 1.0]])
    found = spectral_networks.scores(truth * [1.1, 0.5], truth, "values")
    assert found["mean"] == pytest.approx([0.01, 0.25])
    assert found["median"] == pytest.approx([0.1, 0.5])
    assert found["standard error"] == pytest.approx([0.0, 0.0], abs=1e-6)
    vectors = np.stack([np.eye(3)[:2]] * 2)
    turned = vectors.copy()
    turned[0, 0], turned[:, 1] = [-3.0, 0.0, 0.0], [0.0, 1.0, 1.0]
    found = spectral_networks.scores(turned, vectors, "vectors")
    assert found["mean"] == pytest.approx([1.0, 2**-0.5], rel=1e-4)


def test_enough_power_steps_are_exact() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 30, 4)) * [3.0, 2.0, 1.0, 0.5]
    starts = rng.normal(size=(3, 2, 4))
    values, vectors = (
        spectral_networks.by_power(X, starts, 200, target) for target in ("values", "vectors")
    )
    for one, value, vector in zip(X, values, vectors, strict=True):
        exact, columns = np.linalg.eigh(np.cov(one.T))
        np.testing.assert_allclose(value, exact[::-1][:2], rtol=1e-6)
        np.testing.assert_allclose(np.abs(np.diag(vector @ columns[:, ::-1][:, :2])), 1, atol=1e-6)


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="part=z is unknown"):
        bench_spectral(TINY, "az", weights="constructed")
    with pytest.raises(FileNotFoundError, match=r"images=.*none"):
        bench_spectral(TINY, "a", weights="constructed", images=tmp_path / "none")
    data = bench_spectral(TINY, "b", weights="constructed", networks=tmp_path)
    assert "no eigen_*" in data["cells"]["b: none"]["missing"]
    assert {t["status"] for t in data["targets"]} == {MISSING}
