"""Finished cells of the Bayesian network bench as plain tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_learners as learners
from statformer.benchmarks import bayesnet_structures as structures
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks import bayesnet_unknown as unknown
from statformer.benchmarks.bayesnet_targets import difference
from statformer.benchmarks.parts import cells_of, goals
from statformer.benchmarks.sheet import Cells, Sheet, signed


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of every measured part, then the goals."""
    makers: dict[str, Callable[[Cells], list[Sheet]]] = {
        "a": _truth,
        "b": _equality,
        "c": _cost,
        "d": _structures,
    }
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
            some = {truth.ATTENTION: cell["attention networks"]}
            some |= dict.fromkeys(unknown.METHODS, cell["read networks"])
            for method, tv in cell["tv"].items():
                first = f", first {some[method]} networks" if method in some else ""
                values = (f"{of_nodes(tv[n]):.3f}" for n in contexts)
                sheet.rows.append((name, f"{method}{first}", *values))
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


def _structures(cells: Cells) -> list[Sheet]:
    """Means over the networks of a kind and number of rows; last, over all of them."""
    found = []
    for knowledge in structures.KNOWLEDGE:
        for measure, unit, digits in (
            ("distance", "Structural Hamming distance up to equivalence", 2),
            ("lost", "Nats per held-out row behind the true network", 3),
            ("seconds", "Processor seconds", 3),
        ):
            methods = list(next(iter(cells.values()))[knowledge])
            sheet = Sheet(f"{unit}, {knowledge}", ("cell", *methods))
            rows = {name: [cell] for name, cell in cells.items()} | {"all": list(cells.values())}
            for name, of_row in rows.items():
                means = [
                    np.mean([value for cell in of_row for value in cell[knowledge][m][measure]])
                    for m in methods
                ]
                sheet.rows.append((name, *(f"{mean:.{digits}f}" for mean in means)))
            found.append(sheet)
    return [*found, *(_differences(cells, knowledge) for knowledge in structures.KNOWLEDGE)]


def _differences(cells: Cells, knowledge: str) -> Sheet:
    """Ours minus each rival with its interval, by number of variables."""
    header = ("variables", "ours", "minus", "distance", "nats per row")
    sheet = Sheet(f"Ours minus rivals, {knowledge}, 95 %", header)
    by_size: dict[str, list[Mapping[str, Any]]] = {"all": list(cells.values())}
    for cell in cells.values():
        by_size.setdefault(str(cell["variables"]), []).append(cell)
    for size, some in by_size.items():
        for method in (learners.PRETRAINED, learners.CONSTRUCTED):
            for rival in (*learners.RIVALS, learners.EXACT_BIC):
                gaps = (
                    signed(difference(some, method, rival, knowledge, measure).as_dict())
                    for measure in ("distance", "lost")
                )
                sheet.rows.append((size, method, rival, *gaps))
    return sheet


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
