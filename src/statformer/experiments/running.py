"""Experiments in this process: the rows of a cell, a table of a size, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from statformer.experiments.base import Cell, Control, Experiment, Measure, Row, Size, cell_rng
from statformer.experiments.folder import PACKAGE, load_experiment
from statformer.runs.sources import sources_key

if TYPE_CHECKING:
    import pandas as pd

    from statformer.experiments.verdict import Verdict

__all__ = [
    "Measured",
    "Point",
    "load_all",
    "measure_point",
    "rows_of",
    "table_here",
    "table_of_rows",
    "verdict_here",
]


@dataclass(frozen=True)
class Measured:
    """The rows of a point; what they took in seconds by the clock, and of one core."""

    rows: list[dict[str, Any]]
    seconds: float
    core_seconds: float


@dataclass(frozen=True)
class Point:
    """A cell and a seed of an experiment, as a job takes it; `sources` is the key of its module."""

    name: str
    cell: Mapping[str, Any]
    seed: int
    sources: str
    package: str = PACKAGE


def measure_point(point: Point) -> Measured:
    """The rows of a point; the work of the jobs. What loading the experiment takes is not counted.

    Raises RuntimeError where this process would measure with other sources than those that `point`
    was made from: a file changed on the way, or a cluster has another version installed.
    """
    experiment = load_experiment(point.name, point.package)
    if _sources_here(f"{point.package}.{point.name}") != point.sources:
        raise RuntimeError(
            f"the sources of {point.name} are others here than where the run began; "
            "run it again, on a cluster with the same version of statformer installed"
        )
    clock, core = time.perf_counter(), time.thread_time()
    rows = rows_of(experiment.measure, point.name, point.cell, point.seed)
    return Measured(rows, time.perf_counter() - clock, time.thread_time() - core)


def load_all(names: Sequence[str], package: str = PACKAGE) -> None:
    """Load experiments, so that later changes of their files do not reach this process.

    What does not load says why when it is measured.
    """
    for name in names:
        with suppress(Exception):
            load_experiment(name, package)
            _sources_here(f"{package}.{name}")


def rows_of(measure: Measure, name: str, cell: Cell, seed: int) -> list[dict[str, Any]]:
    """The rows that `measure` gives for the cell and seed of the experiment called `name`.

    Each has the cell's entries, "seed" and what was measured, as Python's own numbers and text.
    Raises TypeError or ValueError for rows that do not go into a table.
    """
    measured = measure(dict(cell), cell_rng(name, cell, seed))
    rows = [measured] if isinstance(measured, Mapping) else list(measured)
    if not rows:
        raise ValueError("measure gave no row; give at least one for every cell")
    return [_row(cell, seed, row) for row in rows]


def table_of_rows(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One line per row; what a row lacks is NaN."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def table_here(
    name: str,
    size: Size,
    control: str | None = None,
    experiment: Experiment | None = None,
) -> pd.DataFrame:
    """All cells and seeds of a size, one after the other in this process; nothing is stored.

    control      a planted fault by its name, or "positive" for the case that must hold
    experiment   in place of the one called `name`
    """
    experiment = load_experiment(name) if experiment is None else experiment
    measure = experiment.measure if control is None else _control(experiment, control).measure
    return table_of_rows(
        row
        for cell in experiment.cells(size)
        for seed in experiment.seeds(size)
        for row in rows_of(measure, name, cell, seed)
    )


def verdict_here(
    name: str,
    size: Size,
    control: str | None = None,
    experiment: Experiment | None = None,
) -> Verdict:
    """The verdict on `table_here`."""
    experiment = load_experiment(name) if experiment is None else experiment
    return experiment.holds(table_here(name, size, control, experiment))


def _control(experiment: Experiment, name: str) -> Control:
    """Raises KeyError where the experiment has no such control."""
    if name == "positive" and experiment.positive is not None:
        return experiment.positive
    if name not in experiment.controls:
        known = ", ".join([*experiment.controls, *(["positive"] if experiment.positive else [])])
        raise KeyError(f"control is {name!r}; this experiment has {known or 'none'}")
    return experiment.controls[name]


@lru_cache(maxsize=256)
def _sources_here(module: str) -> str:
    """The key of the sources, once: later changes do not reach what is imported already."""
    return sources_key(module)


def _row(cell: Cell, seed: int, row: Row) -> dict[str, Any]:
    whole: dict[str, Any] = {**cell, "seed": seed}
    for name, measured in row.items():
        value = measured.item() if isinstance(measured, np.generic) else measured
        if type(value) not in (str, int, float, bool):
            raise TypeError(
                f"measure gave {name} = {value!r} of type {type(value).__name__}; "
                "give a number, a text or a boolean"
            )
        if name in whole and whole[name] != value:
            raise ValueError(
                f"measure gave {name} = {value!r}, which is {whole[name]!r} in its cell; rename it"
            )
        whole[name] = value
    return whole
