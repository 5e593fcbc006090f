"""Finished cells of the spectral bench as plain tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from statformer.benchmarks import spectral_constructed as constructed
from statformer.benchmarks import spectral_cost as cost
from statformer.benchmarks import spectral_two_classes as two_classes
from statformer.benchmarks.sheet import Cells, Sheet
from statformer.benchmarks.spectral_networks import GAUSSIANS, IMAGES
from statformer.benchmarks.spectral_robust import METHODS


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of every measured part, then the goals."""
    makers: dict[str, Callable[[Cells], list[Sheet]]] = {
        "a": _constructed,
        "b": _networks,
        "c": _robust,
        "d": _cost,
        "e": _two_classes,
    }
    found = []
    for part, make in makers.items():
        cells = {
            key.partition(": ")[2]: cell
            for key, cell in data["cells"].items()
            if cell["part"] == part and "missing" not in cell
        }
        if cells:
            found += make(cells)
    goals = Sheet("To reach", ("part", "goal", "found", "verdict"))
    for target in data.get("targets", []):
        indent = "" if target["is_headline"] else "  "
        row = (target["part"], indent + target["goal"], target["found"], target["status"])
        goals.rows.append(row)
    return [*found, goals]


def _constructed(cells: Cells) -> list[Sheet]:
    sheet = Sheet(
        "The construction: median of the largest sine to LAPACK's vectors",
        ("eigengap, steps", "products", "depth", "theorem's depth", *constructed.METHODS),
    )
    for name, cell in cells.items():
        gaps = [f"{cell['median gap'][method]:.0e}" for method in constructed.METHODS]
        counts = [str(cell[what]) for what in ("products", "depth", "theorem depth")]
        sheet.rows.append((name, *counts, *gaps))
    return [sheet]


def _networks(cells: Cells) -> list[Sheet]:
    found = []
    for name, cell in cells.items():
        metric = "relative squared error" if cell["target"] == "values" else "|cos|"
        sheet = Sheet(
            f"Trained as in the paper: {name}: {metric} per component",
            ("method", "layers", "attention", "auxiliary rows", GAUSSIANS, IMAGES),
        )
        for method in cell["scores"][GAUSSIANS]:
            if method == "n":
                continue
            about = cell["networks"].get(method, {})
            facts = [str(about.get(what, "")) for what in ("layers", "attention", "auxiliary")]
            shown = [_components(cell, method, instances) for instances in (GAUSSIANS, IMAGES)]
            sheet.rows.append((method, *facts, *shown))
        found.append(sheet)
        found.append(_shift(name, cell, metric))
    return [sheet for sheet in found if sheet.rows]


def _components(cell: Mapping[str, Any], method: str, instances: str) -> str:
    scores = cell["scores"].get(instances, {}).get(method)
    return "" if scores is None else ", ".join(f"{value:.3g}" for value in scores["mean"])


def _shift(name: str, cell: Mapping[str, Any], metric: str) -> Sheet:
    """The same by digits, of the networks alone."""
    networks = list(cell["networks"])
    sheet = Sheet(f"By digits: {name}: {metric} per component", ("instances", *networks))
    for instances in cell["scores"]:
        if instances not in {GAUSSIANS, IMAGES}:
            shown = [_components(cell, network, instances) for network in networks]
            sheet.rows.append((instances, *shown))
    return sheet


def _robust(cells: Cells) -> list[Sheet]:
    angles = Sheet("Corrupted tables: mean largest angle to the truth", ("tables", *METHODS))
    gaps = Sheet(
        "Minus the best rival, degrees",
        ("tables", "group", METHODS[0], METHODS[1], "best rival"),
    )
    for name, cell in cells.items():
        row = [cell["angle"].get(method) for method in METHODS]
        angles.rows.append((name, *("" if f is None else f"{f['value']:.1f}" for f in row)))
        gap, other = (cell["minus the best rival"][form] for form in METHODS[:2])
        words = ["{value:+.1f} [{low:+.1f}, {high:+.1f}]".format(**found) for found in (gap, other)]
        gaps.rows.append((name, cell["group"], *words, cell["best rival"]))
    return [angles, gaps]


def _cost(cells: Cells) -> list[Sheet]:
    times = Sheet(
        "Seconds of a fit",
        ("table", "threads", *cost.METHODS, "others' load", "valid"),
    )
    memory = Sheet("Peak memory above the table, MB", ("table", *cost.METHODS))
    slopes = Sheet("How time grows: log-log slope, one thread", ("over", *cost.METHODS))
    for name, cell in cells.items():
        if cell["axis"] == "growth":
            for axis, found in cell["slopes"].items():
                ends = f"{axis}, {found['at'][0]} to {found['at'][-1]}"
                row = [f"{found['slope'][method]:.2f}" for method in cost.METHODS]
                slopes.rows.append((ends, *row))
            continue
        for threads, timing in cell["timings"].items():
            row = [f"{timing['seconds'][method]:.3g}" for method in cost.METHODS]
            load = f"{timing['other_load']:.2f}"
            valid = "yes" if timing["is_valid"] else "NO"
            times.rows.append((name, threads, *row, load, valid))
        peaks = cell["peak bytes above data"]
        if peaks:
            row = ["" if peaks[m] is None else f"{peaks[m] / 1e6:.0f}" for m in cost.METHODS]
            memory.rows.append((name, *row))
    return [sheet for sheet in (times, memory, slopes) if sheet.rows]


def _two_classes(cells: Cells) -> list[Sheet]:
    methods = (*two_classes.METHODS, two_classes.ORACLE)
    sheet = Sheet(
        "Two classes: share of wrong labels",
        ("table", "distance / threshold", "distance / sigma", *methods),
    )
    for name, cell in cells.items():
        for level in cell["levels"]:
            fraction = level["radius over threshold"]
            distance = 2.0 * fraction * cell["threshold radius"]
            errors = [level["error"][method]["value"] for method in two_classes.METHODS]
            words = [f"{error:.4f}" for error in (*errors, level["oracle"])]
            sheet.rows.append((name, f"{fraction:g}", f"{distance:.2f}", *words))
    return [sheet]
