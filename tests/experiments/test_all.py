"""Every experiment: its tiny grid runs, its figure draws, its planted faults flip the verdict."""

from __future__ import annotations

import os
import re
import sys
import time
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from statformer.experiments.base import Size, Verdict
from statformer.experiments.folder import PACKAGE, experiment_names, load_experiment, module_path
from statformer.experiments.running import rows_of, table_here
from statformer.plotting.chart import Chart
from statformer.plotting.chart_drawing import draw_chart
from statformer.runs.sources import closure

NAMES = experiment_names()


def controls(size: Size) -> list[tuple[str, str]]:
    """(name, control) of all faults that are tested at `size`."""
    found = []
    for name in NAMES:
        experiment = load_experiment(name)
        for control, one in experiment.controls.items():
            if (one.size or experiment.control_size) == size:
                found.append((name, control))
    return found


def positives(size: Size) -> list[str]:
    """Names of the experiments whose positive control is tested at `size`."""
    found = []
    for name in NAMES:
        experiment = load_experiment(name)
        if experiment.positive and (experiment.positive.size or experiment.control_size) == size:
            found.append(name)
    return found


MOST_SECONDS = 20.0  # of an experiment at quick size whose faults `make test-all` plants
_QUICK = re.compile(r"quick (?:about )?([\d.]+) (s|min)\b")


def cases_by_cost(cases: list[Any]) -> list[Any]:
    """The cases marked slow where the stated cost allows it, else long; no stated cost is long."""
    marked = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        stated = _QUICK.search(load_experiment(values[0]).cost)
        seconds = float(stated[1]) * {"s": 1, "min": 60}[stated[2]] if stated else np.inf
        mark = pytest.mark.slow if seconds <= MOST_SECONDS else pytest.mark.long
        marked.append(pytest.param(*values, marks=mark))
    return marked


@cache
def table(name: str, size: Size, control: str | None = None) -> pd.DataFrame:
    return table_here(name, size, control)


@cache
def verdict(name: str, size: Size, control: str | None = None) -> Verdict:
    return load_experiment(name).holds(table(name, size, control))


def need_no_images(name: str, size: Size) -> None:
    """Skip what would download images: tests do not touch the network."""
    wanted = {"mnist", "cifar10"} & set(getattr(load_experiment(name), size).get("images", ()))
    if wanted and not os.environ.get("STATFORMER_IMAGES"):
        pytest.skip(f"set STATFORMER_IMAGES to a folder with {', '.join(sorted(wanted))}.npz")


def check_that_a_fault_flips(name: str, control: str, size: Size) -> None:
    """Without the fault the experiment, or the case that must, holds; with it, it does not."""
    need_no_images(name, size)
    experiment = load_experiment(name)
    healthy = verdict(name, size)
    if healthy.status != "holds" and experiment.positive is not None:
        healthy = verdict(name, size, "positive")
    found = complaint(healthy, verdict(name, size, control))
    assert not found, f"{experiment.controls[control].says}: {found}"


def complaint(healthy: Verdict, broken: Verdict) -> str:
    """Why a pair of verdicts shows nothing about a fault, "" where it does."""
    if healthy.status != "holds":
        return f"neither the claim nor a positive control holds at this size: {healthy}"
    return f"it holds all the same: {broken}" if broken.status == "holds" else ""


