"""What was to be reached in training patch networks, and the measured parts as plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from statformer.benchmarks.features_speed import ONE, OURS, RIVALS, SIDE
from statformer.benchmarks.parts import cells_of, goals
from statformer.benchmarks.sheet import Sheet
from statformer.benchmarks.verdicts import REACHED, SHORT, Cells, Target

MOST_APART = 1e-8
LEAST_SPEED_UP = 10.0
MOST_MINUTES = 10.0  # of the full diagram, 20 x 20 cells and 5 seeds, on two cores


def targets(cells: Cells, parts: Sequence[str]) -> list[Target]:
    """Equal losses, a speed-up at every size, and the time of a diagram with all of it fitted."""
    found: list[Target] = []
    if "a" in parts:
        found += _speed(cells_of(cells, "a"))
    if "b" in parts:
        found += _diagram(cells_of(cells, "b"))
    return found


def _speed(cells: Cells) -> list[Target]:
    gap = max(cell["largest gap of the loss in float64"] for cell in cells.values())
    goal = f"losses of plain descent to {MOST_APART:g} in float64"
    found = [Target("a", goal, f"{gap:.1e}", REACHED if gap <= MOST_APART else SHORT)]
    for rival, least in ((ONE, LEAST_SPEED_UP), (SIDE, 1.0)):
        ratios = {name: cell["speed-up"][rival] for name, cell in cells.items()}
        name = min(ratios, key=lambda key: float(ratios[key]["low"]))
        worst = ratios[name]
        text = "{value:.1f} [{low:.1f}, {high:.1f}]".format(**worst)
        status = REACHED if worst["low"] >= least else SHORT
        found.append(Target("a", f"at least {least:g} times {rival}", f"{text}: {name}", status))
    return found


def _diagram(cells: Cells) -> list[Target]:
    found = []
    for name, cell in cells.items():
        minutes = cell["wall seconds"] / 60.0
        at = " x ".join(str(count) for count in cell["grid"])
        goal = f"{name}: diagram of {at} in at most {MOST_MINUTES:g} minutes"
        text = (
            f"{minutes:.1f} at {cell['n_workers']} processes, of processors "
            f"{cell['processor seconds'] / 60.0:.1f}"
        )
        found.append(Target("b", goal, text, REACHED if minutes <= MOST_MINUTES else SHORT))
        loss, most = cell["largest training loss"], cell["overfitted"]
        goal = f"{name}: training loss at most {most:g} in every cell"
        found.append(Target("b", goal, f"{loss:.4f}", REACHED if loss <= most else SHORT))
    return found


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of the measured parts, then the goals."""
    found = []
    speed = cells_of(data["cells"], "a")
    if speed:
        sheet = Sheet(
            "Processor seconds of a run, and how many times ours",
            ("cell", OURS, *RIVALS, "valid"),
        )
        for name, cell in speed.items():
            seconds, ratios = cell["seconds of a run"], cell["speed-up"]
            texts = [
                f"{seconds[rival]:.3g}: "
                + "{value:.0f} [{low:.0f}, {high:.0f}]".format(**ratios[rival])
                for rival in RIVALS
            ]
            valid = "yes" if cell["is_valid"] else "no"
            sheet.rows.append((name, f"{seconds[OURS]:.3g}", *texts, valid))
        found.append(sheet)
    diagram = cells_of(data["cells"], "b")
    if diagram:
        sheet = Sheet(
            "A phase diagram",
            ("cell", "grid", "processor s", "wall s", "processes", "largest loss", "most steps"),
        )
        for name, cell in diagram.items():
            grid = " x ".join(str(count) for count in cell["grid"])
            times = (f"{cell['processor seconds']:.1f}", f"{cell['wall seconds']:.1f}")
            rest = (str(cell["n_workers"]), f"{cell['largest training loss']:.4f}")
            sheet.rows.append((name, grid, *times, *rest, f"{cell['most steps']:.0f}"))
        found.append(sheet)
    return [*found, goals(data)]
