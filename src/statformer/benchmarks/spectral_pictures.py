"""Pictures of what the spectral bench measured: angles, eigen errors, two classes, time.

Axes: k components; everything here reads finished cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from statformer.benchmarks import spectral_constructed as constructed
from statformer.benchmarks import spectral_cost as cost
from statformer.benchmarks import spectral_two_classes as two_classes
from statformer.benchmarks.spectral_networks import GAUSSIANS, IMAGES, POWER
from statformer.benchmarks.spectral_paper import named
from statformer.benchmarks.spectral_read_outs import LINEAR, MLP
from statformer.benchmarks.spectral_robust import METHODS
from statformer.benchmarks.spectral_tables import HELD_OUT_KINDS
from statformer.benchmarks.spectral_unseen import CORRUPTIONS
from statformer.benchmarks.verdicts import Cells
from statformer.plotting.spectral import Curve, CurvePanel, plot_curves

CLEAN, OWN_CLEAN = "clean", "clean, uniform scores"
SHARES = ("5%", "10%", "20%")
_ENDS = ("value", "low", "high")


def draw(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG per kind of picture that the cells allow; returns their paths.

    Raises MissingExtraError without matplotlib.
    """
    cells: Cells = data["cells"]

    def of(part: str) -> Cells:
        return {k.partition(": ")[2]: c for k, c in cells.items() if c["part"] == part}

    makers: dict[str, tuple[list[CurvePanel], Sequence[str], str]] = {
        "spectral-depth": (_depth(of("a")), constructed.CONSTRUCTIONS, "Gap to LAPACK"),
        "spectral-components": (_components(of("b")), ("network",), "Errors by component"),
        "spectral-angles": (_angles(of("c")), METHODS[:2], "Largest principal angle to the truth"),
        "spectral-time": (_time(of("d")), (cost.ROWS, cost.CELLS), "Seconds of a fit, one thread"),
        "spectral-classes": (
            _classes(of("e")),
            (two_classes.OURS,),
            "Two classes: share of wrong labels",
        ),
    }
    found = []
    for name, (panels, ours, title) in makers.items():
        if panels:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.png"
            plot_curves(panels, ours=ours, title=title).savefig(path)
            found.append(path)
    return found


def _depth(cells: Cells) -> list[CurvePanel]:
    panels = []
    for ratio in constructed.RATIOS:
        mine = sorted(
            ((c["products"], c) for c in cells.values() if c["ratio"] == ratio),
            key=lambda pair: int(pair[0]),
        )
        if not mine:
            continue
        curves = {
            name: Curve(
                [at for at, _ in mine], [max(c["median gap"][name], 1e-17) for _, c in mine]
            )
            for name in constructed.METHODS
        }
        title = f"eigenvalue ratio {ratio:g}"
        names = {float(at): str(at) for at, _ in mine}
        x, y = "products with X'X", "largest sine"
        panels.append(CurvePanel(title, curves, x, y, "xy", names=names))
    return panels


def _components(cells: Cells) -> list[CurvePanel]:
    """Per size: the metric by component, on Gaussians and on images."""
    panels = []
    for target, words in (("values", "relative squared error"), ("vectors", "|cos|")):
        mine = [cell for cell in cells.values() if cell.get("target") == target]
        for cell, name in named(sorted(mine, key=lambda cell: (cell["D"], cell["N"]))):
            at = range(1, cell["k"] + 1)
            methods = {"network": name, LINEAR: LINEAR, MLP: MLP}
            methods["power method, as many steps as layers"] = POWER.format(
                cell["networks"][name]["layers"]
            )
            curves = {}
            for instances in (GAUSSIANS, IMAGES):
                shown = methods if instances == GAUSSIANS else {f"network, {IMAGES}": name}
                for label, method in shown.items():
                    scores = cell["scores"].get(instances, {}).get(method)
                    if scores is not None:
                        curves[label] = Curve(at, scores["mean"])
            log = "y" if target == "values" else ""
            title = f"{target}: D {cell['D']}, N {cell['N']}"
            names = {float(j): str(j) for j in at}
            panels.append(CurvePanel(title, curves, "component", words, log, names=names))
    return panels