@pytest.mark.parametrize(
    ("healthy", "broken", "words"),
    [
        ("holds", "fails", ""),
        ("holds", "undecided", ""),
        ("holds", "holds", "holds all the same"),
        ("fails", "fails", "neither the claim nor"),
        ("undecided", "holds", "neither the claim nor"),
    ],
)
def test_a_fault_that_flips_nothing_is_found(healthy: Any, broken: Any, words: str) -> None:
    found = complaint(Verdict(healthy, "1", "2", "ours"), Verdict(broken, "1", "2", "ours"))
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_grid_runs(name: str, record_property: Any) -> None:
    start = time.thread_time()
    rows = table(name, "tiny")
    record_property("core_seconds", round(time.thread_time() - start, 2))
    experiment = load_experiment(name)
    cells, seeds = experiment.cells("tiny"), experiment.seeds("tiny")
    assert len(rows) >= len(cells) * len(seeds)
    assert set(rows["seed"]) == set(seeds)
    for axis, values in experiment.tiny.items():
        assert set(rows[axis]) == set(values)
    measured = set(rows.columns) - set(experiment.tiny) - {"seed"}
    assert measured, "nothing was measured"
    for column in rows.select_dtypes("number"):
        assert np.isfinite(rows[column].dropna()).all(), f"{column} holds a number not finite"
    found = verdict(name, "tiny")
    assert isinstance(found, Verdict)
    assert found.measured.strip()
    assert found.threshold.strip()
    assert found.status != "undecided" or found.reason, "say why it is undecided"


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_measured_again_gives_the_same_rows(name: str) -> None:
    experiment = load_experiment(name)
    cell = experiment.cells("tiny")[0]
    again = pd.DataFrame(rows_of(experiment.measure, name, cell, seed=0))
    first = table(name, "tiny").iloc[: len(again)][list(again)]
    timed = [column for column in again if re.search("seconds|_ms|time|speed|cost", column)]
    pd.testing.assert_frame_equal(
        first.drop(columns=timed), again.drop(columns=timed), rtol=1e-6, check_dtype=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_draws(name: str) -> None:
    experiment = load_experiment(name)
    if experiment.figure is None:
        return
    chart = experiment.figure(table(name, "tiny"))
    assert isinstance(chart, Chart)
    again = Chart.from_json(chart.to_json())
    assert len(draw_chart(again).axes) >= len(chart.panels)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_has_a_fault_and_a_docstring(name: str) -> None:
    experiment = load_experiment(name)
    never_decided = experiment.tiny == experiment.grid and not experiment.controls
    if never_decided:
        assert verdict(name, "tiny").status == "undecided", "what is decided has a planted fault"
    else:
        assert experiment.controls, "plant at least one fault"
    assert (sys.modules[f"{PACKAGE}.{name}"].__doc__ or "").strip()
    assert experiment.claim.rstrip().endswith("."), "a claim is a sentence"


@pytest.mark.parametrize(("name", "control"), controls("tiny"))
def test_a_fault_flips_the_verdict(name: str, control: str) -> None:
    check_that_a_fault_flips(name, control, "tiny")


@pytest.mark.parametrize("name", positives("tiny"))
def test_what_must_hold_holds(name: str) -> None:
    assert verdict(name, "tiny", "positive").status == "holds"


@pytest.mark.parametrize(("name", "control"), cases_by_cost(controls("quick")))
def test_a_fault_flips_the_verdict_at_quick_size(name: str, control: str) -> None:
    check_that_a_fault_flips(name, control, "quick")


@pytest.mark.parametrize("name", cases_by_cost(positives("quick")))
def test_what_must_hold_holds_at_quick_size(name: str) -> None:
    need_no_images(name, "quick")
    assert verdict(name, "quick", "positive").status == "holds"


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_stands_alone(name: str) -> None:
    used = {module.removeprefix(f"{PACKAGE}.") for module in closure(f"{PACKAGE}.{name}")}
    assert not used & (set(experiment_names()) - {name}), "what two share begins with an underscore"
    assert not used & {"campaign", "results", "running"}, "an experiment does not run itself"


def test_what_is_no_experiment_is_a_part_of_the_frame() -> None:
    folder = module_path(PACKAGE).parent
    others = {path.stem for path in folder.glob("[!_]*.py")} - set(experiment_names())
    frame = {"base", "campaign", "folder", "results", "running", "verdict"}
    unknown = {name for name in others - frame if not name.startswith("report")}
    assert not unknown, (
        "a module that shares code begins with an underscore, an experiment defines EXPERIMENT"
    )
