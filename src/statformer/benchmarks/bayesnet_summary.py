"""Finished cells of the Bayesian network bench as plain tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks.parts import cells_of, goals
from statformer.benchmarks.sheet import Cells, Sheet


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of every measured part, then the goals."""
    makers: dict[str, Callable[[Cells], list[Sheet]]] = {"a": _truth, "b": _equality, "c": _cost}
    by_part = {part: cells_of(data["cells"], part) for part in makers}
    found = [
        sheet for part, make in makers.items() if by_part[part] for sheet in make(by_part[part])
    ]
    return [*found, goals(data)]


def _truth(cells: Cells) -> list[Sheet]:
    found = []
    for title, of_nodes in (("mean over nodes", np.mean), ("the last node", _last)):
        contexts = list(next(iter(cells.values()))["tv"][truth.COLLAPSED])
        sheet = Sheet(f"TV to the truth over N, {title}", ("structure", "method", *contexts))
        for name, cell in cells.items():
            few = f"{truth.ATTENTION}, first {cell['attention networks']} networks"
            for method, tv in cell["tv"].items():
                shown = few if method == truth.ATTENTION else method
                sheet.rows.append((name, shown, *(f"{of_nodes(tv[n]):.3f}" for n in contexts)))
            sheet.rows.append((name, "pretrained", *("not measured" for _ in contexts)))
        found.append(sheet)
    return found


def _last(values: list[float]) -> float:
    return values[-1]


def _equality(cells: Cells) -> list[Sheet]:
    ways = list(next(iter(cells.values()))["largest gap"])
    sheet = Sheet("Largest difference to pgmpy's tables", ("cell", "networks", *ways))
    for name, cell in cells.items():
        row = [f"{cell['largest gap'][way]:.1e}" for way in ways]
        sheet.rows.append((name, str(cell["networks"]), *row))
    return [sheet]


def _cost(cells: Cells) -> list[Sheet]:
    found = []
    for work, methods in (("fit", cost.FITTED), ("sample", cost.DRAWN)):
        sheet = Sheet(
            f"Rows per second, {work}", ("cell", "threads", *methods, "others' load", "valid")
        )
        for name, cell in cells.items():
            for threads, timing in cell["timings"].items():
                one = timing[work]
                row = [f"{one['rows per second'][method]:.3g}" for method in methods]
                valid = "yes" if one["is_valid"] else "NO"
                sheet.rows.append((name, threads, *row, f"{one['other_load']:.2f}", valid))
        found.append(sheet)
    return found
