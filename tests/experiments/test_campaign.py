from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from statformer.experiments.campaign import Progress, Setting, run_experiments
from statformer.experiments.results import read_results, read_table
from toy_experiments import measured, write_lab
from toy_jobs import wait_for

TESTS = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package in `tmp_path`, that of no other test; write_lab fills it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"lab_{abs(hash(tmp_path))}"


def run(tmp_path: Path, package: str, size: Any = "quick", **options: Any) -> dict[str, Any]:
    """The result of the experiment `toy` on one worker."""
    setting = Setting(size, tmp_path / "out", n_workers=1, package=package, **options)
    (result,) = run_experiments(["toy"], setting)
    return result


def test_a_run_writes_its_rows_and_its_verdict(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package)
    heard: list[Progress] = []
    setting = Setting("quick", tmp_path / "out", n_workers=1, command="run it", package=package)
    (result,) = run_experiments(["toy", "toy"], setting, heard.append)
    assert result["verdict"]["status"] == "holds"
    assert (result["n_jobs"], result["n_reused"], result["failed"]) == (4, 0, [])
    assert [one.done for one in heard] == [1, 2, 3, 4]
    assert {one.total for one in heard} == {4}
    assert result["grid"] == {"n": [1000, 2000], "behaviour": ["behaves"]}
    assert result["n_seeds"] == 2
    assert result["provisional"] == "thresholds: not a checkout"
    assert result["controls"] == [{"name": "shifted", "says": "one is added", "size": "tiny"}]
    assert (result["engine"], result["command"]) == ("local", "run it")
    assert result["machine"]["cores"] >= 1

    (read,) = read_results(tmp_path / "out")
    assert read == json.loads(json.dumps(result))
    table = read_table(tmp_path / "out", read)
    assert table[["n", "seed"]].values.tolist() == [[1000, 0], [1000, 1], [2000, 0], [2000, 1]]
    files = sorted(path.name for path in (tmp_path / "out" / "rows" / "toy").iterdir())
    assert files == sorted(f"{key}.parquet" for key in result["rows"])

    # again: nothing is measured; a larger size adds what is missing, and shares what is there
    again = run(tmp_path, package)
    assert (again["n_reused"], len(measured(tmp_path))) == (4, 4)
    pd.testing.assert_frame_equal(read_table(tmp_path / "out", again), table)
    full = run(tmp_path, package, "full")
    assert (full["n_jobs"], full["n_reused"], len(measured(tmp_path))) == (9, 4, 9)
    assert [one["size"] for one in read_results(tmp_path / "out")] == ["quick", "full"]


@pytest.mark.slow
def test_rows_of_changed_sources_are_measured_anew(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package)
    before = run(tmp_path, package)
    (tmp_path / package / "notes.py").write_text('"""Something else."""\n')
    assert run(tmp_path, package)["n_reused"] == 4  # nobody imports the notes
    (tmp_path / package / "_parts.py").write_text("FACTOR = 10.0\n")
    after = run(tmp_path, package)
    assert after["n_reused"] == 0
    assert not set(before["rows"]) & set(after["rows"])
    ratio = read_table(tmp_path / "out", after)["gap"] / read_table(tmp_path / "out", before)["gap"]
    assert ratio.to_numpy() == pytest.approx(10.0)


@pytest.mark.slow
def test_files_may_be_edited_while_a_run_works(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package)
    second = tmp_path / package / "second.py"
    second.write_text((tmp_path / package / "toy.py").read_text())
    setting = Setting("quick", tmp_path / "out", n_workers=1, package=package)
    results = []
    for result in run_experiments(["toy", "second"], setting):
        results.append(result)
        second.write_text("raise RuntimeError('half written')\n")
    assert [result["verdict"]["status"] for result in results] == ["holds", "holds"]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("raises", "RuntimeError: planted"),
        pytest.param("dies", "ended by SIGKILL, 3 times", marks=pytest.mark.slow),
        pytest.param("sleeps", "took more than 1.5 s", marks=pytest.mark.slow),
    ],
)
def test_a_cell_that_breaks_down_leaves_the_claim_undecided(
    tmp_path: Path, package: str, behaviour: str, error: str
) -> None:
    write_lab(tmp_path, package, behaviour=behaviour, timeout=0.025)
    result = run(tmp_path, package)
    assert result["verdict"]["status"] == "undecided"
    assert result["verdict"]["reason"].startswith("4 of 4 jobs did not finish")
    assert len(result["failed"]) == 4
    assert all(error in one["error"] for one in result["failed"])
    assert result["failed"][0]["cell"] == {"n": 1000, "behaviour": behaviour}
    assert (result["rows"], result["chart"]) == ([], None)
    assert read_table(tmp_path / "out", result).empty
    assert run(tmp_path, package)["n_reused"] == 0  # it is tried again


@pytest.mark.slow
def test_a_worker_that_dies_once_costs_nothing_but_time(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package, behaviour="dies once")
    result = run(tmp_path, package)
    assert (result["verdict"]["status"], result["failed"]) == ("holds", [])
    assert len(measured(tmp_path)) == 5


def test_a_judge_that_raises_is_no_verdict(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package)
    module = tmp_path / package / "toy.py"
    module.write_text(module.read_text().replace('table["gap"].max()', 'table["typo"].max()'))
    result = run(tmp_path, package)
    assert result["verdict"]["status"] == "undecided"
    assert result["failed"] == [{"cell": {}, "seed": None, "error": "holds: KeyError: 'typo'"}]


RUN = """
import sys
from pathlib import Path
from statformer.experiments.campaign import Setting, run_experiments
if __name__ == "__main__":
    setting = Setting("quick", Path({folder!r}) / "out", n_workers=1, package={package!r})
    print([result["verdict"]["status"] for result in run_experiments(["toy"], setting)])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, package: str) -> None:
    write_lab(tmp_path, package, behaviour="waits")
    script = tmp_path / "run.py"
    script.write_text(RUN.format(folder=str(tmp_path), package=package))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(TESTS)])}
    rows = tmp_path / "out" / "rows" / "toy"
    (tmp_path / "go-1000").touch()
    with subprocess.Popen([sys.executable, script], env=environment) as first:
        try:
            wait_for(lambda: len(measured(tmp_path)) == 3)  # two have finished, the third waits
        finally:
            first.send_signal(signal.SIGKILL)
    assert len(list(rows.glob("*.parquet"))) == 2
    assert read_results(tmp_path / "out") == []
    (tmp_path / "go-2000").touch()
    again = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == "['holds']"
    assert measured(tmp_path) == [1000, 1000, 2000, 2000, 2000]
    (result,) = read_results(tmp_path / "out")
    assert (result["n_jobs"], result["n_reused"]) == (4, 2)


@pytest.mark.slow
def test_results_of_clusters_are_those_of_this_machine(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    write_lab(tmp_path, package)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(TESTS)]))
    here = run(tmp_path, package, "tiny")
    setting = Setting("tiny", tmp_path / "dask", "dask", n_workers=1, package=package)
    (there,) = run_experiments(["toy"], setting)
    assert there["rows"] == here["rows"]
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "dask", there), read_table(tmp_path / "out", here)
    )


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`statformer experiments run` makes it"):
        read_results(tmp_path / "none")
