from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from statformer.cli import experiments as command
from toy_experiments import write_lab

Run = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command line over a folder of two toy experiments, one of which breaks down."""
    package = write_lab(tmp_path, f"lab_{abs(hash(tmp_path))}")
    write_lab(tmp_path, package, name="broken", behaviour="raises", paper="2501.02547")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(command, "PACKAGE", package)
    return package


def test_the_listing_bears_paper_kind_cost_and_flag(run: Run, lab: str) -> None:
    found = json.loads(run("experiments", "list", "--json").stdout)
    assert [(one["name"], one["paper"], one["kind"]) for one in found] == [
        ("broken", "2501.02547", "existence"),
        ("toy", "ours", "existence"),
    ]
    assert found[1]["jobs"] == {"tiny": 1, "quick": 4, "full": 9}
    assert {"cost", "not_the_authors", "claim"} <= set(found[0])
    shown = run("experiments", "list", "--no-json").stdout
    line = next(line for line in shown.splitlines() if "broken" in line)
    assert "2501.02547" in line
    assert "existence" in line


def test_a_run_prints_verdicts_and_exits_with_0_where_it_could_judge(
    run: Run, lab: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run("experiments", "run", "toy", "--tiny", "--out", out, "--jobs", 1)
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    assert (result["name"], result["size"], result["paper"]) == ("toy", "tiny", "ours")
    assert result["verdict"]["status"] == "holds"
    assert "holds  toy (tiny): gap" in done.stderr
    assert (out / "toy.tiny.json").is_file()

    shown = run("experiments", "show", "toy", "--results", out)
    about = json.loads(shown.stdout)
    assert about["controls"] == {"shifted": "one is added"}
    assert [one["verdict"] for one in about["results"]] == [result["verdict"]]
    read = run("experiments", "show", "toy", "--results", out, "--no-json").stdout
    assert "claim: The mean of fair coins is near a half." in read
    assert "holds  toy (tiny)" in read


def test_a_site_is_built_of_the_results(run: Run, lab: str, tmp_path: Path) -> None:
    out, site = tmp_path / "out", tmp_path / "site"
    run("experiments", "run", "toy", "--tiny", "--out", out)
    done = run("experiments", "report", "--results", out, "--out", site)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(site / "index.html")
    text = (site / "index.html").read_text()
    assert "near a half" in text
    assert "broken" in text  # not run, and not left out


def test_a_claim_that_fails_is_a_result(run: Run, lab: str, tmp_path: Path) -> None:
    parts = tmp_path / lab / "_parts.py"
    parts.write_text("FACTOR = 1e4\n")
    done = run("experiments", "run", "toy", "--tiny", "--out", tmp_path / "out", "--no-json")
    assert done.exit_code == 0, done.output
    assert "0 holds, 1 fails, 0 undecided" in done.stdout


def test_a_cell_that_breaks_down_is_exit_code_1(run: Run, lab: str, tmp_path: Path) -> None:
    done = run("experiments", "run", "--paper", "2501.02547", "--out", tmp_path / "out")
    assert done.exit_code == 1
    (result,) = json.loads(done.stdout)
    assert result["verdict"]["status"] == "undecided"
    assert "broken: RuntimeError: planted" in done.stderr


def test_all_are_run(run: Run, lab: str, tmp_path: Path) -> None:
    done = run("experiments", "run", "--all", "--tiny", "--out", tmp_path / "out")
    assert [one["name"] for one in json.loads(done.stdout)] == ["broken", "toy"]


def test_the_folder_of_images_reaches_the_workers(
    run: Run, lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATFORMER_IMAGES", "/elsewhere")  # also puts it back afterwards
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    out = tmp_path / "out"
    run("experiments", "run", "toy", "--tiny", "--out", out, "--images", "pictures")
    assert os.environ["STATFORMER_IMAGES"] == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "name experiments, or pass --paper ID, or --all"),
        (["run", "toy", "--all"], "one of the three"),
        (["run", "tyo"], "there is no experiment 'tyo'; did you mean 'toy'?"),
        (["run", "--paper", "9999.99999"], "there are 2501.02547, ours"),
        (["run", "toy", "--tiny", "--full"], "--tiny, --quick and --full exclude each other"),
        (["run", "toy", "--engine", "slurm"], "--engine is 'slurm'; pass one of local, ray, dask"),
        (["run", "toy", "--tiny", "--jobs", "0"], "n_workers is 0"),
        (["run", "toy", "--tiny", "--address", "x:1"], "needs engine 'ray' or 'dask'"),
        (["run", "toy", "--images", "absent"], "--images absent: no such folder"),
        (["show", "none"], "there is no experiment 'none'"),
        (["report", "--results", "no-such-folder"], "there is no folder no-such-folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    refused: Callable[..., str],
    lab: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("experiments", *arguments)
