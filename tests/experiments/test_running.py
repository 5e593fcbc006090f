from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.experiments.folder import experiment_names, load_experiment, module_path
from statformer.experiments.running import Point, measure_point, rows_of, table_here, verdict_here
from statformer.runs.sources import sources_key
from toy_experiments import measured, write_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with the experiment `toy`; its name differs between tests."""
    package = write_lab(tmp_path, f"lab_{abs(hash(tmp_path))}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_experiments_are_found_by_folder(lab: str, tmp_path: Path) -> None:
    assert experiment_names(lab) == ["toy"]
    (tmp_path / lab / "second.py").write_text("EXPERIMENT = 3\n")
    (tmp_path / lab / "_shared.py").write_text("EXPERIMENT = 3\n")
    assert experiment_names(lab) == ["second", "toy"]
    assert f"{lab}.second" not in sys.modules  # names are read without importing
    with pytest.raises(TypeError, match=r"EXPERIMENT of .*second is 3; make it an Experiment"):
        load_experiment("second", lab)
    with pytest.raises(KeyError, match="there is no experiment 'third'"):
        load_experiment("third", lab)
    with pytest.raises(ModuleNotFoundError, match="there is no module"):
        module_path(f"{lab}.third")


def test_a_table_has_a_line_per_cell_and_seed_and_a_fault_flips_it(
    lab: str, tmp_path: Path
) -> None:
    toy = load_experiment("toy", lab)
    table = table_here("toy", "quick", experiment=toy)
    assert list(table.columns) == ["n", "behaviour", "seed", "gap"]
    assert table["n"].tolist() == [1000, 1000, 2000, 2000]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert measured(tmp_path) == [1000, 1000, 2000, 2000]
    assert verdict_here("toy", "tiny", experiment=toy).status == "holds"
    assert verdict_here("toy", "tiny", "shifted", toy).status == "fails"
    with pytest.raises(KeyError, match="control is 'turned'; this experiment has shifted"):
        table_here("toy", "tiny", "turned", toy)


def test_rows_are_checked() -> None:
    cell = {"n": 3}

    def rows(row: Any) -> list[dict[str, Any]]:
        return rows_of(lambda *_: row, "x", cell, 1)

    assert rows({"a": np.float64(2.5), "b": np.bool_(True), "n": 3}) == [
        {"n": 3, "seed": 1, "a": 2.5, "b": True}
    ]
    assert rows([{"a": 1}, {"a": 2}]) == [
        {"n": 3, "seed": 1, "a": 1},
        {"n": 3, "seed": 1, "a": 2},
    ]
    with pytest.raises(ValueError, match="no row"):
        rows([])
    with pytest.raises(TypeError, match=r"a = array\(\[1, 2\]\) of type ndarray"):
        rows({"a": np.array([1, 2])})
    with pytest.raises(TypeError, match="a = None"):
        rows({"a": None})
    with pytest.raises(ValueError, match="n = 4, which is 3 in its cell; rename it"):
        rows({"n": 4})


def test_the_generator_does_not_depend_on_the_size() -> None:
    def measure(cell: object, rng: np.random.Generator) -> dict[str, float]:
        return {"x": float(rng.normal())}

    assert rows_of(measure, "x", {"n": 1}, 0) == rows_of(measure, "x", {"n": 1}, 0)
    assert rows_of(measure, "x", {"n": 1}, 0) != rows_of(measure, "y", {"n": 1}, 0)


def test_a_point_made_from_other_sources_is_refused(lab: str, tmp_path: Path) -> None:
    cell = {"n": 1000, "behaviour": "behaves"}
    key = sources_key(f"{lab}.toy")
    found = measure_point(Point("toy", cell, 0, key, lab))
    assert found.rows[0]["gap"] < 0.5
    assert found.core_seconds >= 0
    with pytest.raises(RuntimeError, match="the sources of toy are others here"):
        measure_point(Point("toy", cell, 0, "other", lab))
    assert measured(tmp_path) == [1000]
