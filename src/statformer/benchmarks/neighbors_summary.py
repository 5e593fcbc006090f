"""Finished cells of the neighbours bench as plain tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from statformer.benchmarks import neighbors_cost as cost
from statformer.benchmarks import neighbors_predictions as predictions
from statformer.benchmarks.neighbors_shifted import SHIFTED, UNSHIFTED
from statformer.benchmarks.parts import cells_of, goals
from statformer.benchmarks.sheet import Cells, Sheet, signed, value


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of every measured part, then the goals."""
    makers: dict[str, Callable[[Cells], list[Sheet]]] = {
        "a": _cost,
        "b": _predictions,
        "c": _shifted,
    }
    by_part = {part: cells_of(data["cells"], part) for part in makers}
    found = [
        sheet for part, make in makers.items() if by_part[part] for sheet in make(by_part[part])
    ]
    return [*found, goals(data)]


def _cost(cells: Cells) -> list[Sheet]:
    times = Sheet(
        "Microseconds per query, one nearest neighbour",
        ("table", "queries", "threads", *cost.METHODS, "others' load", "valid"),
    )
    builds = Sheet("Milliseconds to build", ("table", "threads", *cost.METHODS))
    memory = Sheet("Peak memory above the data, MB", ("table", "queries", *cost.METHODS, cost.SOFT))
    for name, cell in cells.items():
        asked = str(cell["queries"][cost.OURS])
        for threads, timing in cell["timings"].items():
            row = [f"{1e6 * timing['seconds per query'][m]:.3g}" for m in cost.METHODS]
            valid = "yes" if timing["is_valid"] else "NO"
            times.rows.append((name, asked, threads, *row, f"{timing['other_load']:.2f}", valid))
            row = [f"{1e3 * timing['build seconds'][m]:.3g}" for m in cost.METHODS]
            builds.rows.append((name, threads, *row))
        peaks = cell["peak bytes above data"]
        if peaks:
            known = (peaks.get(m) for m in (*cost.METHODS, cost.SOFT))
            row = ["" if peak is None else f"{peak / 1e6:.0f}" for peak in known]
            memory.rows.append((name, asked, *row))
    return [sheet for sheet in (times, builds, memory) if sheet.rows]


def _predictions(cells: Cells) -> list[Sheet]:
    found = []
    for measure in ("accuracy", "log loss", "ECE"):
        sheet = Sheet(f"{measure}, rows out of fold", ("table", "rows", *predictions.METHODS))
        for name, cell in cells.items():
            row = [value(cell[measure][m]) for m in predictions.METHODS]
            sheet.rows.append((name, str(cell["rows"]), *row))
        found.append(sheet)
    gaps = Sheet("Log loss, ours minus", ("table", *predictions.RIVALS))
    for name, cell in cells.items():
        row = [signed(cell["ours minus"][rival]["log loss"]) for rival in predictions.RIVALS]
        gaps.rows.append((name, *row))
    return [*found, gaps]


def _shifted(cells: Cells) -> list[Sheet]:
    found = []
    for kind in (SHIFTED, UNSHIFTED):
        measures = list(next(iter(cells.values()))[kind])
        sheet = Sheet(f"The constructed layer on {kind} prompts", ("cell", *measures))
        for name, cell in cells.items():
            sheet.rows.append((name, *(f"{cell[kind][m]:.3g}" for m in measures)))
        found.append(sheet)
    return found