def _angles(cells: Cells) -> list[CurvePanel]:
    def series(title: str, x: str, steps: Mapping[str, str]) -> CurvePanel | None:
        """Steps: what to write at a place -> the cell there."""
        there = [(words, cells[name]) for words, name in steps.items() if name in cells]
        if len(there) < 2:
            return None
        curves = {}
        for method in METHODS:
            at = [i for i, (_, cell) in enumerate(there) if method in cell["angle"]]
            found = [there[i][1]["angle"][method] for i in at]
            if found:
                curves[method] = Curve(at, *([f[end] for f in found] for end in _ENDS))
        names = {float(i): words for i, (words, _) in enumerate(there)}
        return CurvePanel(title, curves, x, "degrees", names=names)

    panels = [
        series(f"outlying {what}", f"share of {what}", {"0": CLEAN} | _steps(what + " {}"))
        for what in ("rows", "cells")
    ]
    tails = {"normal": CLEAN} | {str(v): f"t noise, df {v}" for v in (5, 3, 2)}
    panels.append(series("Student-t noise", "degrees of freedom", tails))
    for mechanism in ("MCAR", "MNAR"):
        rates = {r: f"missing {mechanism} {r}" for r in ("10%", "30%", "60%")}
        panels.append(series(f"missing cells, {mechanism}", "share", {"0": CLEAN} | rates))
    panels += [
        series(f"held out: {kind}", "share", {"0": CLEAN} | _steps(f"held out: {kind}, {{}}"))
        for kind in HELD_OUT_KINDS
    ]
    panels += [
        series(f"never: {kind}", "share", {"0": OWN_CLEAN} | _steps(f"never: {kind}, {{}}"))
        for kind in CORRUPTIONS
    ]
    return [panel for panel in panels if panel is not None]


def _steps(name: str) -> dict[str, str]:
    return {share: name.format(share) for share in SHARES}


def _time(cells: Cells) -> list[CurvePanel]:
    panels = []
    for axis, place in (("rows", 0), ("columns", 1)):
        mine = sorted(
            ((c["shape"][place], c) for c in cells.values() if c["axis"] == axis),
            key=lambda pair: int(pair[0]),
        )
        if len(mine) < 2:
            continue
        other = mine[0][1]["shape"][1 - place]
        curves = {
            name: Curve(
                [at for at, _ in mine], [c["timings"]["1"]["seconds"][name] for _, c in mine]
            )
            for name in cost.METHODS
        }
        title = f"over {axis} ({other} {'columns' if place == 0 else 'rows'})"
        panels.append(CurvePanel(title, curves, axis, "seconds", "xy"))
        peaks = [(at, c["peak bytes above data"]) for at, c in mine]
        peaks = [(at, peak) for at, peak in peaks if peak and all(peak.values())]
        if len(peaks) > 1:
            curves = {
                name: Curve([at for at, _ in peaks], [peak[name] / 1e6 for _, peak in peaks])
                for name in cost.METHODS
            }
            panels.append(CurvePanel(f"peak memory {title}", curves, axis, "MB above X", "xy"))
    return panels


def _classes(cells: Cells) -> list[CurvePanel]:
    panels = []
    for name, cell in cells.items():
        threshold = 2.0 * cell["threshold radius"]
        levels = cell["levels"]
        at = [threshold * level["radius over threshold"] for level in levels]
        curves = {
            method: Curve(
                at,
                *([level["error"][method][end] for level in levels] for end in _ENDS),
            )
            for method in two_classes.METHODS
        }
        curves[two_classes.ORACLE] = Curve(at, [level["oracle"] for level in levels])
        mark = (threshold, "exact recovery")
        panels.append(CurvePanel(name, curves, "distance of the means / sigma", "error", mark=mark))
    return panels
